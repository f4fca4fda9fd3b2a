"""Handlers by key: whatever the order in which they end, each key's records are in turn, and none is passed over."""

import asyncio
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from dohle.client.assigned_partition import AssignedPartition
from dohle.client.backoff import Backoff
from dohle.client.key_pool import KeyPool, Patience
from dohle.client.values import ConsumerRecord
from dohle.model.ids import TopicPartition
from dohle.runtime.clock import LoopClock
from dohle.runtime.tasks import Tasks


def partition_of(number: int, random) -> AssignedPartition:
    made = AssignedPartition(TopicPartition("t", number), b"t" * 16, None, Backoff(random))
    made.move_to(0)
    return made


class Schedule:
    """A pool whose handlers end when they are told to."""

    def __init__(self, random, workers: int) -> None:
        self.failures: list[BaseException] = []
        self.tasks = Tasks("pool", self.failures.append)
        self.partitions = [partition_of(number, random) for number in range(2)]
        self.at_work: dict[tuple[int, int], asyncio.Event] = {}
        self.done: dict[int, set[int]] = defaultdict(set)
        self.by_lane: dict[object, list[int]] = defaultdict(list)
        self.workers = workers
        self.pool = KeyPool(self.handle, workers, Patience(1, 0), None, LoopClock(), self.tasks)

    async def handle(self, record: ConsumerRecord) -> None:
        lane = (record.partition, record.key if self.workers > 1 else None)
        place = (record.partition, record.offset)
        if record.key is not None or self.workers == 1:
            offsets = self.by_lane[lane]
            assert all(offset in self.done[record.partition] for offset in offsets), "those before have ended"
            assert not offsets or record.offset > offsets[-1]
            offsets.append(record.offset)
        self.at_work[place] = asyncio.Event()
        assert len(self.at_work) <= self.workers
        await self.at_work[place].wait()
        del self.at_work[place]
        self.done[record.partition].add(record.offset)

    async def settle(self) -> None:
        for _ in range(self.workers + 5):
            await asyncio.sleep(0)

    def check(self, held: set[int]) -> None:
        assert not self.failures
        for number, partition in enumerate(self.partitions):
            finished = self.pool.finished_to(partition)
            assert finished is not None
            assert partition.position is not None
            assert all(offset in self.done[number] for offset in range(finished))
            if finished < partition.position:
                assert finished not in self.done[number]
        idle = [number for number in (0, 1) if number not in held]
        if not self.at_work:
            assert all(
                self.pool.finished_to(self.partitions[number]) == self.partitions[number].position for number in idle
            )


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 1), st.sampled_from([None, b"a", b"b", b"c"])),
        st.tuples(st.just("end"), st.integers(0, 100), st.none()),
        st.tuples(st.just("hold"), st.integers(0, 1), st.none()),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=150)
@given(STEPS, st.integers(1, 5), st.randoms(use_true_random=False))
def test_what_is_finished_is_below_everything_that_is_not(steps, workers, random):
    async def run() -> None:
        schedule = Schedule(random, workers)
        held: set[int] = set()
        for what, number, key in steps:
            if what == "put" and number not in held:
                await asyncio.wait_for(schedule.pool.room(), 5)
                partition = schedule.partitions[number]
                assert partition.position is not None
                record = ConsumerRecord("t", number, key, b"", (), 0, partition.position)
                schedule.pool.put(partition, record)
                partition.position += 1
            elif what == "end" and schedule.at_work:
                places = sorted(schedule.at_work)
                schedule.at_work[places[number % len(places)]].set()
            elif what == "hold":
                held.add(number)
                schedule.pool.hold(schedule.partitions[number])
            await schedule.settle()
            schedule.check(held)
        for number in sorted(held):
            waiting = asyncio.ensure_future(schedule.pool.until_finished(schedule.partitions[number]))
            await schedule.settle()
            assert waiting.done() == all(place[0] != number for place in schedule.at_work)
            waiting.cancel()
        while schedule.at_work:
            for place in sorted(schedule.at_work):
                schedule.at_work[place].set()
            await schedule.settle()
        schedule.check(held)
        await schedule.pool.close(at_once=False)
        await schedule.tasks.close()

    asyncio.run(run())
