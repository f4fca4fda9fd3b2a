"""Replicas that were set aside are kept for as long as an operator may miss them, and no longer."""

from __future__ import annotations

from dohle.storage.strays import DAY_MS, RETENTION_MS
from tests.storage.world import PATH, World, batch


def _strays(world: World) -> list[str]:
    return [name for name in world.disk.list(PATH) if name.endswith("-stray")]


async def _set_aside(world: World) -> str:
    log = await world.log()
    log.append_as_leader(batch(3), 0, 0)
    await log.flush()
    return await world.folder.mark_stray("t", 0)


async def test_a_stray_is_counted_and_deleted_at_a_start_a_week_later(world: World) -> None:
    name = await _set_aside(world)
    size = world.folder.strays.sizes[name]
    assert size > 0
    world.clock.time += (RETENTION_MS - DAY_MS) / 1000
    await world.crash()
    assert _strays(world) == [name]
    assert world.folder.strays.sizes == {name: size}
    world.clock.time += DAY_MS / 1000
    await world.crash()
    assert not _strays(world)
    assert not world.folder.strays.sizes


async def test_a_broker_that_runs_for_long_deletes_them_too(world: World) -> None:
    await _set_aside(world)
    world.clock.time += RETENTION_MS / 1000
    for _ in range(3600):
        assert _strays(world)
        await world.clock.passed(1)
    assert not _strays(world)


async def test_one_that_a_person_made_is_kept_from_when_it_is_seen(world: World) -> None:
    await world.log()
    await world.kill()
    world.disk.rename(f"{PATH}/t-0", f"{PATH}/t-0-stray")
    await world.start()
    [name] = _strays(world)
    world.clock.time += (RETENTION_MS - DAY_MS) / 1000
    await world.crash()
    assert _strays(world) == [name]


async def test_one_that_somebody_has_taken_away_is_forgotten(world: World) -> None:
    name = await _set_aside(world)
    world.disk.delete(f"{PATH}/{name}")
    world.clock.time += RETENTION_MS / 1000
    world.folder.strays.delete_old()
    assert not world.folder.strays.sizes
