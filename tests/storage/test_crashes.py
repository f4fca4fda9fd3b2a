"""Random histories against a list of batches, with power losses, kills and clean restarts in between.

The batches' times go up and down, so that an index which lost entries would find another record than there is.
"""

import asyncio
from itertools import accumulate
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dohle.model.batch import read_header, split_batches
from dohle.model.topic_config import TopicConfig
from dohle.storage.log import Log
from dohle.storage.producer_states import ProducerStates
from dohle.storage.verify.directory import verify_directory
from tests.storage.world import PATH, World, batch, rest

CONFIG = TopicConfig(segment_bytes=1 << 18, index_interval_bytes=300, segment_index_bytes=64)

steps = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 4), st.sampled_from([10, 200, 700, 5000])),
    st.tuples(st.just("append"), st.integers(1, 4), st.sampled_from([10, 200, 700, 5000])),
    st.tuples(st.just("flush"), st.just(0), st.just(0)),
    st.tuples(st.just("tick"), st.just(0), st.just(0)),
    st.tuples(st.just("seal"), st.just(0), st.just(0)),
    st.tuples(st.just("truncate"), st.integers(0, 100), st.just(0)),
    st.tuples(st.just("half truncate"), st.integers(0, 100), st.integers(1, 12)),
    st.tuples(st.just("restart"), st.just(0), st.just(0)),
    st.tuples(st.just("kill"), st.just(0), st.just(0)),
    st.tuples(st.just("power"), st.integers(0, 2**32), st.integers(0, 3)),
)


async def content(log: Log) -> list[tuple[int, bytes]]:
    """Returns the batches by their base offset."""
    offset, found = log.log_start_offset, []
    while offset < log.log_end_offset:
        data = await log.read(offset, 3000, up_to=log.log_end_offset)
        for position, header in split_batches(data):
            found.append((header.base_offset, data[position : position + header.size_bytes]))
            offset = header.next_offset
    return found


async def assert_holds(log: Log, model: "Model") -> None:
    """Reads all of it, and looks up a record by each of the newest times so far: what segments' time indexes tell."""
    assert await content(log) == model.batches
    producers = ProducerStates()
    for _, data in model.batches:
        producers.update(read_header(data), 0)
    assert log.producers.encode() == producers.encode()
    for time in sorted({*accumulate(model.times, max)}):
        assert await log.times.first_at(time) == model.first_since(time)


class Model:
    """What the log must hold: these batches, and after a crash all of them that were durable, in their order."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, bytes]] = []
        self.ends: list[int] = []
        self.times: list[int] = []  # by offset

    @property
    def end(self) -> int:
        return self.ends[-1] if self.ends else 0

    def append(self, base: int, end: int, data: bytes, time: int) -> None:
        self.batches.append((base, data))
        self.ends.append(end)
        self.times += range(time, time + end - base)

    def truncate(self, offset: int) -> None:
        while self.ends and self.ends[-1] > offset:
            self.ends.pop()
            self.batches.pop()
        del self.times[self.end :]

    def first_since(self, time: int) -> tuple[int, int] | None:
        return next(((offset, one) for offset, one in enumerate(self.times) if one >= time), None)


async def run(history: list[tuple[str, int, int]]) -> None:
    world = World(CONFIG)
    await world.start()
    log = await world.log()
    model, epoch, sequence, random = Model(), 0, 0, Random(len(history))
    for kind, one, two in history:
        match kind:
            case "append":
                time = random.randrange(1000)
                raw = batch(one, size=two, timestamp=time, producer=3, producer_epoch=epoch % 30_000, sequence=sequence)
                appended = log.append_as_leader(bytearray(raw), epoch, 0)
                model.append(appended.base_offset, appended.next_offset, bytes(appended.batch), time)
                sequence += one
            case "flush":
                assert await log.flush() == model.end
            case "tick":
                await world.clock.passed(1)
            case "seal":
                log.note_progress(is_late=True)
            case "truncate":
                model.truncate(model.end * one // 100)
                await log.truncate_to(log.log_end_offset * one // 100)
            case "half truncate":
                least = min(log.durable_end, log.log_end_offset * one // 100)
                cut = asyncio.ensure_future(log.truncate_to(log.log_end_offset * one // 100))
                for _ in range(two):
                    await asyncio.sleep(0)
                cut.cancel()
                log = await world.crash(Random(one * 100 + two))
                _settle(model, log, least)
            case "restart":
                await world.stop()
                assert not [fault async for one in verify_directory(world.disk, PATH) for fault in one.faults]
                await world.start()
                log = await world.log()
                assert log.recovered.clean
            case "kill":
                await rest()
                log = await world.crash()
            case _:
                for _ in range(two):
                    await asyncio.sleep(0)
                least = log.durable_end
                log = await world.crash(Random(one))
                _settle(model, log, least)
        epoch += kind != "append"
        sequence *= kind == "append"
        assert log.damage is None
        assert log.log_end_offset == model.end
        if kind != "append":
            await assert_holds(log, model)
        assert not world.crashes
    await assert_holds(log, model)
    await world.stop()


def _settle(model: Model, log: Log, least: int) -> None:
    """After a loss of power the log holds the first so many batches; none of the durable ones is missing."""
    borders = [0, *model.ends]
    assert log.log_end_offset in borders
    assert log.log_end_offset >= max(border for border in borders if border <= least)
    assert log.durable_end == log.log_end_offset
    model.truncate(log.log_end_offset)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.lists(steps, max_size=40))
def test_a_log_holds_what_was_appended_and_loses_nothing_durable(history: list[tuple[str, int, int]]) -> None:
    asyncio.run(run(history))


def test_many_crashes_in_a_row() -> None:
    random = Random(5)
    kinds = ["append"] * 6 + ["flush", "tick", "seal", "truncate", "half truncate", "restart", "kill", "power"]
    history: list[tuple[str, int, int]] = []
    for _ in range(600):
        kind = random.choice(kinds)
        match kind:
            case "append":
                history.append((kind, random.randint(1, 4), random.choice([10, 200, 700, 60_000])))
            case "power":
                history.append((kind, random.getrandbits(32), random.randint(0, 6)))
            case _:
                history.append((kind, random.randint(50, 100), random.randint(1, 25)))
    asyncio.run(run(history))
