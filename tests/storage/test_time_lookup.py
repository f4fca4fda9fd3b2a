"""Lookups by time, against a list of all records: out of order, compressed, compacted, cut at both ends."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohle.model.batch import HEADER_BYTES, read_header, split_batches
from dohle.model.codecs import Codec
from dohle.model.records import Record, decode_records, encode_batch
from dohle.model.topic_config import TopicConfig
from dohle.storage.compaction.batches import with_payload
from dohle.storage.log import Log
from tests.storage.test_compaction import compact, settled
from tests.storage.world import World

CONFIG = TopicConfig(segment_bytes=1500, index_interval_bytes=150, file_delete_delay_ms=60_000)
COMPACTED = replace(CONFIG, cleanup_policy=("compact",))
TIMES = st.one_of(st.integers(0, 40), st.just(-1))
BATCHES = st.lists(
    st.tuples(st.lists(TIMES, min_size=1, max_size=5), st.sampled_from([Codec.NONE, Codec.GZIP, Codec.ZSTD])),
    min_size=1,
    max_size=40,
)
PERCENT = st.integers(0, 100)

Times = list[tuple[int, int]]


async def records_of(log: Log) -> tuple[Times, list[int]]:
    """Returns offset and time of every record from the log's start on, and where batches end."""
    times: Times = []
    ends = [log.log_start_offset]
    while ends[-1] < log.log_end_offset:
        data = await log.read(ends[-1], 1, up_to=log.log_end_offset)
        for at, header in split_batches(data):
            times += [(one.offset, one.timestamp_ms) for one in decode_records(data, at)]
            ends.append(header.next_offset)
    return [(offset, time) for offset, time in times if offset >= log.log_start_offset], ends


def newest(times: Times) -> tuple[int, int] | None:
    timed = [one for one in times if one[1] >= 0]
    return max(timed, key=lambda one: (one[1], -one[0])) if timed else None


async def agree(log: Log, wanted: int) -> None:
    """Both lookups find what the records say, up to the log's end and up to `wanted` percent of it."""
    times, ends = await records_of(log)
    some = ends[bisect_right(ends, log.log_end_offset * wanted // 100) - 1] if log.log_end_offset else 0
    for up_to in (None, max(some, log.log_start_offset)):
        seen = [(offset, time) for offset, time in times if up_to is None or offset < up_to]
        assert await log.times.newest(up_to=up_to) == newest(seen)
        for time in (0, 7, 20, 39, 40, 41):
            assert await log.times.first_at(time, up_to=up_to) == next((one for one in seen if one[1] >= time), None)


async def history(batches: list[tuple[list[int], Codec]], start: int, wanted: int, compacts: bool) -> None:
    world = World(COMPACTED if compacts else CONFIG)
    await world.start()
    log = await world.log()
    for number, (times, codec) in enumerate(batches):
        rows = [Record(b"%d" % (one % 3 + number % 4), b"v" * 40, (), time) for one, time in enumerate(times)]
        log.append_as_leader(encode_batch(rows, codec=codec), 1, 0)
    await agree(log, wanted)
    await settled(world, log)
    if compacts:
        await compact(world, log)
        await agree(log, wanted)
    log.advance_log_start(log.log_end_offset * start // 100)
    await agree(log, wanted)
    log = await world.restart()
    await agree(log, wanted)
    await log.truncate_to(log.log_end_offset * wanted // 100)
    await agree(log, 100)
    log.append_as_leader(encode_batch([Record(b"k", b"v", (), 20)]), 1, 0)
    await agree(log, wanted)
    await world.stop()


@given(BATCHES, PERCENT, PERCENT, st.booleans())
def test_lookups_find_what_the_records_say(
    batches: list[tuple[list[int], Codec]], start: int, wanted: int, compacts: bool
) -> None:
    asyncio.run(history(batches, start, wanted, compacts))


@pytest.fixture
async def log(world: World) -> Log:
    return await world.log()


def append(log: Log, *times: int) -> None:
    log.append_as_leader(encode_batch([Record(None, b"v", (), time) for time in times]), 1, 99)


async def test_of_records_with_the_newest_time_the_first_is_found(log: Log) -> None:
    append(log, 5, 9, 9)
    append(log, 9, 3)
    assert await log.times.newest() == (1, 9)
    assert await log.times.newest(up_to=2) is None  # whole batches alone


async def test_a_log_without_times_has_no_newest_record(log: Log) -> None:
    assert await log.times.newest() is None
    append(log, -1, -1)
    assert await log.times.newest() is None
    assert await log.times.first_at(0) is None


async def test_where_the_broker_sets_the_times_a_batch_has_one(log: Log) -> None:
    log.configure(replace(log.config, message_timestamp_type="LogAppendTime"))
    append(log, 5, 700, 6)
    assert await log.times.newest() == (0, 99)


async def test_what_a_start_lies_behind_counts_no_more(log: Log) -> None:
    append(log, 1, 8, 3, 2)
    log.advance_log_start(2)
    assert await log.times.newest() == (2, 3)
    log.advance_log_start(4)
    assert await log.times.newest() is None


@pytest.mark.parametrize("segment_bytes", [1 << 20, 80])
@pytest.mark.parametrize("true_times", [(20, 9), (9, 9), (9, 20)])
async def test_a_header_that_says_more_than_its_records_decides_nothing(
    world: World, segment_bytes: int, true_times: tuple[int, int]
) -> None:
    world.config = replace(CONFIG, segment_bytes=segment_bytes)
    log = await world.log()
    append(log, true_times[0])
    honest = encode_batch([Record(None, b"v", (), true_times[1])])
    log.append_as_leader(with_payload(read_header(honest)._replace(max_timestamp=50), honest[HEADER_BYTES:]), 1, 99)
    await agree(log, 100)
    log = await world.restart()
    await agree(log, 100)
