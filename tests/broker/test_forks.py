"""Forks across brokers: each makes its own, all have the same, and what comes to nothing leaves nothing."""

from __future__ import annotations

import pytest

from dohle.broker.leading import ACKS_ALL
from dohle.model.batch import split_batches
from dohle.model.errors import OffsetOutOfRange, PolicyViolation
from dohle.model.ids import PartitionKey, TopicId
from dohle.rpc.v1.admin_pb2 import ForkTopicRequest
from dohle.storage.log import Log
from tests.broker.brokers import KEY, Cluster, until
from tests.broker.logs import PATH, TOPIC_ID, batch
from tests.broker.virtual_time import in_virtual_time

FORK = PartitionKey(TopicId(b"fork--of-16-byte"), 0)
RECORDS = 20


async def filled(**options: float) -> Cluster:
    cluster = await Cluster.started(**options)
    cluster.controller.topic(TOPIC_ID, [[1, 2, 3]], overrides={"segment.bytes": "1048576", "retention.ms": "-1"})
    await produce(cluster)
    return cluster


async def produce(cluster: Cluster, key: PartitionKey = KEY) -> None:
    leader = await cluster.led(key)
    for _ in range(RECORDS):
        future = await leader.broker.produce(key, batch(size=200_000), ACKS_ALL, 60.0)
        assert future is not None
        await future


def fork(cluster: Cluster, name: str = "f", **where: int) -> None:
    cluster.controller.fork(ForkTopicRequest(source="t", name=name, topic_id=FORK.topic_id, **where))


async def content(log: Log, end: int) -> bytes:
    found, offset = b"", log.log_start_offset
    while offset < end:
        data = await log.read(offset, 1 << 20, up_to=end)
        found += data
        offset = max(header.next_offset for _, header in split_batches(data))
    return found


async def there(cluster: Cluster) -> None:
    await until(lambda: all(FORK in node.broker.replicas.partitions for node in cluster.nodes.values()), 60.0)


@in_virtual_time
async def test_a_fork_is_the_same_everywhere_and_goes_on_apart() -> None:
    cluster = await filled()
    fork(cluster)
    await there(cluster)
    assert cluster.isr(FORK) == (1, 2, 3)
    assert (await cluster.led(FORK)).log(FORK).epochs.entries == ((0, 0), (1, RECORDS))
    await cluster.healed(FORK)
    for node in cluster.nodes.values():
        log = node.log(FORK)
        assert await content(log, RECORDS) == await content(node.log(), RECORDS)
        assert node.disk.is_shared(f"{PATH}/f-0/00000000000000000000.log")
        assert not node.disk.exists(f"{PATH}/f-0/forked")
    await produce(cluster, FORK)
    await cluster.healed(FORK)
    assert {node.log().log_end_offset for node in cluster.nodes.values()} == {RECORDS}
    assert {node.log(FORK).log_end_offset for node in cluster.nodes.values()} == {2 * RECORDS}


@in_virtual_time
async def test_a_fork_that_comes_to_nothing_leaves_nothing_and_its_name_is_free() -> None:
    cluster = await filled()
    fork(cluster, offset=RECORDS + 1)
    await until(lambda: bool(cluster.controller.ended_forks))
    assert isinstance(cluster.controller.ended_forks[0].failure, OffsetOutOfRange)
    cluster.controller.remove(TOPIC_ID)
    await until(lambda: all(not node.broker.replicas.partitions for node in cluster.nodes.values()))
    for node in cluster.nodes.values():
        assert not [name for name in node.disk.list(PATH) if name.startswith("f-0")]


@in_virtual_time
async def test_a_broker_that_dies_before_it_is_there_says_again_what_it_has() -> None:
    cluster = await filled()
    others = cluster.nodes[3]
    await others.kill()
    cluster.controller.fence(3)
    fork(cluster, offset=10)
    await until(lambda: bool(cluster.controller.ended_forks), 60.0)
    assert cluster.controller.ended_forks[0].ends == (10,)
    await others.start()
    await cluster.healed(FORK)
    assert await content(others.log(FORK), 10) == await content(cluster.nodes[1].log(), 10)


@pytest.mark.parametrize("victim", [1, 2])
@pytest.mark.parametrize("power", [False, True])
@pytest.mark.parametrize("seed", range(4))
@in_virtual_time
async def test_whoever_dies_in_the_middle_the_fork_is_whole_or_is_not_there(
    victim: int, power: bool, seed: int
) -> None:
    cluster = await filled(seed=seed)
    node = cluster.nodes[victim]
    fork(cluster)
    await until(lambda: any(name.startswith("f-0") for name in node.disk.list(PATH)))
    await node.kill(power=power)
    cluster.controller.fence(victim)
    await node.start()
    await until(lambda: bool(cluster.controller.ended_forks), 60.0)
    assert cluster.controller.ended_forks[0].failure is None
    await there(cluster)
    await cluster.healed(FORK)
    for one in cluster.nodes.values():
        assert await content(one.log(FORK), RECORDS) == await content(one.log(), RECORDS)
        assert not [name for name in one.disk.list(PATH) if name.endswith(("-new", "-stray"))]


@in_virtual_time
async def test_nobody_writes_to_a_snapshot() -> None:
    cluster = await filled()
    fork(cluster, name="__snapshot.s")
    await there(cluster)
    leader = await cluster.led(FORK)
    with pytest.raises(PolicyViolation, match="stays as it is"):
        await leader.broker.produce(FORK, batch(), ACKS_ALL, 60.0)
    with pytest.raises(PolicyViolation, match="stays as it is"):
        leader.broker.deletions.foreseen(FORK, 3, -1)
    assert leader.log(FORK).config.retention_ms == -1


@in_virtual_time
async def test_a_leader_that_has_said_where_it_cuts_says_the_same_until_metadata_tells_otherwise() -> None:
    """The controller may have heard it, and its answer or the metadata may be late."""
    cluster = await filled()
    leader = cluster.leader()
    cluster.controller.hold_back = True  # nobody hears what becomes of the fork
    forks = leader.broker.forks
    cluster.controller.fork(ForkTopicRequest(source="t", name="f", topic_id=FORK.topic_id))
    fork = cluster.controller.image.forks[FORK.topic_id]
    leader.broker.replicas.image = cluster.controller.image
    first = await forks._say(fork, 0)
    assert first is not None
    assert first.end == RECORDS
    await produce(cluster)
    assert leader.log().high_watermark == 2 * RECORDS
    second = await forks._say(fork, 0)
    assert second is not None
    assert (second.end, second.checksum) == (first.end, first.checksum)
