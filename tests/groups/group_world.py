"""GroupWorld: members, a coordinator and what may go wrong between them, drawn by a number; without brokers.

Members read, deal with what they read, and commit. Requests come late or never, answers are lost, members pause, die
and come back as if nothing had happened; the coordinator's appends are refused, or wait for long; it is followed by
another one that has the log up to anywhere above the watermark. Then all that heals, and the group must come to rest.

What members read and commit is judged by the checker of histories, who holds what by `Ownership`, both those of the
simulator; `Generations` knows the rules of the classic protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from dohle.groups.offsets import Commit, FetchOffsets, OffsetToCommit
from dohle.groups.outcome import Moment, Outcome, Ticket
from dohle.groups.records import GroupRecord, MemberRecord
from dohle.groups.settings import GroupSettings
from dohle.groups.shard import GroupShard
from dohle.model.errors import CoordinatorNotAvailable, DohleError
from dohle.model.group_errors import NotCoordinator
from dohle.model.ids import PartitionKey, TopicId
from dohle.testing.history.evidence import Evidence
from dohle.testing.history.group_commits import lost_commits, stale_commits
from dohle.testing.history.group_reads import group_skips
from dohle.testing.history.history import History
from dohle.testing.history.operations import Commit as CommitOperation
from dohle.testing.history.operations import Committed, Operation, Poll, Send, Subscribe
from dohle.testing.history.operations import Outcome as Ended
from dohle.testing.invariants.ownership import Ownership
from tests.groups.harness import Asked, Harness

GROUP = "g"
SESSION_S = 10.0
REBALANCE_S = 15.0
INTERVAL_S = 3.0
CALM_WITHIN_S = 5 * (SESSION_S + REBALANCE_S)
SETTINGS = GroupSettings(
    initial_rebalance_delay_ms=1000,
    consumer_session_timeout_ms=int(SESSION_S * 1000),
    consumer_min_session_timeout_ms=int(SESSION_S * 1000),
    consumer_heartbeat_interval_ms=int(INTERVAL_S * 1000),
    consumer_min_heartbeat_interval_ms=int(INTERVAL_S * 1000),
)
_MOST_MEMBERS = 4
_MOST_AT_ONCE = 3


@dataclass(eq=False)
class Request:
    """One on its way. `take` has the answer, unless its member has given it up."""

    command: Callable[[GroupShard, Ticket, Moment], Outcome]
    take: Callable[[Any], None]
    member: Member | None = None
    asked: Asked | None = None


class BatchedHarness(Harness):
    """Knows where batches end, which are appended and lost as a whole."""

    def __init__(self, settings: GroupSettings, seed: int) -> None:
        self.ends: list[int] = []
        super().__init__(settings, seed)

    def _append(self, records: Sequence[GroupRecord]) -> None:
        super()._append(records)
        self.ends.append(len(self.log))


class GroupWorld:
    """`make_member` says which protocol members speak."""

    def __init__(self, number: int, make_member: Callable[[GroupWorld, str], Member]) -> None:
        self.chance = Random(number)
        self.violations: list[str] = []
        self.harness = BatchedHarness(SETTINGS, number)
        self.history = History()
        self.ownership = Ownership(self.violations.append)
        self.members: list[Member] = []
        self.names: dict[TopicId, str] = {}
        self.begun_s = self.now_s  # when this coordinator began
        self.met: dict[str, int] = {}
        self._make_member = make_member
        self._requests: list[Request] = []
        self._told: list[Request] = []  # requests whose answers were let out
        self._records_seen = 0
        self._joined = 0
        self._grow("t", self.chance.randint(1, 4))

    @property
    def now_s(self) -> float:
        return self.harness.moment.now_s

    def counts(self, what: str) -> None:
        self.met[what] = self.met.get(what, 0) + 1

    def log_name(self, key: PartitionKey) -> str:
        return f"{self.names[key.topic_id]}-{key.partition}"

    # chance

    def storm(self, steps: int) -> None:
        actions = (
            (self._some_member_acts, 12),
            (self._deliver, 12),
            (self._answer, 12),
            (self._lose_request, 1),
            (self._lose_answer, 1),
            (self._pass_time, 6),
            (self._somebody_joins, 1),
            (self._somebody_goes, 0.7),
            (self._hold_or_commit, 2),
            (self._restart, 0.7),
            (self._refuse, 0.5),
            (self._more_topics, 0.3),
            (self._ask_what_is_committed, 1),
        )
        for _ in range(steps):
            self.chance.choices([act for act, _ in actions], [weight for _, weight in actions])[0]()
            self._look()
            assert not self.violations, self.violations

    def heal(self) -> None:
        """Nothing goes wrong any more; within bounded time each partition has one owner, who can commit."""
        self.harness.refusal = None
        self.harness.commit()
        self._look()
        for request in list(self._requests):
            self._lose(request)
        for member in self.members:
            member.paused_until_s = 0.0
        deadline_s = self.now_s + CALM_WITHIN_S
        while (trouble := self._trouble()) and self.now_s < deadline_s:
            for member in self.live():
                member.acts()
            self._settle()
            self.harness.pass_time(0.5)
            self._look()
            assert not self.violations, self.violations
        assert not trouble, f"{CALM_WITHIN_S:g} s after all was healed: {trouble}"
        self._ask_what_is_committed()
        self._settle()

    def judge(self) -> list[str]:
        self._write_what_was_read()
        evidence = Evidence(self.history.operations)
        return [str(found) for search in (group_skips, lost_commits, stale_commits) for found in search(evidence)]

    def _write_what_was_read(self) -> None:
        """Whoever reads is given what is due; so what nobody has read has to be known to be there."""
        ends: dict[str, int] = {}
        for operation in self.history.operations:
            for micro in operation.micro:
                if isinstance(micro, Poll):
                    for name, records in micro.records.items():
                        ends[name] = max(ends.get(name, 0), records[-1][0] + 1)
        for name, end in ends.items():
            for offset in range(end):
                sent = self.history.invoke("writer", Send(name, f"{name}:{offset}", offset), at_s=0.0)
                self.history.complete(sent, Ended.OK, at_s=0.0)

    def live(self) -> list[Member]:
        return [member for member in self.members if member.alive]

    def _trouble(self) -> str:
        live = self.live()
        state = self.harness.shard.state.groups.get(GROUP)
        name = "Empty" if state is None else state.state
        if name != ("Stable" if live else "Empty"):
            return f"the group is {name}"
        names = {name for member in live for name in member.topics}
        wanted = {PartitionKey(topic, number) for topic, number in self.partitions() if self.names[topic] in names}
        owned = [key for member in live for key in member.positions]
        if sorted(owned) != sorted(wanted):
            return f"{sorted(wanted)} are owned by {[(one.process, sorted(one.positions)) for one in live]}"
        restless = [one.process for one in live if one.is_restless]
        return f"{restless} are not done" if restless else ""

    def partitions(self) -> list[tuple[TopicId, int]]:
        topics = self.harness.image.topics
        return [(topic, number) for topic in self.names for number in range(len(topics[topic].partitions))]

    def _settle(self) -> None:
        """Delivers all requests, and all answers that there are."""
        while any(request.asked is None or not request.asked.waits for request in self._requests):
            self._deliver()
            self._answer()

    # requests

    def send(
        self,
        command: Callable[[GroupShard, Ticket, Moment], Outcome],
        take: Callable[[Any], None],
        member: Member | None = None,
    ) -> Request:
        request = Request(command, take, member)
        self._requests.append(request)
        return request

    def _deliver(self) -> None:
        waiting = [request for request in self._requests if request.asked is None]
        if waiting:
            request = self.chance.choice(waiting)
            request.asked = self.harness.ask(request.command)
            self._told.append(request)

    def _answer(self) -> None:
        answered = [request for request in self._requests if request.asked is not None and not request.asked.waits]
        if answered:
            self._look()  # who sees it all hears of it first
            request = self.chance.choice(answered)
            assert request.asked is not None
            self._requests.remove(request)
            request.take(request.asked.reply)

    def _lose_request(self) -> None:
        if self._requests:
            self._lose(self.chance.choice(self._requests))

    def _lose_answer(self) -> None:
        asked = [request for request in self._requests if request.asked is not None]
        if asked:
            self._lose(self.chance.choice(asked))

    def _lose(self, request: Request) -> None:
        self._requests.remove(request)
        request.take(NotCoordinator())

    # what goes wrong

    def _some_member_acts(self) -> None:
        if members := [one for one in self.live() if one.paused_until_s <= self.now_s or self.chance.random() < 0.2]:
            self.chance.choice(members).acts()

    def _somebody_joins(self) -> None:
        if len(self.live()) < _MOST_MEMBERS:
            self._joined += 1
            self.members.append(self._make_member(self, f"m{self._joined}"))

    def _somebody_goes(self) -> None:
        if members := self.live():
            member = self.chance.choice(members)
            match self.chance.randrange(4):
                case 0:
                    member.leaves()
                case 1:
                    self.counts("died")
                    member.alive = False
                case _:
                    self.counts("paused")
                    member.paused_until_s = self.now_s + self.chance.uniform(0, 2 * SESSION_S)

    def _pass_time(self) -> None:
        self.harness.pass_time(self.chance.choice((0.05, 0.3, 1.0, 1.0, 3.0, SESSION_S * self.chance.random())))

    def _hold_or_commit(self) -> None:
        self.harness.commit() if self.harness.holds else self.harness.hold()

    def _restart(self) -> None:
        watermark, ends = self.harness.watermark, self.harness.ends
        keep = self.chance.choice([watermark, *(end for end in ends if end > watermark)])
        self._look()
        self.counts("another coordinator")
        self.harness.ends = [end for end in ends if end <= keep]
        self.harness.restart(keep=keep)
        self.begun_s = self.now_s

    def _refuse(self) -> None:
        refuses = self.harness.refusal is None
        self.harness.refusal = self.chance.choice((NotCoordinator(), CoordinatorNotAvailable())) if refuses else None

    def _more_topics(self) -> None:
        name = self.chance.choice("tu")
        topic = self.harness.image.topic_named(name)
        self._grow(name, 1 if topic is None else min(len(topic.partitions) + 1, 6))

    def _grow(self, name: str, partitions: int) -> None:
        self.names[self.harness.make_topic(name, partitions)] = name

    def _ask_what_is_committed(self) -> None:
        operation = self.history.invoke("operator", Committed(GROUP), at_s=self.now_s)
        keys = [PartitionKey(topic, number) for topic, number in self.partitions()]

        def take(reply: Any) -> None:
            if not isinstance(reply, DohleError):
                told = {
                    self.log_name(key): None if one.value is None else one.value.offset
                    for key, one in zip(keys, reply, strict=True)
                }
                self.history.complete(operation, Ended.OK, Committed(GROUP, told), at_s=self.now_s)

        self.send(FetchOffsets(GROUP, tuple((self.names[key.topic_id], (key.partition,)) for key in keys)), take)

    # who sees it all

    def _look(self) -> None:
        """Learns what is committed and what was let out."""
        harness = self.harness
        for record in harness.log[self._records_seen : harness.watermark]:
            if isinstance(record, MemberRecord) and record.value is None:
                self.counts("gone")
                self.ownership.gone(record.group_id, record.member_id)
        self._records_seen = harness.watermark
        for request in list(self._told):
            assert request.asked is not None
            if not request.asked.waits:
                self._told.remove(request)
                for member in self.members:
                    member.sees(request, request.asked.reply)


@dataclass(eq=False)
class Member:
    """One that reads and commits what it owns. Subclasses get it something to own."""

    world: GroupWorld
    process: str
    alive: bool = True
    paused_until_s: float = 0.0
    epoch: int = -1
    positions: dict[PartitionKey, int | None] = field(default_factory=dict)  # None: not known yet
    _uncommitted: dict[PartitionKey, None] = field(default_factory=dict)
    _life: int = 0  # how often something was taken away

    def __post_init__(self) -> None:
        operation = self._invoke(Subscribe(("t", "u"), GROUP))
        self._complete(operation, Ended.OK)

    # for subclasses

    @property
    def member_id(self) -> str:
        raise NotImplementedError

    @property
    def topics(self) -> tuple[str, ...]:
        """What it subscribes to."""
        return ("t", "u")

    @property
    def is_restless(self) -> bool:
        """Whether it still has something to tell or to give up."""
        raise NotImplementedError

    def keeps_up(self) -> None:
        """Does what the protocol asks for."""
        raise NotImplementedError

    def leaves(self) -> None:
        raise NotImplementedError

    def sees(self, request: Request, reply: Any) -> None:
        """An answer is let out, whoever it is for."""

    # work

    def acts(self) -> None:
        chance = self.world.chance
        if self.paused_until_s <= self.world.now_s:
            self.keeps_up()
        if not self.alive:
            return
        unknown = [key for key, position in self.positions.items() if position is None]
        if unknown:
            self._fetch(chance.choice(unknown))
        if known := [key for key, position in self.positions.items() if position is not None]:
            self._poll(chance.choice(known))
            if chance.random() < 0.5:
                self.commits(chance.choice(known))

    def gains(self, key: PartitionKey) -> None:
        self.positions[key] = None

    def loses(self, *keys: PartitionKey) -> None:
        self._life += 1
        for key in keys:
            del self.positions[key]

    def loses_all(self) -> None:
        self.loses(*list(self.positions))

    def commits(self, key: PartitionKey) -> None:
        position = self.positions.get(key)
        if position is None:
            return
        world = self.world
        name = world.log_name(key)
        operation = self._invoke(CommitOperation(GROUP, {name: position}, self.epoch))
        topic = world.names[key.topic_id]
        command = Commit(GROUP, (OffsetToCommit(topic, key.partition, position),), self.member_id, None, self.epoch)

        def take(reply: Any) -> None:
            error = reply if isinstance(reply, DohleError) else reply[0]
            if error is None:
                self._complete(operation, Ended.OK)
            elif error.definite:
                world.counts(f"a commit is refused: {type(error).__name__}")
                self._complete(operation, Ended.FAIL)

        world.send(self.watched_commit(command), take)

    def watched_commit(self, command: Commit) -> Callable[[GroupShard, Ticket, Moment], Outcome]:
        return command

    def _poll(self, key: PartitionKey) -> None:
        position = self.positions[key]
        assert position is not None
        name, count = self.world.log_name(key), self.world.chance.randint(1, _MOST_AT_ONCE)
        records = [(offset, f"{name}:{offset}") for offset in range(position, position + count)]
        self.positions[key] = position + count
        self._complete(self._invoke(Poll()), Ended.OK, Poll({name: records}))

    def _fetch(self, key: PartitionKey) -> None:
        world, life = self.world, self._life
        name = world.log_name(key)
        operation = self._invoke(Committed(GROUP))
        topic = world.names[key.topic_id]

        def take(reply: Any) -> None:
            if isinstance(reply, DohleError) or reply[0].error is not None:
                return
            told = None if reply[0].value is None else reply[0].value.offset
            self._complete(operation, Ended.OK, Committed(GROUP, {name: told}))
            if life == self._life and key in self.positions and self.positions[key] is None:
                self.positions[key] = told or 0

        world.send(FetchOffsets(GROUP, ((topic, (key.partition,)),), self.member_id, self.epoch), take)

    def _invoke(self, micro: Any) -> Operation:
        return self.world.history.invoke(self.process, micro, at_s=self.world.now_s)

    def _complete(self, operation: Operation, outcome: Ended, *micro: Any) -> None:
        self.world.history.complete(operation, outcome, *micro, at_s=self.world.now_s)
