"""World: a cluster of real processes, as a harness may break it.

A world has means: what can be broken in it. A fault says which it needs, and is only drawn where they are there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Means = Literal["processes", "links", "packets", "files", "disks", "shim", "clocks", "limits", "members"]
"""What a world lets a fault break.

processes: kill, pause, stop and start. links: cut, delay, stall, throttle and reset what one node sends another.
packets: lose some of them. files: edit a stopped node's. disks: a file system per node, whose power can be cut and
which can be full. shim: calls to the disk that fail or are slow. clocks: each node's own. limits: of descriptors and
memory. members: nodes and replicas come and go.
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


class Links(ABC):
    """The links between nodes. Clients' own are never touched, unless a subclass says so."""

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


class World(ABC):
    """Nodes go by their numbers. What a method does to a node lasts until it is undone or healed."""

    nodes: tuple[int, ...]
    means: frozenset[Means]
    cannot: Mapping[Means, str]
    """For each of the means that this world lacks: why, in a sentence that a user may read."""
    folder: Path
    """Where everything of this run lies: data, logs, the history, the report."""
    links: Links

    @abstractmethod
    def bootstrap(self, protocol: Literal["dohle", "kafka"]) -> str:
        """Returns what clients on this machine are given: host:port, separated by commas."""

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
        """Starts nodes that do not run, with these variables besides; returns once each serves."""

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
