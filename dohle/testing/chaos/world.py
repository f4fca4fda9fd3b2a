"""World: a cluster of real processes, as a harness may break it.

A world has means: what can be broken in it. A fault says which it needs, and is only drawn where they are there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path
from typing import Literal

from dohle.testing.chaos.view import ClusterView, SdkView

Means = Literal["processes", "links", "packets", "files", "disks", "shim", "clocks", "limits", "memory", "members"]
"""What a world lets a fault break.

processes: kill, pause, stop and start. links: cut, delay, stall, throttle and reset what one node sends another.
packets: lose some of them. files: edit a stopped node's. disks: a file system per node, whose power can be cut and
which can be full. shim: calls to the disk that fail or are slow. clocks: each node's own. limits: of
descriptors. memory: a node's own share. members: nodes and replicas come and go.
"""


@dataclass(frozen=True)
class LinkRule:
    """What is wrong with a link from one node to another; of what is said back, the other direction's rule tells."""

    cut: bool = False
    """Nothing arrives, and nobody is told."""
    loss: float = 0.0
    """The share of packets that get lost, 0 to 1; needs the means "packets"."""
    delay_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: int = 0
    """0: as many as the machine can."""


SOUND = LinkRule()


@dataclass(frozen=True)
class LinkCounts:
    """What rules have done since the world began, over all links."""

    dropped_packets: int = 0
    held_bytes: int = 0
    """Bytes that came later than they would have, or never."""
    resets: int = 0


Link = tuple[int, int]
"""From a node to another."""


class Links(ABC):
    """The links between nodes. Clients' own are never touched, unless a subclass says so.

    Faults `impose` rules and `lift` them, so that several can be at work on one link; what comes of them all is `set`.
    """

    async def impose(self, fault: object, rules: Mapping[Link, LinkRule]) -> None:
        """Has all of these in force besides those of other faults, in place of this fault's own before."""
        before = self._imposed.get(fault, {})
        self._imposed[fault] = rules
        await self._settle({**before, **rules})

    async def lift(self, fault: object) -> None:
        """Takes back what a fault imposed, if it did."""
        await self._settle(self._imposed.pop(fault, {}))

    async def _settle(self, links: Iterable[Link]) -> None:
        for link in links:
            rules = [imposed[link] for imposed in self._imposed.values() if link in imposed]
            await self.set(*link, reduce(_both, rules, SOUND))

    @cached_property
    def _imposed(self) -> dict[object, Mapping[Link, LinkRule]]:
        return {}

    @abstractmethod
    async def set(self, source: int, target: int, rule: LinkRule) -> None:
        """Has `rule` in force for what `source` sends `target`, in place of the one before; SOUND ends it."""

    @abstractmethod
    async def reset(self, source: int, target: int) -> None:
        """Ends the connections that `source` has opened to `target`, as a firewall does that forgot them."""

    @abstractmethod
    def counts(self) -> LinkCounts: ...

    @abstractmethod
    async def heal(self) -> None:
        """Ends all rules. Safe to call at any time, more than once."""


def _both(one: LinkRule, other: LinkRule) -> LinkRule:
    """Returns what two rules come to on one link."""
    narrow = [bytes_per_s for bytes_per_s in (one.bytes_per_s, other.bytes_per_s) if bytes_per_s]
    return LinkRule(
        cut=one.cut or other.cut,
        loss=1 - (1 - one.loss) * (1 - other.loss),
        delay_s=one.delay_s + other.delay_s,
        jitter_s=one.jitter_s + other.jitter_s,
        bytes_per_s=min(narrow, default=0),
    )


class World(ABC):
    """Nodes go by their numbers. What a method does to a node lasts until it is undone or healed."""

    nodes: tuple[int, ...]
    means: frozenset[Means]
    cannot: Mapping[Means, str]
    """For each of the means that this world lacks: why, in a sentence that a user may read."""
    folder: Path
    """Where everything of this run lies: data, logs, the history, the report."""
    links: Links

    @cached_property
    def environments(self) -> dict[int, dict[str, str]]:
        """Variables that each start of a node gives it besides, by node; none unless somebody puts them in."""
        return {node: {} for node in self.nodes}

    @abstractmethod
    def bootstrap(self, protocol: Literal["dohle", "kafka"]) -> str:
        """Returns what clients on this machine are given: host:port, separated by commas."""

    def view(self) -> ClusterView:
        """Returns a new one; who asked opens and closes it."""
        return SdkView(self.bootstrap("dohle"), len(self.nodes))

    @abstractmethod
    def data_folder(self, node: int) -> Path: ...

    @abstractmethod
    def log_file(self, node: int) -> Path:
        """Returns the file that has what the node's processes print, of all its starts."""

    @abstractmethod
    def pid(self, node: int) -> int | None:
        """Returns the process of a node that runs, paused or not, or None."""

    @abstractmethod
    async def begin(self) -> None:
        """Makes everything and starts all nodes; returns once each serves."""

    @abstractmethod
    async def end(self) -> None:
        """Ends all processes and takes away what was made outside `folder`. Safe however far `begin` came."""

    # one node

    @abstractmethod
    async def start(self, *nodes: int, environment: Mapping[str, str] | None = None) -> None:
        """Starts nodes that do not run, with these variables and those in `environments`; returns once each serves."""

    @abstractmethod
    async def stop(self, node: int) -> None:
        """Asks a node to end, and waits for it."""

    @abstractmethod
    def kill(self, *nodes: int) -> None: ...

    @abstractmethod
    def pause(self, *nodes: int) -> None: ...

    @abstractmethod
    def resume(self, *nodes: int) -> None: ...

    async def heal(self) -> None:
        """Ends all that is wrong with links and processes, and starts who does not run. Safe to call at any time."""
        await self.links.heal()
        self.resume(*(node for node in self.nodes if self.pid(node) is not None))
        await self.start(*(node for node in self.nodes if self.pid(node) is None))


def others(nodes: Sequence[int], *left_out: int) -> tuple[int, ...]:
    """Returns the nodes but for some."""
    return tuple(node for node in nodes if node not in left_out)
