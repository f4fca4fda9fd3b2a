"""Whatever members do and whatever is lost: nobody has what another has, and once all is well, all is assigned."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from dohle.groups.consumer.commands import ConsumerDescribe, ConsumerGroupDescription, ConsumerHeartbeat
from dohle.groups.settings import GroupSettings
from dohle.model.errors import CoordinatorNotAvailable, DohleError
from dohle.model.ids import PartitionKey
from tests.groups.consumer.members import TestMember
from tests.groups.harness import Harness

GROUP = "g"
TOPICS = ("t0", "t1", "t2")
_SESSIONS_END = 10
"""Heartbeats after which those who are silent are fenced."""
_ROUNDS = 5
"""Heartbeats in which a group is to settle: a member that was fenced joins again, and others hand on what it gets."""


_STEPS = (
    *("join", "beat", "beat", "beat", "beat", "lose", "full", "slow", "leave", "away", "topic", "subscribe"),
    *("pass_some", "pass_some", "restart", "stale", "vanish", "refuse"),
)


class Story:
    """Members do one thing after another, drawn from `random`."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.harness = Harness(GroupSettings(consumer_session_timeout_ms=45_000), seed=random.randrange(1 << 30))
        self.members: list[TestMember] = []
        self.count = 0
        for topic in TOPICS[: random.randint(1, 3)]:
            self.harness.make_topic(topic, random.randint(1, 5))

    def step(self) -> None:
        name = self.random.choice(_STEPS)
        getattr(self, name)()
        self.check()

    def _one(self) -> TestMember | None:
        return self.random.choice(self.members) if self.members else None

    def join(self) -> None:
        if len(self.members) < 5:
            self.count += 1
            static = self.random.random() < 0.3
            member = TestMember(
                self.harness,
                GROUP,
                f"m{self.count}",
                topics=self._topics(),
                instance_id=f"i{self.random.randint(0, 2)}" if static else None,
                rebalance_timeout_ms=self.random.choice((3_000, 20_000)),
                is_slow=self.random.random() < 0.4,
            )
            self.members.append(member)
            member.beat()

    def _topics(self) -> tuple[str, ...]:
        return tuple(sorted(self.random.sample(TOPICS, self.random.randint(1, len(TOPICS)))))

    def beat(self) -> None:
        if (member := self._one()) is not None:
            member.beat()

    def full(self) -> None:
        if (member := self._one()) is not None:
            member.beat(full=True)

    def lose(self) -> None:
        if (member := self._one()) is not None:
            member.beat(full=self.random.random() < 0.5, loses_answer=True)

    def slow(self) -> None:
        if (member := self._one()) is not None:
            member.is_slow = not member.is_slow

    def leave(self) -> None:
        if (member := self._one()) is not None:
            self.members.remove(member)
            self.harness.ask(ConsumerHeartbeat(GROUP, member.member_id, -1, instance_id=member.instance_id))

    def away(self) -> None:
        """A static member is away, and comes back under another id."""
        member = self._one()
        if member is not None and member.instance_id is not None:
            self.harness.ask(ConsumerHeartbeat(GROUP, member.member_id, -2, instance_id=member.instance_id))
            self.count += 1
            member.member_id, member.epoch, member.held, member.assigned = f"m{self.count}", 0, (), ()

    def vanish(self) -> None:
        if (member := self._one()) is not None:
            self.members.remove(member)

    def topic(self) -> None:
        name = self.random.choice(TOPICS)
        known = self.harness.image.topic_named(name)
        if known is not None and self.random.random() < 0.3:
            self.harness.drop_topic(name)
        else:
            self.harness.make_topic(name, (len(known.partitions) if known else 0) + self.random.randint(1, 2))

    def subscribe(self) -> None:
        if (member := self._one()) is not None:
            member.topics = self._topics()
            member.beat(full=True)

    def pass_some(self) -> None:
        self.harness.pass_time(self.random.choice((0.5, 2.0, 5.0, 20.0)))

    def restart(self) -> None:
        before = self.described()
        self.harness.restart()
        assert self.described() == before, "the state is a function of the last value of each key"

    def stale(self) -> None:
        if (member := self._one()) is not None:
            epoch = self.random.randint(1, member.epoch + 2)
            before = len(self.harness.log)
            if isinstance(
                self.harness.ask(
                    ConsumerHeartbeat(GROUP, member.member_id, epoch, instance_id=member.instance_id, topics=())
                ).reply,
                DohleError,
            ):
                assert len(self.harness.log) == before, "what is refused changes nothing"
            else:
                member.beat(full=True)

    def refuse(self) -> None:
        """Nothing can be written for a while."""
        self.harness.refusal = CoordinatorNotAvailable()
        self.beat()
        self.leave()
        self.pass_some()
        self.harness.refusal = None

    def described(self) -> ConsumerGroupDescription | None:
        reply = self.harness.ask(ConsumerDescribe(GROUP)).reply
        return reply if isinstance(reply, ConsumerGroupDescription) else None

    def check(self) -> None:
        description = self.described()
        known = {member.member_id for member in description.members} if description is not None else set()
        holders: dict[PartitionKey, str] = {}
        for member in self.members:
            if member.member_id in known and member.epoch > 0:
                for key in member.partitions:
                    assert key not in holders, f"{key} is held by {holders[key]} and {member.member_id}"
                    holders[key] = member.member_id

    def settle(self) -> None:
        """All is well from now on: members come every five seconds, and give up what they are told to."""
        if not self.members:
            return
        description = self.described()
        known = {member.member_id for member in description.members} if description is not None else set()
        instances: dict[str, TestMember] = {}
        for member in sorted(self.members, key=lambda member: member.member_id in known):
            member.is_slow = False
            instances[member.instance_id or member.member_id] = member
        self.members = list(instances.values())
        for number in range(_SESSIONS_END + _ROUNDS):
            for member in self.members:
                answer = member.beat(full=number == 0)
                if answer is not None and answer.assignment is not None:
                    member.beat()  # as clients confirm at once
                self.check()
            self.harness.pass_time(5.0)
        description = self.described()
        assert description is not None
        assert description.state == "Stable", description
        wanted = {
            PartitionKey(topic.topic_id, number)
            for topic in self.harness.image.topics_in_order()
            if any(topic.name in (member.topics or ()) for member in self.members)
            for number in range(len(topic.partitions))
        }
        assert set().union(*(member.partitions for member in self.members)) == wanted


@given(st.integers(min_value=0, max_value=1 << 40), st.integers(min_value=1, max_value=60))
@settings(max_examples=150, deadline=None)
def test_nothing_is_held_twice_and_every_group_settles(seed: int, steps: int) -> None:
    story = Story(Random(seed))
    for _ in range(steps):
        story.step()
    story.settle()
