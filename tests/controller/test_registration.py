"""Registration: new leader epochs always, and who stays in the ISR after which kind of stop."""

import pytest

from dohle.controller.registration import register_broker
from dohle.model.errors import (
    DuplicateBrokerRegistration,
    InconsistentClusterId,
    InvalidRegistration,
    UnsupportedVersion,
)
from dohle.model.ids import NO_NODE
from dohle.model.metadata import NEWEST_METADATA_VERSION, Doubt
from tests.controller.decided_cluster import DecidedCluster


@pytest.fixture
def cluster() -> DecidedCluster:
    return DecidedCluster(brokers=3)


def test_a_new_broker_is_fenced_and_its_epoch_is_the_offset_of_its_registration(cluster):
    end = cluster.image.next_offset
    assert cluster.register(4) == end
    assert cluster.image.brokers[4].fenced
    assert cluster.image.brokers[4].broker_epoch == end


@pytest.mark.parametrize("clean", [True, False])
def test_a_new_incarnation_never_leads_on_in_its_old_epoch(cluster, clean):
    cluster.topic("alone", [1])
    cluster.topic("shared", [1, 2])
    cluster.register(1, clean_broker_epoch=cluster.image.brokers[1].broker_epoch if clean else -1)
    assert cluster.led("alone") == (NO_NODE, 1, (1,))
    assert cluster.led("shared") == (2, 1, (1, 2))
    cluster.beat(1)
    assert cluster.led("alone") == (1, 2, (1,))
    assert cluster.led("shared") == (2, 1, (1, 2))


def test_registration_and_new_leader_epochs_are_one_batch(cluster):
    cluster.topic("t", [1, 2], [1, 3], [2, 1])
    decision = register_broker(cluster.image, cluster.registration(1), previous_gone=True)
    assert [type(record).__name__ for record in decision.records] == ["RegisterBroker"] + ["PartitionChange"] * 2


def test_the_same_incarnation_asking_again_gets_the_same_epoch(cluster):
    request = cluster.registration(4)
    first = cluster.take(register_broker(cluster.image, request, previous_gone=False))
    again = register_broker(cluster.image, request, previous_gone=False)
    assert again.answer.broker_epoch == first.broker_epoch
    assert again.records == ()


@pytest.mark.parametrize("fenced", [False, True], ids=["unfenced", "fenced"])
def test_an_incarnation_keeps_its_place_until_a_probe_of_this_very_one_says_that_it_may_be_taken(cluster, fenced):
    """A late request of a dead process, which had waited with that of its successor, took the place of the living."""
    request = cluster.registration(1)
    if fenced:  # as one is that has just registered
        cluster.fence(1)
    with pytest.raises(DuplicateBrokerRegistration, match="just been registered"):
        register_broker(cluster.image, request, previous_gone=False)
    register_broker(cluster.image, request, previous_gone=True)


@pytest.mark.parametrize("change", ["cluster", "levels", "directory", "endpoint", "no door", "port", "ahead"])
def test_a_registration_that_cannot_be_right_is_refused(cluster, change):
    request = cluster.registration(1)
    wanted = InvalidRegistration
    if change == "cluster":
        request.hello.cluster_id, wanted = "BBBBBBBBBBBBBBBBBBBBBB", InconsistentClusterId
    elif change == "levels":
        features = request.hello.features[0]
        features.min_level = features.max_level = NEWEST_METADATA_VERSION + 1
        wanted = UnsupportedVersion
    elif change == "directory":
        request.hello.directory_id = b"short"
    elif change == "endpoint":
        request.endpoints.append(request.endpoints[0])
    elif change == "no door":
        request.endpoints[0].listener = "HTTP"
    elif change == "port":
        request.endpoints[0].port = 0
    else:
        request.durable_metadata_offset = cluster.image.next_offset + 1
    with pytest.raises(wanted):
        register_broker(cluster.image, request, previous_gone=True)


def test_a_clean_stop_vouches_for_data_that_is_not_proven(cluster):
    cluster.topic("t", [1, 2], flush_messages="1000")
    held = [cluster.held(cluster.key("t"), proven=False)]
    cluster.register(2, held=held, clean_broker_epoch=cluster.image.brokers[2].broker_epoch)
    assert cluster.led("t") == (1, 0, (1, 2))


def test_a_clean_stop_of_an_earlier_incarnation_vouches_for_nothing(cluster):
    cluster.topic("t", [1, 2], flush_messages="1000")
    earlier = cluster.image.brokers[2].broker_epoch
    cluster.start(2)
    cluster.register(2, held=[cluster.held(cluster.key("t"), proven=False)], clean_broker_epoch=earlier)
    assert cluster.led("t") == (1, 0, (1,))


@pytest.mark.parametrize("state", [{"proven": False}, {"cut_bytes": 7}, {"damaged": True}, None])
def test_a_replica_that_is_not_whole_leaves_the_isr_beside_one_that_is(cluster, state):
    cluster.topic("t", [1, 2, 3], min_insync_replicas="3")
    held = [] if state is None else [cluster.held(cluster.key("t"), **state)]
    cluster.start(1, held=held)
    assert cluster.led("t") == (2, 1, (2, 3))


def test_a_wiped_disk_leaves_the_isr_although_its_new_folder_claims_to_hold_everything(cluster):
    cluster.topic("t", [1, 2])
    cluster.directories[1] = b"another folder.."
    cluster.start(1)
    assert cluster.led("t") == (2, 1, (2,))


def test_a_disk_wiped_and_formatted_under_its_old_id_leaves_the_isr_too(cluster):
    cluster.topic("t", [1, 2])
    cluster.start(1)
    assert cluster.led("t")[2] == (1, 2)
    cluster.start(1, held=[], durable_metadata_offset=0)
    assert cluster.led("t")[2] == (2,)


def test_a_replica_assigned_after_the_durable_metadata_offset_is_empty_not_missing(cluster):
    cluster.topic("t", [1, 2])
    (assigned_at, _) = cluster.partition("t").assigned_at
    cluster.start(1, held=[], durable_metadata_offset=assigned_at)
    assert cluster.led("t") == (2, 1, (1, 2))
    cluster.start(1, held=[], durable_metadata_offset=assigned_at + 1)
    assert cluster.led("t") == (2, 1, (2,))


def test_on_a_relaxed_topic_an_empty_replica_may_have_lost_what_it_acknowledged(cluster):
    durable = cluster.image.next_offset
    cluster.topic("t", [1, 2], flush_messages="1000")
    cluster.start(1, held=[], durable_metadata_offset=durable)
    assert cluster.led("t") == (2, 1, (2,))


@pytest.mark.parametrize("state", [{"damaged": True}, None])
def test_the_last_replica_stays_offline_once_it_is_lost_and_says_so(cluster, state):
    cluster.topic("t", [1])
    held = [] if state is None else [cluster.held(cluster.key("t"), **state)]
    cluster.start(1, held=held)
    assert cluster.led("t") == (NO_NODE, 1, (1,))
    assert cluster.alarms == ["partition t-0: offline: the last in-sync replica, on broker 1, is missing or damaged"]


def test_the_empty_log_made_in_place_of_a_lost_one_never_leads(cluster):
    cluster.topic("t", [1])
    cluster.start(1, held=[])
    cluster.start(1, held=[cluster.held(cluster.key("t"), last_epoch=-1, durable_end=0)])
    cluster.start(1, held=[])
    assert cluster.led("t") == (NO_NODE, 1, (1,))


def test_a_wiped_last_replica_does_not_become_an_empty_one_at_the_next_start(cluster):
    cluster.topic("t", [1])
    cluster.directories[1] = b"another folder.."
    cluster.start(1, held=[], durable_metadata_offset=0)
    cluster.start(1, held=[], durable_metadata_offset=0)
    assert cluster.led("t") == (NO_NODE, 1, (1,))


def test_a_damaged_last_replica_leads_again_once_it_is_whole_again(cluster):
    cluster.topic("t", [1])
    cluster.start(1, held=[cluster.held(cluster.key("t"), damaged=True)])
    cluster.start(1, held=[cluster.held(cluster.key("t"), durable_end=99)])
    assert cluster.led("t") == (NO_NODE, 1, (1,))
    cluster.start(1, held=[cluster.held(cluster.key("t"))])
    assert cluster.led("t") == (1, 2, (1,))


def test_a_cluster_killed_as_a_whole_comes_back_with_every_member(cluster):
    cluster.topic("t", [1, 2, 3])
    cluster.fence(1, 2, 3)
    assert cluster.led("t") == (NO_NODE, 1, (1, 2, 3))
    for node in (3, 1, 2):
        cluster.start(node)
    assert cluster.led("t") == (3, 2, (1, 2, 3))
    assert cluster.alarms == []


def test_of_members_that_all_cut_a_tail_the_one_that_reaches_furthest_leads(cluster):
    cluster.topic("t", [1, 2, 3])
    cluster.fence(1, 2, 3)
    key = cluster.key("t")
    cluster.start(1, held=[cluster.held(key, cut_bytes=9, last_epoch=4, durable_end=500)])
    cluster.start(2, held=[cluster.held(key, cut_bytes=9, last_epoch=5, durable_end=90)])
    assert cluster.led("t") == (NO_NODE, 1, (1, 2, 3))
    cluster.start(3, held=[cluster.held(key, cut_bytes=9, last_epoch=5, durable_end=90)])
    assert cluster.led("t") == (2, 2, (2, 3))
    assert cluster.partition("t").doubts == ()
    assert len(cluster.alarms) == 1


def test_a_member_that_cut_nothing_leads_and_those_that_did_leave(cluster):
    cluster.topic("t", [1, 2, 3])
    cluster.fence(1, 2, 3)
    cluster.start(1, held=[cluster.held(cluster.key("t"), cut_bytes=9, last_epoch=7, durable_end=500)])
    assert cluster.partition("t").doubts == (Doubt(1, 7, 500, lost=False),)
    cluster.register(2)
    assert cluster.led("t") == (NO_NODE, 1, (2, 3))
    cluster.beat(2)
    assert cluster.led("t") == (2, 2, (2, 3))


def test_a_member_whose_data_is_whole_does_not_leave_for_doubtful_ones(cluster):
    cluster.topic("t", [1, 2])
    cluster.fence(1, 2)
    cluster.register(1)
    cluster.start(2, held=[cluster.held(cluster.key("t"), cut_bytes=9)])
    cluster.beat(1, wants_shutdown=True)
    assert cluster.led("t") == (NO_NODE, 1, (1, 2))
    cluster.start(1)
    assert cluster.led("t") == (1, 2, (1,))


def test_a_cut_tail_is_not_forgotten_over_another_restart(cluster):
    cluster.topic("t", [1, 2])
    cluster.fence(1, 2)
    cluster.start(1, held=[cluster.held(cluster.key("t"), cut_bytes=9, durable_end=50)])
    cluster.start(1, held=[cluster.held(cluster.key("t"), durable_end=50)])
    assert cluster.led("t") == (NO_NODE, 1, (1, 2))
    cluster.start(2)
    assert cluster.led("t") == (2, 2, (2,))


def test_a_lost_member_leaves_even_when_all_others_are_down(cluster):
    cluster.topic("t", [1, 2])
    cluster.fence(1, 2)
    cluster.start(1, held=[])
    assert cluster.led("t") == (NO_NODE, 1, (2,))
    cluster.start(2)
    assert cluster.led("t") == (2, 2, (2,))
