"""`dohle log repair`: what can be made again is, what is lost is named, and a copy is kept of all that changes."""

import asyncio
from random import Random

import pytest

from dohle.model.errors import DataFolderError
from dohle.storage.offline_repair import Plan, carry_out, plan_repair
from dohle.storage.verify.directory import verify_directory
from tests.storage.test_repair import all_batches, filled, found, rot
from tests.storage.world import PATH, World, batch

KEY = ("t", 0)
KEPT = "kept"


async def repaired(world: World, *, up_to: int | None = None) -> Plan:
    plan = await plan_repair(world.disk, PATH, KEY, up_to=up_to)
    if plan.changes:
        await carry_out(world.disk, PATH, [plan], KEPT)
    return plan


async def is_sound(world: World) -> bool:
    return all([report.is_sound async for report in verify_directory(world.disk, PATH)])


async def test_a_sound_replica_is_left_alone() -> None:
    world, _ = await filled()
    await world.stop()
    before = {path: bytes(content.cached) for path, content in world.disk.files.items()}
    assert (await repaired(world)).changes == []
    assert before == {path: bytes(content.cached) for path, content in world.disk.files.items()}


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("spoil", ["cut", "garbage", "missing"])
@pytest.mark.parametrize(
    "name", [f"{3:020d}.index", f"{3:020d}.timeindex", "leader-epoch-checkpoint", f"{6:020d}.snapshot"]
)
async def test_what_can_be_made_again_is(name: str, spoil: str, killed: bool) -> None:
    world, log = await filled()
    before = await all_batches(log)
    await (world.kill() if killed else world.stop())
    path = world.path(name)
    spoilt = b""
    if spoil == "missing":
        world.disk.delete(path)
    else:
        content = world.disk.files[path]
        content.cached[:] = content.cached[:-1] if spoil == "cut" else b"\xff" * 36
        content.sync()
        spoilt = bytes(content.cached)
    was_sound = await is_sound(world)
    plan = await repaired(world)
    assert plan.left == []
    assert await is_sound(world)
    if not was_sound:
        assert plan.changes
        if spoil != "missing":
            assert bytes(world.disk.files[f"{KEPT}/t-0/{name}"].durable) == spoilt
    await world.start()
    log = await world.log()
    assert (log.damage, log.recovered.lost) == (None, False)
    assert await all_batches(log) == before
    await world.stop()
    assert await is_sound(world)


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize(("segment", "offset"), [(0, 0), (3, 4), (3, 3), (9, 9)])
async def test_what_cannot_be_read_goes_only_if_that_is_said(segment: int, offset: int, killed: bool) -> None:
    world, log = await filled()
    before = await all_batches(log)
    size = len(before) // 10
    if segment == 9 and killed:
        log.append_as_leader(batch(1), 2, 0)  # so that it is none at the end
        await log.flush()
        await world.folder._checkpoints.write()
    rot(world, segment, (offset - segment) * size + 5000)
    await found(log, offset)
    await (world.kill() if killed else world.stop())
    files = {path: bytes(content.cached) for path, content in world.disk.files.items()}
    plan = await repaired(world)
    assert plan.unreadable is not None
    assert (plan.unreadable.first_offset, plan.lost, plan.changes) == (offset, None, [])
    assert files == {path: bytes(content.cached) for path, content in world.disk.files.items()}
    with pytest.raises(DataFolderError, match=f"give --to {offset}"):
        await repaired(world, up_to=offset + 1)
    plan = await repaired(world, up_to=offset)
    assert plan.lost == (offset, 11 if segment == 9 and killed else 10)
    assert plan.left == []
    kept = world.disk.files[f"{KEPT}/t-0/{segment:020d}.log"]
    assert bytes(kept.durable) == files[world.path(f"{segment:020d}.log")]
    assert await is_sound(world)
    await world.start()
    log = await world.log()
    assert (log.damage, log.log_end_offset) == (None, offset)
    assert (log.recovered.lost, log.proven) == (True, False), "the controller is to be told"
    assert await all_batches(log) == before[: offset * size]
    assert log.append_as_leader(batch(1), 5, 0).base_offset == offset
    log = await world.crash()
    assert log.recovered.lost, "it was not told yet"
    await world.folder.findings_reported()
    log = await world.restart()
    assert not log.recovered.lost
    await world.stop()
    assert await is_sound(world)


async def test_a_log_is_cut_below_what_can_be_read() -> None:
    world, log = await filled()
    before = await all_batches(log)
    rot(world, 6, 5000)
    await found(log, 6)
    await world.stop()
    plan = await repaired(world, up_to=4)
    assert plan.lost == (4, 10)
    await world.start()
    log = await world.log()
    assert await all_batches(log) == before[: 4 * len(before) // 10]
    await world.stop()


async def test_nothing_goes_of_what_can_be_read() -> None:
    world, _ = await filled()
    await world.stop()
    with pytest.raises(DataFolderError, match="leave out --to"):
        await repaired(world, up_to=4)


async def test_a_note_of_damage_that_is_gone_goes() -> None:
    world, log = await filled()
    before = await all_batches(log)
    rot(world, 3, 5000)
    await found(log, 3)
    rot(world, 3, 5000)  # as it was: the segment was put back
    await world.stop()
    assert not await is_sound(world)
    assert (await repaired(world)).left == []
    await world.start()
    log = await world.log()
    assert log.damage is None
    assert await all_batches(log) == before
    await world.stop()


async def test_there_must_be_room_for_the_copy() -> None:
    world, log = await filled()
    rot(world, 3, 5000)
    await found(log, 3)
    await world.stop()
    world.disk.capacity = world.disk.used() + 1000
    files = {path: bytes(content.cached) for path, content in world.disk.files.items()}
    with pytest.raises(DataFolderError, match="no room"):
        await repaired(world, up_to=3)
    assert files == {path: bytes(content.cached) for path, content in world.disk.files.items()}


@pytest.mark.parametrize("seed", range(30))
async def test_a_repair_that_loses_its_power_is_begun_again_and_forgets_no_loss(seed: int) -> None:
    world, log = await filled()
    before = await all_batches(log)
    rot(world, 3, 5000)
    await found(log, 3)
    await world.stop()
    random = Random(seed)
    plan = await plan_repair(world.disk, PATH, KEY, up_to=3)
    repairing = asyncio.ensure_future(carry_out(world.disk, PATH, [plan], KEPT))
    for _ in range(random.randrange(60)):
        await asyncio.sleep(0)
    repairing.cancel()
    await asyncio.gather(repairing, return_exceptions=True)
    world.disk = world.disk.crash(random)
    plan = await plan_repair(world.disk, PATH, KEY)
    if plan.unreadable is not None:
        plan = await plan_repair(world.disk, PATH, KEY, up_to=3)
    if plan.changes:
        await carry_out(world.disk, PATH, [plan], "kept-again")
    await world.start()
    log = await world.log()
    assert (log.damage, log.log_end_offset, log.recovered.lost) == (None, 3, True)
    assert await all_batches(log) == before[: 3 * len(before) // 10]
    await world.stop()
    assert await is_sound(world)


async def test_a_file_that_another_log_shares_is_not_cut() -> None:
    world, log = await filled()
    rot(world, 3, 5000)
    await found(log, 3)
    await world.stop()
    shared = world.disk.files[world.path(f"{3:020d}.log")]  # which a fork has under another name
    before = bytes(shared.cached)
    assert (await repaired(world, up_to=3)).lost == (3, 10)
    assert bytes(shared.cached) == before
