"""World: machines with nodes, clients, and the network between them, in one process and in virtual time.

Everything follows from the seed: the same seed and the same calls give the same run, event by event. Nodes are the
product's own, unmodified; what happens to them, the methods here say.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from random import Random
from typing import Any

from dohle.cluster.config import BROKER, CONTROLLER, NodeConfig, Voter
from dohle.cluster.formatting import format_further, format_node
from dohle.controller.snapshot_taker import SnapshotConfig
from dohle.model import metadata
from dohle.model.ids import DirectoryId, NodeId, id_text, new_id
from dohle.model.metadata import NEWEST_METADATA_VERSION
from dohle.runtime.network import Address
from dohle.testing.world.disk import SimDisk
from dohle.testing.world.entries import Folder
from dohle.testing.world.links import Links
from dohle.testing.world.network import Fabric
from dohle.testing.world.process import NodeProcess, SimProcess
from dohle.testing.world.scheduler import Scheduler
from dohle.testing.world.seams import SimClock
from dohle.testing.world.topology import DIRECTORIES, THREE_COMBINED, NodePlan, Topology

_LOOK_S = 0.05
PORT = 7092
DATA = DIRECTORIES[0]


def _config(node: NodePlan, voters: tuple[Voter, ...], snapshot_bytes: int, settings: Mapping[str, Any]) -> NodeConfig:
    roles = (CONTROLLER,) * node.is_controller + (BROKER,) * node.is_broker
    return NodeConfig(
        node_id=node.node_id,
        data_dir=DATA,
        log_dirs=DIRECTORIES[: node.log_dirs] if node.log_dirs > 1 else (),
        host=f"node{node.node_id}",
        voters=voters,
        roles=roles,
        rack=node.rack,
        metadata_log_max_record_bytes_between_snapshots=snapshot_bytes,
        metadata_log_segment_bytes=max(1024, snapshot_bytes // 2),
        **{"log_scrub_interval_ms": 0, **settings},
    )


class Machine:
    """A machine of the cluster: its disk, and the process that runs there, if one does."""

    def __init__(self, config: NodeConfig, disk: SimDisk) -> None:
        self.config = config
        self.disk = disk
        self.process: NodeProcess | None = None
        self.starts = 0
        self.wall_offset_ms = 0
        self.clock_rate = 1.0  # monotonic seconds a second, from the next start on
        self.lost = False  # dead for good
        self.has_forgotten = False  # its metadata or its vote is gone, or rots
        self._rotten: dict[str, Folder] = {}  # where replicas' folders lay when they began to rot
        self._bad_headers: dict[Folder, None] = {}  # those of them in which more than records may rot
        self.in_service = False  # an operator works on its disk; nobody starts it
        self.newest_version = NEWEST_METADATA_VERSION  # that its software knows

    @property
    def name(self) -> str:
        return self.config.host

    @property
    def harmed(self) -> bool:
        """Whether synced data was lost here and nobody has seen to it: the node may refuse to run, and says why."""
        return self.has_forgotten or not self.disk.exists(DATA)

    def rots(self, path: str) -> bool:
        """Whether the replica in this folder does."""
        return path in self._rotten and self.disk.folder(path) is self._rotten[path]

    def has_rotted(self, path: str) -> bool:
        """Whether a replica in a folder of this name did at some time: what shared its files still may."""
        return path in self._rotten

    def has_sound_headers(self, path: str) -> bool:
        """Whether the headers of batches in this folder are what they were, whatever their records are."""
        folder = self.disk.folder(path)
        return folder is not None and folder not in self._bad_headers

    def note_rot(self, path: str, *, of_records: bool = False) -> None:
        """The replica in this folder rots from now on; `of_records`: none of its batches' headers does."""
        folder = self.disk.folder(path)
        assert folder is not None, f"there is no folder {path}"
        self._rotten[path] = folder
        if not of_records:
            self._bad_headers[folder] = None


class World:
    """A cluster of the shape `topology`. Make it, then `run` what is to happen in it.

    Where it is `formatted_at` an older metadata.version, machines have software that knows no newer one, until they are
    upgraded: by lot, as their nodes start. `settings` are those of each node's configuration.
    """

    def __init__(
        self,
        seed: int | str,
        topology: Topology = THREE_COMBINED,
        *,
        event_budget: int = 20_000_000,
        snapshot_bytes: int = SnapshotConfig().max_bytes_between,
        formatted_at: int = NEWEST_METADATA_VERSION,
        upgrades: float = 0.6,
        **settings: Any,
    ) -> None:
        self.seed = seed
        self.formatted_at = formatted_at
        self._upgrades = upgrades  # how often a start is one of newer software, where there is newer
        self.topology = topology
        self.scheduler = Scheduler(self.random("scheduler"), event_budget=event_budget)
        self.links = Links(self.random("links"), lambda: self.scheduler.now)
        self.fabric = Fabric(self.scheduler, self.links)
        self.bugs: list[str] = []
        self.timeline: list[str] = []
        self.is_calm = False  # the storm is over: nobody breaks or moves anything any more, and what moves is to arrive
        self.on_over: Callable[[int], None] = lambda _: None  # hears of each node that has ended, in the next turn
        self._clients = 0
        self._cluster_id = ""
        self.director = SimProcess("director", "director", self.fabric, self.random("director"), self.report)
        self.clock = self.director.clock
        voters = tuple(Voter(number, Address(f"node{number}", PORT)) for number in topology.controllers)
        disk_clock = SimClock(self.scheduler)
        self.machines = {
            node.node_id: Machine(
                _config(node, voters, snapshot_bytes, settings),
                SimDisk(disk_clock, self.random(f"disk {node.node_id}"), self.scheduler.trace),
            )
            for node in topology.nodes
        }
        for machine in self.machines.values():
            machine.newest_version = formatted_at

    def random(self, purpose: str) -> Random:
        """Returns the seed's source of chance for `purpose`, so that one part's draws do not shift another's."""
        return Random(f"{self.seed}/{purpose}")  # noqa: S311 - replays, and no secrets

    @property
    def bootstrap(self) -> list[str]:
        """Where clients find the cluster: its brokers."""
        return [f"{machine.name}:{PORT}" for machine in self.machines.values() if machine.config.is_broker]

    def say(self, what: str) -> None:
        """Adds a line to the run's timeline, and to its trace."""
        self.scheduler.trace.note(what)
        self.remark(what)

    def remark(self, what: str) -> None:
        """Adds what a watcher has seen to the timeline alone: watching changes nothing of a run."""
        self.timeline.append(f"{self.scheduler.now:9.3f}  {what}")

    def report(self, what: str) -> None:
        """Takes note of a bug, which ends the run."""
        self.say(f"BUG {what}")
        self.bugs.append(what)
        self.scheduler.stop()

    def run(self, script: Coroutine[Any, Any, None]) -> None:
        """Runs `script` in the world to its end, or to the first bug. Raises SimulationStuck, and what it raises."""
        outcome: list[BaseException] = []

        async def play() -> None:
            try:
                await script
            except BaseException as failure:
                outcome.append(failure)
                raise
            finally:
                self.scheduler.stop()

        self.director.spawn(play(), "script")
        self.scheduler.run()
        self.bugs += self.scheduler.callback_failures
        if outcome:
            raise outcome[0]

    def end(self) -> None:
        """Freezes all that still runs."""
        for loop in self.scheduler.loops:
            loop.kill()

    # clients

    def client(self, name: str) -> SimProcess:
        """Returns a process of its own, on a machine of its own."""
        self._clients += 1
        return SimProcess(name, name, self.fabric, self.random(f"client {self._clients} {name}"), self.report)

    # nodes

    async def format(self) -> None:
        """Formats every machine's data folder."""
        random = self.random("format")
        cluster_id = self._cluster_id = id_text(new_id(random))
        voters = [
            metadata.Voter(NodeId(number), DirectoryId(new_id(random)), machine.name, PORT)
            for number, machine in self.machines.items()
            if machine.config.is_controller
        ]
        for machine in self.machines.values():
            await format_node(
                machine.disk,
                self.clock,
                machine.config,
                cluster_id=cluster_id,
                voters=voters,
                random=random,
                metadata_version=self.formatted_at,
            )

    async def format_anew(self, node_id: int) -> None:
        """Formats the data folder of a broker whose disk was replaced."""
        with self.in_service(node_id) as machine:
            machine.disk.faults.mend()  # who formats has made room first, and found that the disk works
            random = self.random(f"format {node_id} {machine.starts}")
            await format_node(
                machine.disk, self.clock, machine.config, cluster_id=self._cluster_id, voters=(), random=random
            )
        self.say(f"{machine.name} is formatted anew")

    async def format_further(self, node_id: int) -> None:
        """Formats those directories of a node whose disks were replaced."""
        with self.in_service(node_id) as machine:
            machine.disk.faults.mend()  # who formats has made room first, and found that the disk works
            random = self.random(f"format further {node_id} {machine.starts}")
            new = await format_further(
                machine.disk, self.clock, machine.config, cluster_id=self._cluster_id, joins=False, random=random
            )
        self.say(f"{machine.name}: {', '.join(new) or 'nothing'} is formatted anew")

    def nobody_is_serviced(self) -> bool:
        return not any(machine.in_service for machine in self.machines.values())

    @contextmanager
    def in_service(self, node_id: int) -> Iterator[Machine]:
        """Has an operator be at a machine that is off: nobody else touches its disk, or starts it."""
        machine = self.machines[node_id]
        assert machine.process is None, f"{machine.name} runs"
        assert not machine.in_service, f"somebody is at {machine.name} already"
        machine.disk.process_starts()
        machine.in_service = True
        try:
            yield machine
        finally:
            machine.in_service = False

    def start(self, node_id: int) -> None:
        """Switches the machine on, and its node."""
        machine = self.machines[node_id]
        assert machine.process is None, f"{machine.name} runs"
        machine.starts += 1
        self.links.speak(machine.name)
        machine.disk.process_starts()
        name = f"{machine.name}.{machine.starts}"
        self._upgrade(machine, name)
        machine.process = NodeProcess(
            machine.config,
            machine.disk,
            name,
            self.fabric,
            self.random(f"process {name}"),
            self.report,
            lambda: self.director.loop.call_soon(lambda: self.on_over(node_id)),
            clock_rate=machine.clock_rate,
            newest_version=machine.newest_version,
        )
        machine.process.clock.wall_offset_ms += machine.wall_offset_ms
        self.say(f"{name} starts")

    def _upgrade(self, machine: Machine, name: str) -> None:
        """Perhaps gives a machine newer software; surely where the cluster has finalised what the old does not know."""
        if machine.newest_version == NEWEST_METADATA_VERSION:
            return
        nodes = [one.process.node for one in self.machines.values() if one.process is not None]
        images = [node.controller.controller.committed for node in nodes if node is not None and node.controller]
        is_needed = any(image.metadata_version > machine.newest_version for image in images)
        if is_needed or self.random(f"software {name}").random() < self._upgrades:
            machine.newest_version = NEWEST_METADATA_VERSION
            self.say(f"{machine.name} has newer software")

    def kill(self, node_id: int) -> None:
        """Ends the node as SIGKILL does."""
        self._end(node_id, "is killed")

    def lose_power(self, node_id: int) -> None:
        """Ends the node with its machine: what was not synced is lost or torn, and nobody answers there."""
        machine = self.machines[node_id]
        self.links.silence(machine.name)
        self._end(node_id, "loses its power")
        machine.disk.lose_power()

    def pause(self, node_id: int) -> None:
        """Stops the node's process as SIGSTOP does."""
        process = self._process(node_id)
        process.loop.pause()
        self.say(f"{process.name} is paused")
        self.fabric.world_changed()

    def resume(self, node_id: int) -> None:
        process = self._process(node_id)
        process.loop.resume()
        self.say(f"{process.name} goes on")
        self.fabric.world_changed()

    def reset_connections(self, node_id: int) -> None:
        """Breaks every connection of the node, which can make new ones at once."""
        process = self._process(node_id)
        self.say(f"{process.name}'s connections are reset")
        for connection in self.fabric.of(process):
            connection.break_off(self.director.random.randint(0, 1))

    def kill_client(self, process: SimProcess) -> None:
        """Ends a client's process as SIGKILL does."""
        self.say(f"{process.name} is killed")
        process.loop.kill()
        self.fabric.died(process)

    def pause_client(self, process: SimProcess) -> None:
        """Stops it as SIGSTOP does."""
        process.loop.pause()
        self.say(f"{process.name} is paused")
        self.fabric.world_changed()

    def resume_client(self, process: SimProcess) -> None:
        process.loop.resume()
        self.say(f"{process.name} goes on")
        self.fabric.world_changed()

    def move_wall_clock(self, node_id: int, by_ms: int) -> None:
        """Sets the machine's wall clock forward, or back."""
        machine = self.machines[node_id]
        machine.wall_offset_ms += by_ms
        if machine.process is not None:
            machine.process.clock.wall_offset_ms += by_ms

    def _process(self, node_id: int) -> NodeProcess:
        process = self.machines[node_id].process
        assert process is not None, f"node {node_id} does not run"
        return process

    def _end(self, node_id: int, how: str) -> None:
        process = self._process(node_id)
        self.say(f"{process.name} {how}")
        process.loop.kill()
        machine = self.machines[node_id]
        machine.process = None
        machine.disk.process_died()
        self.fabric.died(process)

    # waiting

    async def until(self, condition: Callable[[], bool], within_s: float, what: str) -> None:
        """Returns once `condition` holds, looking every 50 ms. Raises AssertionError after `within_s` simulated s.

        So it may hold for 50 ms before the caller goes on, and what holds for less is missed.
        """
        deadline = self.scheduler.now + within_s
        while not condition():
            assert self.scheduler.now < deadline, f"after {within_s:g} s not yet: {what}"
            await self.clock.sleep(_LOOK_S)

    async def all_ready(self, within_s: float = 30.0) -> None:
        """Returns once every machine's node serves."""

        def ready() -> bool:
            return all(machine.process is not None and machine.process.ready for machine in self.machines.values())

        await self.until(ready, within_s, "every node is ready")
