"""Scenarios of consumers that read followers in their rack, and of leaders that do not know that they lead no more."""

from __future__ import annotations

import asyncio

from dohle import Consumer
from dohle.model.errors import (
    DohleError,
    FencedLeaderEpoch,
    NotLeaderOrFollower,
    OffsetNotAvailable,
    OffsetOutOfRange,
)
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import broker_pb2
from dohle.runtime.network import Address, Lane
from dohle.testing.clients.sim_client import seams_of
from dohle.testing.world.topology import NodePlan, Topology
from dohle.testing.world.world import PORT
from tests.simulation.mutations.stage import Stage, scenario_in

RACKED = Topology(
    (NodePlan(1, True, False), *(NodePlan(number, False, True, f"rack{number}") for number in (2, 3, 4))), 3, 2
)
"""A controller that is nothing else, and three brokers, each in a rack of its own."""

_FETCH = methods_of(broker_pb2.DESCRIPTOR.services_by_name["Broker"])["Fetch"]


@scenario_in(RACKED)
async def a_follower_has_more_than_is_committed(stage: Stage) -> None:
    near, far = await _two_followers(stage)
    read = _read(stage, near)
    await stage.written(3)
    await stage.until(lambda: len(read) == 3, "everything is read")
    stage.cut(far, stage.partition().leader)
    await stage.writes(3)
    await stage.until(lambda: stage.log(near).log_end_offset == 6, "one follower has more")
    await stage.passes(2)
    assert len(read) == 3, f"{len(read)} records are read, and 3 are committed"
    stage.mend(far, stage.partition().leader)
    await stage.until(lambda: len(read) == 6, "what is committed is read")


@scenario_in(RACKED)
async def a_follower_that_is_read_leaves_the_set(stage: Stage) -> None:
    near, _ = await _two_followers(stage)
    read = _read(stage, near)
    await stage.written(3)
    await stage.until(lambda: len(read) == 3 and _is_sent_to(stage, near), "the follower is read")
    stage.world.machines[near].disk.faults.least_sync_s = 30.0
    await stage.writes(3)
    await stage.until(lambda: near not in stage.partition().in_sync_replicas, "it has left the in-sync set")
    await stage.passes(1)
    assert stage.broker(near).replicas.partitions, "it still has a replica"
    answer = await _fetched(stage, near, 3, near)
    assert answer.failure.code == NotLeaderOrFollower.code, "a replica that is not in sync answers a reader"
    asked = await _fetched(stage, stage.partition().leader, 3, near)
    assert not asked.HasField("preferred_read_replica"), "a reader is sent to a replica that is not in sync"
    await stage.until(lambda: len(read) == 6, "the leader is read instead", 5.0)


@scenario_in(RACKED)
async def a_follower_that_is_read_is_cut_off(stage: Stage) -> None:
    near, _ = await _two_followers(stage)
    read = _read(stage, near)
    await stage.written(3)
    await stage.until(lambda: len(read) == 3 and _is_sent_to(stage, near), "the follower is read")
    stage.cut(near, *stage.others(near))
    await stage.passes(4)  # longer than a session
    answer = await _fetched(stage, near, 3, near)
    assert answer.failure.code == NotLeaderOrFollower.code, "a broker without a session answers a reader"
    await stage.written(3)
    await stage.until(lambda: len(read) == 6, "the leader is read instead", 5.0)


@scenario_in(RACKED)
async def a_follower_loses_its_leader(stage: Stage) -> None:
    near, _ = await _two_followers(stage)
    await stage.written(3)
    leader, epoch = stage.partition().leader, stage.partition().leader_epoch
    stage.world.lose_power(leader)
    await stage.passes(2.6)  # its connections are given up before its session is
    assert stage.partition().leader_epoch == epoch, "too late: another leads"
    answer = await _fetched(stage, near, 3, near)
    assert answer.failure.code == NotLeaderOrFollower.code, "a follower that hears from no leader answers a reader"
    await stage.until(lambda: stage.partition().leader_epoch > epoch, "another leads")
    follower = stage.followers()[0] if stage.followers()[0] != leader else stage.followers()[1]
    await stage.passes(1)
    answer = await _fetched(stage, follower, 3, follower, epoch)
    assert answer.failure.code == FencedLeaderEpoch.code, "a reader that knows an older leader is answered"


@scenario_in(RACKED)
async def a_reader_is_ahead_of_a_follower(stage: Stage) -> None:
    near, _ = await _two_followers(stage)
    await stage.written(3)
    answer = await _fetched(stage, near, 4, near)
    assert answer.failure.code == OffsetNotAvailable.code, "a follower says that an offset does not exist"
    leader = stage.partition().leader
    stage.world.machines[near].disk.faults.least_sync_s = 5.0
    await stage.writes(3)
    await stage.until(lambda: stage.log(leader).log_end_offset == 6, "the leader has more")
    asked = await _fetched(stage, leader, 5, near)
    assert not asked.HasField("preferred_read_replica"), "a reader is sent to a replica that lacks what comes next"


@scenario_in(RACKED)
async def a_follower_that_is_read_does_not_hear_what_is_committed(stage: Stage) -> None:
    near, _ = await _two_followers(stage)
    read = _read(stage, near)
    await stage.written(3)
    await stage.until(lambda: len(read) == 3 and _is_sent_to(stage, near), "the follower is read")
    leader = stage.partition().leader

    def late() -> None:
        stage.detour(leader, near, 60.0)

    committed = stage.in_the_turn(lambda: stage.log(leader).high_watermark == 4, late, "the last record is committed")
    await asyncio.gather(committed, stage.writes(1))
    started = stage.world.scheduler.now
    await stage.until(lambda: len(read) == 4, "it is read", 10.0)
    assert stage.world.scheduler.now - started > 1, "the follower heard of it all the same"


@scenario_in(RACKED)
async def a_leader_that_is_read_is_cut_off(stage: Stage) -> None:
    await _two_followers(stage)
    read = _read(stage, 0)
    await stage.written(3)
    await stage.until(lambda: len(read) == 3, "everything is read")
    leader = stage.partition().leader
    stage.cut(leader, *stage.others(leader))
    await stage.until(lambda: stage.partition().leader not in (leader, -1), "another leads")
    await stage.written(3, client="another")
    await stage.until(lambda: len(read) == 6, "the reader has found the new leader", 15.0)


@scenario_in(RACKED)
async def a_leader_that_is_cut_off_is_asked_for_what_it_does_not_have(stage: Stage) -> None:
    await _two_followers(stage)
    await stage.written(3)
    leader = stage.partition().leader
    outside = await _fetched(stage, leader, 9, 0)
    assert outside.failure.code == OffsetOutOfRange.code
    stage.cut(leader, *stage.others(leader))
    await stage.until(lambda: stage.partition().leader not in (leader, -1), "another leads")
    await stage.passes(6)
    outside = await _fetched(stage, leader, 9, 0)
    assert outside.failure.code == NotLeaderOrFollower.code, "a deposed leader says what is out of range"


async def _two_followers(stage: Stage) -> tuple[int, int]:
    """Makes the topic; returns its followers."""
    await stage.make_topic()
    await stage.until(lambda: len(stage.partition().in_sync_replicas) == 3, "all are in sync")
    near, far = stage.followers()
    return near, far


def _is_sent_to(stage: Stage, node_id: int) -> bool:
    return next(replica for number, replica in stage.leading().replicas.items() if number == node_id).read_until > 0


def _read(stage: Stage, rack_of: int) -> list[int]:
    """Has a consumer read in this node's rack, or, for 0, in none; returns a list that offsets will be in."""
    process, read = stage.world.client("reader"), list[int]()

    async def poll() -> None:
        rack = f"rack{rack_of}" if rack_of else ""
        async with Consumer(stage.world.bootstrap, rack=rack, **seams_of(process)) as consumer:
            await consumer.assign("t")
            async for record in consumer:
                read.append(record.offset)

    process.spawn(poll(), "read")
    return read


async def _fetched(
    stage: Stage, node_id: int, offset: int, rack_of: int, leader_epoch: int = -1
) -> broker_pb2.FetchedPartition:
    """Asks one broker as a reader would, and returns what it answers."""
    process, answers = stage.world.client("asker"), list[broker_pb2.FetchedPartition]()
    wanted = broker_pb2.FetchPartition(
        topic_id=stage.topic_id(),
        partition=0,
        fetch_offset=offset,
        max_bytes=1 << 20,
        current_leader_epoch=leader_epoch,
        rack=f"rack{rack_of}",
    )

    async def ask() -> None:
        stream = process.network.stream(Address(stage.world.machines[node_id].name, PORT), _FETCH, lane=Lane.CLIENT)
        try:
            await stream.send(broker_pb2.FetchRequest(max_bytes=1 << 20, partitions=[wanted]))
            answer = await stream.receive()
            assert answer is not None, "the broker has ended the stream"
            answers.append(answer.partitions[0])
        except DohleError as error:
            raise AssertionError(f"the broker does not answer: {error}") from error
        finally:
            stream.close()

    process.spawn(ask(), "ask")
    await stage.until(lambda: bool(answers), "the broker has answered")
    return answers[0]
