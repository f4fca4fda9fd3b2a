"""Partitions: links that carry nothing, in the shapes in which networks break."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from random import Random

from dohle.testing.chaos.fault import Arguments, Effect, Fault
from dohle.testing.chaos.faults.traffic import links_in
from dohle.testing.chaos.world import Link, LinkRule, World, others

_CUT = LinkRule(cut=True)


class Cut(Fault):
    """A fault that cuts links. Its effect: what did not get through."""

    needs = frozenset(("links",))
    takes_nodes = True

    def __init__(self, world: World, arguments: Arguments) -> None:
        super().__init__(world, arguments)
        self._before = 0
        self._lost = 0

    @abstractmethod
    async def links(self) -> Iterable[Link]:
        """Returns what is to be cut."""

    async def begin(self) -> None:
        links = list(await self.links())
        self._before = self._count()
        await self.world.links.impose(self, dict.fromkeys(links, _CUT))

    async def heal(self) -> None:
        self._lost = self._count() - self._before
        await self.world.links.lift(self)

    async def effect(self) -> Effect:
        return Effect(self._lost, "packets dropped" if "packets" in self.world.means else "bytes held back")

    def _count(self) -> int:
        counts = self.world.links.counts()
        return counts.dropped_packets if "packets" in self.world.means else counts.held_bytes


def both_ways(ones: Iterable[int], others: Iterable[int]) -> Iterator[Link]:
    """Yields the links between two groups."""
    far = list(others)
    for one in ones:
        for other in far:
            yield one, other
            yield other, one


class Partition(Cut):
    """Some nodes and the rest hear nothing of each other."""

    name = "partition"

    @classmethod
    def draw(cls, chance: Random, nodes: tuple[int, ...]) -> Arguments:
        return {"nodes": sorted(chance.sample(nodes, chance.randint(1, max(1, len(nodes) // 2))))}

    async def links(self) -> Iterable[Link]:
        alone = self.arguments["nodes"]
        return both_ways(alone, others(self.world.nodes, *alone))


class OneWayCut(Cut):
    """What some send others does not arrive, and what these send them does."""

    name = "one-way-cut"

    @classmethod
    def draw(cls, chance: Random, nodes: tuple[int, ...]) -> Arguments:
        one, *rest = chance.sample(nodes, len(nodes))
        rest = rest[: chance.choice((1, len(rest)))]
        deaf = chance.random() < 0.5
        return {"links": [[other, one] if deaf else [one, other] for other in rest]}

    async def links(self) -> Iterable[Link]:
        return links_in(self.arguments)


class Bridge(Cut):
    """Two halves that hear nothing of each other, and one node that both hear."""

    name = "bridge"

    @classmethod
    def draw(cls, chance: Random, nodes: tuple[int, ...]) -> Arguments:
        return {"nodes": chance.sample(nodes, len(nodes))}

    async def links(self) -> Iterable[Link]:
        """The first of the nodes is the bridge, the others are halved in their order."""
        _, *rest = self.arguments["nodes"]
        half = len(rest) // 2
        return both_ways(rest[:half], rest[half:])


class Ring(Cut):
    """Each hears some of the others, none hears all, and no two hear the same.

    Of five nodes each is joined with its two neighbours: a majority with itself. Of three each hears the one before it
    alone, and is heard by the one behind it.
    """

    name = "ring"

    @classmethod
    def draw(cls, chance: Random, nodes: tuple[int, ...]) -> Arguments:
        return {"nodes": chance.sample(nodes, len(nodes))}

    async def links(self) -> Iterable[Link]:
        ring = self.arguments["nodes"]
        kept = {(node, ring[(place + 1) % len(ring)]) for place, node in enumerate(ring)}
        if len(ring) > 3:
            kept |= {(target, source) for source, target in kept}
        return [(one, other) for one in ring for other in ring if one != other and (one, other) not in kept]


class IsolatedLeader(Cut):
    """Who leads a partition, or is the controller, when it begins is cut off from the other nodes, not from clients."""

    name = "isolated-leader"

    @classmethod
    def draw(cls, chance: Random, nodes: tuple[int, ...]) -> Arguments:  # noqa: ARG003 - it takes whatever node
        """-1: the controller; else the place of a partition among all, over and over."""
        return {"partition": chance.choice((-1, chance.randrange(100)))}

    async def links(self) -> Iterable[Link]:
        leader = await self._leader()
        return () if leader < 0 else both_ways((leader,), others(self.world.nodes, leader))

    async def _leader(self) -> int:
        async with self.world.view() as view:
            state = await view.state()
        if state is None:
            return -1
        place = self.arguments["partition"]
        names = sorted(state.partitions)
        if place < 0 or not names:
            return state.controller
        return state.partitions[names[place % len(names)]].leader
