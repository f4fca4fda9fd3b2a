"""NamespaceWorld: nodes that have networks and disks of their own on this machine, and run the installed wheel.

It takes root. What it makes outside its folder (namespaces, mounts, processes) goes at the end, or, if this process is
killed before that, with the next world that begins (tests/machine/left_overs.py). The images of the disks stay in the
folder, so that a run can be looked into afterwards: `mount -o loop,ro`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from dohle.model.errors import ConfigurationError
from dohle.testing.chaos.layout import Place, lay_out
from dohle.testing.chaos.node_process import NodeProcess
from dohle.testing.chaos.watchman import Watchman
from dohle.testing.chaos.world import Means, World
from jepsen_lite import links, memory_faults, shim, wheels
from jepsen_lite.links import NamespaceLinks
from jepsen_lite.uninterrupted import uninterrupted
from tests.machine import disks, networks
from tests.machine.disks import Disk
from tests.machine.left_overs import tidy_up
from tests.machine.networks import Network
from tests.machine.slots import Slot

GRPC_PORT = 7092
KAFKA_PORT = 9092
_NOTHING: Mapping[str, object] = MappingProxyType({})


def why_not(folder: Path) -> str:
    """Returns what keeps this machine from having such a world in `folder`, or nothing."""
    return networks.why_not() or links.why_not() or disks.why_not(folder)


def lacks() -> dict[Means, str]:
    """Returns what such a world does without on this machine, and why."""
    reasons: dict[Means, str] = {
        "shim": shim.why_not(),
        "clocks": shim.why_no_clocks(),
        "memory": memory_faults.why_not(),
    }
    return {means: reason for means, reason in reasons.items() if reason}


class NamespaceWorld(World):
    """Nodes 1, 2, 3, …: the first three, or five, are controllers, all are brokers."""

    links: NamespaceLinks

    def __init__(
        self,
        folder: Path,
        nodes: int = 3,
        *,
        settings: Mapping[str, object] = _NOTHING,
        wheel: Path | None = None,
        disk_mib: int = 2048,
        seed: int = 0,
    ) -> None:
        """`settings` are of all nodes, as configuration files have them. Without a wheel, this tree's is built.

        `seed` is for what rules of links leave to chance.
        """
        self.folder = folder.resolve()
        self.nodes = tuple(range(1, nodes + 1))
        self.cannot = lacks()
        self.means = frozenset(get_args(Means)) - self.cannot.keys()
        self.disks = {node: Disk(self.folder / "disks" / f"node-{node}", disk_mib) for node in self.nodes}
        self._settings = settings
        self._wheel = wheel
        self._chance = random.Random(f"{seed} of links")
        self._watchman = Watchman()
        self._slot: Slot | None = None
        self._network: Network | None = None
        self._processes: dict[int, NodeProcess] = {}

    # where things are

    @property
    def network(self) -> Network:
        assert self._network is not None, "the world has begun"
        return self._network

    def address(self, node: int) -> str:
        return self.network.address(node)

    def bootstrap(self, protocol: Literal["dohle", "kafka"]) -> str:
        port = GRPC_PORT if protocol == "dohle" else KAFKA_PORT
        return ",".join(f"{self.address(node)}:{port}" for node in self.nodes)

    def data_folder(self, node: int) -> Path:
        return self.disks[node].folder

    def log_file(self, node: int) -> Path:
        return self.folder / "nodes" / f"{node}.log"

    def config_file(self, node: int) -> Path:
        return self.folder / "nodes" / f"{node}.toml"

    @property
    def program(self) -> tuple[str, ...]:
        """The command `dohle` as nodes run it: of their wheel, whatever Python is told here."""
        return (str(self.folder / "installed" / "bin" / "python"), "-I", "-m", "dohle")

    def pid(self, node: int) -> int | None:
        return self._processes[node].pid if node in self._processes else None

    # all of it

    async def begin(self) -> None:
        """Raises ConfigurationError where such a world cannot be."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if lack := await uninterrupted(why_not, self.folder):
            raise ConfigurationError(lack)
        await uninterrupted(tidy_up)
        self._slot = Slot.take(self.folder)
        self._network = Network(self._slot, self.nodes)
        self.links = NamespaceLinks(self._network, self._chance)
        await uninterrupted(self._network.make)
        await uninterrupted(self._make_disks)
        (self.folder / "nodes").mkdir(exist_ok=True)
        await uninterrupted(self._install)
        for node in self.nodes:
            command = self._network.within(node, *self.command(node))
            self._processes[node] = NodeProcess(node, command, self.log_file(node), self._watchman.watch)
        await self.start(*self.nodes)

    async def end(self) -> None:
        if self._slot is None:
            return
        self.kill(*self._processes)
        self._watchman.dismiss()
        self.links.close()
        await uninterrupted(networks.unmake, self._slot)
        for disk in self.disks.values():
            await uninterrupted(disk.detach)
        self._slot.give_back()
        self._slot = None

    def _make_disks(self) -> None:
        for disk in self.disks.values():
            disk.folder.mkdir(parents=True)
            disk.make()
            disk.mount()

    def _install(self) -> None:
        """Puts there what nodes run, and formats their folders."""
        wheels.install(self._wheel or wheels.build(self.folder / "wheel"), self.folder / "installed")
        lay_out(self.program, {node: self._place(node) for node in self.nodes}, self._settings)

    def command(self, node: int) -> tuple[str, ...]:
        """Returns what a node's process is, within its network."""
        return (*self.program, "node", "--config", str(self.config_file(node)))

    def _place(self, node: int) -> Place:
        settings = {"data_dir": str(self.data_folder(node)), "host": self.address(node)}
        return Place(self.config_file(node), f"{self.address(node)}:{GRPC_PORT}", settings)

    # one node

    async def start(self, *nodes: int, environment: Mapping[str, str] | None = None) -> None:
        """Raises NodeFailed, with the last lines of its log, if one ends or does not serve in time."""
        starting = [node for node in nodes if self.pid(node) is None]
        outcomes = await asyncio.gather(
            *(self._processes[node].start({**self.environments[node], **(environment or {})}) for node in starting),
            return_exceptions=True,
        )
        for failure in (outcome for outcome in outcomes if outcome is not None):
            raise failure

    async def stop(self, node: int) -> None:
        """Raises NodeFailed if it does not end in time; then it has been killed."""
        await self._processes[node].stop()

    def kill(self, *nodes: int) -> None:
        for node in nodes:
            self._processes[node].kill()

    def pause(self, *nodes: int) -> None:
        for node in nodes:
            self._processes[node].pause()

    def resume(self, *nodes: int) -> None:
        for node in nodes:
            self._processes[node].resume()
