"""Retention across brokers: what a topic does not retain goes from every replica, and from no reader unseen."""

from __future__ import annotations

import asyncio

from dohle.broker.fetch_set import Fetched, FetchWanted
from dohle.broker.leading import ACKS_ALL
from dohle.broker.reads import EARLIEST
from dohle.model.errors import OffsetOutOfRange
from dohle.storage.segment import LOG_SUFFIX, RETIRED_SUFFIX, named_offsets
from tests.broker.brokers import KEY, Cluster, Node, until
from tests.broker.logs import PATH, TOPIC_ID, batch, content
from tests.broker.virtual_time import in_virtual_time

SMALL_SEGMENTS = {"index.interval.bytes": "0", "segment.index.bytes": "16", "retention.ms": "60000"}
OLD_S = 61.0


async def produce(node: Node, batches: int = 10, *, records: int = 1) -> None:
    for _ in range(batches):
        future = await node.broker.produce(KEY, batch(records), ACKS_ALL, 60.0)
        assert future is not None
        await future


async def fetch(node: Node, offset: int) -> Fetched:
    wanted = [FetchWanted(KEY, offset, 1000)]
    return (await node.broker.reads.fetch(wanted, max_wait_s=0, min_bytes=0, max_bytes=1000))[0]


def segments(node: Node, suffix: str = LOG_SUFFIX) -> list[int]:
    names = node.disk.list(f"{PATH}/t-0")
    return named_offsets(
        [name.removesuffix(suffix) + LOG_SUFFIX for name in names if name.endswith(suffix)], LOG_SUFFIX
    )


def begins_at(cluster: Cluster, offset: int) -> bool:
    return all(node.log().log_start_offset == offset for node in cluster.nodes.values() if node.running is not None)


async def check(cluster: Cluster, nodes: int = 3) -> None:
    """Lets everything become old, the leader decide, and all act on it."""
    await asyncio.sleep(OLD_S)
    running = [node for node in cluster.nodes.values() if node.running is not None]
    assert len(running) == nodes
    await (await cluster.led()).broker.retention.check()
    await asyncio.sleep(1)  # the followers hear of it
    for node in running:
        await node.broker.retention.check()


async def retaining(**overrides: str) -> tuple[Cluster, Node]:
    cluster = await Cluster.started()
    cluster.controller.topic(TOPIC_ID, [[1, 2, 3]], overrides={**SMALL_SEGMENTS, **overrides})
    leader = await cluster.led()
    await produce(leader)
    await cluster.healed()
    return cluster, leader


@in_virtual_time
async def test_old_records_go_from_every_replica_and_the_log_goes_on() -> None:
    cluster, leader = await retaining()
    assert len(segments(leader)) > 2
    await check(cluster)
    assert begins_at(cluster, 10)
    assert all(segments(node) == [10] for node in cluster.nodes.values())
    assert isinstance((await fetch(leader, 9)).failure, OffsetOutOfRange)
    assert (await leader.broker.reads.find_offset(KEY, EARLIEST, -1)).offset == 10
    await produce(leader, 1)
    assert (await fetch(leader, 10)).batches
    assert all(segments(node, LOG_SUFFIX + RETIRED_SUFFIX) for node in cluster.nodes.values())
    await asyncio.sleep(62)
    assert not any(segments(node, LOG_SUFFIX + RETIRED_SUFFIX) for node in cluster.nodes.values())
    assert not cluster.failures


@in_virtual_time
async def test_what_is_not_old_stays_with_the_segment_it_lies_in() -> None:
    cluster, leader = await retaining(**{"retention.ms": "-1", "retention.bytes": "250"})
    size = leader.log().size_bytes
    await check(cluster)
    start = leader.log().log_start_offset
    assert leader.log().first_offset == start > 0
    assert 250 <= leader.log().size_bytes < size
    assert begins_at(cluster, start)
    assert (await content(leader.log()))[0] == (start, 0)


@in_virtual_time
async def test_a_follower_that_was_away_begins_anew_where_the_leader_does() -> None:
    cluster, leader = await retaining()
    away = next(node for node in cluster.nodes.values() if node is not leader)
    await away.kill()
    await produce(leader)
    await check(cluster, 2)
    leader = await cluster.led()
    assert leader.log().first_offset == 20
    await produce(leader, 1)
    await away.start()
    await cluster.healed()
    assert (away.log().log_start_offset, away.log().log_end_offset) == (20, 21)
    assert await content(away.log()) == await content(leader.log())


@in_virtual_time
async def test_what_went_stays_gone_through_the_death_of_all() -> None:
    cluster, _ = await retaining()
    await check(cluster)
    await asyncio.sleep(2)  # the followers' checkpoints
    for node in cluster.nodes.values():
        await node.kill(power=True)
    for node in cluster.nodes.values():
        await node.start()
    await cluster.healed()
    assert begins_at(cluster, 10)
    await produce(await cluster.led(), 3)
    await cluster.healed()
    assert [offset for offset, _ in await content((await cluster.led()).log())] == [10, 11, 12]


@in_virtual_time
async def test_a_leader_without_a_session_lets_nothing_go() -> None:
    _, leader = await retaining()
    await asyncio.sleep(OLD_S)
    leader.broker.membership.fenced = True
    await leader.broker.retention.check()
    assert leader.log().log_start_offset == 0
    leader.broker.membership.fenced = False
    await leader.broker.retention.check()
    assert leader.log().log_start_offset == 10


@in_virtual_time
async def test_a_replica_begins_anew_where_a_batch_does_though_the_log_begins_within_it() -> None:
    cluster = await Cluster.started()
    cluster.controller.topic(TOPIC_ID, [[1, 2, 3]], overrides=SMALL_SEGMENTS)
    leader, away = await cluster.led(), cluster.nodes[3]
    await cluster.healed()
    await away.kill()
    await produce(leader)
    await produce(leader, 1, records=6)
    await until(lambda: leader.log().high_watermark == 16)
    leader.log().advance_log_start(13)
    await leader.dirs.folder_of(leader.log()).retire_segments()
    first = leader.log().first_offset
    assert 0 < first <= 10
    await away.start()
    await cluster.healed()
    await until(lambda: begins_at(cluster, 13), 5)
    assert away.log().first_offset == first
    assert await content(away.log()) == await content(leader.log())
    assert not cluster.failures
