"""Group members: simulated clients that share a topic in a group, and what becomes of members everywhere.

They come, go, die, stop for longer than their session and go on as if nothing had happened, and deal slowly with what
they were given. A poll is over once its records were dealt with; what is committed and what is found committed is noted
where the SDK asks for it, whether the user or the SDK wants it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random

from dohle.client.commits import Commits, Committable, MemberIdentity
from dohle.client.consumer import Consumer, ConsumerRecord
from dohle.client.values import CommittedOffset
from dohle.model.errors import DohleError
from dohle.model.group_errors import FencedMemberEpoch, StaleMemberEpoch, UnknownMember
from dohle.model.ids import TopicPartition
from dohle.testing.clients.sim_client import SimClient
from dohle.testing.history.operations import Commit, Committed, Operation, Outcome, Poll, Subscribe

GROUP = "readers"
_POLL_MS = 1_000
_POLL_RECORDS = (1, 20, 200)
_RETRY_S = 0.5
_COMMITS_BY_HAND = 0.3
_LOST = (FencedMemberEpoch, StaleMemberEpoch, UnknownMember)
_BUSY = 0.1
"""How often a member takes its time with what it was given."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """What a group does."""

    members: int  # at most at a time
    auto_commits: tuple[bool, ...]
    commit_interval_ms: int
    poll_interval_ms: int  # how long a member may take with what it was given
    slowest_s: float  # how long it takes at most
    session_ms: int
    heartbeat_ms: int
    assignor: str
    static: bool
    troubles_every_s: float  # on average; something happens to a member
    offsets_partitions: int
    moving_every_s: float  # on average; replicas of the offsets move, and with them the coordinator; 0: never

    @classmethod
    def drawn(cls, chance: Random) -> Grouped:
        return cls(
            members=chance.randint(2, 4),
            auto_commits=chance.choice(((True,), (False,), (True, False))),
            commit_interval_ms=chance.choice((500, 2_000)),
            poll_interval_ms=chance.choice((4_000, 20_000)),
            slowest_s=chance.choice((0.5, 8.0)),
            session_ms=chance.choice((6_000, 10_000)),
            heartbeat_ms=chance.choice((500, 2_000)),
            assignor=chance.choice(("uniform", "range")),
            static=chance.random() < 0.25,
            troubles_every_s=chance.choice((3.0, 8.0)),
            offsets_partitions=chance.randint(1, 3),
            moving_every_s=chance.choice((0.0, 3.0, 8.0)),
        )

    @property
    def settings(self) -> dict[str, int]:
        """Of the nodes."""
        return {
            "offsets_topic_num_partitions": self.offsets_partitions,
            "group_consumer_session_timeout_ms": self.session_ms,
            "group_consumer_min_session_timeout_ms": self.session_ms,
            "group_consumer_heartbeat_interval_ms": self.heartbeat_ms,
            "group_consumer_min_heartbeat_interval_ms": self.heartbeat_ms,
        }


class WatchedCommits:
    """Stands in a consumer where its Commits do, and notes what passes."""

    def __init__(self, client: SimClient, commits: Commits) -> None:
        self._client = client
        self._commits = commits

    async def commit(
        self, offsets: Mapping[TopicPartition, Committable], identity: Callable[[], MemberIdentity], timeout_s: float
    ) -> dict[TopicPartition, DohleError | None]:
        logs = {str(name): one.offset for name, one in offsets.items()}
        operation = self._client.invoke(Commit(GROUP, logs))
        asked = 0  # for who the member is: before each attempt, of which all but the last may have been carried out

        def noted() -> MemberIdentity:
            nonlocal asked
            asked += 1
            member = identity()
            operation.micro = (Commit(GROUP, logs, member.epoch),)  # of the newest attempt
            return member

        try:
            outcomes = await self._commits.commit(offsets, noted, timeout_s)
        except DohleError as failure:
            outcome = Outcome.FAIL if failure.definite and asked <= 1 else Outcome.INFO
            self._client.complete(operation, outcome, why=failure.message)
            raise
        failures = [failure for failure in outcomes.values() if failure is not None]
        if not failures:
            self._client.complete(operation, Outcome.OK)
        elif asked == 1 and len(failures) == len(outcomes) and all(failure.definite for failure in failures):
            self._client.complete(operation, Outcome.FAIL, why=failures[0].message)
        else:
            self._client.complete(operation, Outcome.INFO, why=failures[0].message)
        return outcomes

    async def fetch(
        self,
        partitions: Iterable[tuple[TopicPartition, bytes]],
        identity: Callable[[], MemberIdentity],
        timeout_s: float,
    ) -> dict[TopicPartition, CommittedOffset | None]:
        operation = self._client.invoke(Committed(GROUP))
        found = await self._commits.fetch(partitions, identity, timeout_s)
        told = {str(name): None if one is None else one.offset for name, one in found.items()}
        self._client.complete(operation, Outcome.OK, Committed(GROUP, told))
        return found


def watch_commits(consumer: Consumer, client: SimClient) -> None:
    """Has `client` note what the consumer commits and finds committed."""
    member = consumer._member
    assert member is not None, "it is in a group"
    member._commits = WatchedCommits(client, member._commits)  # type: ignore[assignment]


@dataclass(slots=True, eq=False)
class GroupMember:
    """One life of one member of `topic`'s readers. `read`: by log, the offset behind what was dealt with."""

    client: SimClient
    plan: Grouped
    topic: str
    number: int
    place: int
    read: dict[str, int]
    is_leaving: bool = False
    has_left: bool = False
    _rebalanced: dict[str, None] = field(default_factory=dict)

    async def run(self) -> None:
        plan, chance = self.plan, self.client.random
        auto_commit = plan.auto_commits[self.number % len(plan.auto_commits)]
        consumer = Consumer(
            self.client.bootstrap,
            group=GROUP,
            instance_id=f"place {self.place}" if plan.static else None,
            assignor=plan.assignor,
            auto_commit=auto_commit,
            auto_commit_interval_ms=plan.commit_interval_ms,
            max_poll_interval_ms=plan.poll_interval_ms,
            **self.client.seams,
        )
        watch_commits(consumer, self.client)
        async with consumer:
            await self._subscribe(consumer)
            while not self.is_leaving:
                await self._poll(consumer)
                if not auto_commit and chance.random() < _COMMITS_BY_HAND:
                    await self._commit(consumer)
        self.has_left = True

    async def _subscribe(self, consumer: Consumer) -> None:
        operation = self.client.invoke(Subscribe((self.topic,), GROUP))
        self.client.complete(operation, Outcome.OK)  # from now on it may be given something
        while not self.is_leaving:
            try:
                await consumer.subscribe(
                    self.topic, on_assigned=self._others, on_revoked=self._others, on_lost=self._others
                )
            except DohleError as failure:
                if failure.definite and not failure.retriable and not isinstance(failure, _LOST):
                    raise
                await self.client.clock.sleep(_RETRY_S)
            else:
                return

    async def _poll(self, consumer: Consumer) -> None:
        chance = self.client.random
        operation = self.client.invoke(Poll())
        records = await consumer.batch(chance.choice(_POLL_RECORDS), _POLL_MS)
        before, self._rebalanced = self._rebalanced, {}  # what happens from now on concerns the next poll, too
        slowest_s = self.plan.slowest_s if chance.random() < _BUSY else 0.1
        await self.client.clock.sleep(chance.uniform(0, slowest_s))
        self._dealt_with(operation, records, tuple({**before, **self._rebalanced}))

    def _dealt_with(self, operation: Operation, records: list[ConsumerRecord], rebalanced: tuple[str, ...]) -> None:
        logs: dict[str, list[tuple[int, str]]] = {}
        for record in records:
            log = str(TopicPartition(record.topic, record.partition))
            logs.setdefault(log, []).append((record.offset, (record.value or b"").decode()))
            self.read[log] = max(self.read.get(log, 0), record.offset + 1)
        self.client.complete(operation, Outcome.OK, Poll(logs), rebalanced=rebalanced)

    async def _commit(self, consumer: Consumer) -> None:
        try:
            await consumer.commit()
        except DohleError as failure:
            if not failure.retriable and not isinstance(failure, _LOST):
                raise

    def _others(self, partitions: list[TopicPartition]) -> None:
        self._rebalanced.update(dict.fromkeys(map(str, partitions)))
