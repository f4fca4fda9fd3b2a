"""Faults of disks that lose nothing: slow, hanging, full, failing. After a failure the node has ended."""

from __future__ import annotations

from collections.abc import Sequence

from dohle.testing.faults.blow import Blow
from dohle.testing.world.topology import Topology

_ROOM_CHANGES_S = 0.01
_LEAST_NEARLY_FULL_S = 2.0


def hold_logs(topology: Topology) -> Sequence[int]:
    return topology.brokers


def have_several(topology: Topology) -> Sequence[int]:
    return [node_id for node_id in topology.node_ids() if topology.breakable(node_id)]


async def slow_disk(blow: Blow) -> None:
    """The whole disk is, or the files of one replica are."""
    faults = blow.machine.disk.faults
    if blow.chance.random() < 0.4 and await _slow_log(blow):
        return
    slowness = blow.chance.choice((10.0, 100.0, 1000.0))
    blow.strikes(f"{slowness:g} times for {blow.duration_s:.2f} s")
    faults.slowness = slowness
    await blow.lasts()
    faults.slowness = 1.0


async def _slow_log(blow: Blow) -> bool:
    """Returns False if nothing lies there."""
    disk, folder = blow.machine.disk, blow.machine.config.data_dir
    replicas = [name for name in disk.list(folder) if name.startswith("t-")] if disk.exists(folder) else []
    if not replicas:
        return False
    path = f"{folder}/{blow.chance.choice(replicas)}"
    longer_s = blow.chance.choice((0.05, 0.3, 2.0))
    blow.strikes(f"{path} takes {longer_s:g} s longer to sync for {blow.duration_s:.2f} s")
    disk.faults.slow_logs[path] = longer_s
    await blow.lasts()
    disk.faults.slow_logs.pop(path, None)
    return True


async def hanging_disk(blow: Blow) -> None:
    """Reads, or reads and syncs, get no answer for a while; then all goes on as if nothing had been."""
    faults, everything = blow.machine.disk.faults, blow.chance.random() < 0.5
    blow.strikes(f"{'reads and syncs' if everything else 'reads'} for {blow.duration_s:.2f} s")
    faults.reads_hang, faults.syncs_hang = True, everything
    await blow.lasts()
    faults.reads_hang = faults.syncs_hang = False


async def full_disk(blow: Blow) -> None:
    blow.machine.disk.faults.full = True
    await _lasts_and_recovers(blow)


async def nearly_full_disk(blow: Blow) -> None:
    """Something else fills the disk and makes room again, over and over: some writes fail."""
    lasts_s = max(blow.duration_s, _LEAST_NEARLY_FULL_S)
    blow.strikes(f"for {lasts_s:.2f} s")
    faults, ends = blow.machine.disk.faults, blow.world.scheduler.now + lasts_s
    while blow.world.scheduler.now < ends and not blow.over:
        faults.full = not faults.full
        await blow.pause(blow.chance.expovariate(1 / _ROOM_CHANGES_S))
    faults.full = False


async def failing_sync(blow: Blow) -> None:
    blow.machine.disk.faults.sync_fails = True
    await _lasts_and_recovers(blow)


async def failing_write(blow: Blow) -> None:
    blow.machine.disk.faults.write_fails = True
    await _lasts_and_recovers(blow)


async def _lasts_and_recovers(blow: Blow) -> None:
    """The disk is mended afterwards, and the node begins anew, whether it has noticed or not."""
    blow.strikes(f"for {blow.duration_s:.2f} s")
    await blow.lasts()
    if not blow.over:
        blow.machine.disk.faults.mend()
        blow.end(blow.node_id, power=False)
        await blow.pause(0.1)
        blow.start(blow.node_id)


async def failing_directory(blow: Blow) -> None:
    """One disk of several fails; the node goes on without it, and begins anew once it is mended, or long before."""
    path = _one_of_several(blow)
    if not path:
        return
    blow.strikes(f"{path} for {blow.duration_s:.2f} s")
    blow.machine.disk.faults.failed[path] = None
    await blow.lasts()
    again = blow.chance.random() < 0.3
    if again and not blow.over:
        blow.end(blow.node_id, power=blow.chance.random() < 0.3)
        blow.start(blow.node_id)
        await blow.lasts()
    if not blow.over:
        blow.machine.disk.faults.failed.pop(path, None)
        blow.end(blow.node_id, power=blow.chance.random() < 0.3)
        await blow.pause(0.1)
        blow.start(blow.node_id)


async def full_directory(blow: Blow) -> None:
    """One disk of several is full for a while; the node goes on, and only if it had to do without it begins anew."""
    path = _one_of_several(blow)
    if not path:
        return
    blow.strikes(f"{path} for {blow.duration_s:.2f} s")
    blow.machine.disk.faults.full_folders[path] = None
    await blow.lasts()
    blow.machine.disk.faults.full_folders.pop(path, None)
    process = blow.machine.process
    if not blow.over and process is not None and process.lacks_a_directory:
        blow.end(blow.node_id, power=False)
        await blow.pause(0.1)
        blow.start(blow.node_id)


async def missing_directory(blow: Blow) -> None:
    """A node that was killed comes back without one of its disks, which is mounted only at its next start."""
    path = _one_of_several(blow)
    if not path:
        return
    blow.end(blow.node_id, power=blow.chance.random() < 0.3)
    disk = blow.machine.disk
    disk.unmount(path)
    blow.strikes(path)
    await blow.pause(0.1)
    blow.start(blow.node_id)
    await blow.lasts()
    if not blow.over and not blow.machine.in_service:
        blow.end(blow.node_id, power=False)
        disk.mount(path)
        blow.start(blow.node_id)


async def empty_directory(blow: Blow) -> None:
    """One disk of several is replaced by a new one, with which the node first begins, and which is formatted then."""
    able = lose_one(blow.world.topology)
    if not able:
        return
    if blow.node_id not in able:
        blow.node_id = blow.chance.choice(able)
    path = _one_of_several(blow)
    if not path or blow.is_alone():
        return
    blow.end(blow.node_id, power=True)
    blow.machine.disk.lose(path)
    blow.strikes(path)
    await blow.pause(0.1)
    blow.start(blow.node_id)
    await blow.lasts()
    machine = blow.machine
    if not blow.over and not machine.in_service and machine.disk.exists(machine.config.data_dir):
        blow.end(blow.node_id, power=False)
        await blow.world.format_further(blow.node_id)
        blow.start(blow.node_id)


def lose_one(topology: Topology) -> Sequence[int]:
    return [node_id for node_id in topology.frail if topology.breakable(node_id)]


def _one_of_several(blow: Blow) -> str:
    """Returns a directory that works, and that the node can do without; nothing if there is none."""
    machine, disk = blow.machine, blow.machine.disk
    there = [path for path in blow.world.topology.breakable(blow.node_id) if disk.exists(f"{path}/meta.properties")]
    there = [path for path in there if path not in disk.faults.failed]
    return blow.chance.choice(there) if there and not machine.in_service else ""
