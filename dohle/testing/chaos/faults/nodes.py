"""What faults of single nodes have in common: whom they hit, and how a node is had down, and up again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from dohle.testing.chaos.fault import Arguments, Fault
from dohle.testing.chaos.world import World

_POLL_S = 0.01
_PATIENCE_S = 20.0


class NodeFault(Fault):
    """Hits the nodes in `arguments["nodes"]`: one, unless a subclass draws more."""

    @classmethod
    def draw(cls, chance: Random, nodes: tuple[int, ...]) -> Arguments:
        return {"nodes": [chance.choice(nodes)]}

    @property
    def nodes(self) -> Sequence[int]:
        return [int(node) for node in self.arguments["nodes"]]

    @property
    def node(self) -> int:
        [node] = self.nodes
        return node

    @property
    def chance(self) -> Random:
        """What was left open when it was drawn, such as which file, is decided by this: the same each time."""
        return Random(int(self.arguments.get("seed", 0)))


async def killed(world: World, *nodes: int) -> None:
    """Returns once these nodes have ended without a word."""
    world.kill(*running(world, *nodes))
    await ended(world, *nodes)


async def ended(world: World, *nodes: int) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while running(world, *nodes):
            await asyncio.sleep(_POLL_S)


async def up_again(world: World, *nodes: int) -> None:
    """Returns once these nodes serve, those that ran before included."""
    down = [node for node in nodes if world.pid(node) is None]
    if down:
        await world.start(*down)


def running(world: World, *nodes: int) -> list[int]:
    return [node for node in nodes if world.pid(node) is not None]


def log_end(world: World, node: int) -> int:
    """Returns how much a node has printed by now, in bytes."""
    path = world.log_file(node)
    return path.stat().st_size if path.exists() else 0


def complaints(world: World, node: int, since: int, *phrases: str) -> int:
    """Returns how many lines that a node has printed since then hold one of these."""
    path = world.log_file(node)
    if not path.exists():
        return 0
    with path.open("rb") as file:
        file.seek(since)
        return sum(any(phrase.encode() in line for phrase in phrases) for line in file)
