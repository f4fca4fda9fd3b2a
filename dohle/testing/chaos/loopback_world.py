"""LoopbackWorld: nodes on this machine's loopback, which reach each other through proxies. It needs no root.

What it cannot break is said in `cannot`: packets, disks, clocks, memory. All its processes end with this one.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Literal

from dohle.cluster.local import free_base_port
from dohle.cluster.local_state import KAFKA_OFFSET
from dohle.testing.chaos.connection_owner import SocketAddress, owner_of
from dohle.testing.chaos.layout import Place, lay_out
from dohle.testing.chaos.node_process import NodeProcess
from dohle.testing.chaos.proxies import Door, Proxies
from dohle.testing.chaos.watchman import Watchman
from dohle.testing.chaos.world import Means, World

_HTTP_OFFSET = 1000
_HOST = "127.0.0.1"
_DOHLE = (sys.executable, "-m", "dohle")
_SHARED = "processes of one user share {}: python tests/jepsen-lite of Dohle's sources breaks it, as root on Linux"
_OF_LINUX: tuple[Means, ...] = ("limits",) if sys.platform == "linux" else ()
_NOTHING: Mapping[str, object] = MappingProxyType({})


class LoopbackWorld(World):
    """Nodes 1, 2, 3, …: the first three, or five, are controllers, all are brokers. They run this Python's dohle."""

    def __init__(
        self, folder: Path, nodes: int = 3, *, settings: Mapping[str, object] = _NOTHING, seed: int = 0
    ) -> None:
        """`settings` are of all nodes, as configuration files have them."""
        self.folder = folder.resolve()
        self.nodes = tuple(range(1, nodes + 1))
        self.means = frozenset(("processes", "links", "files", "members", *_OF_LINUX))
        self.cannot: Mapping[Means, str] = {
            "packets": _SHARED.format("a network, and what a proxy passes on is bytes, of which none get lost"),
            "disks": _SHARED.format("a disk, and its power"),
            "shim": _SHARED.format("a disk, and what it fails at"),
            "clocks": _SHARED.format("a clock"),
            "limits": "limits of a process that runs are changed on Linux alone",
            "memory": _SHARED.format("a machine, and its memory"),
        }
        self._settings = settings
        self._watchman = Watchman()
        self._base_port = 0
        self._processes: dict[int, NodeProcess] = {}
        self.links: Proxies = Proxies(self._opener, Random(f"{seed} of proxies"))

    # where things are

    def bootstrap(self, protocol: Literal["dohle", "kafka"]) -> str:
        offset = 0 if protocol == "dohle" else KAFKA_OFFSET
        return ",".join(f"{_HOST}:{self._port(node) + offset}" for node in self.nodes)

    def data_folder(self, node: int) -> Path:
        return self.folder / "data" / f"node-{node}"

    def log_file(self, node: int) -> Path:
        return self.folder / "nodes" / f"{node}.log"

    def config_file(self, node: int) -> Path:
        return self.folder / "nodes" / f"{node}.toml"

    def pid(self, node: int) -> int | None:
        process = self._processes.get(node)
        return process.pid if process is not None else None

    def _port(self, node: int) -> int:
        """Where it is reached; the node itself listens further up."""
        return self._base_port + self.nodes.index(node)

    def _door(self, node: int) -> Door:
        port = self._port(node)
        return Door(node, (_HOST, port), (_HOST, port + len(self.nodes)))

    async def _opener(self, opener: SocketAddress, door: SocketAddress) -> int | None:
        pids = {pid: node for node in self.nodes if (pid := self.pid(node)) is not None}
        owner = await owner_of(opener, door, pids)
        return None if owner is None else pids[owner]

    # all of it

    async def begin(self) -> None:
        (self.folder / "nodes").mkdir(parents=True, exist_ok=True)
        self._base_port = free_base_port(2 * len(self.nodes))
        places = {node: self._place(node) for node in self.nodes}
        await asyncio.to_thread(lay_out, _DOHLE, places, self._settings)
        for node in self.nodes:
            command = (*_DOHLE, "node", "--config", str(self.config_file(node)))
            self._processes[node] = NodeProcess(node, command, self.log_file(node), self._watchman.watch)
        await self.start(*self.nodes)

    async def end(self) -> None:
        self.kill(*self._processes)
        await self.links.end()
        self._watchman.dismiss()

    def _place(self, node: int) -> Place:
        settings = {
            "data_dir": str(self.data_folder(node)),
            "grpc_port": self._door(node).inside[1],
            "advertised_grpc_port": self._port(node),
            "kafka_port": self._port(node) + KAFKA_OFFSET,
            "http_port": self._port(node) + _HTTP_OFFSET,
        }
        return Place(self.config_file(node), f"{_HOST}:{self._port(node)}", settings)

    # one node

    async def start(self, *nodes: int, environment: Mapping[str, str] | None = None) -> None:
        """Raises NodeFailed, with the last lines of its log, if one ends or does not serve in time."""
        starting = [node for node in nodes if self.pid(node) is None]
        for node in starting:
            self.links.open(self._door(node))
        await asyncio.gather(
            *(self._processes[node].start({**self.environments[node], **(environment or {})}) for node in starting)
        )

    async def stop(self, node: int) -> None:
        await self._processes[node].stop()
        self.links.close(node)

    def kill(self, *nodes: int) -> None:
        for node in nodes:
            self.links.close(node)
            self._processes[node].kill()

    def pause(self, *nodes: int) -> None:
        for node in nodes:
            self._processes[node].pause()

    def resume(self, *nodes: int) -> None:
        for node in nodes:
            self._processes[node].resume()
