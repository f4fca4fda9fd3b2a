"""The table of the APIs that are served: what is in it is advertised, and nothing else is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dohle.broker.broker import Broker
from dohle.kafka.messages.acls import CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest
from dohle.kafka.messages.cluster import (
    ApiVersionsRequest,
    DescribeClusterRequest,
    DescribeTopicPartitionsRequest,
    MetadataRequest,
)
from dohle.kafka.messages.configs import (
    AlterConfigsRequest,
    DescribeConfigsRequest,
    IncrementalAlterConfigsRequest,
    ListConfigResourcesRequest,
)
from dohle.kafka.messages.consumer_groups import ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest
from dohle.kafka.messages.fetch import FetchRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest
from dohle.kafka.messages.groups import (
    DeleteGroupsRequest,
    DescribeGroupsRequest,
    FindCoordinatorRequest,
    HeartbeatRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    ListGroupsRequest,
    OffsetCommitRequest,
    OffsetDeleteRequest,
    OffsetFetchRequest,
    SyncGroupRequest,
)
from dohle.kafka.messages.placement import (
    AlterPartitionReassignmentsRequest,
    AlterReplicaLogDirsRequest,
    DescribeLogDirsRequest,
    ElectLeadersRequest,
    ListPartitionReassignmentsRequest,
)
from dohle.kafka.messages.produce import InitProducerIdRequest, ProduceRequest
from dohle.kafka.messages.quorum import (
    AddRaftVoterRequest,
    DescribeQuorumRequest,
    RemoveRaftVoterRequest,
    UnregisterBrokerRequest,
    UpdateFeaturesRequest,
)
from dohle.kafka.messages.topics import (
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteRecordsRequest,
    DeleteTopicsRequest,
)
from dohle.kafka.messages.transactions import DescribeProducersRequest
from dohle.listeners.byte_budget import ByteBudget
from dohle.listeners.kafka.acls import create_acls, delete_acls, describe_acls
from dohle.listeners.kafka.addresses import SOLE_LISTENER
from dohle.listeners.kafka.apis import Apis, ServedApi
from dohle.listeners.kafka.broker_configs import BrokerConfig
from dohle.listeners.kafka.classic_groups import ClassicGroupApis
from dohle.listeners.kafka.clients import Clients
from dohle.listeners.kafka.cluster import Cluster
from dohle.listeners.kafka.configs import Configs
from dohle.listeners.kafka.consumer_groups import ConsumerGroupApis
from dohle.listeners.kafka.coordinators import Coordinators
from dohle.listeners.kafka.fetch import Fetching
from dohle.listeners.kafka.group_lists import GroupLists
from dohle.listeners.kafka.group_offsets import GroupOffsets
from dohle.listeners.kafka.log_dirs import LogDirectories
from dohle.listeners.kafka.offsets import Offsets
from dohle.listeners.kafka.placement import Placement
from dohle.listeners.kafka.produce import Producing
from dohle.listeners.kafka.producers_known import ProducersKnown
from dohle.listeners.kafka.quorum import QuorumAdmin
from dohle.listeners.kafka.topic_pages import TopicPages
from dohle.listeners.kafka.topics import Topics
from dohle.listeners.kafka.topics_known import TopicsKnown
from dohle.listeners.kafka.versions import Versions


@dataclass(frozen=True, slots=True)
class ServedSettings:
    """`told_as_reached`: the listeners whose clients are told the address at which they reached this node."""

    creates_topics: bool = True
    told_as_reached: Collection[str] = (SOLE_LISTENER,)
    fetch_session_slots: int = 1000
    configs: tuple[BrokerConfig, ...] = ()
    """This broker's, as Kafka's clients are told them."""


def served_apis(broker: Broker, answers: ByteBudget, clients: Clients, settings: ServedSettings) -> Apis:
    """Returns what is served out of `broker`; `answers` bounds the bytes that clients have not taken yet."""
    known = TopicsKnown(broker, told_as_reached=settings.told_as_reached)
    cluster = Cluster(broker, known, creates_topics=settings.creates_topics)
    producing = Producing(broker, known)
    offsets = Offsets(broker, known)
    topics = Topics(broker, known)
    configs = Configs(broker, known, settings.configs)
    directories = LogDirectories(broker)
    placement = Placement(broker)
    quorum = QuorumAdmin(broker)
    consumer_groups = ConsumerGroupApis(broker)
    group_offsets = GroupOffsets(broker)
    group_lists = GroupLists(broker)
    classic_groups = ClassicGroupApis(broker)
    apis: dict[int, ServedApi] = {}
    for api in (
        # versions 0 to 2 are refused: without them in the list, old versions of librdkafka stop compressing
        ServedApi(ProduceRequest, begin=producing.produce, advertised_from=0),
        ServedApi(FetchRequest, Fetching(broker, known, answers, clients.sessions).fetch, is_large=True),
        ServedApi(ListOffsetsRequest, offsets.list_offsets),
        ServedApi(MetadataRequest, cluster.metadata),
        ServedApi(OffsetCommitRequest, group_offsets.commit),
        ServedApi(OffsetFetchRequest, group_offsets.fetch),
        ServedApi(FindCoordinatorRequest, Coordinators(broker, known).find),
        ServedApi(JoinGroupRequest, classic_groups.join),
        ServedApi(HeartbeatRequest, classic_groups.heartbeat),
        ServedApi(LeaveGroupRequest, classic_groups.leave),
        ServedApi(SyncGroupRequest, classic_groups.sync),
        ServedApi(DescribeGroupsRequest, classic_groups.describe),
        ServedApi(ListGroupsRequest, group_lists.list),
        ServedApi(ApiVersionsRequest, Versions(apis, lambda: broker.image, clients.software).answer),
        ServedApi(CreateTopicsRequest, topics.create, is_change=True),
        ServedApi(DeleteTopicsRequest, topics.delete, is_change=True),
        ServedApi(DeleteRecordsRequest, topics.delete_records, is_change=True),
        ServedApi(InitProducerIdRequest, producing.init_producer_id),
        ServedApi(OffsetForLeaderEpochRequest, offsets.of_leader_epochs),
        ServedApi(DescribeAclsRequest, describe_acls),
        ServedApi(CreateAclsRequest, create_acls),
        ServedApi(DeleteAclsRequest, delete_acls),
        ServedApi(DescribeConfigsRequest, configs.describe),
        ServedApi(AlterConfigsRequest, configs.alter_whole, is_change=True),
        ServedApi(AlterReplicaLogDirsRequest, directories.alter, is_change=True),
        ServedApi(DescribeLogDirsRequest, directories.describe),
        ServedApi(CreatePartitionsRequest, topics.create_partitions, is_change=True),
        ServedApi(DeleteGroupsRequest, group_lists.delete, is_change=True),
        ServedApi(ElectLeadersRequest, placement.elect, is_change=True),
        ServedApi(IncrementalAlterConfigsRequest, configs.alter, is_change=True),
        ServedApi(AlterPartitionReassignmentsRequest, placement.reassign, is_change=True),
        ServedApi(ListPartitionReassignmentsRequest, placement.reassignments),
        ServedApi(OffsetDeleteRequest, group_offsets.delete, is_change=True),
        ServedApi(DescribeQuorumRequest, quorum.describe),
        ServedApi(UpdateFeaturesRequest, quorum.update_features, is_change=True),
        ServedApi(DescribeClusterRequest, cluster.describe_cluster),
        ServedApi(DescribeProducersRequest, ProducersKnown(broker, known).describe),
        ServedApi(UnregisterBrokerRequest, quorum.unregister_broker, is_change=True),
        ServedApi(ConsumerGroupHeartbeatRequest, consumer_groups.heartbeat),
        ServedApi(ConsumerGroupDescribeRequest, consumer_groups.describe),
        ServedApi(ListConfigResourcesRequest, configs.list_resources),
        ServedApi(DescribeTopicPartitionsRequest, TopicPages(broker, known).describe),
        ServedApi(AddRaftVoterRequest, quorum.add_voter, is_change=True),
        ServedApi(RemoveRaftVoterRequest, quorum.remove_voter, is_change=True),
    ):
        apis[api.request.API.key] = api
    return apis
