"""Eligible leader replicas, and who led last (KIP-966; replication.md, rule 13)."""

from __future__ import annotations

from typing import Any

import pytest

from dohle.controller.elections import may_settle, settle_doubts
from dohle.controller.topics import alter_configs
from dohle.model.ids import NO_NODE, NodeId
from dohle.model.metadata import METADATA_VERSION, FeatureLevel
from dohle.rpc.v1.admin_pb2 import AlterConfigsRequest, AlterTopicConfigs, ConfigEntry
from tests.controller.decided_cluster import DecidedCluster


class Cluster(DecidedCluster):
    def cut(self, node_id: int, **changes: Any) -> None:
        """Starts a broker that has cut a torn tail, of what it had not acknowledged."""
        self.start(node_id, held=[self.held(self.key("t"), **{"cut_bytes": 9, **changes})])

    def remembered(self) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        """Returns (ISR, eligible replicas, last known leader)."""
        partition = self.partition("t")
        return partition.in_sync_replicas, partition.eligible_replicas, partition.last_known_leader

    def alter(self, name: str, value: str) -> None:
        topic = AlterTopicConfigs(topic="t", set=[ConfigEntry(name=name, value=value)])
        answer = self.take(alter_configs(self.image, AlterConfigsRequest(topics=[topic])))
        assert not answer.topics[0].failure.code, answer


def killed_as_a_whole(**configs: str) -> Cluster:
    cluster = Cluster(brokers=4)
    cluster.topic("t", [1, 2, 3], min_insync_replicas="2", **configs)
    cluster.fence(1, 2, 3)
    return cluster


@pytest.fixture
def cluster() -> Cluster:
    """Two members have cut their tails, and have left the ISR for the third, who leads."""
    cluster = killed_as_a_whole()
    cluster.cut(1)
    cluster.cut(2)
    cluster.start(3)
    assert cluster.led("t") == (3, 2, (3,))
    return cluster


def test_who_leaves_below_the_minimum_with_all_that_it_acknowledged_is_eligible(cluster):
    assert cluster.remembered() == ((3,), (1, 2), NO_NODE)


def test_who_registers_after_the_sound_one_is_eligible_as_well():
    cluster = killed_as_a_whole()
    cluster.start(3)
    cluster.cut(1)
    assert cluster.remembered() == ((2, 3), (), NO_NODE)  # no fewer than the minimum
    cluster.cut(2)
    assert cluster.remembered() == ((3,), (2,), NO_NODE)


def test_of_those_that_all_cut_a_tail_the_ones_that_reach_less_far_are_eligible():
    cluster = killed_as_a_whole()
    cluster.cut(1, durable_end=50)
    cluster.cut(2, durable_end=60)
    cluster.cut(3, durable_end=55)
    assert cluster.led("t") == (2, 2, (2,))
    assert cluster.remembered() == ((2,), (1, 3), NO_NODE)


@pytest.mark.parametrize("state", [{"proven": False}, {"damaged": True}])
def test_who_may_lack_what_it_acknowledged_is_not_eligible(state):
    cluster = killed_as_a_whole()
    cluster.cut(1, **state)
    cluster.cut(2)
    cluster.start(3)
    assert cluster.remembered() == ((3,), (2,), NO_NODE)


def test_a_doubt_that_was_not_proven_is_not_so_after_another_restart():
    cluster = killed_as_a_whole()
    cluster.cut(1, proven=False)
    cluster.cut(1)
    cluster.cut(2)
    cluster.start(3)
    assert cluster.remembered() == ((3,), (2,), NO_NODE)


def test_nobody_is_eligible_before_the_cluster_works_at_version_2():
    cluster = Cluster(brokers=3)
    cluster.commit((FeatureLevel(METADATA_VERSION, 1),))
    cluster.topic("t", [1, 2, 3], min_insync_replicas="2")
    cluster.fence(1, 2, 3)
    assert cluster.remembered() == ((1, 2, 3), (), NO_NODE)
    cluster.cut(1)
    cluster.cut(2)
    cluster.start(3)
    assert cluster.remembered() == ((3,), (), NO_NODE)


# who leads


def test_an_eligible_replica_leads_when_no_member_can_and_the_member_stays(cluster):
    cluster.fence(3)
    assert cluster.led("t") == (1, 3, (1, 3))
    assert cluster.partition("t").eligible_replicas == ()  # the ISR is back at the minimum
    assert (cluster.counts.eligible, cluster.counts.unclean) == (1, 0)
    assert "broker 1 leads, an eligible replica" in cluster.alarms[-1]


def test_the_others_stay_eligible_while_the_isr_is_below_the_minimum():
    cluster = Cluster(brokers=3)
    cluster.topic("t", [1, 2, 3], min_insync_replicas="3")
    cluster.fence(1, 2, 3)
    cluster.cut(1)
    cluster.cut(2)
    cluster.start(3)
    cluster.fence(3)
    assert cluster.led("t") == (1, 3, (1, 3))
    assert cluster.partition("t").eligible_replicas == (2,)


def test_a_fenced_eligible_replica_does_not_lead_and_stays_eligible(cluster):
    cluster.fence(1)
    cluster.fence(2, 3)
    assert cluster.led("t") == (NO_NODE, 3, (3,))
    assert cluster.remembered() == ((3,), (1, 2), 3)
    cluster.start(2)
    assert cluster.led("t") == (2, 4, (2, 3))


def test_a_member_comes_before_an_eligible_replica(cluster):
    cluster.fence(1, 2, 3)
    cluster.register(3)
    cluster.register(1)
    cluster.beat(3)
    assert cluster.led("t") == (3, 4, (3,))
    assert cluster.remembered() == ((3,), (1, 2), NO_NODE)


def test_the_last_member_is_lost_and_an_eligible_replica_leads_in_its_place(cluster):
    cluster.start(3, held=[])
    assert cluster.led("t") == (1, 3, (1,))
    assert cluster.remembered() == ((1,), (2,), NO_NODE)


def test_a_member_with_a_doubt_gives_way_to_an_eligible_replica(cluster):
    cluster.fence(1, 2)
    cluster.fence(3)
    cluster.cut(3, damaged=True)
    cluster.start(1)
    assert cluster.led("t") == (1, 4, (1,))


def test_a_member_that_has_just_registered_comes_first_but_is_not_waited_for_without_end():
    cluster = killed_as_a_whole()
    cluster.cut(1)
    cluster.cut(2)
    cluster.register(3)
    assert cluster.led("t") == (NO_NODE, 1, (3,))
    key = cluster.key("t")
    assert may_settle(cluster.image, key, cluster.partition("t"))
    cluster.take(settle_doubts(cluster.image, [key]))  # it was not unfenced in time
    assert cluster.led("t") == (1, 2, (1, 3))


# who is eligible no longer


def test_an_eligible_replica_that_stopped_uncleanly_stays_only_where_it_has_all_that_it_acknowledged(cluster):
    cluster.cut(1)
    assert cluster.remembered() == ((3,), (1, 2), NO_NODE)
    cluster.cut(1, proven=False)
    assert cluster.remembered() == ((3,), (2,), NO_NODE)
    cluster.directories[2] = b"another folder.."
    cluster.start(2)
    assert cluster.remembered() == ((3,), (), NO_NODE)


def test_a_clean_stop_vouches_for_an_eligible_replica_of_a_topic_that_syncs_late(cluster):
    cluster.cut(1, proven=False, cut_bytes=0)
    assert 1 not in cluster.partition("t").eligible_replicas
    epoch = cluster.image.brokers[NodeId(2)].broker_epoch
    held = [cluster.held(cluster.key("t"), proven=False)]
    cluster.start(2, held=held, clean_broker_epoch=epoch)
    assert cluster.partition("t").eligible_replicas == (2,)


def test_a_replica_that_comes_in_sync_again_is_no_more_eligible_and_nobody_is_at_the_minimum(cluster):
    cluster.propose("t", [1, 3])
    assert cluster.remembered() == ((1, 3), (), NO_NODE)


@pytest.mark.parametrize("minimum", ["1", "3"])
def test_another_min_insync_replicas_empties_the_eligible_set(cluster, minimum):
    cluster.alter("min.insync.replicas", minimum)
    assert cluster.remembered() == ((3,), (), NO_NODE)


def test_other_settings_leave_it_as_it_is(cluster):
    cluster.alter("retention.ms", "1000")
    cluster.alter("min.insync.replicas", "2")
    assert cluster.remembered() == ((3,), (1, 2), NO_NODE)


def test_an_unclean_election_forgets_who_was_eligible_for_they_may_be_cut():
    cluster = Cluster(brokers=4)
    cluster.topic("t", [1, 2, 3, 4], min_insync_replicas="2")
    cluster.fence(4)
    cluster.fence(1, 2, 3)
    cluster.cut(1)
    cluster.cut(2)
    cluster.start(3)
    cluster.fence(1, 2)
    cluster.fence(3)
    cluster.alter("unclean.leader.election.enable", "true")
    assert cluster.remembered() == ((3,), (1, 2), 3)
    cluster.start(4)
    assert cluster.led("t") == (4, 4, (4,))
    assert cluster.remembered() == ((4,), (), NO_NODE)
    assert (cluster.counts.eligible, cluster.counts.unclean) == (0, 1)


def test_a_replica_that_moves_away_is_not_eligible(cluster):
    assert not cluster.reassign("t", [3, 4, 2]).code
    cluster.propose("t", [2, 3, 4])
    assert cluster.remembered() == ((3, 4, 2), (), NO_NODE)


# who led last


def test_who_led_last_is_known_while_nobody_leads():
    cluster = Cluster(brokers=2)
    cluster.topic("t", [1, 2])
    cluster.fence(1)
    assert cluster.remembered() == ((2,), (), NO_NODE)
    cluster.fence(2)
    assert cluster.remembered() == ((2,), (), 2)
    cluster.start(2)
    assert cluster.remembered() == ((2,), (), NO_NODE)


def test_who_led_last_and_lost_its_data_is_not_the_last_known_leader():
    cluster = Cluster(brokers=2)
    cluster.topic("t", [1, 2], min_insync_replicas="2")
    cluster.fence(2)
    cluster.fence(1)
    assert cluster.remembered() == ((1, 2), (), 1)
    cluster.start(1, held=[])
    assert cluster.remembered() == ((2,), (), NO_NODE)


def relaxed(**configs: str) -> Cluster:
    """Nobody leads but the last known leader, 1, is back, with a doubt."""
    cluster = killed_as_a_whole(flush_messages="1000", **configs)
    assert cluster.remembered() == ((1, 2, 3), (), 1)
    return cluster


def test_the_last_known_leader_alone_leads_uncleanly_where_the_topic_allows_it():
    cluster = relaxed(unclean_leader_election_enable="true")
    cluster.cut(1, proven=False)
    assert cluster.led("t") == (1, 2, (1,))
    assert cluster.counts.unclean == 1
    assert "unclean election: broker 1 leads, which was not in sync and is the last known leader" in cluster.alarms[-1]


def test_the_last_known_leader_does_not_lead_where_the_topic_forbids_it():
    cluster = relaxed()
    cluster.cut(1, proven=False)
    assert cluster.led("t") == (NO_NODE, 1, (1, 2, 3))


def test_of_replicas_out_of_sync_the_last_known_leader_comes_first():
    cluster = Cluster(brokers=3)
    cluster.topic("t", [2, 1, 3], min_insync_replicas="1", flush_messages="1000")
    cluster.fence(2, 1, 3)
    cluster.start(3)
    assert cluster.led("t") == (3, 2, (2, 1, 3))
    cluster.fence(3)
    cluster.alter("unclean.leader.election.enable", "true")
    cluster.register(1, held=[cluster.held(cluster.key("t"), proven=False, durable_end=5)])
    cluster.register(3, held=[cluster.held(cluster.key("t"), proven=False, durable_end=9)])
    cluster.beat(3)
    assert cluster.led("t") == (3, 4, (3,))


@pytest.mark.parametrize("damaged", [1, 2])
def test_who_leaves_below_the_minimum_since_it_is_damaged_is_not_eligible(damaged):
    cluster = Cluster(brokers=2)
    cluster.topic("t", [1, 2], min_insync_replicas="2")
    other = 3 - damaged
    assert not cluster.propose("t", [other], damaged=[damaged]).failure.code
    assert cluster.led("t")[0] == other
    assert cluster.remembered() == ((other,), (), NO_NODE)
