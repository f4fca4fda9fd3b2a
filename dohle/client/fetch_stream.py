"""FetchStream: what a consumer and one broker say to each other.

One request is under way at a time; it names every partition that may be read there, and waits at the broker while
there is nothing new. While the reader works on one answer the next one travels, until as much is read ahead as this
stream may hold; then it waits for the reader.

A partition that comes to this broker, or to another offset, while a request is waiting is not kept waiting with it: a
moment later the stream is broken off and the next request names it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from dohle.client.assigned_partition import AssignedPartition
from dohle.client.seams import Seams
from dohle.model.errors import DohleError, NetworkException, RequestTimedOut
from dohle.model.ids import PartitionKey, TopicId
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import broker_pb2
from dohle.runtime.network import Address, Lane, Stream
from dohle.runtime.tasks import Tasks

_FETCH: Final = methods_of(broker_pb2.DESCRIPTOR.services_by_name["Broker"])["Fetch"]
_PATIENCE_S: Final = 0.02
"""How long partitions that a waiting request does not name let it wait."""

_Fetches = Stream[broker_pb2.FetchRequest, broker_pb2.FetchResponse]


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """See `Consumer` for what each means."""

    max_wait_ms: int
    min_bytes: int
    max_bytes: int
    partition_max_bytes: int
    request_timeout_ms: int
    rack: str


class FetchStream:
    """Reads ahead from one broker.

    `partitions` gives those that are read there now, `room_bytes` how much more may be read ahead here; `on_answer`
    takes each partition's answer, `on_lost` hears which partitions got none, `on_doubt` that the broker may be cut off
    and not know who leads.
    """

    def __init__(
        self,
        address: Address,
        settings: FetchSettings,
        seams: Seams,
        tasks: Tasks,
        *,
        partitions: Callable[[], Iterable[AssignedPartition]],
        room_bytes: Callable[[], int],
        on_answer: Callable[[AssignedPartition, broker_pb2.FetchedPartition], None],
        on_lost: Callable[[list[AssignedPartition], DohleError], None],
        on_doubt: Callable[[], None],
    ) -> None:
        self.address = address
        self._settings = settings
        self._seams = seams
        self._partitions = partitions
        self._room_bytes = room_bytes
        self._on_answer = on_answer
        self._on_lost = on_lost
        self._on_doubt = on_doubt
        self._stream: _Fetches | None = None
        self._asked: dict[PartitionKey, tuple[AssignedPartition, int]] = {}
        self._correlation = 0
        self._turn = 0
        self._broken_off = False
        self._wake = asyncio.Event()
        self._task = tasks.spawn(self._run(), f"fetch from {address}")

    def wake(self) -> None:
        """Says that partitions, offsets or room may have changed."""
        self._wake.set()
        if self._asked and self._stream is not None and self._unasked():
            asyncio.get_running_loop().call_later(_PATIENCE_S, self._break_off, self._correlation)

    def room_freed(self) -> None:
        """Says that there is more room than before."""
        self._wake.set()

    def close(self) -> None:
        self._task.cancel()
        if self._stream is not None:
            self._stream.close()

    def _unasked(self) -> bool:
        """Whether the request under way leaves out something that could be read."""
        return any(
            (asked := self._asked.get(partition.key)) is None or asked[1] != partition.generation
            for partition in self._readable()
        )

    def _break_off(self, correlation: int) -> None:
        if correlation == self._correlation and self._asked and self._stream is not None and self._unasked():
            self._broken_off = True
            self._stream.close()

    async def _run(self) -> None:
        while True:
            request = self._request()
            if request is None:
                await self._wake.wait()
                self._wake.clear()
                continue
            try:
                answer = await self._exchange(request)
            except DohleError as failure:
                self._give_up(failure)
                continue
            asked, self._asked = self._asked, {}
            for fetched in answer.partitions:
                key = PartitionKey(TopicId(fetched.topic_id), fetched.partition)
                partition, generation = asked.get(key, (None, 0))
                if partition is not None and partition.generation == generation:
                    self._on_answer(partition, fetched)
            if answer.in_doubt:
                self._on_doubt()

    def _readable(self) -> list[AssignedPartition]:
        now = self._seams.clock.now()
        return [partition for partition in self._partitions() if partition.fetchable and now >= partition.retry_at]

    def _request(self) -> broker_pb2.FetchRequest | None:
        """Returns what to ask next; None while there is no partition to read, or no room."""
        room_bytes = min(self._room_bytes(), self._settings.max_bytes)
        readable = self._readable() if room_bytes > 0 else []
        if not readable:
            return None
        self._turn = (self._turn + 1) % len(readable)  # answers fill up from the front, so each is first in turn
        readable = readable[self._turn :] + readable[: self._turn]
        self._asked = {partition.key: (partition, partition.generation) for partition in readable}
        self._correlation += 1
        now = self._seams.clock.now()
        return broker_pb2.FetchRequest(
            correlation=self._correlation,
            max_wait_ms=self._settings.max_wait_ms,
            min_bytes=self._settings.min_bytes,
            max_bytes=room_bytes,
            partitions=[
                broker_pb2.FetchPartition(
                    topic_id=partition.key.topic_id,
                    partition=partition.key.partition,
                    fetch_offset=partition.fetch_offset,
                    max_bytes=min(self._settings.partition_max_bytes, room_bytes),
                    current_leader_epoch=partition.leader_epoch,
                    rack=self._settings.rack if partition.preferred.is_wanted(now) else "",
                )
                for partition in readable
            ],
        )

    async def _exchange(self, request: broker_pb2.FetchRequest) -> broker_pb2.FetchResponse:
        if self._stream is None:
            self._stream = self._seams.network.stream(self.address, _FETCH, lane=Lane.CLIENT)
        stream = self._stream
        try:
            async with asyncio.timeout((self._settings.max_wait_ms + self._settings.request_timeout_ms) / 1000):
                await stream.send(request)
                answer = await stream.receive()
        except TimeoutError:
            raise RequestTimedOut(f"{self.address} did not answer within request_timeout_ms") from None
        if answer is None:
            raise NetworkException(f"{self.address} ended the stream")
        if answer.correlation != request.correlation:
            raise NetworkException(f"{self.address} answered out of turn")
        return answer

    def _give_up(self, failure: DohleError) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        asked, self._asked = self._asked, {}
        broken_off, self._broken_off = self._broken_off, False
        if not broken_off:
            self._on_lost([partition for partition, _ in asked.values()], failure)
