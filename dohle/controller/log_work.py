"""LogWork: what is to be done on the metadata log, in order, one thing at a time.

Bounded by what asks for it: appends by the window of the leader, reads by one a voter. Commits have no such bound while
a read or a truncation hangs with the disk, so one that follows another takes its place.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

from dohle.raft.effects import Append, AppendNoOp, Committed, InstallSnapshot, LeaderReady, ReadEntries, Truncate


@dataclass(frozen=True, slots=True)
class CutBelow:
    """Let the log begin at `offset`: a snapshot stands for what lies below."""

    offset: int


LogEffect: TypeAlias = (
    Truncate | Append | AppendNoOp | ReadEntries | InstallSnapshot | CutBelow | Committed | LeaderReady
)


class LogWork:
    """Filled by whoever carries out Raft's effects, emptied by one task."""

    def __init__(self) -> None:
        self._effects: deque[LogEffect] = deque()
        self._there = asyncio.Event()

    def __len__(self) -> int:
        return len(self._effects)

    def put(self, effect: LogEffect) -> None:
        if isinstance(effect, Committed) and self._effects and isinstance(self._effects[-1], Committed):
            self._effects[-1] = effect
        else:
            self._effects.append(effect)
        self._there.set()

    async def next(self) -> LogEffect:
        """Returns the oldest effect, once there is one."""
        while not self._effects:
            self._there.clear()
            await self._there.wait()
        return self._effects.popleft()
