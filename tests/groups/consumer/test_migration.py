"""Groups that change their protocol while their members go on, and members of both in one group."""

from __future__ import annotations

from typing import Any

import pytest

from dohle.groups.classic.commands import Heartbeat, Join, Joined, Leave, Leaver, NotJoined, Sync, Synced
from dohle.groups.consumer.commands import ConsumerDescribe, ConsumerHeartbeat
from dohle.groups.group import CLASSIC, CONSUMER
from dohle.groups.settings import GroupSettings
from dohle.groups.subscription import (
    MemberAssignment,
    Subscription,
    decode_assignment,
    encode_assignment,
    encode_subscription,
)
from dohle.model.group_errors import (
    GroupIdNotFound,
    IllegalGeneration,
    InconsistentGroupProtocol,
    MemberIdRequired,
    RebalanceInProgress,
    UnknownMember,
)
from dohle.model.ids import PartitionKey
from tests.groups.consumer.members import TestMember
from tests.groups.harness import Harness

GROUP = "g"


class ClassicClient:
    """A consumer of the classic protocol, with a cooperative assignor: it gives up what it is no longer assigned, and
    then joins again."""

    def __init__(self, harness: Harness, instance_id: str | None = None) -> None:
        self.harness = harness
        self.instance_id = instance_id
        self.member_id = ""
        self.generation = -1
        self.held: dict[str, tuple[int, ...]] = {}

    @property
    def partitions(self) -> set[PartitionKey]:
        ids = self.harness.image.topic_ids
        return {PartitionKey(ids[topic], number) for topic, numbers in self.held.items() for number in numbers}

    def request(self, **given: Any) -> Join:
        subscription = Subscription(("t",), owned=tuple(sorted(self.held.items())), generation=self.generation)
        values: dict[str, Any] = {
            "member_id": self.member_id,
            "instance_id": self.instance_id,
            "client_id": "classic",
            "client_host": "/127.0.0.1",
            "protocol_type": "consumer",
            "protocols": (("cooperative-sticky", encode_subscription(subscription)),),
            "session_timeout_ms": 10_000,
            "rebalance_timeout_ms": 20_000,
            "needs_member_id": False,
        }
        return Join(GROUP, **(values | given))

    def join(self, **given: Any) -> None:
        asked = self.harness.ask(self.request(**given))
        self.harness.pass_time(0)
        joined = asked.reply
        assert isinstance(joined, Joined), joined
        self.member_id, self.generation = joined.member_id, joined.generation

    def sync(self) -> None:
        synced = self.harness.call(Sync(GROUP, self.member_id, self.instance_id, self.generation))
        assert isinstance(synced, Synced)
        self.held = dict(decode_assignment(synced.assignment).partitions)

    def beat(self) -> None:
        """A heartbeat; joins and syncs for as long as it is told to."""
        for _ in range(5):
            reply = self.harness.ask(Heartbeat(GROUP, self.member_id, self.instance_id, self.generation)).reply
            if reply is None:
                return
            assert isinstance(reply, RebalanceInProgress), reply
            self.join()
            self.sync()
        raise AssertionError("the group never comes to rest")


@pytest.fixture
def harness() -> Harness:
    harness = Harness(GroupSettings(initial_rebalance_delay_ms=0))
    harness.make_topic("t", partitions=6)
    return harness


def consumer(harness: Harness, member_id: str, **given: Any) -> TestMember:
    return TestMember(harness, GROUP, member_id, topics=("t",), **given)


def two_classic(harness: Harness) -> tuple[ClassicClient, ClassicClient]:
    """Two members of a classic group, which is stable."""
    one, two = ClassicClient(harness), ClassicClient(harness)
    one.join()
    one.harness.call(Sync(GROUP, one.member_id, None, one.generation, ((one.member_id, assigned(0, 6)),)))
    first = harness.ask(two.request())
    again = harness.ask(one.request())
    for client, asked in ((one, again), (two, first)):
        joined = asked.reply
        assert isinstance(joined, Joined)
        client.member_id, client.generation = joined.member_id, joined.generation
    assignments = ((one.member_id, assigned(0, 3)), (two.member_id, assigned(3, 6)))
    waits = harness.ask(Sync(GROUP, two.member_id, None, two.generation))
    harness.call(Sync(GROUP, one.member_id, None, one.generation, assignments))
    assert isinstance(waits.reply, Synced)
    one.sync()
    two.sync()
    assert (one.held, two.held) == ({"t": (0, 1, 2)}, {"t": (3, 4, 5)})
    return one, two


def assigned(begin: int, end: int) -> bytes:
    return encode_assignment(MemberAssignment((("t", tuple(range(begin, end))),)))


def check_disjoint(*members: ClassicClient | TestMember) -> None:
    everything = [key for member in members for key in member.partitions]
    assert len(everything) == len(set(everything)), "a partition is held twice"


def settle(*members: ClassicClient | TestMember) -> None:
    for _ in range(6):
        for member in members:
            member.beat()
            check_disjoint(*members)
    assert sum(len(member.partitions) for member in members) == 6


def test_a_classic_group_becomes_a_consumer_group_when_the_first_consumer_joins(harness: Harness) -> None:
    one, two = two_classic(harness)
    new = consumer(harness, "n")
    answer = new.beat()
    assert answer is not None
    assert answer.member_epoch == one.generation + 1
    group = harness.shard.state.groups[GROUP]
    assert group.kind == CONSUMER
    check_disjoint(one, two, new)
    settle(one, two, new)
    assert [len(each.partitions) for each in (one, two, new)] == [2, 2, 2]
    kinds = {each.member_id: each.is_classic for each in harness.call(ConsumerDescribe(GROUP)).members}
    assert kinds == {one.member_id: True, two.member_id: True, "n": False}
    harness.restart()
    settle(one, two, new)


def test_members_upgrade_one_by_one_and_downgrade_again(harness: Harness) -> None:
    one, two = two_classic(harness)
    new = consumer(harness, "n")
    new.beat()
    settle(one, two, new)
    harness.call(Leave(GROUP, (Leaver(one.member_id),)))
    other = consumer(harness, "o")
    other.beat()
    settle(two, new, other)
    for gone in (new, other):
        gone.leave()
    assert harness.shard.state.groups[GROUP].kind == CLASSIC
    with pytest.raises(IllegalGeneration):  # it has not followed the group for as long as that
        harness.call(Heartbeat(GROUP, two.member_id, None, two.generation))
    two.join()
    harness.call(Sync(GROUP, two.member_id, None, two.generation, ((two.member_id, assigned(0, 6)),)))
    two.sync()
    assert len(two.partitions) == 6
    harness.call(Heartbeat(GROUP, two.member_id, None, two.generation))


def test_who_waits_in_the_classic_group_is_told_to_join_again(harness: Harness) -> None:
    one, two = two_classic(harness)
    waits = harness.ask(one.request())
    assert waits.waits
    consumer(harness, "n").beat()
    assert isinstance(waits.reply, NotJoined)
    assert isinstance(waits.reply.error, RebalanceInProgress)
    two.beat()


@pytest.mark.parametrize("policy", ["disabled", "downgrade"])
def test_a_policy_may_forbid_the_upgrade(policy: str) -> None:
    harness = Harness(GroupSettings(initial_rebalance_delay_ms=0, consumer_migration_policy=policy))
    harness.make_topic("t", partitions=6)
    two_classic(harness)
    new = consumer(harness, "n")
    new.beat()
    assert isinstance(new.errors[0], GroupIdNotFound)
    assert "migration.policy" in new.errors[0].message


def test_a_policy_may_forbid_the_downgrade() -> None:
    harness = Harness(GroupSettings(initial_rebalance_delay_ms=0, consumer_migration_policy="upgrade"))
    harness.make_topic("t", partitions=6)
    one, two = two_classic(harness)
    new = consumer(harness, "n")
    new.beat()
    settle(one, two, new)
    new.leave()
    assert harness.shard.state.groups[GROUP].kind == CONSUMER
    settle(one, two)


def test_an_empty_classic_group_makes_room(harness: Harness) -> None:
    one, two = two_classic(harness)
    harness.call(Leave(GROUP, (Leaver(one.member_id), Leaver(two.member_id))))
    new = consumer(harness, "n")
    new.beat()
    assert len(new.partitions) == 6
    assert new.epoch == 1


def test_an_empty_consumer_group_makes_room(harness: Harness) -> None:
    new = consumer(harness, "n")
    new.beat()
    new.leave()
    client = ClassicClient(harness)
    client.join()
    assert harness.shard.state.groups[GROUP].kind == CLASSIC


def test_a_group_of_other_than_consumers_stays_what_it_is(harness: Harness) -> None:
    client = ClassicClient(harness)
    client.join(protocol_type="connect", protocols=(("sessioned", b"x"),))
    new = consumer(harness, "n")
    new.beat()
    assert isinstance(new.errors[0], GroupIdNotFound)
    assert harness.shard.state.groups[GROUP].kind == CLASSIC


def test_classic_members_join_a_consumer_group(harness: Harness) -> None:
    new = consumer(harness, "n")
    new.beat()
    client = ClassicClient(harness)
    refused = harness.ask(client.request(needs_member_id=True)).reply
    assert isinstance(refused, NotJoined)
    assert isinstance(refused.error, MemberIdRequired)
    client.member_id = refused.member_id
    client.join(needs_member_id=True)
    client.sync()
    assert not client.held
    settle(client, new)
    assert len(client.partitions) == 3
    before = client.generation
    with pytest.raises(IllegalGeneration):
        harness.call(Heartbeat(GROUP, client.member_id, None, before + 1))
    with pytest.raises(IllegalGeneration):
        harness.call(Sync(GROUP, client.member_id, None, before - 1))
    with pytest.raises(UnknownMember):
        harness.call(Heartbeat(GROUP, "n", None, new.epoch))
    with pytest.raises(InconsistentGroupProtocol):
        harness.call(Sync(GROUP, client.member_id, None, before, protocol="range"))
    other = harness.ask(ClassicClient(harness).request(protocols=(("range", client.request().protocols[0][1]),))).reply
    assert isinstance(other, NotJoined)
    assert isinstance(other.error, InconsistentGroupProtocol), "nothing that the other classic member knows"


def test_classic_members_have_sessions_of_their_own(harness: Harness) -> None:
    new, client = consumer(harness, "n"), ClassicClient(harness)
    new.beat()
    client.join()
    client.sync()
    settle(client, new)
    harness.pass_time(11)
    new.beat()
    assert len(new.partitions) == 6


def test_a_classic_member_that_does_not_join_in_time_is_fenced(harness: Harness) -> None:
    client, new = ClassicClient(harness), consumer(harness, "n")
    new.beat()
    client.join()
    client.sync()
    settle(client, new)
    other = consumer(harness, "o")
    other.beat()
    for _ in range(5):
        harness.pass_time(5)
        new.beat()
        other.beat()
        harness.ask(Heartbeat(GROUP, client.member_id, None, client.generation))
    settle(new, other)


def test_a_static_member_changes_over_with_what_it_has(harness: Harness) -> None:
    client, other = ClassicClient(harness, "i"), ClassicClient(harness)
    client.join()
    harness.call(Sync(GROUP, client.member_id, "i", client.generation, ((client.member_id, assigned(0, 6)),)))
    client.sync()
    held = client.partitions
    new = consumer(harness, "n", instance_id="i")
    new.beat()
    assert new.partitions == held
    other.join()
    other.sync()
    settle(new, other)
    back = ClassicClient(harness, "i")
    back.join()
    assert harness.shard.state.groups[GROUP].kind == CLASSIC, "the last of the other protocol has been replaced"
    ids = {back.member_id, other.member_id}
    waits = [harness.ask(each.request()) for each in (back, other)]
    assert all(isinstance(each.reply, Joined) for each in waits)
    assert {each.reply.member_id for each in waits} == ids


def test_both_leave_together(harness: Harness) -> None:
    one, two = two_classic(harness)
    new = consumer(harness, "n")
    new.beat()
    settle(one, two, new)
    errors = harness.call(Leave(GROUP, (Leaver(one.member_id), Leaver("n"), Leaver(two.member_id))))
    assert [type(error) for error in errors] == [type(None), UnknownMember, type(None)]
    settle(new)
    assert isinstance(harness.ask(ConsumerHeartbeat(GROUP, one.member_id, 1)).reply, UnknownMember)
