"""Lags of consumer groups: how many records a group has still to read of a partition, and how old the next one is.

The coordinator measures them: it asks each leader, for all of its partitions at once, how far the log goes beyond what
is committed. That is in memory there; the time of the record that comes next has to be read, and is asked for once as
long as the offset stays. Whoever asks for one group has it measured then. Metrics and lists show what is measured every
few seconds of all groups coordinated here, with a bound on positions and on times: each has its turn. Where a group has
gone on since its last turn, the time known from then is that of an older record: a lag is never shown too small.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any, Final, NamedTuple, TypeVar

from dohle.broker.positions import MOST_READS, Positions, ReaderPosition, Surrounding
from dohle.broker.replicas import LISTENER
from dohle.broker.surroundings import Surroundings
from dohle.model.errors import DohleError, LeaderNotAvailable, UnknownTopicOrPartition, error_for
from dohle.model.ids import NodeId, PartitionKey, TopicPartition
from dohle.model.image import ClusterImage
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import broker_pb2
from dohle.runtime.network import Address, Lane
from dohle.runtime.tasks import turn

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Any)

_DESCRIBE: Final = methods_of(broker_pb2.DESCRIPTOR.services_by_name["Broker"])["DescribePositions"]
_CALL_S: Final = 1.0
_MOST_AT_ONCE: Final = MOST_READS
"""Positions in one question: as many as are answered with their times."""
NO_OFFSET: Final = -1
MOST_MEASURED: Final = 5000
"""Positions that are measured every few seconds, over all groups coordinated here; the rest comes the next time."""
MOST_TIMES: Final = 1000
"""Times that are read for them."""
_GROUPS_IN_A_TURN: Final = 10
_POSITIONS_IN_A_TURN: Final = 500
"""What the loop may be kept from other work by."""


class Position(NamedTuple):
    """What a group goes on from in a partition; `offset` NO_OFFSET: nothing is committed."""

    name: TopicPartition
    offset: int


@dataclass(frozen=True, slots=True)
class Lag:
    """Of one position; `records` and `next_ms` are None where nothing is committed.

    `next_ms`: the time of the next record to read, None also if there is none, or if it is not known yet.
    """

    log_start_offset: int
    high_watermark: int
    records: int | None
    next_ms: int | None

    def age_ms(self, now_ms: int) -> int | None:
        """Returns how old the next record is, 0 if there is none; None where that is not known."""
        if self.records == 0:
            return 0
        return None if self.next_ms is None else max(0, now_ms - self.next_ms)


Measured = Mapping[Position, Lag | DohleError]
OffsetsOfGroups = Mapping[str, Sequence[Position]]


class GroupLags:
    """Those of the groups that one broker coordinates. `offsets` returns what they go on from."""

    def __init__(
        self,
        surroundings: Surroundings,
        positions: Positions,
        image: Callable[[], ClusterImage],
        offsets: Callable[[], Awaitable[OffsetsOfGroups]],
    ) -> None:
        self.by_group: dict[str, dict[Position, Lag | DohleError]] = {}
        self._surroundings = surroundings
        self._positions = positions
        self._image = image
        self._offsets = offsets
        self._times: dict[tuple[PartitionKey, int], int] = {}
        self._last_group = ""
        self._last_timed = ("", TopicPartition("", -1))

    async def run(self, interval_s: float) -> None:
        """Measures all, again and again."""
        while True:
            await self._surroundings.clock.sleep(interval_s)
            await self.measure_all()

    async def measure_all(self) -> None:
        """Measures the groups that are coordinated here, as many as may be at once."""
        try:
            groups = await self._offsets()
        except DohleError as error:  # some are being loaded, or nobody is sure who coordinates: what is known stays
            log.debug("lags of groups are not measured: %s", error.message)
            return
        chosen = self._chosen(groups)
        timed = await self._whose_times(chosen)
        measured = await self._measure((one for lags in chosen.values() for one in lags), timed)
        found: dict[str, dict[Position, Lag | DohleError]] = {}
        for number, group_id in enumerate(groups):
            known = self.by_group.get(group_id, {})
            if group_id in chosen:
                older = {one.name: lag.next_ms for one, lag in known.items() if isinstance(lag, Lag)}
                known = {one: _since(measured[one], older.get(one.name)) for one in chosen[group_id]}
                await turn(number, every=_GROUPS_IN_A_TURN)
            found[group_id] = known
        self.by_group = found
        await self._forget_times()

    def _chosen(self, groups: OffsetsOfGroups) -> OffsetsOfGroups:
        """Returns the groups whose turn it is."""
        chosen: dict[str, Sequence[Position]] = {}
        count = 0
        for group_id in _behind(self._last_group, sorted(groups)):
            count += len(groups[group_id])
            if chosen and count > MOST_MEASURED:
                break
            chosen[group_id] = groups[group_id]
            self._last_group = group_id
        return chosen

    async def _whose_times(self, groups: OffsetsOfGroups) -> set[Position]:
        """Returns the positions whose turn it is to have their times asked for."""
        places: dict[tuple[str, TopicPartition], Position] = {}
        for number, group_id in enumerate(sorted(groups)):
            for position in sorted(groups[group_id]):
                if not self._is_timed(position):
                    places[group_id, position.name] = position
            await turn(number, every=_GROUPS_IN_A_TURN)
        asked = list(islice(_behind(self._last_timed, list(places)), MOST_TIMES))
        if asked:
            self._last_timed = asked[-1]
        return {places[place] for place in asked}

    def _is_timed(self, position: Position) -> bool:
        key = self._key(position.name)
        return position.offset < 0 or (key is not None and (key, position.offset) in self._times)

    async def _forget_times(self) -> None:
        keys: set[tuple[PartitionKey | None, int]] = set()
        for number, lags in enumerate(list(self.by_group.values())):
            keys.update((self._key(position.name), position.offset) for position in lags)
            await turn(number, every=_GROUPS_IN_A_TURN)
        self._times = {at: time_ms for at, time_ms in self._times.items() if at in keys}

    async def measure(self, positions: Sequence[Position]) -> Measured:
        """Returns the lag of each position, or what keeps it from being known."""
        return await self._measure(positions, {one for one in positions if not self._is_timed(one)})

    async def _measure(self, positions: Iterable[Position], timed: set[Position]) -> Measured:
        found: dict[Position, Lag | DohleError] = {}
        of_leader: dict[NodeId, list[tuple[Position, PartitionKey]]] = {}
        for number, position in enumerate(dict.fromkeys(positions)):
            await turn(number, every=_POSITIONS_IN_A_TURN)
            try:
                leader, key = self._leader(position.name)
            except DohleError as error:
                found[position] = error
            else:
                of_leader.setdefault(leader, []).append((position, key))
        questions = [self._of_leader(leader, asked, timed) for leader, asked in sorted(of_leader.items())]
        for answers in await asyncio.gather(*questions):
            found.update(answers)
        return found

    def _key(self, name: TopicPartition) -> PartitionKey | None:
        topic = self._image().topic_named(name.topic)
        return None if topic is None else PartitionKey(topic.topic_id, name.partition)

    def _leader(self, name: TopicPartition) -> tuple[NodeId, PartitionKey]:
        topic = self._image().topic_named(name.topic)
        if topic is None or not 0 <= name.partition < len(topic.partitions):
            raise UnknownTopicOrPartition(f"there is no partition {name} any more")
        leader = topic.partitions[name.partition].leader
        if leader < 0:
            raise LeaderNotAvailable(f"{name} has no leader")
        return leader, PartitionKey(topic.topic_id, name.partition)

    async def _of_leader(
        self, leader: NodeId, asked: Sequence[tuple[Position, PartitionKey]], timed: set[Position]
    ) -> Measured:
        found: dict[Position, Lag | DohleError] = {}
        for number, some in enumerate(_in_parts(asked, _MOST_AT_ONCE)):
            await turn(number, every=1)
            wanted = [ReaderPosition(key, position.offset, position in timed) for position, key in some]
            try:
                answers = await self._ask(leader, wanted)
            except DohleError as error:
                found.update(dict.fromkeys((position for position, _ in asked if position not in found), error))
                return found
            for (position, key), answer in zip(some, answers, strict=True):
                found[position] = answer if isinstance(answer, DohleError) else self._lag(position, key, answer)
        return found

    def _lag(self, position: Position, key: PartitionKey, around: Surrounding) -> Lag:
        start, end = around.log_start_offset, around.high_watermark
        if position.offset < 0:
            return Lag(start, end, None, None)
        records = max(0, end - max(position.offset, start))
        at = (key, position.offset)
        if position.offset < start:  # what comes next there changes with the start: it is asked for each time
            self._times.pop(at, None)
            return Lag(start, end, records, around.timestamp_ms)
        if around.timestamp_ms is not None:
            self._times[at] = around.timestamp_ms
        return Lag(start, end, records, self._times.get(at) if records else None)

    async def _ask(self, leader: NodeId, wanted: Sequence[ReaderPosition]) -> Sequence[Surrounding | DohleError]:
        if leader == self._surroundings.me:
            return await self._positions.describe(wanted)
        broker = self._image().brokers.get(leader)
        endpoint = None if broker is None else broker.endpoint(LISTENER)
        if endpoint is None:
            raise LeaderNotAvailable(f"broker {leader}, which leads, cannot be reached")
        request = broker_pb2.DescribePositionsRequest(
            positions=[
                broker_pb2.ReaderPosition(
                    topic_id=one.key.topic_id,
                    partition=one.key.partition,
                    offset=one.offset,
                    wants_time=one.wants_time,
                )
                for one in wanted
            ]
        )
        answer = await self._surroundings.network.call(
            Address(endpoint.host, endpoint.port), _DESCRIBE, request, lane=Lane.CLIENT, timeout_s=_CALL_S
        )
        return [_surrounding(one) for one in answer.positions]


def _since(lag: Lag | DohleError, older_ms: int | None) -> Lag | DohleError:
    """Returns the lag with the time of an older record, where that of the next one was not asked for yet."""
    if isinstance(lag, Lag) and lag.records and lag.next_ms is None:
        return replace(lag, next_ms=older_ms)
    return lag


def _behind(last: T, order: Sequence[T]) -> Iterator[T]:
    """Yields what comes behind `last` in an ascending order, and then the others."""
    begin = bisect_right(order, last)
    return chain(islice(order, begin, None), islice(order, begin))


def _surrounding(described: broker_pb2.DescribedPosition) -> Surrounding | DohleError:
    if described.failure.code:
        return error_for(described.failure.code, described.failure.message)
    return Surrounding(
        described.log_start_offset,
        described.high_watermark,
        described.timestamp_ms if described.HasField("timestamp_ms") else None,
    )


def _in_parts(
    whole: Sequence[tuple[Position, PartitionKey]], size: int
) -> Iterator[Sequence[tuple[Position, PartitionKey]]]:
    for begin in range(0, len(whole), size):
        yield whole[begin : begin + size]
