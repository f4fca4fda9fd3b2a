"""Faults of disks that lose nothing: slow, hanging, full, failing. After a failure the node has ended."""

from __future__ import annotations

from dohle.testing.faults.blow import Blow


async def slow_disk(blow: Blow) -> None:
    faults = blow.machine.disk.faults
    slowness = blow.chance.choice((10.0, 100.0, 1000.0))
    blow.strikes(f"{slowness:g} times for {blow.duration_s:.2f} s")
    faults.slowness = slowness
    await blow.lasts()
    faults.slowness = 1.0


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
