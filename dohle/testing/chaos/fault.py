"""Fault: one way of breaking a world, that can be healed, and can prove that it did something."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from dohle.model.errors import ConfigurationError
from dohle.testing.chaos.world import Means, World

Arguments = Mapping[str, Any]
"""What a fault was drawn with, as JSON has it: nodes, links, rates."""


@dataclass(frozen=True)
class Effect:
    """What a fault did. Where a kind of fault never did anything, the run is void: it has shown nothing about it."""

    count: int
    what: str
    """Of what: "dropped packets", "failed fsyncs"."""


class Fault(ABC):
    """A kind of fault is a subclass; an instance is one that happens. See `schedule.Step` for when."""

    name: ClassVar[str]
    """As users write it: letters and hyphens, "one-way-cut"."""
    needs: ClassVar[frozenset[Means]]
    destroys: ClassVar[bool] = False
    """Whether it may take records that a node acknowledged. Only one node at a time may suffer that, and only while all
    others are in sync; the runner waits for that before it begins, and again after it is healed."""
    takes_nodes: ClassVar[bool] = False
    """Whether the nodes in `arguments["nodes"]` are down or unreachable meanwhile."""

    lasts_s: ClassVar[tuple[float, float]] = (3.0, 12.0)
    """From when to when it is healed after it began, as a seed draws it."""

    least_nodes: ClassVar[int] = 1
    """In a world of fewer it cannot be made."""

    def __init__(self, world: World, arguments: Arguments) -> None:
        self.world = world
        self.arguments = arguments

    @classmethod  # noqa: B027 - most need nothing
    def prepare(cls, world: World) -> None:
        """Is called before a world begins in which faults of this kind are to happen: what its nodes must start with.

        Raises ConfigurationError.
        """

    @classmethod
    @abstractmethod
    def draw(cls, chance: Random, nodes: tuple[int, ...]) -> Arguments:
        """Returns arguments for a world of these nodes: always the same keys, and values that JSON has.

        Nodes stand in "nodes", links in "links" as pairs [source, target]: so they can be checked without knowing more.
        """

    @abstractmethod
    async def begin(self) -> None: ...

    @abstractmethod
    async def heal(self) -> None:
        """Undoes it, however far `begin` came; safe to call more than once."""

    @abstractmethod
    async def effect(self) -> Effect:
        """Is asked after `heal`."""


class Kinds:
    """The kinds of fault that a harness knows, by name."""

    def __init__(self, *kinds: type[Fault]) -> None:
        self._kinds = {kind.name: kind for kind in kinds}

    def __iter__(self) -> Iterator[type[Fault]]:
        return iter(self._kinds.values())

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._kinds)

    def named(self, name: str) -> type[Fault]:
        """Raises ConfigurationError, which lists those that there are."""
        if name not in self._kinds:
            raise ConfigurationError(f"there is no fault {name!r}; there are: {', '.join(sorted(self._kinds))}")
        return self._kinds[name]

    def possible(self, world: World) -> dict[str, type[Fault]]:
        """Returns those that this world has the means for."""
        return {kind.name: kind for kind in self if not _lack(kind, world)}

    def impossible(self, world: World) -> dict[str, str]:
        """Returns, by name, why a fault cannot be made here."""
        return {kind.name: lack for kind in self if (lack := _lack(kind, world))}

    def __or__(self, more: Kinds) -> Kinds:
        return Kinds(*self._kinds.values(), *more._kinds.values())


def _lack(kind: type[Fault], world: World) -> str:
    """Returns why a fault of this kind cannot be made in a world, or nothing."""
    reasons = [world.cannot[means] for means in sorted(kind.needs - world.means)]
    if len(world.nodes) < kind.least_nodes:
        reasons.append(f"it takes {kind.least_nodes} nodes, and there are {len(world.nodes)}")
    return "; ".join(reasons)
