"""Faults of limits that need no root: a node that may open no more files and connections."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Collection
from random import Random

from dohle.testing.chaos.fault import Arguments, Effect
from dohle.testing.chaos.faults.nodes import NodeFault, up_again
from dohle.testing.chaos.world import World

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""How a client of HTTP/2 begins, with empty SETTINGS: whoever serves that answers at once."""
_ANSWER_PATIENCE_S = 1.0
_AGAIN_S = 1.0
_MOST_CALLERS = 64


class Descriptors(NodeFault):
    """A node may have no more descriptors than it has, and a few to spare; callers come, and take those.

    What counts are callers whose connection the node could not accept.
    """

    name = "descriptors"
    needs = frozenset({"processes", "limits"})

    def __init__(self, world: World, arguments: Arguments) -> None:
        super().__init__(world, arguments)
        self._before: dict[int, tuple[int, int]] = {}
        self._calling: asyncio.Task[None] | None = None
        self._unanswered = 0

    @classmethod
    def draw(cls, chance: Random, nodes: tuple[int, ...]) -> Arguments:
        return {**super().draw(chance, nodes), "spare": chance.choice((0, 1, 4, 16))}

    async def begin(self) -> None:
        await up_again(self.world, self.node)
        pid = self.world.pid(self.node)
        assert pid is not None, "it was started"
        self._before[pid] = soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
        lowest = first_beyond(used, int(self.arguments["spare"]))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(lowest, soft), hard))
        self._calling = asyncio.create_task(self._call())

    async def _call(self) -> None:
        """Keeps all its connections: what was to spare is taken by them."""
        place = self.world.bootstrap("dohle").split(",")[self.world.nodes.index(self.node)]
        host, _, port = place.rpartition(":")
        writers: list[asyncio.StreamWriter] = []
        try:
            while len(writers) < _MOST_CALLERS:
                try:
                    reader, writer = await asyncio.open_connection(host, int(port))
                except OSError:  # it has ended
                    await asyncio.sleep(_AGAIN_S)
                    continue
                writers.append(writer)
                if not await _is_answered(reader, writer):
                    self._unanswered += 1
                    await asyncio.sleep(_AGAIN_S)
        finally:
            for writer in writers:
                writer.close()

    async def heal(self) -> None:
        for pid, limits in self._before.items():
            if self.world.pid(self.node) == pid:
                resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        if self._calling is not None:
            self._calling.cancel()
            await asyncio.gather(self._calling, return_exceptions=True)
        await up_again(self.world, self.node)

    async def effect(self) -> Effect:
        return Effect(self._unanswered, "connections that a node had no descriptor for")


async def _is_answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Whether the far side has the connection. Without a descriptor it leaves it waiting, or drops it at once."""
    try:
        async with asyncio.timeout(_ANSWER_PATIENCE_S):
            writer.write(_PREFACE)
            await reader.readexactly(1)
    except (OSError, asyncio.IncompleteReadError):  # TimeoutError is an OSError
        return False
    return True


def first_beyond(used: Collection[int], spare: int) -> int:
    """Returns the number below which exactly `spare` are not used."""
    number, free = 0, 0
    while free < spare or number in used:
        free += number not in used
        number += 1
    return number
