"""Whatever commands come in whatever order: what must hold of the metadata holds.

`DecidedCluster` checks every image: the ISR within the replicas, the leader in the ISR and unfenced, epochs that grow
exactly when they must, one leader an epoch.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dohle.controller.brokers import allocate_producer_ids
from dohle.controller.elections import Revisions
from dohle.controller.topics import alter_configs, create_partitions, delete_topics
from dohle.model.ids import NO_NODE
from dohle.model.image_apply import apply_batch
from dohle.model.metadata import BrokerChange
from dohle.rpc.v1.admin_pb2 import (
    AlterConfigsRequest,
    AlterTopicConfigs,
    ConfigEntry,
    CreatePartitionsRequest,
    DeleteTopicsRequest,
    NewPartitions,
)
from dohle.rpc.v1.controller_pb2 import AllocateProducerIdsRequest
from tests.controller.decided_cluster import DecidedCluster

NODES = st.integers(1, 4)
NAMES = st.sampled_from(["a", "b"])
STATES = st.fixed_dictionaries(
    {},
    optional={
        "proven": st.booleans(),
        "cut_bytes": st.integers(0, 1),
        "damaged": st.booleans(),
        "durable_end": st.integers(0, 3),
        "last_epoch": st.integers(-1, 2),
    },
)


class Decisions(RuleBasedStateMachine):
    @initialize()
    def boot(self):
        self.cluster = DecidedCluster(brokers=4)

    @rule(name=NAMES, nodes=st.lists(NODES, min_size=1, max_size=4, unique=True), least=st.integers(1, 3))
    def create(self, name, nodes, least):
        if name not in self.cluster.image.topic_ids and any(map(self.cluster.image.is_active, nodes)):
            self.cluster.topic(name, nodes, nodes[::-1], min_insync_replicas=str(least))

    @rule(name=NAMES)
    def delete(self, name):
        self.cluster.take(delete_topics(self.cluster.image, DeleteTopicsRequest(topics=[name])))

    @rule(name=NAMES, total=st.integers(1, 4))
    def grow(self, name, total):
        request = CreatePartitionsRequest(topics=[NewPartitions(topic=name, total_count=total)])
        self.cluster.take(create_partitions(self.cluster.image, request, random=self.cluster.random))

    @rule(name=NAMES, least=st.integers(1, 3))
    def alter_minimum(self, name, least):
        entry = ConfigEntry(name="min.insync.replicas", value=str(least))
        request = AlterConfigsRequest(topics=[AlterTopicConfigs(topic=name, set=[entry])])
        self.cluster.take(alter_configs(self.cluster.image, request))

    @rule(node=NODES, states=st.lists(st.none() | STATES, max_size=8), clean=st.booleans(), wiped=st.booleans())
    def register(self, node, states, clean, wiped):
        keys = [key for key, _ in self.cluster.image.replicas_of(node)]
        states = [{}] * (len(keys) - len(states)) + states
        held = [self.cluster.held(key, **state) for key, state in zip(keys, states, strict=False) if state is not None]
        if wiped:
            self.cluster.directories[node] = self.cluster.random.randbytes(16)
        broker_epoch = self.cluster.image.brokers[node].broker_epoch if clean else -1
        led = [key for key, _ in self.cluster.image.led_by(node)]
        epochs = [self.cluster.image.partition(key).leader_epoch for key in led]
        self.cluster.register(node, held=held, clean_broker_epoch=broker_epoch)
        assert [self.cluster.image.partition(key).leader_epoch for key in led] == [epoch + 1 for epoch in epochs]

    @rule(node=NODES, wants_fence=st.booleans(), wants_shutdown=st.booleans())
    def beat(self, node, wants_fence, wants_shutdown):
        answer = self.cluster.beat(node, wants_fence=wants_fence, wants_shutdown=wants_shutdown)
        assert answer.may_shut_down or not wants_shutdown
        if answer.may_shut_down:
            others = [set(partition.in_sync_replicas) - {node} for _, partition in self.cluster.image.led_by(node)]
            assert not any(self.cluster.image.is_active(other) for members in others for other in members)

    @rule(nodes=st.sets(NODES, min_size=1))
    def fence(self, nodes):
        before = self.cluster.image
        self.cluster.fence(*nodes)
        for topic in self.cluster.image.topics_in_order():
            for number, partition in enumerate(topic.partitions):
                was = before.topics[topic.topic_id].partitions[number]
                doubtful = [doubt.node_id for doubt in was.doubts]
                if not set(was.in_sync_replicas) <= {*partition.in_sync_replicas, *doubtful}:
                    assert len(self.cluster.image.live_in_sync(partition)) >= topic.effective_min_insync(number)

    @rule(name=NAMES, isr=st.lists(NODES, max_size=4), older=st.integers(0, 1))
    def propose(self, name, isr, older):
        if name in self.cluster.image.topic_ids and self.cluster.partition(name).leader != NO_NODE:
            leader = self.cluster.partition(name).leader
            self.cluster.propose(
                name, [*isr, leader], partition_epoch=max(0, self.cluster.partition(name).partition_epoch - older)
            )

    @rule(name=NAMES, nodes=st.none() | st.lists(NODES, max_size=4))
    def reassign(self, name, nodes):
        if name not in self.cluster.image.topic_ids:
            return
        before = self.cluster.partition(name)
        if self.cluster.reassign(name, nodes).code:
            assert self.cluster.partition(name) == before
        elif nodes is None:
            assert not set(before.adding_replicas) & set(self.cluster.partition(name).assigned_replicas)
        else:
            assert self.cluster.partition(name).target_replicas == tuple(nodes)

    @rule(name=NAMES, unclean=st.booleans())
    def elect(self, name, unclean):
        if name in self.cluster.image.topic_ids:
            self.cluster.elect(name, unclean=unclean)

    @rule(name=NAMES, allowed=st.booleans())
    def alter_unclean(self, name, allowed):
        entry = ConfigEntry(name="unclean.leader.election.enable", value=str(allowed).lower())
        request = AlterConfigsRequest(topics=[AlterTopicConfigs(topic=name, set=[entry])])
        self.cluster.take(alter_configs(self.cluster.image, request))

    @rule(node=NODES)
    def allocate(self, node):
        before = self.cluster.image.next_producer_id
        epoch = self.cluster.image.brokers[node].broker_epoch
        request = AllocateProducerIdsRequest(broker_id=node, broker_epoch=epoch)
        assert self.cluster.take(allocate_producer_ids(self.cluster.image, request)).first_producer_id == before

    @invariant()
    def who_can_lead_leads(self):
        for topic in self.cluster.image.topics_in_order():
            for partition in topic.partitions:
                sound = [node for node in partition.in_sync_replicas if partition.doubt_about(node) is None]
                if partition.leader == NO_NODE:
                    assert not any(map(self.cluster.image.is_active, sound))
                    if any(map(self.cluster.image.is_active, partition.eligible_replicas)):
                        assert not all(self.cluster.image.brokers[node].has_served for node in sound)

    @invariant()
    def partitions_looked_at_together_become_what_each_would_alone(self):
        image = self.cluster.image
        for broker in image.brokers_in_order():
            change = BrokerChange(broker.node_id, broker.broker_epoch, not broker.fenced, broker.shutting_down)
            after = apply_batch(image, [change], image.next_offset)
            together, alone = Revisions(after), [Revisions(after) for _ in after.replicas_of(broker.node_id)]
            for one, (key, partition) in zip(alone, after.replicas_of(broker.node_id), strict=True):
                assert together.revise(key, partition) == one.revise(key, partition)
            assert together.changes == [change for one in alone for change in one.changes]
            assert together.alarms == [alarm for one in alone for alarm in one.alarms]

    @invariant()
    def a_reassignment_whose_targets_are_all_in_sync_has_ended(self):
        for key in sorted(self.cluster.image.reassigning):
            partition = self.cluster.image.partition(key)
            live = [node for node in self.cluster.image.live_in_sync(partition) if not partition.doubt_about(node)]
            active = [node for node in partition.target_replicas if self.cluster.image.is_active(node)]
            assert not active or not set(partition.target_replicas) <= set(live)

    def teardown(self):
        assert self.cluster.replayed() == self.cluster.image


Decisions.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestDecisions = Decisions.TestCase
