"""Forks of logs: what they have, what they share, and that nothing that happens to one happens to the other."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dohle.model.batch import read_header
from dohle.model.errors import DamagedReplica, ReplicaNotAvailable, StorageFailure
from dohle.model.ids import TopicId
from dohle.model.topic_config import TopicConfig
from dohle.storage.forked_logs import Forking, headers_checksum
from dohle.storage.log import Log
from dohle.storage.new_log import NewLog
from dohle.storage.producer_states import Duplicate
from dohle.storage.room import DiskFull
from tests.storage.test_crashes import content
from tests.storage.world import PATH, World, batch

FORK_ID = TopicId(bytes(range(100, 116)))
CONFIG = TopicConfig(segment_bytes=2000, index_interval_bytes=300)
FORK = ("f", 0)


async def written(world: World, count: int = 60) -> Log:
    """Batches of two records, many segments, an epoch every twenty batches."""
    world.config = CONFIG
    log = await world.log()
    log.configure(CONFIG)
    for number in range(count):
        log.append_as_leader(batch(2, size=100, producer=number % 3, sequence=number // 3 * 2), number // 20, 0)
    log.start_epoch(7)
    await log.flush()
    log.advance_high_watermark(count * 2)
    return log


async def forked(world: World, source: Log, cut: int) -> Log:
    new = NewLog("f", 0, FORK_ID, CONFIG)
    fork = await world.folder.forking.make(source, new, cut)
    await world.folder.take_in_fork(fork)
    return fork


def shared_names(world: World, folder: str = "f-0") -> list[str]:
    path = f"{PATH}/{folder}"
    return [name for name in world.disk.list(path) if world.disk.is_shared(f"{path}/{name}")]


async def test_a_fork_has_what_lies_below_the_cut_and_shares_whole_segments(world: World) -> None:
    source = await written(world)
    fork = await forked(world, source, 70)
    assert await content(fork) == [one for one in await content(source) if one[0] < 70]
    assert (fork.log_end_offset, fork.durable_end, fork.high_watermark) == (70, 70, 70)
    assert fork.epochs.entries == ((0, 0), (1, 40))
    assert fork.last_batch_epoch == 1
    logs = [name for name in world.disk.list(f"{PATH}/f-0") if name.endswith(".log")]
    assert [name for name in shared_names(world) if name.endswith(".log")] == logs[:-1]
    assert len(logs) > 3


async def test_producers_are_those_of_the_cut(world: World) -> None:
    source = await written(world)
    fork = await forked(world, source, 114)
    following = batch(2, size=100, producer=0, sequence=38)  # as the source has it at 114, and not the fork
    assert isinstance(source.producers.check(read_header(following)), Duplicate)
    assert fork.producers.check(read_header(following)) is None


@pytest.mark.parametrize("cut", [0, 2, 40, 118, 120])
async def test_a_fork_goes_its_own_way_and_a_restart_finds_both(world: World, cut: int) -> None:
    source = await written(world)
    before = [one for one in await content(source) if one[0] < cut]
    fork = await forked(world, source, cut)
    for number in range(20):
        fork.append_as_leader(batch(2, size=100, timestamp=5000 + number), 9, 0)
        source.append_as_leader(batch(1, size=90, timestamp=7000 + number), 7, 0)
    await fork.flush()
    await source.flush()
    of_fork, of_source = await content(fork), await content(source)
    assert of_fork[: len(before)] == of_source[: len(before)] == before
    await world.restart()
    for log, expected in ((world.folder.logs[FORK], of_fork), (world.folder.logs["t", 0], of_source)):
        log.configure(CONFIG)
        assert log.recovered.clean
        assert await content(log) == expected


async def test_a_truncated_source_leaves_the_fork_as_it_is(world: World) -> None:
    source = await written(world)
    fork = await forked(world, source, 100)
    expected = await content(fork)
    await source.truncate_to(31)
    for number in range(10):
        source.append_as_leader(batch(1, size=90, timestamp=7000 + number), 8, 0)
    await source.flush()
    assert await content(fork) == expected
    found = await content(source)
    await world.crash(Random(1))
    assert await content(world.folder.logs[FORK]) == expected
    assert await content(world.folder.logs["t", 0]) == found


async def test_a_truncated_fork_leaves_the_source_as_it_is(world: World) -> None:
    source = await written(world)
    fork = await forked(world, source, 100)
    expected = await content(source)
    for cut in (90, 44, 2):
        await fork.truncate_to(cut)
        fork.append_as_leader(batch(1, size=90), 9, 0)
        await fork.flush()
    assert await content(source) == expected
    await fork.start_over_at(1000)
    assert await content(source) == expected
    await world.restart()
    assert await content(world.folder.logs["t", 0]) == expected


async def test_what_one_retains_no_more_the_other_has(world: World) -> None:
    source = await written(world)
    fork = await forked(world, source, 100)
    expected = await content(fork)
    source.advance_log_start(90)
    await world.folder.retire_segments()
    await world.clock.passed(100_000)
    assert len([name for name in world.disk.list(f"{PATH}/t-0") if name.endswith(".log")]) < 6
    assert await content(fork) == expected
    await world.folder.delete_log("t", 0)
    assert await content(fork) == expected
    assert shared_names(world) == []


async def test_a_fork_of_what_begins_late_begins_there(world: World) -> None:
    source = await written(world)
    source.advance_log_start(51)
    fork = await forked(world, source, 100)
    first = source.sealed.between(51, source.sealed.all[-1])[0]
    assert (fork.log_start_offset, fork.first_offset) == (51, first.base_offset)
    assert await content(fork) == [one for one in await content(source) if one[0] < 100]


async def test_damaged_indexes_are_built_again_beside_those_that_are_shared(world: World) -> None:
    source = await written(world)
    fork = await forked(world, source, 100)
    expected = await content(source)
    path = f"{PATH}/f-0/00000000000000000000.index"
    world.disk.files[path].cached[:] = b"\xff" * len(world.disk.files[path].cached)
    world.disk.files[path].sync()
    await world.restart()
    for key in (FORK, ("t", 0)):  # whoever finds it damaged writes one of its own
        assert (await world.folder.logs[key].read(5, 1, up_to=100))[:8] == (4).to_bytes(8, "big")
    assert not world.disk.is_shared(path)
    assert await content(world.folder.logs["t", 0]) == expected
    assert fork.key == FORK


async def test_a_fork_at_no_border_is_refused_and_leaves_nothing(world: World) -> None:
    source = await written(world)
    names = world.disk.list(PATH)
    for cut in (71, 200):
        with pytest.raises(ReplicaNotAvailable):
            await forked(world, source, cut)
    assert world.disk.list(PATH) == names
    assert not shared_names(world, "t-0")


async def test_a_log_is_not_forked_below_what_a_compaction_has_gone_by(world: World) -> None:
    source = await written(world)
    source.sealed.replaced_below = 80  # a compaction is under way
    with pytest.raises(ReplicaNotAvailable, match=r"records below 80 have replaced, and nobody knows .* at 70"):
        await forked(world, source, 70)
    source.sealed.replaced_below, source.cleaned_to = 0, 80  # an earlier process has done it
    with pytest.raises(ReplicaNotAvailable, match="records below 80 have replaced"):
        await forked(world, source, 70)
    assert (await forked(world, source, 80)).log_end_offset == 80


async def test_a_compaction_that_begins_while_a_log_is_forked_is_noticed(world: World, monkeypatch) -> None:
    source = await written(world)
    share = Forking._share

    async def begun(self: Forking, *arguments: Any) -> None:
        await share(self, *arguments)
        source.sealed.replaced_below = 80

    monkeypatch.setattr(Forking, "_share", begun)
    with pytest.raises(ReplicaNotAvailable, match="records below 80 have replaced"):
        await forked(world, source, 70)
    assert not [name for name in world.disk.list(PATH) if name.startswith("f-0")]


async def test_a_full_disk_refuses_and_leaves_nothing(world: World) -> None:
    source = await written(world)
    names = world.disk.list(PATH)
    world.disk.capacity = world.disk.used() + 100
    with pytest.raises(DiskFull):
        await forked(world, source, 100)
    world.disk.capacity = 1 << 40
    assert world.disk.list(PATH) == names
    assert not world.failures
    fork = await forked(world, source, 100)
    assert fork.log_end_offset == 100


async def test_the_checksum_is_of_headers_and_says_where_it_ends(world: World) -> None:
    source = await written(world)
    fork = await forked(world, source, 100)
    assert await headers_checksum(fork, 84, 100) == await headers_checksum(source, 84, 100)
    assert await headers_checksum(fork, 84, 98) != await headers_checksum(source, 84, 100)
    assert await headers_checksum(fork, 86, 100) != await headers_checksum(source, 84, 100)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), at=st.integers(1, 60), cut=st.sampled_from([2, 40, 100, 120]))
async def test_a_crash_at_any_step_leaves_no_fork_or_a_whole_one(seed: int, at: int, cut: int) -> None:
    world = World()
    await world.start()
    source = await written(world)
    expected = await content(source)
    left = at

    def fails(_operation: str, path: str) -> OSError | None:
        nonlocal left
        left -= 1
        return OSError(5, "cut off", path) if left <= 0 else None

    world.disk.fault = fails
    try:
        await forked(world, source, cut)
    except StorageFailure:
        pass
    await world.crash(Random(seed))
    assert await content(await world.log()) == expected
    assert not [name for name in world.disk.list(PATH) if name.endswith("-new")]
    fork = world.folder.logs.get(FORK)
    if fork is not None:
        assert world.folder.is_fork(fork)
        assert fork.recovered.proven
        assert await content(fork) == [one for one in expected if one[0] < cut]
        assert fork.log_end_offset == cut
    await world.tasks.close()


async def test_what_is_copied_is_checked_and_damage_is_not_handed_on(world: World) -> None:
    source = await written(world)
    names = world.disk.list(PATH)
    last = source.sealed.all[-1].base_offset
    active = [name for name in world.disk.list(f"{PATH}/t-0") if name.endswith(".log")][-1]
    world.disk.files[f"{PATH}/t-0/{active}"].cached[100] ^= 1
    with pytest.raises(DamagedReplica):
        await forked(world, source, 120)
    assert world.disk.list(PATH) == names
    assert (await forked(world, source, last)).log_end_offset == last
