"""Scenarios of a group's consumers: what is in work when partitions move and members end, and late commits."""

from __future__ import annotations

from typing import Any

from dohle import Consumer, DohleError, TopicPartition
from dohle.broker.groups.coordinator import partition_in
from dohle.model.group_errors import StaleMemberEpoch
from dohle.model.internal_topics import OFFSETS_TOPIC
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import groups_pb2
from dohle.runtime.network import Lane
from dohle.testing.clients.sim_client import seams_of
from tests.simulation.mutations.stage import Stage, scenario

GROUP, PARTITION = "g", TopicPartition("t", 0)
_METHODS = methods_of(groups_pb2.DESCRIPTOR.services_by_name["Groups"])


@scenario
async def a_partition_moves_while_a_record_is_in_work(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(3)
    process, happened = stage.world.client("members"), list[str]()

    async def read_next(consumer: Consumer) -> None:
        happened.append(f"the other reads {(await anext(consumer)).offset}")

    async def work() -> None:
        first, second = (Consumer(stage.world.bootstrap, group=GROUP, **seams_of(process)) for _ in range(2))
        await first.subscribe("t")
        happened.append(f"reads {(await anext(first)).offset}")
        await second.subscribe("t")
        process.spawn(read_next(second), "read")
        await first.subscribe("elsewhere")
        await process.clock.sleep(20.0)
        happened.append("has finished")
        await first.batch(timeout_ms=20_000)

    process.spawn(work(), "work")
    await stage.until(lambda: len(happened) == 3, "the partition has moved", 90.0)
    assert happened == ["reads 0", "has finished", "the other reads 1"], f"in this order: {happened}"


@scenario
async def a_reader_ends_with_a_record_in_work(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(3)
    process, read = stage.world.client("members"), list[int]()

    async def work() -> None:
        for _ in range(2):
            options: dict[str, Any] = {"group": GROUP, "auto_commit_interval_ms": 100, **seams_of(process)}
            async with Consumer(stage.world.bootstrap, **options) as consumer:
                await consumer.subscribe("t")
                read.append((await anext(consumer)).offset)
                await process.clock.sleep(2.0)

    process.spawn(work(), "work")
    await stage.until(lambda: len(read) == 2, "both have read", 60.0)
    assert read == [0, 0], f"a record that nobody has finished is passed over: {read}"


@scenario
async def a_commit_comes_behind_a_later_one(stage: Stage) -> None:
    await stage.make_topic()
    process, outcomes = stage.world.client("member"), list[object]()

    async def work() -> None:
        async with Consumer(stage.world.bootstrap, group=GROUP, **seams_of(process)) as consumer:
            await consumer.committed(PARTITION)  # which makes the topic of the offsets
            for sequence, offset in ((1, 10), (3, 30), (2, 20)):
                outcomes.append(await _commit(stage, process, sequence, offset))
            outcomes.append((await consumer.committed(PARTITION))[PARTITION])

    process.spawn(work(), "work")
    await stage.until(lambda: len(outcomes) == 4, "all is committed, or refused", 60.0)
    assert outcomes[3] == (30, ""), f"a late commit has taken a later one back: {outcomes[3]}"
    assert isinstance(outcomes[2], StaleMemberEpoch), f"a late commit is answered by {outcomes[2]!r}"


async def _commit(stage: Stage, process: Any, sequence: int, offset: int) -> DohleError | None:
    """Commits as whoever numbers its commits does, and returns what that is refused with."""
    request = groups_pb2.CommitOffsetsRequest(
        group_id=GROUP,
        member_epoch=-1,
        committer_id=b"a committer's id",
        sequence=sequence,
        offsets=[groups_pb2.CommitOffset(topic="t", partition=0, offset=offset, leader_epoch=-1)],
    )
    offsets = next(topic for topic in stage.topics() if topic.name == OFFSETS_TOPIC)
    coordinator = offsets.partitions[partition_in(len(offsets.partitions), GROUP)].leader
    address = stage.node(coordinator).config.grpc_address
    try:
        await process.network.call(address, _METHODS["CommitOffsets"], request, lane=Lane.CLIENT, timeout_s=5.0)
    except DohleError as error:
        return error
    return None
