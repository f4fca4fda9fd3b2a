"""Scenarios of forks: they have what is committed below the cut, durably, on all who are said to have it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from dohle.client.values import ForkedTopic
from dohle.model.batch import split_batches
from dohle.model.errors import ReplicaNotAvailable
from dohle.model.ids import TopicId
from dohle.model.image import TopicImage
from dohle.model.records import Record, decode_records, encode_batch
from dohle.model.topic_config import TopicConfig
from dohle.runtime.tasks import Tasks
from dohle.storage.compaction.cleaning import Cleaning, Terms
from dohle.storage.data_folder import DataFolder, format_folder
from dohle.storage.log import Log
from dohle.storage.log_folder import LogFolder
from dohle.storage.new_log import NewLog
from dohle.testing.world.world import World
from tests.simulation.mutations.replication_scenarios import APART
from tests.simulation.mutations.stage import Stage, scenario_in

RECORDS = 10
_SHORT_SEGMENTS = {"segment.ms": "100"}


async def _written(stage: Stage, configs: dict[str, str] | None = None) -> int:
    """Returns the leader; all are in sync, and have all records, in several segments."""
    await stage.make_topic({**_SHORT_SEGMENTS, **(configs or {})})
    await stage.until(lambda: len(stage.partition().in_sync_replicas) == 3, "all are in sync")
    for _ in range(3):
        await stage.written(RECORDS)
        await stage.passes(0.2)
    return stage.partition().leader


async def _forked(stage: Stage, **where: int) -> ForkedTopic:
    return await stage.asks(lambda admin: admin.fork_topic("t", "f", **where))


def _fork(stage: Stage) -> TopicImage | None:
    return next((topic for topic in stage.topics() if topic.name == "f"), None)


def _whole(stage: Stage, made: ForkedTopic, end: int) -> None:
    assert made.ends == {0: end}, f"it was cut at {made.ends}, and {end} is committed"
    fork = _fork(stage)
    assert fork is not None
    members = fork.partitions[0].in_sync_replicas
    assert len(members) == 3, f"only {members} are in sync, and all could be"


@scenario_in(APART)
async def a_topic_is_forked(stage: Stage) -> None:
    await _written(stage)
    _whole(stage, await _forked(stage), 3 * RECORDS)
    stage.looks_at_disks()
    await stage.passes(1.0)
    await stage.compares()


@scenario_in(APART)
async def a_topic_is_forked_where_it_was_before_another_led(stage: Stage) -> None:
    leader = await _written(stage)
    stage.world.kill(leader)
    await stage.until(lambda: stage.partition().leader not in (leader, -1), "another leads")
    await stage.written(RECORDS)
    stage.world.start(leader)
    await stage.until(lambda: len(stage.partition().in_sync_replicas) == 3, "all are in sync")
    made = await _forked(stage, offset=RECORDS)
    _whole(stage, made, RECORDS)
    await stage.passes(1.0)
    await stage.compares()


@scenario_in(APART)
async def a_topic_is_forked_whose_leader_has_more_than_is_committed(stage: Stage) -> None:
    leader = await _written(stage, {"min.insync.replicas": "1"})
    stage.cut(leader, *stage.followers())
    await stage.writes(RECORDS)
    await stage.passes(0.5)
    assert stage.log(leader).log_end_offset > stage.log(leader).high_watermark
    made = await _forked(stage)
    assert made.ends == {0: 3 * RECORDS}, f"it was cut at {made.ends}, and {3 * RECORDS} is committed"


@scenario_in(APART)
async def a_follower_is_slow_to_make_its_fork(stage: Stage) -> None:
    await _written(stage)
    stage.world.machines[stage.follower()].disk.faults.least_sync_s = 0.5
    _whole(stage, await _forked(stage), 3 * RECORDS)


@scenario_in(APART)
async def a_follower_loses_its_disk_after_it_has_made_its_fork(stage: Stage) -> None:
    """Another one is slow, so that the topic is not there yet; but it is waited for, and two are enough.

    Who has lost its disk may say that it can share nothing, before it has got the source again.
    """
    await _written(stage, {"min.insync.replicas": "2"})
    loses, slow = stage.followers()
    stage.world.machines[slow].disk.faults.least_sync_s = 1.0
    outcome = stage.tells(lambda admin: admin.fork_topic("t", "f"))
    image = stage.broker(slow).metadata

    def has_spoken() -> bool:
        forks = list(image.image.forks_in_order())
        return bool(forks) and loses in forks[0].partitions[0].confirmed

    await stage.at_once(has_spoken, "it has said what it has")
    stage.world.kill(loses)
    stage.world.machines[loses].disk.wipe()
    await stage.world.format_anew(loses)
    stage.world.start(loses)
    await stage.until(lambda: bool(outcome), "the fork is made, or is not", 60.0)
    assert isinstance(outcome[0], ForkedTopic), outcome[0]
    stage.looks_at_disks()


def two_logs_share_files() -> tuple[str, ...]:
    """The source is cut and goes on; the fork stays as it was, after a loss of power too."""
    return _on_a_disk("two_logs_share_files", _one_is_cut)


def a_compacted_log_is_forked_where_it_was_before() -> tuple[str, ...]:
    """What replaced a record lies above the cut: the fork would lack the record, or is refused."""
    return _on_a_disk("a_compacted_log_is_forked_where_it_was_before", _one_was_compacted)


def _on_a_disk(name: str, work: Callable[[LogFolder], Awaitable[None]]) -> tuple[str, ...]:
    world = World(name)
    violations: list[str] = []

    async def script() -> None:
        try:
            await _logs_on_a_disk(world, work)
        except (AssertionError, asyncio.CancelledError) as failure:  # what works on the logs has failed, and is ended
            violations.append(str(failure) or repr(failure))

    try:
        world.run(script())
    finally:
        world.end()
    return (*violations, *world.bugs)


async def _logs_on_a_disk(world: World, work: Callable[[LogFolder], Awaitable[None]]) -> None:
    disk, clock = world.machines[1].disk, world.clock
    await format_folder(disk, "shared", cluster_id="c", node_id=1, directory_id=bytes(16))
    data = await DataFolder.open(disk, "shared", cluster_id="c", node_id=1)
    failures: list[BaseException] = []
    tasks = Tasks("logs", failures.append)
    folder = await LogFolder.open(disk, clock, data, tasks, on_failure=failures.append)
    await work(folder)
    await folder.close()
    await asyncio.sleep(0)
    await tasks.close()
    assert not failures, failures


async def _one_is_cut(folder: LogFolder) -> None:
    config = TopicConfig(segment_bytes=2000, index_interval_bytes=300)
    source = await folder.create_log("t", TopicId(bytes(16)), 0, config)
    _append(source, 60)
    await source.flush()
    fork = await folder.forking.make(source, NewLog("f", 0, TopicId(b"f" * 16), config), 50)
    await folder.take_in_fork(fork)
    before = await _content(fork)
    await source.truncate_to(5)
    _append(source, 60)
    await source.flush()
    assert await _content(fork) == before, "the fork has changed with its source"
    for number in range(5, 40, 5):
        assert await fork.times.first_at(number, up_to=50), "its indexes are not its own"


async def _one_was_compacted(folder: LogFolder) -> None:
    config = TopicConfig(segment_bytes=2000, index_interval_bytes=300, cleanup_policy=("compact",))
    source = await folder.create_log("t", TopicId(bytes(16)), 0, config)
    _append(source, 60, key=b"the only one")
    await source.flush()
    source.advance_high_watermark(60)
    await folder._checkpoints.write()
    found = await folder.compactor.look_at(source, now_ms=0)
    assert found is not None, "there is nothing to compact"
    terms = Terms(0, config.delete_retention_ms, 1 << 20, True, {})
    await folder.compactor.compact(found, _Inline(Cleaning(terms)), _NoPace())
    try:
        fork = await folder.forking.make(source, NewLog("f", 0, TopicId(b"f" * 16), config), 20)
    except ReplicaNotAvailable:
        return
    await folder.take_in_fork(fork)
    content = await _content(fork)
    records = [record for at, _ in split_batches(content) for record in decode_records(content, at)]
    assert records, "the fork has nothing of a key that had been written when it was cut"


class _Inline:
    """The work is done here."""

    def __init__(self, value: object) -> None:
        self._value = value

    async def run(self, work: Callable[..., Any], *arguments: object) -> Any:
        return work(self._value, *arguments)

    async def close(self) -> None:
        pass


class _NoPace:
    async def passed(self, size_bytes: int) -> None:
        pass


def _append(log: Log, count: int, *, key: bytes | None = None) -> None:
    for number in range(count):
        records = [Record(key, Random(number).randbytes(100), (), number)]
        log.append_as_leader(encode_batch(records), 0, 0)


async def _content(log: Log) -> bytes:
    found, offset = b"", 0
    while offset < log.log_end_offset:
        data = await log.read(offset, 1 << 20, up_to=log.log_end_offset)
        found += data
        offset = [header.next_offset for _, header in split_batches(data)][-1]
    return found
