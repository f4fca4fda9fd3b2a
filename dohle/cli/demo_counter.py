"""One member of the demo's group, as a process: counts its flights by carrier, exactly, even if it is killed.

What it has counted of a partition stands in the metadata of the offset up to which it has: both are committed in one
record, so whoever has the partition next goes on from counts that fit. A member that was put out of the group commits
nothing any more.
"""

from __future__ import annotations

import json
import sys
from collections import Counter

from dohle.cli.session import run_async
from dohle.client.consumer import Consumer
from dohle.client.fetched_batch import FetchedBatch
from dohle.model.errors import DohleError, InvalidRequest
from dohle.model.group_errors import FencedMemberEpoch, StaleMemberEpoch, UnknownMember
from dohle.model.ids import TopicPartition

GROUP = "carriers"
_NOT_MINE = (FencedMemberEpoch, InvalidRequest, StaleMemberEpoch, UnknownMember)


class CarrierCounter:
    """Counts what its consumer is assigned."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._counts: dict[TopicPartition, Counter[str]] = {}

    async def run(self, topic: str) -> None:
        """Counts for ever."""
        await self._consumer.subscribe(
            topic, on_assigned=self._assigned, on_revoked=self._given_up, on_lost=self._given_up
        )
        async for batch in self._consumer.batches():
            await self._count(batch)

    async def _assigned(self, partitions: list[TopicPartition]) -> None:
        for name, committed in (await self._consumer.committed(*partitions)).items():
            self._counts[name] = counts_in("" if committed is None else committed.metadata)
            self._consumer.seek(name, 0 if committed is None else committed.offset)

    def _given_up(self, partitions: list[TopicPartition]) -> None:
        for name in partitions:
            self._counts.pop(name, None)

    async def _count(self, batch: FetchedBatch) -> None:
        name = TopicPartition(batch.topic, batch.partition)
        if name not in self._counts:  # it was taken away meanwhile
            return
        counts = self._counts[name] + Counter((record.key or b"").decode() for record in batch.records())
        try:
            await self._consumer.commit({name: batch.next_offset}, metadata=json.dumps(counts))
        except _NOT_MINE:  # another member has it, and goes on from what was committed before
            self._counts.pop(name, None)
        else:
            self._counts[name] = counts


def counts_in(metadata: str) -> Counter[str]:
    """Returns the counts that were committed with an offset."""
    return Counter(json.loads(metadata) if metadata else {})


async def _run(bootstrap: str, topic: str, name: str) -> None:
    async with Consumer(bootstrap, group=GROUP, client_id=name, auto_commit=False, max_wait_ms=100) as consumer:
        await CarrierCounter(consumer).run(topic)


if __name__ == "__main__":
    try:
        run_async(_run(*sys.argv[1:]))
    except DohleError as error:
        sys.exit(f"dohle: {error.message}")
