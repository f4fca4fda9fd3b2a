"""Faults of processes and of whole machines: deaths, pauses, restarts, clocks."""

from __future__ import annotations

from dohle.testing.faults.blow import Blow

_STOP_PATIENCE_S = 12.0


async def kill(blow: Blow) -> None:
    await _end_and_return(blow, [blow.node_id], power=False)


async def power_loss(blow: Blow) -> None:
    await _end_and_return(blow, [blow.node_id], power=True)


async def kill_of_all(blow: Blow) -> None:
    await _end_and_return(blow, list(blow.world.machines), power=False)


async def power_loss_of_all(blow: Blow) -> None:
    await _end_and_return(blow, list(blow.world.machines), power=True)


async def _end_and_return(blow: Blow, node_ids: list[int], *, power: bool) -> None:
    blow.strikes()
    blow.end(*node_ids, power=power)
    await return_one_by_one(blow, node_ids)


async def return_one_by_one(blow: Blow, node_ids: list[int]) -> None:
    """Starts them within the blow's duration, in an order by chance, sometimes all at once."""
    together = blow.chance.random() < 0.5
    blow.chance.shuffle(node_ids)
    if together:
        await blow.lasts()
    for node_id in node_ids:
        if not together:
            await blow.pause(blow.duration_s / len(node_ids))
        blow.start(node_id)


async def pause(blow: Blow) -> None:
    blow.often_at_the_active_controller()
    process = blow.machine.process
    if process is None or process.loop.paused:
        return
    blow.strikes(f"for {blow.duration_s:.2f} s")
    blow.world.pause(blow.node_id)
    await blow.lasts()
    if blow.machine.process is process and process.loop.paused and not blow.over:
        blow.world.resume(blow.node_id)


async def stop(blow: Blow) -> None:
    """A controlled shutdown, cut short by a kill after a while, as process supervisors do."""
    if blow.runs:
        blow.strikes()
        await _stop(blow, blow.node_id)
        await blow.lasts()
        blow.start(blow.node_id)


async def rolling_restart(blow: Blow) -> None:
    """One node after the other, each once the one before it is ready again, or has had its time."""
    blow.strikes()
    for node_id, machine in blow.world.machines.items():
        if blow.over:
            return
        await _stop(blow, node_id)
        blow.start(node_id)
        for _ in range(40):
            if machine.process is not None and machine.process.ready:
                break
            await blow.pause(0.1)


async def _stop(blow: Blow, node_id: int) -> None:
    process = blow.world.machines[node_id].process
    if process is None:
        return
    process.stop(lambda: None)
    deadline = blow.world.scheduler.now + _STOP_PATIENCE_S
    while not process.over and process.loop.alive and blow.world.scheduler.now < deadline and not blow.over:
        await blow.pause(0.02)
    if blow.world.machines[node_id].process is process:
        blow.world.say(f"{process.name} has stopped" if process.over else f"{process.name} does not stop")
        blow.world.kill(node_id)


async def clock_jump(blow: Blow) -> None:
    """The wall clock, which nothing but timestamps may follow, jumps, and later back."""
    jump_ms = round(blow.chance.choice((1e3, 1e5, 4e6)) * blow.chance.uniform(-1, 1))
    blow.strikes(f"by {jump_ms} ms")
    blow.world.move_wall_clock(blow.node_id, jump_ms)
    await blow.lasts()
    blow.world.move_wall_clock(blow.node_id, -jump_ms)


async def clock_skew(blow: Blow) -> None:
    """The machine's wall clock is wrong for good."""
    skew_ms = blow.chance.randint(-600_000, 600_000)
    blow.strikes(f"by {skew_ms} ms")
    blow.world.move_wall_clock(blow.node_id, skew_ms)


async def clock_drift(blow: Blow) -> None:
    """The node comes back on a machine whose timers run too fast or too slow, for good."""
    rate = blow.chance.uniform(0.95, 1.05)
    blow.strikes(f"at {rate:.3f} seconds a second")
    blow.end(blow.node_id, power=False)
    blow.machine.clock_rate = rate
    await blow.pause(0.1)
    blow.start(blow.node_id)
