"""Heartbeats, fencing, controlled shutdown, producer ids."""

import pytest

from dohle.controller.brokers import (
    FencingSteps,
    ShutdownSteps,
    allocate_producer_ids,
    fence_brokers,
    heartbeat,
    unregister_broker,
)
from dohle.model.errors import (
    BrokerIdNotRegistered,
    CorruptLog,
    InvalidRequest,
    NotController,
    StaleBrokerEpoch,
    UnsupportedVersion,
)
from dohle.model.ids import NO_NODE
from dohle.model.image_apply import apply_batch
from dohle.model.metadata import Partition, RemoveTopic, Topic, UnregisterBroker
from dohle.rpc.v1.admin_pb2 import UnregisterBrokerRequest
from dohle.rpc.v1.controller_pb2 import AllocateProducerIdsRequest, HeartbeatRequest
from tests.controller.decided_cluster import DecidedCluster


@pytest.fixture
def cluster() -> DecidedCluster:
    return DecidedCluster(brokers=3)


def beat_of(cluster, node_id, **fields):
    broker = cluster.image.brokers[node_id]
    fields = {"broker_epoch": broker.broker_epoch, "metadata_offset": cluster.image.next_offset, **fields}
    return HeartbeatRequest(**fields)


def test_a_heartbeat_of_a_healthy_broker_changes_nothing(cluster):
    decision = heartbeat(cluster.image, 1, beat_of(cluster, 1))
    assert decision.records == ()
    assert not decision.answer.fenced


def test_a_broker_is_unfenced_only_past_its_own_registration(cluster):
    epoch = cluster.register(1)
    assert heartbeat(cluster.image, 1, beat_of(cluster, 1, metadata_offset=epoch)).answer.fenced
    assert not heartbeat(cluster.image, 1, beat_of(cluster, 1, metadata_offset=epoch + 1)).answer.fenced


@pytest.mark.parametrize("reason", ["held back", "not ready"])
def test_a_broker_stays_fenced_while_it_is(cluster, reason):
    cluster.fence(1)
    beat = beat_of(cluster, 1, wants_fence=reason == "not ready")
    decision = heartbeat(cluster.image, 1, beat, may_unfence=reason != "held back")
    assert decision.answer.fenced
    assert decision.records == ()


def test_a_broker_can_ask_to_be_fenced(cluster):
    cluster.topic("t", [1, 2])
    assert cluster.beat(1, wants_fence=True).fenced
    assert cluster.led("t") == (2, 1, (2,))


def test_a_heartbeat_in_an_old_broker_epoch_is_stale(cluster):
    old = cluster.image.brokers[1].broker_epoch
    cluster.register(1)
    with pytest.raises(StaleBrokerEpoch):
        heartbeat(cluster.image, 1, beat_of(cluster, 1, broker_epoch=old))


def test_a_controller_that_lacks_the_registration_says_that_it_is_out_of_date(cluster):
    with pytest.raises(NotController):
        heartbeat(cluster.image, 1, beat_of(cluster, 1, broker_epoch=cluster.image.next_offset))


def test_an_unknown_broker_is_told_to_register(cluster):
    with pytest.raises(BrokerIdNotRegistered):
        heartbeat(cluster.image, 9, HeartbeatRequest(broker_epoch=0))


def test_fencing_moves_leadership_to_the_first_active_member(cluster):
    cluster.topic("t", [1, 3, 2], [2, 1, 3])
    cluster.fence(1)
    assert cluster.led("t", 0) == (3, 1, (3, 2))
    assert cluster.led("t", 1) == (2, 0, (2, 3))


def test_below_the_effective_minimum_a_fenced_member_stays(cluster):
    cluster.topic("t", [1, 2, 3], min_insync_replicas="2")
    cluster.fence(3)
    cluster.fence(2)
    assert cluster.led("t") == (1, 0, (1, 2))
    cluster.fence(1)
    assert cluster.led("t") == (NO_NODE, 1, (1, 2))
    cluster.beat(2)
    assert cluster.led("t") == (2, 2, (1, 2))


def test_the_minimum_is_never_more_than_the_replicas(cluster):
    cluster.topic("t", [1, 2], min_insync_replicas="5")
    cluster.fence(2)
    assert cluster.led("t") == (1, 0, (1, 2))


def test_a_member_that_is_down_does_not_let_the_last_active_one_leave(cluster):
    cluster.topic("t", [1, 2])
    cluster.register(2)
    cluster.fence(1)
    assert cluster.led("t") == (NO_NODE, 1, (1, 2))


def test_brokers_that_went_together_all_stay_in_the_isr(cluster):
    cluster.topic("t", [1, 2, 3])
    cluster.fence(3, 1, 2)
    assert cluster.led("t") == (NO_NODE, 1, (1, 2, 3))


FOUR = ([2, 1, 3], [1, 2, 3], [3, 2, 1], [1, 3, 2])


def changed(decision):
    return [getattr(record, "partition", "the broker") for record in decision.records]


def test_many_partitions_change_in_several_batches_led_ones_first_and_the_broker_with_the_last(cluster):
    cluster.topic("t", *FOUR)
    steps = FencingSteps(cluster.image, [cluster.image.brokers[1]], 2)
    more, batches = True, []
    while more:
        decision = steps.next(cluster.image)
        more = decision.more
        cluster.take(decision)
        batches.append(changed(decision))
        assert cluster.image.brokers[1].fenced != more
    assert batches == [[1, 3], [0, 2], ["the broker"]]
    assert [cluster.led("t", number)[2] for number in range(4)] == [(2, 3), (2, 3), (3, 2), (3, 2)]


def test_partitions_that_are_alike_change_alike_except_where_their_topic_says_otherwise(cluster):
    cluster.topic("strict", [1, 2, 3], [1, 2, 3], [2, 3, 1])
    cluster.topic("lossy", [1, 2, 3], unclean_leader_election_enable="true", min_insync_replicas="1")
    cluster.fence(1)
    cluster.fence(2, 3)
    assert [cluster.led("strict", number) for number in range(3)] == [
        (NO_NODE, 2, (2, 3)),
        (NO_NODE, 2, (2, 3)),
        (NO_NODE, 1, (2, 3)),
    ]
    cluster.start(1)
    assert [cluster.led("strict", number)[0] for number in range(3)] == [NO_NODE] * 3
    assert cluster.led("lossy")[0] == 1


def test_fencing_twice_or_an_unknown_broker_changes_nothing(cluster):
    cluster.fence(1)
    assert fence_brokers(cluster.image, [1, 9]).records == ()


def test_a_broker_that_comes_back_leads_what_has_no_leader_and_takes_nothing_away(cluster):
    cluster.topic("alone", [1])
    cluster.topic("shared", [1, 2])
    cluster.fence(1)
    cluster.beat(1)
    assert cluster.led("alone") == (1, 2, (1,))
    assert cluster.led("shared") == (2, 1, (2,))


def test_shutting_down_moves_what_another_can_lead_and_keeps_the_rest_served(cluster):
    cluster.topic("alone", [1])
    cluster.topic("shared", [1, 2])
    answer = cluster.beat(1, wants_shutdown=True)
    assert answer.may_shut_down
    assert not answer.fenced
    assert cluster.led("shared") == (2, 1, (2,))
    assert cluster.led("alone") == (1, 0, (1,))
    cluster.fence(1)
    assert cluster.led("alone") == (NO_NODE, 1, (1,))


def test_what_a_broker_leads_that_shuts_down_moves_in_steps_and_the_broker_is_marked_by_the_first(cluster):
    cluster.topic("t", *FOUR)
    steps = ShutdownSteps(cluster.image, cluster.image.brokers[1], 1)
    more, batches = True, []
    while more:
        decision = steps.next(cluster.image)
        more = decision.more
        cluster.take(decision)
        batches.append(changed(decision))
        assert cluster.image.brokers[1].shutting_down
        for number in (0, 2):  # where it was no leader, it does not come back either
            if len(cluster.led("t", number)[2]) == 2:
                assert cluster.propose("t", [1, 2, 3], number=number).failure.code
    assert batches == [["the broker", 1], [3], [0], [2]]
    assert [cluster.led("t", number)[2] for number in range(4)] == [(2, 3), (2, 3), (3, 2), (3, 2)]


def test_whoever_takes_office_in_between_goes_on_with_what_is_left(cluster):
    cluster.topic("t", *FOUR)
    cluster.take(ShutdownSteps(cluster.image, cluster.image.brokers[1], 1).next(cluster.image))
    successor = ShutdownSteps(cluster.image, cluster.image.brokers[1], 9).next(cluster.image)
    assert changed(successor) == [3, 0, 2]
    assert not successor.more


def test_a_shutdown_that_is_overtaken_by_the_next_start_changes_nothing_more(cluster):
    cluster.topic("t", *FOUR)
    steps = ShutdownSteps(cluster.image, cluster.image.brokers[1], 1)
    cluster.take(steps.next(cluster.image))
    cluster.start(1)
    decision = steps.next(cluster.image)
    assert (decision.records, decision.more) == ((), False)
    assert cluster.image.is_active(1)


def test_what_a_broker_leads_while_it_shuts_down_moves_once_another_can(cluster):
    cluster.topic("t", [1, 2], min_insync_replicas="2")
    cluster.fence(2)
    assert cluster.beat(1, wants_shutdown=True).may_shut_down
    assert cluster.led("t") == (1, 0, (1, 2))
    cluster.beat(2)
    assert cluster.led("t") == (2, 1, (1, 2))


def test_a_broker_that_shuts_down_is_not_unfenced_before_it_registers_again(cluster):
    cluster.beat(1, wants_shutdown=True)
    cluster.fence(1)
    assert cluster.beat(1).fenced
    cluster.start(1)
    assert cluster.image.is_active(1)


def test_producer_ids_are_given_once(cluster):
    def block():
        epoch = cluster.image.brokers[1].broker_epoch
        request = AllocateProducerIdsRequest(broker_id=1, broker_epoch=epoch)
        answer = cluster.take(allocate_producer_ids(cluster.image, request))
        return range(answer.first_producer_id, answer.first_producer_id + answer.count)

    assert block() == range(1000)
    assert block() == range(1000, 2000)
    with pytest.raises(StaleBrokerEpoch):
        allocate_producer_ids(cluster.image, AllocateProducerIdsRequest(broker_id=1, broker_epoch=0))


def unregister(cluster, node_id):
    return cluster.take(unregister_broker(cluster.image, UnregisterBrokerRequest(node_id=node_id)))


def test_a_broker_is_forgotten_only_once_nothing_needs_it(cluster):
    cluster.start(4)
    cluster.topic("t", [4])
    with pytest.raises(InvalidRequest, match=r"1 replica.*cluster drain 4"):
        unregister(cluster, 4)
    cluster.commit((RemoveTopic(cluster.image.topic_ids["t"]),))
    with pytest.raises(InvalidRequest, match="broker 4 is up"):
        unregister(cluster, 4)
    cluster.fence(4)
    unregister(cluster, 4)
    assert sorted(cluster.image.brokers) == [1, 2, 3]
    with pytest.raises(BrokerIdNotRegistered, match="there are 1, 2, 3"):
        unregister(cluster, 4)
    cluster.start(4)
    assert cluster.image.is_active(4)


def test_a_controller_that_votes_is_not_forgotten(cluster):
    cluster.fence(1)
    with pytest.raises(InvalidRequest, match="voters remove 1"):
        unregister(cluster, 1)


def test_what_a_forgotten_broker_still_asks_for_is_refused(cluster):
    cluster.start(4)
    beat = beat_of(cluster, 4)
    cluster.fence(4)
    unregister(cluster, 4)
    with pytest.raises(BrokerIdNotRegistered):
        heartbeat(cluster.image, 4, beat)


def test_a_broker_with_replicas_in_the_same_batch_is_never_forgotten(cluster):
    cluster.start(4)
    epoch = cluster.image.brokers[4].broker_epoch
    topic_id = bytes(16)
    batch = (Topic(topic_id, "t"), Partition(topic_id, 0, (4,), (4,), 4), UnregisterBroker(4, epoch))
    with pytest.raises(CorruptLog, match="replicas are assigned to broker 4"):
        apply_batch(cluster.image, batch, cluster.image.next_offset)


def test_a_cluster_of_an_older_metadata_version_forgets_nobody():
    cluster = DecidedCluster(brokers=2, metadata_version=1)
    cluster.fence(2)
    with pytest.raises(UnsupportedVersion, match=r"needs metadata.version 2.*works at 1"):
        unregister(cluster, 2)
