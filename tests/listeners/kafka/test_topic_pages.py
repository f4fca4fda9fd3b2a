"""What DescribeTopicPartitions tells of partitions whose replicas are not all well (KIP-966)."""

from __future__ import annotations

from dohle.kafka.messages.cluster import DescribeTopicPartitionsRequest
from dohle.listeners.kafka.acls import TOPIC_OPERATIONS
from dohle.listeners.kafka.apis import Caller
from dohle.listeners.kafka.topic_pages import TopicPages
from dohle.listeners.kafka.topics_known import TopicsKnown
from dohle.model.ids import NO_NODE, NodeId
from dohle.model.metadata import PartitionChange
from dohle.runtime.network import Address
from tests.broker.brokers import Cluster, until
from tests.broker.logs import TOPIC_ID
from tests.broker.virtual_time import in_virtual_time

HERE = Address("memory", 9092)


@in_virtual_time
async def test_eligible_replicas_and_the_last_leader_are_told_of() -> None:
    cluster = await Cluster.started(1, 2, 3)
    cluster.controller.topic(TOPIC_ID, [[1, 2, 3]])
    broker = (await cluster.led()).broker
    await cluster.nodes[2].kill()
    await cluster.nodes[3].kill()
    partition = broker.image.topics[TOPIC_ID].partitions[0]
    cluster.controller.commit(
        PartitionChange(
            TOPIC_ID,
            0,
            NO_NODE,
            partition.leader_epoch + 1,
            partition.partition_epoch + 1,
            (NodeId(1),),
            (),
            eligible_replicas=(NodeId(2), NodeId(3)),
            last_known_leader=NodeId(1),
        )
    )
    await until(lambda: broker.image.topics[TOPIC_ID].partitions[0].leader == NO_NODE)
    pages = TopicPages(broker, TopicsKnown(broker, told_as_reached=()))
    request = DescribeTopicPartitionsRequest(topics=[])
    [topic] = (await pages.describe(request, Caller(None, 0, HERE, HERE))).topics
    assert (topic.name, topic.topic_id, topic.topic_authorized_operations) == ("t", TOPIC_ID, TOPIC_OPERATIONS)
    [told] = topic.partitions
    assert (told.error_code, told.leader_id, told.isr_nodes) == (0, -1, [1])
    assert (told.eligible_leader_replicas, told.last_known_elr) == ([2, 3], [1])
    assert told.replica_nodes == [1, 2, 3]
