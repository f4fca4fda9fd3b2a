"""Reader: a simulated client that reads a topic along in one of several ways, each of its polls an operation.

A poll whose records it got is ok. Readers know where they begin, and say so: from there on nothing may be skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum

from dohle.broker.leading import NOBODY_ELSE
from dohle.client.consumer import Consumer, ConsumerRecord
from dohle.model.errors import CorruptMessage, DohleError
from dohle.model.ids import TopicPartition
from dohle.testing.clients.sim_client import SimClient
from dohle.testing.history.operations import Assign, Ends, Outcome, Poll

_RETRY_S = 0.5
_POLL_MS = 2_000
_POLL_RECORDS = (1, 50, 500)
_PAUSE_S = 0.5
_FAR_BACK = 300
"""Who goes back, goes back so many offsets at most: reading everything again and again is dear."""
_MIDDLE_AFTER_S = (5.0, 20.0)
_RESTLESS_POLLS = 12
"""After so many polls on average a restless reader wants to be elsewhere."""


class Wish(Enum):
    """What a reader wants to read."""

    ALL = "all"
    FROM_THE_MIDDLE = "from the middle"
    RESTLESS = "restless"  # other partitions, and other offsets, again and again


class Reader:
    """Reads `topic` until `over`, from replicas in `rack` where there are any."""

    def __init__(self, client: SimClient, topic: str, rack: str = "", *, fetch_wait_ms: int = 500) -> None:
        self._client = client
        self._topic = topic
        self._consumer = Consumer(client.bootstrap, rack=rack, max_wait_ms=fetch_wait_ms, **client.seams)

    async def run(self, wish: Wish, over: Callable[[], bool]) -> None:
        chance = self._client.random
        async with self._consumer:
            partitions = await self._all_partitions()
            if wish is Wish.FROM_THE_MIDDLE:
                await self._client.clock.sleep(chance.uniform(*_MIDDLE_AFTER_S))
                await self._go_anywhere(partitions, len(partitions))
            else:
                await self._assign(dict.fromkeys(partitions, 0))
            while not over():
                if wish is Wish.RESTLESS and chance.randrange(_RESTLESS_POLLS) == 0:
                    await self._go_anywhere(partitions, chance.randint(1, len(partitions)))
                await self._poll(chance.choice(_POLL_RECORDS))
                await self._client.clock.sleep(chance.uniform(0, _PAUSE_S))

    async def read_all(self) -> None:
        """Reads every partition from its beginning to where it ends now. For when all is calm: a leader that is cut
        off and does not know that it is deposed tells a stale end, which is not held against it."""
        async with self._consumer:
            partitions = await self._all_partitions()
            await self._assign(dict.fromkeys(partitions, 0))
            asked = self._client.invoke(Ends())
            ends = await self._consumer.end_offsets(*partitions)
            told = Ends({str(partition): end for partition, end in ends.items()})
            self._client.complete(asked, Outcome.OK, told)
            left = [partition for partition in partitions if ends[partition]]
            while left:
                for record in await self._poll(5_000):
                    partition = TopicPartition(record.topic, record.partition)
                    if record.offset + 1 >= ends[partition] and partition in left:
                        left.remove(partition)
                # nothing comes of one that was emptied
                left = [name for name in left if await self._consumer.position(name) < ends[name]]

    async def _all_partitions(self) -> list[TopicPartition]:
        while True:
            try:
                await self._consumer.assign(self._topic)
            except DohleError:  # nobody answers, or who does has not heard of the topic
                await self._client.clock.sleep(_RETRY_S)
            else:
                return self._consumer.assignment()

    async def _assign(self, starts: dict[TopicPartition, int | None]) -> None:
        operation = self._client.invoke(Assign({str(partition): start for partition, start in starts.items()}))
        await self._consumer.assign(*starts)
        for partition, start in starts.items():
            if start is not None:
                self._consumer.seek(partition, start)
        self._client.complete(operation, Outcome.OK)

    async def _go_anywhere(self, partitions: list[TopicPartition], count: int) -> None:
        """Reads `count` of the partitions from now on: some from where it stood, others from any offset they have."""
        chance = self._client.random
        assigned = self._consumer.assignment()
        chosen = sorted(chance.sample(partitions, count))
        try:
            await self._consumer.assign(*partitions)
            ends = await self._consumer.end_offsets(*chosen)
        except DohleError:
            return
        starts: dict[TopicPartition, int | None] = {}
        for partition in chosen:
            stays_here = partition in assigned and chance.random() < 0.3
            end = ends[partition]
            starts[partition] = None if stays_here else chance.randint(max(0, end - _FAR_BACK), end)
        await self._assign(starts)

    async def _poll(self, most: int) -> list[ConsumerRecord]:
        operation = self._client.invoke(Poll())
        try:
            records = await self._consumer.batch(most, _POLL_MS)
        except CorruptMessage as failure:
            if NOBODY_ELSE not in failure.message:
                raise  # a broker that has checked what it sends never lets that through
            self._client.complete(operation, Outcome.FAIL, why=failure.message)
            await self._client.clock.sleep(_RETRY_S)
            for partition in self._consumer.assignment():
                self._consumer.seek(partition, await self._consumer.position(partition))
            return []
        self._client.complete(operation, Outcome.OK, Poll(_by_log(records)))
        return records


def _by_log(records: Iterable[ConsumerRecord]) -> dict[str, list[tuple[int, str]]]:
    by_log: dict[str, list[tuple[int, str]]] = {}
    for record in records:
        assert record.value is not None, "no writer sends tombstones"
        log = str(TopicPartition(record.topic, record.partition))
        by_log.setdefault(log, []).append((record.offset, record.value.decode()))
    return by_log
