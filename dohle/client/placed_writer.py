"""PlacedWriter: writes a partition whose batches keep their offsets, as an import does, with acks=all.

Each batch is appended at its own offset or not at all, so that a repeated one does no harm. Whatever goes wrong on the
way, the writer asks how far the partition is committed and goes on from there: the source gives the same batches again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from random import Random
from types import TracebackType
from typing import Final

from dohle.client.assigned_partition import AssignedPartition
from dohle.client.backoff import Backoff
from dohle.client.metadata_cache import MetadataCache
from dohle.client.offset_lookup import END, OffsetLookup
from dohle.client.seams import Seams, parse_bootstrap
from dohle.model.batch import read_header
from dohle.model.errors import (
    DohleError,
    InvalidRequest,
    LeaderNotAvailable,
    NetworkException,
    OffsetOutOfRange,
    RequestTimedOut,
    error_for,
)
from dohle.model.ids import TopicPartition
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import broker_pb2
from dohle.runtime.clock import Clock
from dohle.runtime.network import Lane, Network, Stream
from dohle.runtime.tasks import Tasks

_PRODUCE: Final = methods_of(broker_pb2.DESCRIPTOR.services_by_name["Broker"])["Produce"]
_ALL: Final = -1
_MOST_UNANSWERED: Final = 64
_MOST_UNANSWERED_BYTES: Final = 8 << 20
_ANSWER_S: Final = 10.0
"""How long a leader may wait for its replicas, and a little less than how long its answer is waited for."""
_GRACE_S: Final = 1.0

Source = Callable[[int], AsyncIterator[bytes]]
"""Yields the batches from an offset on, which is 0 or the end of one of them; always the same ones."""
Progress = Callable[[int], None]
_Requests = Stream[broker_pb2.ProduceRequest, broker_pb2.ProduceResponse]


class PlacedWriter:
    """Writes one partition at a time. It gives up where nothing has moved for `patience_s`."""

    def __init__(
        self,
        bootstrap: str | Sequence[str],
        *,
        patience_s: float,
        network: Network | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        addresses = parse_bootstrap(bootstrap)
        self._seams = Seams.of("dohle-import", network, clock, random)
        self._patience_s = patience_s
        self._failure: BaseException | None = None
        self._tasks = Tasks("import", self._broke)
        self._metadata = MetadataCache(addresses, self._seams, self._tasks)

    async def __aenter__(self) -> PlacedWriter:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tasks.close()
        await self._seams.close()

    def _broke(self, failure: BaseException) -> None:
        self._failure = failure

    async def write(self, name: TopicPartition, source: Source, end_offset: int, moved: Progress) -> None:
        """Returns once all of `source`, up to `end_offset`, is committed; `moved` hears up to which offset that is so.

        Raises InvalidRequest where the partition holds what is not of the source, and what kept it from getting on.
        """
        now = self._seams.clock.now
        topic = await self._metadata.topic(name.topic, self._patience_s)
        partition = AssignedPartition(name, topic.topic_id, END, Backoff(self._seams.random))
        reached, deadline = -1, now() + self._patience_s

        def advanced(offset: int) -> None:
            nonlocal reached, deadline
            if offset > reached:
                reached, deadline = offset, now() + self._patience_s
                partition.backoff.reset()
                moved(offset)

        while True:
            try:
                advanced(await self._end_of(partition))
                if reached > end_offset:
                    raise _something_else(partition, reached)
                await self._send(partition, reached, source(reached), advanced)
                return
            except DohleError as error:
                # a log that ends elsewhere than it is committed to may still be catching up with itself
                if not (error.retriable or isinstance(error, OffsetOutOfRange)) or now() >= deadline:
                    raise
                assert self._failure is None, self._failure
                self._metadata.request_refresh()
                await self._seams.clock.sleep(partition.backoff.next_s())

    async def _end_of(self, partition: AssignedPartition) -> int:
        """Returns up to where the partition is committed, and notes who leads it."""
        topic = self._metadata.view.topics[partition.name.topic]
        if topic.topic_id != partition.key.topic_id or partition.name.partition >= len(topic.partitions):
            raise InvalidRequest(f"{partition.name} is not what it was: the topic was made anew meanwhile")
        known = topic.partitions[partition.name.partition]
        partition.leader, partition.leader_epoch = known.leader, known.leader_epoch
        outcome = (await OffsetLookup(self._metadata, self._seams, 0).once([partition], END))[partition]
        if isinstance(outcome, DohleError):
            raise outcome
        return outcome.offset

    async def _send(
        self, partition: AssignedPartition, offset: int, batches: AsyncIterator[bytes], advanced: Progress
    ) -> None:
        address = self._metadata.view.nodes.get(partition.leader)
        if address is None:
            raise LeaderNotAvailable(f"{partition.name} has no leader that can be reached")
        stream: _Requests = self._seams.network.stream(address, _PRODUCE, lane=Lane.CLIENT)
        unanswered: dict[int, tuple[int, int]] = {}  # correlation -> where the batch ends, its size
        try:
            async for batch in batches:
                header = read_header(batch)
                if header.base_offset != offset:
                    raise _something_else(partition, offset)
                await stream.send(_request(partition, offset, batch))
                unanswered[offset] = (header.next_offset, len(batch))
                offset = header.next_offset
                while len(unanswered) >= _MOST_UNANSWERED or _size(unanswered) >= _MOST_UNANSWERED_BYTES:
                    await _take_answers(stream, unanswered, advanced)
            while unanswered:
                await _take_answers(stream, unanswered, advanced)
        finally:
            stream.close()


def _something_else(partition: AssignedPartition, offset: int) -> DohleError:
    return InvalidRequest(
        f"{partition.name} ends at offset {offset}, where no batch of the source does: it holds something else"
    )


def _request(partition: AssignedPartition, offset: int, batch: bytes) -> broker_pb2.ProduceRequest:
    placed = broker_pb2.ProducePartition(
        topic_id=partition.key.topic_id, partition=partition.key.partition, batch=batch, keeps_offset=True
    )
    timeout_ms = int(_ANSWER_S * 1000)
    return broker_pb2.ProduceRequest(correlation=offset, acks=_ALL, timeout_ms=timeout_ms, partitions=[placed])


def _size(unanswered: dict[int, tuple[int, int]]) -> int:
    return sum(size for _, size in unanswered.values())


async def _take_answers(stream: _Requests, unanswered: dict[int, tuple[int, int]], advanced: Progress) -> None:
    try:
        async with asyncio.timeout(_ANSWER_S + _GRACE_S):
            response = await stream.receive()
    except TimeoutError:
        raise RequestTimedOut(f"the leader did not answer within {_ANSWER_S + _GRACE_S:.0f} s") from None
    if response is None:
        raise NetworkException("the leader ended the stream")
    for answer in response.partitions:
        if answer.failure.code:
            raise error_for(answer.failure.code, answer.failure.message)
        next_offset, _ = unanswered.pop(answer.correlation)
        advanced(next_offset)
