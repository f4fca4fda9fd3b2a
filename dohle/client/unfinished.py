"""What of a consumer's records is not finished yet, and up to where each partition may be committed therefore.

A reader has finished what it was given when it asks for more, or says so by a commit; until then it may be in the
middle of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Protocol

from dohle.client.assigned_partition import AssignedPartition
from dohle.runtime.clock import Clock


class Unfinished(Protocol):
    """Of one consumer. Positions that are not known yet are None."""

    def finished_to(self, partition: AssignedPartition) -> int | None:
        """Returns the offset below which everything of `partition` that was given away is finished."""
        ...

    def hold(self, partition: AssignedPartition) -> None:
        """`partition` is to be given up, or lost: begins nothing more of it."""
        ...

    def sought(self, partition: AssignedPartition) -> None:
        """The reader goes on elsewhere, whatever it had of `partition`."""
        ...

    def forget(self, partition: AssignedPartition) -> None:
        """`partition` is not this consumer's any more."""
        ...

    async def until_finished(self, partition: AssignedPartition) -> None:
        """Returns when nothing of `partition` is in work."""
        ...

    def busy_since(self) -> float | None:
        """Returns since when, in monotonic seconds, nothing was finished; None where nothing is waited for."""
        ...


class Lent(Unfinished):
    """What one reader has in hand, which takes records and comes back for more."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._from: dict[AssignedPartition, int] = {}  # the first offset that is out
        self._seen_at = clock.now()
        self._waiting = 0
        self._back = asyncio.Event()

    def lend(self, partition: AssignedPartition, offset: int) -> None:
        """The reader takes records of `partition` from `offset` on."""
        self._from.setdefault(partition, offset)

    def give_back(self) -> None:
        """The reader is here: all that it had is finished."""
        self._seen_at = self._clock.now()
        if self._from:
            self._from.clear()
            self._tell()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """The reader is here, and waits for records, or for the group to take it in."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            self._seen_at = self._clock.now()

    def finished_to(self, partition: AssignedPartition) -> int | None:
        return self._from.get(partition, partition.position)

    def hold(self, partition: AssignedPartition) -> None:
        pass  # its consumer gives nothing more of it

    def sought(self, partition: AssignedPartition) -> None:
        if self._from.pop(partition, None) is not None:
            self._tell()

    def forget(self, partition: AssignedPartition) -> None:
        self.sought(partition)

    async def until_finished(self, partition: AssignedPartition) -> None:
        while partition in self._from:
            await self._back.wait()

    def busy_since(self) -> float | None:
        return None if self._waiting else self._seen_at

    def _tell(self) -> None:
        back, self._back = self._back, asyncio.Event()
        back.set()
