"""Faults that take synced data away: rot, lost files, empty disks. Only what right code survives (Topology says where).

A rotten replica is the product's to fill anew. An empty broker's disk the operator formats anew. A controller that has
lost its metadata or its vote is dead for good, and says so at every start.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from dohle.broker.leading import Leading
from dohle.model.batch import HEADER_BYTES, read_header
from dohle.model.errors import CorruptMessage
from dohle.model.snapshot import SUFFIX as SNAPSHOT_SUFFIX
from dohle.storage.checkpoints import HIGH_WATERMARKS, RECOVERY_POINTS
from dohle.storage.clean_stop import FILE_NAME as CLEAN_MARK
from dohle.storage.seals import SEALS_SUFFIX, decode_seals
from dohle.storage.single_log import METADATA_LOG
from dohle.testing.faults.blow import Blow
from dohle.testing.world.disk import SimDisk
from dohle.testing.world.topology import Topology
from dohle.testing.world.world import DATA

_METADATA = f"{DATA}/{METADATA_LOG}"
_VOTE = f"{_METADATA}/quorum-state"
_UNCHECKED_BYTES = 21
"""Of a batch: the CRC does not cover its epoch, and a log that has no second copy cannot tell a wrong one."""
_NEW_BATCHES = 100
"""Whoever reads along, or goes back a little, is likely to come upon these."""
_ALL_SNAPSHOTS = 0.7
"""How often all of them rot, and not the newest alone."""
_PATIENCE_S = 15.0
_LOOK_S = 0.1
_REBUILT = (".index", ".timeindex", ".seals", ".snapshot", "leader-epoch-checkpoint")
_LEARNT_AGAIN = (HIGH_WATERMARKS, RECOVERY_POINTS, CLEAN_MARK)
"""Where a log begins is not: who leads without knowing it shows again what was deleted."""


def may_rot(topology: Topology) -> Sequence[int]:
    return topology.frail


def may_be_emptied(topology: Topology) -> Sequence[int]:
    """Brokers that are nothing else; of the others, `may_forget` speaks."""
    return [node_id for node_id in topology.frail if not topology.node(node_id).is_controller]


def may_forget(topology: Topology) -> Sequence[int]:
    return [node_id for node_id in topology.expendable if topology.node(node_id).is_controller]


async def bit_rot(blow: Blow) -> None:
    """A node that was killed comes back to a log of which it had synced a batch that is now another."""
    if not _moved_to_one_of(blow, may_rot(blow.world.topology)):
        return
    blow.end(blow.node_id, power=blow.chance.random() < 0.5)
    disk = blow.machine.disk
    folders = [f"{DATA}/{name}" for name in disk.list(DATA) if disk.exists(f"{DATA}/{name}/partition.metadata")]
    folders = [folder for folder in folders if not folder.endswith(("-new", "-delete", "-stray"))]
    if not disk.exists(f"{DATA}/{CLEAN_MARK}") and folders:
        folder = blow.chance.choice(folders)
        spoilt = _spoil_a_batch(blow, folder, f"{DATA}/{RECOVERY_POINTS}")
        if spoilt:
            blow.machine.note_rot(folder)
            blow.strikes(spoilt)
    await blow.lasts()
    blow.start(blow.node_id)


async def rot_while_it_runs(blow: Blow) -> None:
    """A synced batch is another one now, of a partition that the node leads if it leads any: whoever reads it finds
    that, and nobody is told before."""
    if not _moved_to_one_of(blow, may_rot(blow.world.topology)):
        return
    process = blow.machine.process
    if process is None or process.node is None or process.node.broker is None:
        return
    partitions = process.node.broker.replicas.partitions.values()
    led = [one for one in partitions if isinstance(one.role, Leading)]
    logs = [one.log for one in led or partitions if one.log.damage is None and blow.machine.disk.exists(one.log.folder)]
    if logs:
        log = blow.chance.choice(logs)
        spoilt = rot_a_batch(blow.machine.disk, log.folder, blow.chance, most=blow.chance.choice((_NEW_BATCHES, None)))
        if spoilt:
            blow.machine.note_rot(log.folder, of_records=True)
            blow.strikes(spoilt)


async def lost_file(blow: Blow) -> None:
    """A node comes back without a file that holds nothing which could not be built or learnt again."""
    if not _has_something_to_lose(blow):
        return
    disk = blow.machine.disk
    blow.end(blow.node_id, power=False)
    names = files_to_lose(disk)
    if names:
        path = blow.chance.choice(names)
        disk.lose(path)
        blow.strikes(path)
    await blow.lasts()
    blow.start(blow.node_id)


def files_to_lose(disk: SimDisk) -> list[str]:
    """Returns the files that hold nothing which could not be built or learnt again."""
    names = [f"{DATA}/{name}" for name in disk.list(DATA) if name in _LEARNT_AGAIN]
    for folder in [f"{DATA}/{name}" for name in disk.list(DATA)]:
        if disk.exists(f"{folder}/00000000000000000000.log"):
            names += [f"{folder}/{name}" for name in disk.list(folder) if name.endswith(_REBUILT)]
    return names


async def empty_disk(blow: Blow) -> None:
    """A disk is replaced by a new one; the node must not take that for its own."""
    if not _moved_to_one_of(blow, may_be_emptied(blow.world.topology)):
        return
    blow.end(blow.node_id, power=True)
    disk = blow.machine.disk
    disk.wipe()
    blow.strikes()
    await blow.lasts()
    blow.start(blow.node_id)
    await blow.pause(1.0)
    if not blow.over and not blow.machine.in_service and not disk.exists(DATA):
        blow.end(blow.node_id, power=False)
        await blow.world.format_anew(blow.node_id)
        blow.start(blow.node_id)


async def lost_metadata(blow: Blow) -> None:
    """A controller's metadata log rots, or its vote is lost or rots, or its whole disk is gone: it is dead for good."""
    if not _moved_to_one_of(blow, may_forget(blow.world.topology)) or not blow.machine.disk.exists(_VOTE):
        return
    blow.end(blow.node_id, power=False)
    disk, how = blow.machine.disk, blow.chance.choice(("log", "lost vote", "spoilt vote", "empty disk"))
    if how == "log":
        unclean = not disk.exists(f"{_METADATA}/{CLEAN_MARK}")
        how = _spoil_a_batch(blow, _METADATA, f"{_METADATA}/{RECOVERY_POINTS}") if unclean else ""
    elif how == "empty disk":
        disk.wipe()
    elif how == "lost vote":
        disk.lose(_VOTE)
    else:
        disk.spoil(_VOTE, blow.chance.randrange(len(disk.peek(_VOTE))), 1 << blow.chance.randrange(7))
    if how:
        blow.machine.has_forgotten = blow.machine.lost = True
        blow.strikes(how)
    await blow.lasts()
    blow.start(blow.node_id)


async def rotten_snapshot(blow: Blow) -> None:
    """A controller comes back to snapshots of the metadata, the newest or all, that were spoilt or lost meanwhile.

    Best once its log has been cut after some: then nothing but another controller's can take their place.
    """
    if not _moved_to_one_of(blow, may_forget(blow.world.topology)) or not blow.machine.disk.exists(_METADATA):
        return
    waited = 0.0
    while waited < _PATIENCE_S and not blow.over and not _log_was_cut(blow):
        await blow.pause(_LOOK_S)
        waited += _LOOK_S
    if blow.over or not _has_something_to_lose(blow):
        return
    blow.end(blow.node_id, power=blow.chance.random() < 0.5)
    disk = blow.machine.disk
    snapshots = [f"{_METADATA}/{name}" for name in disk.list(_METADATA) if name.endswith(SNAPSHOT_SUFFIX)]
    if snapshots:
        for path in snapshots if blow.chance.random() < _ALL_SNAPSHOTS else snapshots[-1:]:
            if blow.chance.random() < 0.2:
                disk.lose(path)
            else:
                disk.spoil(path, blow.chance.randrange(len(disk.peek(path))), 1 << blow.chance.randrange(7))
            blow.strikes(path)
        blow.machine.has_forgotten = True
    await blow.lasts()
    blow.start(blow.node_id)


def _log_was_cut(blow: Blow) -> bool:
    process = blow.machine.process
    part = None if process is None or process.node is None else process.node.controller
    return part is not None and part.quorum.log_start_offset > 0


def _moved_to_one_of(blow: Blow, node_ids: Sequence[int]) -> bool:
    """Sees to it that the blow hits a node that may be hit so. Returns whether there is one, with anything to lose that
    others have as well."""
    if not node_ids:
        return False
    if blow.node_id not in node_ids:
        blow.node_id = blow.chance.choice(node_ids)
    return _has_something_to_lose(blow) and not blow.is_alone()


def _has_something_to_lose(blow: Blow) -> bool:
    return blow.machine.disk.exists(DATA) and not blow.machine.in_service


def _spoil_a_batch(blow: Blow, folder: str, checkpoint: str) -> str:
    """Changes bits of a batch that a start after a crash reads, and knows to have been synced. Returns what it did."""
    disk = blow.machine.disk
    recovery_point = _recovery_point(disk, checkpoint, folder)
    segments = [name for name in disk.list(folder) if name.endswith(".log") and int(name[:-4]) <= recovery_point]
    if not segments:
        return ""
    path = f"{folder}/{segments[-1]}"
    seals, read_from = f"{path.removesuffix('.log')}{SEALS_SUFFIX}", 0
    if disk.exists(seals):  # what lies before the last one below the recovery point is not read
        sure = [seal.size for seal in decode_seals(disk.peek(seals)) if seal.end_offset <= recovery_point]
        read_from = max(sure, default=0)
    found = _batches(disk.peek(path))
    batches = [(start, end) for start, end, offset in found if start >= read_from and offset <= recovery_point]
    if not batches:
        return ""
    start, end = blow.chance.choice(batches)
    return _rot(disk, path, start + _UNCHECKED_BYTES, end, blow.chance)


def rot_a_batch(disk: SimDisk, folder: str, chance: Random, *, most: int | None = None) -> str:
    """Changes bits of a record of a synced batch of the log in `folder`: any, or one of the last `most`.

    Returns which, or nothing if there is no batch that has records.
    """
    paths = [f"{folder}/{name}" for name in disk.list(folder) if name.endswith(".log")]
    batches = [
        (path, start, end)
        for path in paths
        for start, end, _ in _batches(disk.peek(path))
        if end <= disk.sure_bytes(path) and start + HEADER_BYTES < end
    ]
    if not batches:
        return ""
    path, start, end = chance.choice(batches[-most:] if most is not None else batches)
    return _rot(disk, path, start + HEADER_BYTES, end, chance)


def _rot(disk: SimDisk, path: str, start: int, end: int, chance: Random) -> str:
    position = chance.randrange(start, end)
    disk.spoil(path, position, chance.randint(1, 255))
    return f"byte {position} of {path}"


def _recovery_point(disk: SimDisk, checkpoint: str, folder: str) -> int:
    if not disk.exists(checkpoint):
        return 0
    lines = [line.split() for line in disk.peek(checkpoint).decode().splitlines()[2:]]
    name = folder.rpartition("/")[2]
    return next((int(offset) for topic, partition, offset in lines if f"{topic}-{partition}" == name), 0)


def _batches(content: bytes) -> list[tuple[int, int, int]]:
    """Returns where each batch begins and ends, and the offset after it, up to a tail that may be torn."""
    found = []
    position = 0
    while position < len(content):
        try:
            header = read_header(content, position)
        except CorruptMessage:
            break
        found.append((position, position + header.size_bytes, header.next_offset))
        position += header.size_bytes
    return found
