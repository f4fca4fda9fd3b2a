"""Repair in place: what has rotted is taken from another replica, all else stays, and no crash leaves a mixture."""

import asyncio
import errno
from random import Random

import pytest

from dohle.model.batch import read_header, split_batches
from dohle.model.errors import DamagedReplica, NetworkException
from dohle.model.topic_config import TopicConfig
from dohle.storage.compaction.batches import Gone, beginning_at
from dohle.storage.log import Log
from dohle.storage.opened import Damage
from dohle.storage.repair import CannotRepair, Repaired
from dohle.storage.room import DiskFull
from dohle.storage.verify.directory import verify_directory
from tests.storage.world import PATH, World, batch

SEGMENT_BYTES = 1 << 20
BATCH_BYTES = 300_000  # three fill a segment
CONFIG = TopicConfig(segment_bytes=SEGMENT_BYTES)


async def filled(config: TopicConfig = CONFIG, *, batches: int = 10) -> tuple[World, Log]:
    """Batches of one record, three to a segment, four to an epoch; the active segment has one."""
    world = World(config)
    await world.start()
    log = await world.log()
    for number in range(batches):
        log.append_as_leader(batch(1, size=BATCH_BYTES, timestamp=1000 * number), number // 4, 0)
    await log.flush()
    log.advance_high_watermark(log.log_end_offset)
    await world.folder._checkpoints.write()
    return world, log


def rot(world: World, segment: int, position: int) -> None:
    content = world.disk.files[world.path(f"{segment:020d}.log")]
    for data in (content.cached, content.durable):
        data[position] ^= 1


async def found(log: Log, offset: int) -> None:
    with pytest.raises(DamagedReplica):
        await log.read(offset, 1, up_to=log.log_end_offset)
    assert log.damage is not None


class Peer:
    """Another replica, with the batches that this one had; `until` is its watermark."""

    def __init__(self, batches: bytes, until: int = 1 << 40) -> None:
        self.batches = [batches[at : at + header.size_bytes] for at, header in split_batches(batches)]
        self.until = until
        self.asked: list[int] = []
        self.failing = False

    async def fetch(self, offset: int, max_bytes: int) -> bytes:
        self.asked.append(offset)
        await asyncio.sleep(0)
        if self.failing:
            raise NetworkException("the leader is not there")
        sent = b""
        for one in self.batches:
            header = read_header(one)
            if offset < header.next_offset <= self.until and (not sent or len(sent) + len(one) <= max_bytes):
                sent += one
        return beginning_at(sent, offset)


async def no_pace(_size_bytes: int) -> None:
    pass


async def all_batches(log: Log) -> bytes:
    data, offset = b"", log.first_offset
    while offset < log.log_end_offset:
        more = await log.read(offset, 1 << 20, up_to=log.log_end_offset, for_replica=True)
        offset = read_header(more, [at for at, _ in split_batches(more)][-1]).next_offset
        data += more
    return data


async def repair(world: World, log: Log, peer: Peer) -> Repaired | None:
    return await world.folder.repairer.repair(log, peer.fetch, no_pace)


@pytest.mark.parametrize("where", ["crc", "header", "offset", "epoch", "active"])
async def test_only_what_is_damaged_is_fetched_and_the_log_is_what_it_was(where: str) -> None:
    world, log = await filled()
    before = await all_batches(log)
    segment, offset = (9, 9) if where == "active" else (3, 4)
    at = (offset - segment) * len(before) // 10
    rot(world, segment, at + {"crc": 5000, "active": 5000, "header": 8, "offset": 7, "epoch": 15}[where])
    if where == "epoch":  # no checksum covers it, and reads do not look at it
        log.damage = Damage(world.path(f"{segment:020d}.log"), at, "for the test", (offset, offset + 1))
    else:
        await found(log, offset)
    peer = Peer(before)
    done = await repair(world, log, peer)
    assert done is not None
    assert set(peer.asked) <= {offset, offset + 1} if where == "header" else peer.asked == [offset]
    assert (log.damage, log.log_end_offset, done.segments) == (None, 10, 1)
    assert await all_batches(log) == before
    log.append_as_leader(batch(1), 5, 0)
    log = await world.crash(Random(1))
    assert log.damage is None
    assert (await all_batches(log)).startswith(before)
    await world.stop()
    assert all([report.is_sound async for report in verify_directory(world.disk, PATH)])


async def test_several_places_of_two_segments_are_repaired() -> None:
    world, log = await filled()
    before = await all_batches(log)
    size = len(before) // 10
    for segment, offset in ((0, 0), (0, 2), (3, 3)):
        rot(world, segment, (offset - segment) * size + 200)
    log.damage = Damage(world.path(f"{0:020d}.log"), 0, "for the test", (1, 4))
    done = await repair(world, log, Peer(before))
    assert done is not None
    assert (done.segments, done.fetched_bytes, done.copied_bytes) == (2, 3 * size, 3 * size)
    assert await all_batches(log) == before
    await world.stop()


async def test_what_is_cut_off_a_segment_is_fetched() -> None:
    world, log = await filled()
    before = await all_batches(log)
    log.sealed.all[0].close()
    content = world.disk.files[world.path(f"{0:020d}.log")]
    for data in (content.cached, content.durable):
        del data[-400_000:]
    log.damage = Damage(world.path(f"{0:020d}.log"), 0, "for the test", (1, 3))
    assert await repair(world, log, Peer(before)) is not None
    assert await all_batches(log) == before
    await world.stop()


@pytest.mark.parametrize("what", ["uncommitted", "another epoch", "bad", "unknown end", "beginning gone"])
async def test_what_cannot_be_repaired_is_as_it_was(what: str) -> None:
    world, log = await filled()
    before = await all_batches(log)
    rot(world, 3, 5000)
    await found(log, 3)
    damage, spoilt = log.damage, bytes(world.bytes_of(f"{3:020d}.log"))
    peer = Peer(before)
    match what:
        case "uncommitted":
            peer.until = 3
        case "another epoch":
            log.epochs.truncate_to(1)
            log.epochs.note(7, 2)
        case "bad":
            peer.batches[3] = peer.batches[3][:-1] + b"?"
        case "unknown end":
            damage = log.damage = Damage(world.path(f"{3:020d}.log"), 0, "for the test")
        case "beginning gone":
            log.take_below(0)
            damage = log.damage = Damage(world.path(f"{3:020d}.log"), 0, "for the test", (-3, 3))
    with pytest.raises(CannotRepair):
        await repair(world, log, peer)
    assert log.damage is damage
    assert bytes(world.bytes_of(f"{3:020d}.log")) == spoilt
    assert not [name for name in world.disk.list(f"{PATH}/t-0") if name.endswith((".cleaned", ".swap"))]
    await world.kill()


async def test_a_leader_that_cannot_be_reached_changes_nothing() -> None:
    world, log = await filled()
    before = await all_batches(log)
    rot(world, 3, 5000)
    await found(log, 3)
    peer = Peer(before)
    peer.failing = True
    with pytest.raises(NetworkException):
        await repair(world, log, peer)
    assert log.damage is not None
    peer.failing = False
    assert await repair(world, log, peer) is not None
    assert await all_batches(log) == before
    await world.stop()


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("seed", range(30))
async def test_a_crash_at_any_moment_leaves_a_log_that_is_damaged_or_whole(seed: int, compacted: bool) -> None:
    world, log = await filled(
        TopicConfig(segment_bytes=SEGMENT_BYTES, cleanup_policy=("compact",)) if compacted else CONFIG
    )
    before = await all_batches(log)
    rot(world, 3, 5000)
    await found(log, 3)
    random = Random(seed)
    repairing = asyncio.ensure_future(repair(world, log, Peer(before)))
    for _ in range(random.randrange(120 if compacted else 60)):
        await asyncio.sleep(0)
    await world.kill(random)
    repairing.cancel()
    await asyncio.gather(repairing, return_exceptions=True)
    await world.start()
    log = await world.log()
    if log.damage is not None:
        assert await repair(world, log, Peer(before)) is not None
    assert await all_batches(log) == before
    await world.stop()
    assert all([report.is_sound async for report in verify_directory(world.disk, PATH)])


async def test_of_a_compacted_log_everything_is_taken_up_to_where_it_was_compacted() -> None:
    world, log = await filled(TopicConfig(segment_bytes=SEGMENT_BYTES, cleanup_policy=("compact",)))
    before = await all_batches(log)
    log.cleaned_to = 6
    rot(world, 3, 5000)
    await found(log, 3)
    peer = Peer(before)
    done = await repair(world, log, peer)
    assert done is not None
    assert (done.segments, done.copied_bytes) == (2, 0), "no older value comes back that a tombstone had deleted"
    assert peer.asked == [0, 1, 2, 3, 4, 5]
    assert log.cleaned_to == 1, "what the other one had not compacted is compacted here again"
    assert await all_batches(log) == before
    await world.stop()


@pytest.mark.parametrize("by", ["leader away", "full disk", "crash"])
async def test_a_try_that_came_to_nothing_does_not_forget_that_the_log_was_compacted(by: str) -> None:
    """Its topic is not compacted any more. Were its own batches copied, values would come in that were deleted here."""
    world, log = await filled()
    before = await all_batches(log)
    log.cleaned_to = 6
    rot(world, 3, 5000)
    await found(log, 3)
    peer = Peer(before)
    peer.failing = by != "full disk"
    if by == "full disk":
        world.disk.fault = lambda operation, _: OSError(errno.ENOSPC, "no room") if operation == "append" else None
    with pytest.raises(DiskFull if by == "full disk" else NetworkException):
        await repair(world, log, peer)
    world.disk.fault = lambda *_: None
    peer.failing = False
    if by == "crash":
        log = await world.crash(Random(1))
    assert log.damage is not None
    done = await repair(world, log, peer)
    assert done is not None
    assert done.copied_bytes == 0
    assert await all_batches(log) == before
    await world.stop()


async def test_a_batch_in_the_place_of_others_is_cut_where_a_segment_ends() -> None:
    world, log = await filled()
    before = await all_batches(log)
    rot(world, 0, len(before) // 10 + 5000)
    await found(log, 1)
    peer = Peer(before)
    peer.batches[1:4] = [Gone(1, 4, 0, 3000).encode()]
    done = await repair(world, log, peer)
    assert done is not None
    assert done.copied_bytes == 0, "of a log that was compacted, all is taken"
    headers = [header for _, header in split_batches(await all_batches(log))]
    assert [(one.base_offset, one.record_count) for one in headers][:4] == [(0, 1), (1, 0), (3, 0), (4, 1)]
    assert [one.next_offset for one in headers[:-1]] == [one.base_offset for one in headers[1:]]
    await world.stop()
    assert all([report.is_sound async for report in verify_directory(world.disk, PATH)])
