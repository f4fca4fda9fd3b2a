"""Forker: a simulated client that forks a topic, reads both as far as they are to be the same, and writes to the fork.

What must not happen: that a fork lacks a record that its source has below the cut, or has another one; that one of a
compacted topic does not show what its source may show there; and that a fork loses, whatever becomes of its source,
what it once had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dohle.client.admin import Admin
from dohle.client.consumer import Consumer
from dohle.client.producer import Producer
from dohle.client.values import ForkedTopic
from dohle.model.errors import (
    DamagedReplica,
    DohleError,
    InvalidReplicaAssignment,
    OffsetOutOfRange,
    ReassignmentInProgress,
    TopicAlreadyExists,
    UnknownTopicOrPartition,
    UnsupportedVersion,
)
from dohle.model.ids import TopicPartition
from dohle.testing.clients.overwriter import HEADER, Compacted
from dohle.testing.clients.overwriter import TOPIC as COMPACTED_TOPIC
from dohle.testing.clients.sim_client import SimClient
from dohle.testing.history.last_values import Found, LastValues

PREFIX = "fork"
_REQUEST_TIMEOUT_MS = 15_000
_LOOK_UP_S = 1.0
_POLL_MS = 500
_MOST_TRIES = 20
_KEPT = 2
_FAR_BACK = 60
_FAR_BACK_MS = 10_000
_EXPECTED = (
    DamagedReplica,  # the leader's, and whoever else may lead has not taken over yet
    InvalidReplicaAssignment,  # a broker drains
    OffsetOutOfRange,  # it was deleted meanwhile
    ReassignmentInProgress,
    TopicAlreadyExists,
    UnknownTopicOrPartition,  # who answers has not heard of the topic
    UnsupportedVersion,  # nodes are being upgraded
)

_Read = dict[TopicPartition, dict[int, Found]]
"""By partition and offset."""


@dataclass(frozen=True, slots=True)
class _Fork:
    """One that is there. `read`: what it had below the cut when it was made, nothing where that could not be read."""

    made: ForkedTopic
    source: str
    read: _Read


@dataclass(slots=True)
class Forker:
    """Works on forks of `topic`, and of the compacted topic, if it is to.

    `forked` counts those that came to be, `compared` records that were found in a fork and its source.
    """

    client: SimClient
    topic: str
    every_s: float
    compacted: Compacted | None
    values: LastValues
    forked: int = 0
    compared: int = 0
    _begun: int = 0
    _there: list[_Fork] = field(default_factory=list)

    async def run(self, over: Callable[[], bool]) -> None:
        chance, clock = self.client.random, self.client.clock
        async with Admin(self.client.bootstrap, request_timeout_ms=_REQUEST_TIMEOUT_MS, **self.client.seams) as admin:
            while not over():
                until = clock.now() + chance.expovariate(1 / self.every_s)
                while clock.now() < until and not over():
                    await clock.sleep(_LOOK_UP_S)
                try:
                    await self._fork(admin, over)
                except DohleError as error:
                    if error.definite and not error.retriable and not isinstance(error, _EXPECTED):
                        raise

    async def judge(self, starts: Callable[[], Mapping[str, int]]) -> None:
        """Reads the forks that are left once more, after all is healed. `starts`: by log, the greatest offset at which
        it began."""
        for fork in self._there:
            if not fork.read:
                continue
            found = await self._read(fork.made.name, fork.made.ends, lambda: False)
            assert found, f"{fork.made.name} cannot be read"
            for name, records in fork.read.items():
                stay = self._stay(fork, records)
                begins, here = starts().get(str(name), 0), found[name]
                gone = [one for offset, one in stay.items() if offset >= begins and here.get(offset) != one]
                assert not gone, f"{name} was forked with {gone[:3]}, and has lost {len(gone)} of {len(stay)} since"

    def _stay(self, fork: _Fork, records: Mapping[int, Found]) -> dict[int, Found]:
        """Returns what nothing but retention may take from a fork: nobody writes these keys to it."""
        if fork.source == self.topic:
            return dict(records)
        last = {one.key: one for one in records.values()}
        return {one.offset: one for one in last.values() if one.value is not None}

    async def _fork(self, admin: Admin, over: Callable[[], bool]) -> None:
        self._begun += 1
        name = f"{PREFIX}{self._begun}"
        source = COMPACTED_TOPIC if self.compacted is not None and self._begun % 2 else self.topic
        made = await self._made(admin, source, name)
        self.forked += 1
        read = await self._read(name, made.ends, over)
        if source == self.topic:
            await self._compare(made, read, over)
        else:
            self._look_at_last_values(made, read)
        await self._write(name)
        self._there.append(_Fork(made, source, read))
        if len(self._there) > _KEPT:
            await admin.delete_topic(self._there.pop(0).made.name)

    async def _made(self, admin: Admin, source: str, name: str) -> ForkedTopic:
        chance, wall_ms = self.client.random, self.client.clock.wall_ms()
        where = "now" if source == COMPACTED_TOPIC else chance.choice(("now", "now", "offset", "time"))
        if where == "time":
            return await admin.fork_topic(source, name, timestamp_ms=wall_ms - chance.randrange(_FAR_BACK_MS))
        if where == "now":
            return await admin.fork_topic(source, name)
        async with self._consumer() as consumer:
            await consumer.assign(source)
            ends = await consumer.end_offsets()
        offsets = {one.partition: max(0, end - chance.randrange(_FAR_BACK)) for one, end in ends.items()}
        return await admin.fork_topic(source, name, offsets=offsets)

    async def _compare(self, made: ForkedTopic, of_fork: _Read, over: Callable[[], bool]) -> None:
        of_source = await self._read(self.topic, made.ends, over)
        try:
            starts = await self._starts()
        except DohleError:  # nobody answers now
            return
        for name, records in of_fork.items():
            of = TopicPartition(self.topic, name.partition)
            source = of_source.get(of, {})
            # some may have been deleted while the source was read
            begins = max(min(records, default=0), min(source, default=0), starts.get(of, 0))
            here = {offset: one for offset, one in records.items() if offset >= begins}
            there = {offset: one for offset, one in source.items() if offset >= begins}
            if not here or not there:
                continue  # nothing was read, or all is deleted there by now
            pairs = [(here.get(offset), there.get(offset)) for offset in sorted({*here, *there})]
            differ = [pair for pair in pairs if pair[0] != pair[1]]
            assert not differ, (
                f"{name} was forked at {made.ends.get(name.partition)} and differs from {begins} on in {len(differ)}"
                f" records from its source: {differ[:3]}"
            )
            self.compared += len(here)

    def _look_at_last_values(self, made: ForkedTopic, read: _Read) -> None:
        """Of what is compacted a fork has what its source had, which compactions since then may have taken there."""
        assert self.compacted is not None
        for name, records in read.items():
            cut = made.ends.get(name.partition)
            if cut is None:  # another controller took over meanwhile: nobody says where it was cut
                continue
            log = str(TopicPartition(COMPACTED_TOPIC, name.partition))
            found = list(records.values())
            complaints = list(self.values.never_written(log, found))
            if not self.compacted.is_retained_little:  # else what is missing may have been let go
                complaints += self.values.not_the_last(log, found, 0, cut=cut, may_be_late=True)
            assert not complaints, f"{name}, forked at {cut}: " + "\n".join(complaints)
            self.compared += len(found)

    async def _starts(self) -> dict[TopicPartition, int]:
        async with self._consumer() as consumer:
            await consumer.assign(self.topic)
            return await consumer.beginning_offsets()

    async def _read(self, topic: str, ends: Mapping[int, int], over: Callable[[], bool]) -> _Read:
        """Returns what lies below `ends`; nothing of what cannot be read now."""
        found: _Read = {}
        for _ in range(_MOST_TRIES):
            if over():
                return {}
            try:
                async with self._consumer() as consumer:
                    await consumer.assign(topic)
                    await consumer.seek_to_beginning()
                    found = {one: {} for one in consumer.assignment()}
                    left = [one for one in found if ends.get(one.partition)]
                    while left and not over():
                        for record in await consumer.batch(timeout_ms=_POLL_MS):
                            if record.offset < ends.get(record.partition, 0):
                                token = dict(record.headers).get(HEADER) or b""
                                one = Found(record.offset, record.key or b"", record.value, token)
                                found[TopicPartition(topic, record.partition)][record.offset] = one
                        left = [one for one in left if await consumer.position(one) < ends[one.partition]]
                    return {} if left else found
            except DohleError:  # nobody answers, or who does has not heard of the topic
                await self.client.clock.sleep(_LOOK_UP_S)
        return {}

    async def _write(self, name: str) -> None:
        """Has the fork grow, so that there is something to lose that its source does not have."""
        async with Producer(
            self.client.bootstrap,
            linger_ms=0,
            delivery_timeout_ms=4_000,
            request_timeout_ms=2_000,
            max_block_ms=2_000,
            **self.client.seams,
        ) as producer:
            for number in range(self.client.random.randint(0, 10)):
                token = b"%s:%d" % (name.encode(), number)
                await producer.send(name, token, key=token)

    def _consumer(self) -> Consumer:
        return Consumer(self.client.bootstrap, request_timeout_ms=5_000, **self.client.seams)
