"""Invariants of a running cluster, looked at after every turn of a process with the eyes of one who sees all of them.

Only the process that had the turn is looked at, and of it only what is not as it was at the last look: of replicas only
if the turn has `touched` any. What must hold
is said in `quorum_watch` and `partition_watch`; images of the metadata are compared here. Worded so that right code
passes: a leader that does not know yet that it is deposed is one still, in its own epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dohle.broker.broker import Broker
from dohle.broker.partition import Partition
from dohle.cluster.node import Node
from dohle.controller.part import ControllerPart
from dohle.model.batch import split_batches
from dohle.model.errors import DamagedReplica
from dohle.model.ids import NO_NODE, PartitionKey
from dohle.model.image import EMPTY_IMAGE, ClusterImage
from dohle.model.records import Record, decode_records
from dohle.storage.checkpoints import RECOVERY_POINTS, LogKey
from dohle.testing.clients.deleter import Deletions
from dohle.testing.invariants.bounds import overflows
from dohle.testing.invariants.directories import Twins, live_twice
from dohle.testing.invariants.partition_watch import PartitionWatch, SeenReplica
from dohle.testing.invariants.quorum_watch import QuorumWatch, RaftState, raft_state
from dohle.testing.invariants.touched import Touched
from dohle.testing.invariants.version_watch import VersionWatch
from dohle.testing.world.process import NodeProcess
from dohle.testing.world.process_loop import ProcessLoop
from dohle.testing.world.world import World

_READ_BYTES = 1 << 20
_TURNS_BETWEEN_BOUNDS = 64
_LAG_S = 3.0
"""How long a controller may take to learn what was committed last, once nothing is in its way."""
MOST_VIOLATIONS = 20
"""Of which the first is the one to look at."""


class _Seen:
    """What a process was like at its last look."""

    __slots__ = ("committed", "followed", "held", "process", "raft", "recovery_points", "replicas", "turns")

    def __init__(self, process: NodeProcess) -> None:
        self.process = process
        self.raft: RaftState | None = None
        self.replicas: list[SeenReplica] = []
        self.recovery_points: dict[str, Mapping[LogKey, int]] = {}  # by the folder's path
        self.committed = EMPTY_IMAGE
        self.followed = EMPTY_IMAGE
        self.held = 0  # logs, in all folders
        self.turns = 0


class Invariants:
    """Have `after_turn` called after every turn. `violations` says what fell, in words."""

    def __init__(self, world: World, deletions: Deletions | None = None) -> None:
        self.violations: list[str] = []
        self._world = world
        self._seen: dict[int, _Seen | None] = {}  # by the loop's number; None: no node's
        self._images: dict[int, ClusterImage] = {}
        self._quorum = QuorumWatch(world, self.violated)
        self._partitions = PartitionWatch(world, self.violated, deletions)
        self._versions = VersionWatch(world, self.violated)
        self._twins = Twins()
        self.touched = Touched()
        """Enter it, and no replica is looked at after a turn that did nothing to any."""

    @property
    def newest(self) -> ClusterImage:
        """The image of all that is known to be committed."""
        return self._partitions.image

    def violated(self, what: str) -> None:
        if len(self.violations) < MOST_VIOLATIONS:
            self._world.say(f"VIOLATION {what}")
            self.violations.append(what)

    def after_turn(self, loop: ProcessLoop) -> None:
        """`loop` has had a turn. Half of all that is done here is finding out that nothing has changed."""
        try:
            seen = self._seen[loop.number]
        except KeyError:
            seen = self._seen[loop.number] = self._find(loop)
        if seen is None or (node := seen.process.node) is None:
            return
        if (part := node.controller) is not None:
            raft = raft_state(part.quorum._node)
            if raft != seen.raft or part.controller.committed is not seen.committed:
                self._controller_moved(seen, part, RaftState(*raft))
        if (broker := node.broker) is not None:
            if broker.metadata.image is not seen.followed:
                self._followed(seen, broker.metadata.image)
            if self.touched.anything or len(broker.replicas.partitions) != len(seen.replicas):
                self._look_at_replicas(seen, node, broker)
                self.touched.looked()
            held = 0
            for folder in broker.log_dirs.folders:
                held += len(folder.logs)
                recovery_points = folder._checkpoints._written[RECOVERY_POINTS]
                if recovery_points is not seen.recovery_points.get(folder.path):
                    seen.recovery_points[folder.path] = recovery_points
                    self._partitions.checkpointed(seen.process, broker, folder, recovery_points)
            if held != seen.held:
                seen.held = held
                for what in live_twice(broker.log_dirs.folders):
                    self.violated(f"{seen.process.name}: {what}")
        seen.turns += 1
        if not seen.turns % _TURNS_BETWEEN_BOUNDS:
            for what in overflows(node):
                self.violated(f"{seen.process.name} keeps too much: {what}")

    def _look_at_replicas(self, seen: _Seen, node: Node, broker: Broker) -> None:
        partitions = broker.replicas.partitions
        # what came last is another one where one came and one went in the same turn
        if len(partitions) != len(seen.replicas) or (
            partitions and next(reversed(partitions.values())) is not seen.replicas[-1].partition
        ):
            known = {replica.partition: replica for replica in seen.replicas}
            machine = self._world.machines[node.config.node_id]
            for what in self._twins.found(node, machine, self.newest):
                self.violated(what)
            seen.replicas = [known.get(one) or SeenReplica(one) for one in partitions.values()]
        for replica in seen.replicas:
            partition = replica.partition
            log = partition.log
            if (
                log is not replica.log
                or log._high_watermark is not replica.high_watermark
                or log._durable_end is not replica.durable_end
                or log._start is not replica.log_start
                or log.generation is not replica.generation
                or log._truncation is not replica.truncation
                or partition.role is not replica.role
            ):
                self._partitions.moved(seen.process, broker, replica)

    def _find(self, loop: ProcessLoop) -> _Seen | None:
        for machine in self._world.machines.values():
            if machine.process is not None and machine.process.loop is loop:
                return _Seen(machine.process)
        return None

    def _controller_moved(self, seen: _Seen, part: ControllerPart, raft: RaftState) -> None:
        if raft != seen.raft:
            before, seen.raft = seen.raft, raft
            self._quorum.moved(seen.process, part.quorum, before, raft)
        image = part.controller.committed
        if image is not seen.committed:
            self._image("controller", seen.process, seen.committed, image)
            self._quorum.applied(seen.process, part.quorum, image)
            seen.committed = image

    def _followed(self, seen: _Seen, image: ClusterImage) -> None:
        self._image("broker", seen.process, seen.followed, image)
        seen.followed = image

    def _image(self, part: str, process: NodeProcess, before: ClusterImage, image: ClusterImage) -> None:
        offset = image.next_offset
        if before.next_offset > offset:
            self.violated(
                f"the image of the {part} of {process.name} went back from offset {before.next_offset} to {offset}"
            )
        known = self._images.setdefault(offset, image)
        if known is not image and known != image:
            self.violated(f"the image of the {part} of {process.name} differs from another's at offset {offset}")
        if offset > self.newest.next_offset:
            self._partitions.image_moved(image)
            self._versions.image_moved(image)

    def look(self) -> None:
        """Looks at all disks, whoever runs: what is committed would outlive a loss of power everywhere."""
        self._quorum.majority_keeps_all()
        self._partitions.every_copy_counts()
        self._partitions.deletions_are_noted()

    # after the storm

    async def replicas_agree(self) -> None:
        """Waits a little for controllers that lag, and compares the replicas byte for byte below their watermarks."""
        offset, deadline = self.newest.next_offset, self._world.scheduler.now + _LAG_S
        while (lagging := self._controllers_below(offset)) and self._world.scheduler.now < deadline:
            await self._world.clock.sleep(0.1)
        for name in lagging:
            self.violated(f"{name} still lacks what was committed below metadata offset {offset}, or knows no leader")
        await self._compare_replicas()
        for process, node in self._running():
            if node.controller is not None:
                await self._versions.records(process.name, node.controller)

    def _controllers_below(self, offset: int) -> list[str]:
        parts = [(process.name, node.controller) for process, node in self._running() if node.controller is not None]
        return [n for n, p in parts if p.controller.committed.next_offset < offset or p.quorum.leader_id == NO_NODE]

    def _running(self) -> Iterator[tuple[NodeProcess, Node]]:
        for machine in self._world.machines.values():
            process = machine.process
            if process is not None and process.node is not None and not process.ending:
                yield process, process.node

    def log_starts(self) -> dict[str, int]:
        """Returns by partition the greatest offset at which a leader's log has begun."""
        return self._partitions.log_starts()

    async def _compare_replicas(self) -> None:
        replicas: dict[PartitionKey, list[tuple[str, Partition]]] = {}
        for process, node in self._running():
            if node.broker is None:
                continue
            for key, partition in sorted(node.broker.replicas.partitions.items()):
                if partition.log.damage is None:
                    replicas.setdefault(key, []).append((process.name, partition))
        for same in replicas.values():
            end = min(partition.log.high_watermark for _, partition in same)
            start = max(partition.log.log_start_offset for _, partition in same)
            contents = [(name, await _content(partition, start, end)) for name, partition in same]
            is_compacted = any(partition.log.config.is_compacted for _, partition in same)
            whole = [
                (name, _last_records(content) if is_compacted else content)
                for name, content in contents
                if content is not None
            ]
            for name, content in whole[1:]:
                if content != whole[0][1]:
                    self.violated(f"{same[0][1].name}: the replicas of {whole[0][0]} and {name} differ below {end}")


async def _content(partition: Partition, start: int, end: int) -> bytes | None:
    """Returns None where there is rot that nobody has come upon before."""
    try:
        return await _sound_content(partition, start, end)
    except DamagedReplica:
        return None


def _last_records(content: bytes) -> dict[bytes | None, Record]:
    """Returns each key's last record, unless it deletes the key, and may be gone: replicas agree in that."""
    last = {record.key: record for at, _ in split_batches(content) for record in decode_records(content, at)}
    return {key: record for key, record in last.items() if record.value is not None}


async def _sound_content(partition: Partition, start: int, end: int) -> bytes:
    found = bytearray()
    offset = start
    while offset < end:
        batches = await partition.log.read(offset, _READ_BYTES, up_to=end)
        assert batches, f"{partition.name} has nothing at {offset}, below its watermark"
        found += batches
        for _, header in split_batches(batches):
            offset = header.next_offset
    return bytes(found)
