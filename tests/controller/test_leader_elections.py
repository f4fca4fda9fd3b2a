"""Leaders by an operator's word, unclean ones, and the balance of leaders."""

import pytest

from dohle.controller.isr import IsrProposals
from dohle.controller.leader_elections import Elections, balancing_elections, wanted_elections
from dohle.controller.topics import alter_configs
from dohle.model.errors import (
    ElectionNotNeeded,
    EligibleLeadersNotAvailable,
    PolicyViolation,
    PreferredLeaderNotAvailable,
    UnknownTopicOrPartition,
)
from dohle.model.ids import NO_NODE, TopicPartition
from dohle.model.metadata import RemoveTopic
from dohle.rpc.v1.admin_pb2 import (
    AlterConfigsRequest,
    AlterTopicConfigs,
    ConfigEntry,
    ElectionOf,
    ElectLeadersRequest,
)
from tests.controller.decided_cluster import DecidedCluster


@pytest.fixture
def cluster() -> DecidedCluster:
    cluster = DecidedCluster(brokers=4)
    cluster.topic("t", [1, 2, 3])
    return cluster


def away_and_back(cluster: DecidedCluster, node: int) -> None:
    cluster.fence(node)
    cluster.beat(node)


def test_the_preferred_leader_leads_again_when_asked_for(cluster):
    away_and_back(cluster, 1)
    assert cluster.led("t") == (2, 1, (2, 3))
    assert cluster.elect("t").failure.code == PreferredLeaderNotAvailable.code
    cluster.propose("t", [1, 2, 3])
    elected = cluster.elect("t")
    assert (elected.failure.code, elected.leader, elected.leader_epoch) == (0, 1, 2)
    assert cluster.led("t") == (1, 2, (1, 2, 3))
    assert cluster.elect("t").failure.code == ElectionNotNeeded.code


def test_a_preferred_leader_that_shuts_down_is_not_elected(cluster):
    away_and_back(cluster, 1)
    cluster.propose("t", [1, 2, 3])
    cluster.topic("u", [1, 2], min_insync_replicas="2")
    cluster.beat(1, wants_shutdown=True)
    assert cluster.led("u") == (2, 1, (1, 2))
    assert cluster.elect("u").failure.code == PreferredLeaderNotAvailable.code


def test_without_names_all_are_elected_that_need_it(cluster):
    cluster.topic("u", [1, 2], [2, 1], [1, 2])
    away_and_back(cluster, 1)
    cluster.propose("u", [1, 2])
    answer = cluster.carry_out(wanted_elections(ElectLeadersRequest()).next)
    outcomes = {(one.topic, one.partition): one.failure.code for one in answer.partitions}
    unavailable = PreferredLeaderNotAvailable.code
    assert outcomes == {("t", 0): unavailable, ("u", 0): 0, ("u", 2): unavailable}
    named = cluster.carry_out(wanted_elections(ElectLeadersRequest(partitions=[ElectionOf(topic="u")])).next)
    assert [one.partition for one in named.partitions] == [0, 1, 2]


def test_many_elections_are_decided_in_steps_and_each_is_answered(cluster):
    cluster.topic("u", *[[1, 2]] * 5)
    away_and_back(cluster, 1)
    for number in (0, 1, 3, 4):
        cluster.propose("u", [1, 2], number=number)
    elections = Elections(lambda _: [TopicPartition("u", number) for number in range(5)], unclean=False, most=2)
    batches, more = [], True
    while more:
        decision = elections.next(cluster.image)
        more = decision.more
        answers = cluster.take(decision).partitions
        batches.append([record.partition for record in decision.records])
    assert batches == [[0, 1], [3], [4]]
    assert [answer.partition for answer in answers] == [0, 1, 2, 3, 4]
    assert [answer.failure.code for answer in answers] == [0, 0, PreferredLeaderNotAvailable.code, 0, 0]


def test_a_topic_that_goes_between_two_steps_is_answered_as_unknown(cluster):
    cluster.topic("u", [1, 2], [1, 2])
    away_and_back(cluster, 1)
    elections = Elections(lambda _: [TopicPartition("u", number) for number in range(2)], unclean=False, most=1)
    cluster.take(elections.next(cluster.image))
    cluster.commit((RemoveTopic(cluster.image.topic_ids["u"]),))
    codes = [one.failure.code for one in cluster.carry_out(elections.next).partitions]
    assert codes == [PreferredLeaderNotAvailable.code, UnknownTopicOrPartition.code]


@pytest.mark.parametrize(("topic", "number"), [("none", 0), ("t", 1), ("t", -1)])
def test_an_unknown_partition_is_refused(cluster, topic, number):
    assert cluster.elect(topic, number=number).failure.code == UnknownTopicOrPartition.code


def only_an_outsider_lives(cluster: DecidedCluster) -> None:
    cluster.fence(3)
    cluster.fence(2)
    cluster.fence(1)
    cluster.beat(2)


def test_an_unclean_leader_needs_the_topics_leave(cluster):
    only_an_outsider_lives(cluster)
    assert cluster.led("t") == (NO_NODE, 1, (1,))
    failure = cluster.elect("t", unclean=True).failure
    assert failure.code == PolicyViolation.code
    assert "unclean.leader.election.enable" in failure.message
    assert cluster.led("t") == (NO_NODE, 1, (1,))


def test_where_the_topic_allows_it_an_outsider_leads_alone_and_loudly(cluster):
    cluster.topic("u", [1, 2, 3], unclean_leader_election_enable="true")
    only_an_outsider_lives(cluster)
    assert cluster.led("u") == (2, 2, (2,))
    assert any("unclean election" in alarm and "u-0" in alarm for alarm in cluster.alarms)
    assert cluster.elect("u", unclean=True).failure.code == ElectionNotNeeded.code


def test_nobody_leads_uncleanly_while_a_member_can(cluster):
    cluster.topic("u", [1, 2, 3], unclean_leader_election_enable="true")
    cluster.propose("u", [1, 2])
    cluster.fence(1)
    assert cluster.led("u") == (2, 1, (2,))
    assert not cluster.alarms


def test_a_topic_that_allows_loss_from_now_on_is_led_at_once(cluster):
    only_an_outsider_lives(cluster)
    allow(cluster, "t")
    assert cluster.led("t") == (2, 2, (2,))
    assert any("unclean election" in alarm for alarm in cluster.alarms)


def test_without_any_live_replica_nobody_is_elected(cluster):
    only_an_outsider_lives(cluster)
    cluster.fence(2)
    allow(cluster, "t")
    assert cluster.elect("t", unclean=True).failure.code == EligibleLeadersNotAvailable.code


def allow(cluster: DecidedCluster, name: str) -> None:
    entry = ConfigEntry(name="unclean.leader.election.enable", value="true")
    request = AlterConfigsRequest(topics=[AlterTopicConfigs(topic=name, set=[entry])])
    cluster.take(alter_configs(cluster.image, request))


def balanced(cluster: DecidedCluster, most_percent: int) -> int:
    answer = cluster.carry_out(balancing_elections(most_percent).next)
    assert not any(one.failure.code for one in answer.partitions)
    return len(answer.partitions)


def test_leaders_are_balanced_only_beyond_the_bound(cluster):
    cluster.topic("u", *[[1, 2]] * 9)
    away_and_back(cluster, 1)
    request = cluster.proposal("u", [1, 2])
    for number in range(1, 9):
        request.partitions.add().CopyFrom(request.partitions[0])
        request.partitions[-1].partition = number
    cluster.carry_out(IsrProposals(request).next)
    cluster.propose("t", [1, 2, 3])
    assert balanced(cluster, 100) == 0
    assert balanced(cluster, 10) == 10
    assert cluster.led("u", 8) == (1, 2, (1, 2))
    assert balanced(cluster, 0) == 0


def test_balance_leaves_those_alone_that_cannot_lead(cluster):
    away_and_back(cluster, 1)
    assert balanced(cluster, 0) == 0


def test_elections_are_counted_and_unclean_ones_apart(cluster):
    cluster.topic("u", [1, 2, 3], unclean_leader_election_enable="true")
    only_an_outsider_lives(cluster)
    assert (cluster.counts.elections, cluster.counts.unclean, cluster.counts.lost) == (1, 1, 2)
    cluster.fence(2)
    cluster.beat(2)
    assert cluster.counts.unclean == 1


def test_reassignments_are_counted_when_they_have_ended(cluster):
    cluster.reassign("t", [1, 2, 4])
    assert cluster.counts.reassignments == 0
    cluster.propose("t", [1, 2, 3, 4])
    cluster.reassign("t", [1, 2, 3])
    cluster.reassign("t", None)
    assert cluster.counts.reassignments == 2
    assert cluster.counts.elections == 0
