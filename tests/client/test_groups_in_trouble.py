"""Consumers of a group, on whole simulated nodes that are killed: nothing is passed over, and work goes on soon."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest

from dohle import Consumer, ConsumerRecord, TopicPartition
from dohle.broker.groups.coordinator import partition_in
from dohle.client.seams import Seams
from dohle.model.errors import InvalidRequest
from dohle.model.group_errors import (
    InvalidGroupId,
    InvalidRegularExpression,
    NotCoordinator,
    StaleMemberEpoch,
    UnknownMember,
)
from dohle.model.internal_topics import OFFSETS_TOPIC
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import groups_pb2
from dohle.runtime.network import Lane

PARTITIONS = 4
KEYS = 12
RECORDS = 400


async def coordinator(dohle, group: str) -> int:
    return await dohle.leader(OFFSETS_TOPIC, partition_in(50, group))


@pytest.fixture
async def topic(dohle_world) -> str:
    return await dohle_world.topic("orders", partitions=PARTITIONS, configs={"min.insync.replicas": "2"})


class Handled:
    """What the members of a group have handled, in the order in which they did."""

    def __init__(self) -> None:
        self.offsets: dict[int, set[int]] = defaultdict(set)
        self.by_key: dict[bytes | None, list[int]] = defaultdict(list)
        self.members: dict[int, list[str]] = defaultdict(list)
        self.count = 0

    async def handle(self, member: str, record: ConsumerRecord) -> None:
        await asyncio.sleep(0.002)
        self.offsets[record.partition].add(record.offset)
        self.by_key[record.key].append(int(record.value or b""))
        if self.members[record.partition][-1:] != [member]:
            self.members[record.partition].append(member)
        self.count += 1

    @property
    def distinct(self) -> int:
        return sum(map(len, self.offsets.values()))

    async def until(self, distinct: int) -> None:
        while self.distinct < distinct:
            await asyncio.sleep(0.05)

    def check_order(self) -> None:
        """By key: each record in its turn, but for what was begun again from an earlier one."""
        for numbers in self.by_key.values():
            furthest: list[int] = []
            for number in numbers:
                if number not in furthest:
                    assert not furthest or number > furthest[-1], numbers
                    furthest.append(number)


class Members:
    """Members that run the same handler; one that crashes says nothing to anybody."""

    def __init__(self, dohle, topic: str, handled: Handled) -> None:
        self._dohle = dohle
        self._topic = topic
        self._handled = handled
        self.consumers: dict[str, Consumer] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

    async def join(self, name: str, **options) -> Consumer:
        consumer = self._dohle.consumer(group="billing", auto_commit_interval_ms=500, **options)
        self.consumers[name] = consumer
        await consumer.subscribe(self._topic)

        async def handle(record: ConsumerRecord) -> None:
            await self._handled.handle(name, record)

        self._running[name] = asyncio.get_running_loop().create_task(consumer.run(handle, workers=8))
        return consumer

    async def leave(self, name: str) -> None:
        consumer = self.consumers.pop(name)
        consumer.stop()
        await self._running.pop(name)
        await consumer.close()

    async def crash(self, name: str) -> None:
        consumer = self.consumers.pop(name)
        await consumer._tasks.close()
        self._running.pop(name).cancel()

    async def end(self) -> None:
        for name in list(self.consumers):
            await self.leave(name)


async def produce(dohle, topic: str, count: int, *, pause_s: float = 0.01) -> None:
    async with dohle.producer() as producer:
        for number in range(count):
            await producer.send(topic, b"%d" % number, key=b"key %d" % (number % KEYS))
            await asyncio.sleep(pause_s)


async def committed(dohle, topic: str) -> dict[int, int]:
    async with dohle.consumer(group="billing") as consumer:
        found = await consumer.committed(*(TopicPartition(topic, number) for number in range(PARTITIONS)))
        return {name.partition: one.offset for name, one in found.items() if one is not None}


@pytest.mark.dohle_world(seeds=range(4))
async def test_a_group_handles_everything_while_brokers_and_members_die(dohle_world, topic):
    handled = Handled()
    members = Members(dohle_world, topic, handled)
    await members.join("a")
    await members.join("b")
    producing = asyncio.get_running_loop().create_task(produce(dohle_world, topic, RECORDS))
    await handled.until(40)
    dead = await coordinator(dohle_world, "billing")
    dohle_world.kill(dead)
    await members.join("c")
    await handled.until(160)
    await members.leave("a")
    await dohle_world.start(dead)
    await dohle_world.wait_healthy()
    await members.crash("b")
    await members.join("d")
    await producing
    dohle_world.kill(await coordinator(dohle_world, "billing"))
    await handled.until(RECORDS)
    await members.end()
    handled.check_order()
    ends = {partition: max(offsets) + 1 for partition, offsets in handled.offsets.items()}
    assert {partition: len(offsets) for partition, offsets in handled.offsets.items()} == ends
    found = await committed(dohle_world, topic)
    assert {partition: offset for partition, offset in found.items() if offset} == ends


async def test_commits_work_again_within_a_second_of_the_coordinators_death(dohle_world, topic):
    clock = asyncio.get_running_loop()
    await produce(dohle_world, topic, 20)
    async with dohle_world.consumer(group="billing", auto_commit=False) as consumer:
        await consumer.subscribe(topic)
        assert await consumer.batch()
        await consumer.commit()
        dohle_world.kill(await coordinator(dohle_world, "billing"))
        killed_at = clock.time()
        [first, *_] = consumer.assignment()
        await consumer.commit({first: 0}, metadata="after")
        assert clock.time() - killed_at <= 1.0  # of simulated time
        assert (await consumer.committed(first))[first] == (0, "after")


async def test_a_new_groups_first_record_comes_soon(dohle_world, topic):
    clock = asyncio.get_running_loop()
    await produce(dohle_world, topic, 20)
    for group in ("one", "two"):
        began = clock.time()
        async with dohle_world.consumer(group=group) as consumer:
            await consumer.subscribe(topic)
            await anext(consumer)
            took_s = clock.time() - began
    assert took_s <= 0.060  # of simulated time, with the topic of the offsets there


async def test_a_crashed_members_partitions_go_to_another_from_where_it_had_committed(dohle_world, topic):
    handled = Handled()
    members = Members(dohle_world, topic, handled)
    await members.join("a")
    await produce(dohle_world, topic, 50)
    await handled.until(50)
    await asyncio.sleep(1)  # simulated: by then it has committed
    await members.crash("a")
    await members.join("b")
    await produce(dohle_world, topic, 30)
    await handled.until(80)
    assert handled.count == 80
    assert any(names == ["a", "b"] for names in handled.members.values())
    await members.end()


async def test_a_static_member_restarts_without_a_rebalance(dohle_world, topic):
    revoked: list[list[TopicPartition]] = []
    async with dohle_world.consumer(group="billing") as other:
        await other.subscribe(topic, on_revoked=revoked.append)
        reading = asyncio.get_running_loop().create_task(anext(other))
        static = dohle_world.consumer(group="billing", instance_id="one")
        await static.subscribe(topic)
        while len(static.assignment()) < 2:
            await static.batch(timeout_ms=100)
        known, moved = static.assignment(), len(revoked)
        await static.close()
        async with dohle_world.consumer(group="billing", instance_id="one") as again:
            await again.subscribe(topic)
            while len(again.assignment()) < 2:
                await again.batch(timeout_ms=100)
            assert again.assignment() == known
            assert len(revoked) == moved
        reading.cancel()


async def test_topics_are_subscribed_to_by_a_pattern(dohle_world):
    name = await dohle_world.topic("left", partitions=1)
    async with dohle_world.consumer(group="billing") as consumer:
        await consumer.subscribe(pattern="(left|right)-.*")
        while not consumer.assignment():
            await consumer.batch(timeout_ms=100)
        assert consumer.assignment() == [TopicPartition(name, 0)]
        async with dohle_world.consumer(group="billing") as broken:
            with pytest.raises(InvalidRegularExpression):
                await broken.subscribe(pattern="(")


async def test_a_member_that_was_cut_off_joins_again_and_hears_what_it_lost(dohle_world, topic):
    lost: list[list[TopicPartition]] = []
    await produce(dohle_world, topic, 20)
    async with dohle_world.consumer(group="billing") as consumer:
        await consumer.subscribe(topic, on_lost=lost.append)
        assert await consumer.batch()
        had = consumer.assignment()
        dohle_world.partition(*dohle_world.nodes, way="both", from_clients=True)
        waiting = asyncio.get_running_loop().create_task(anext(consumer))
        await dohle_world.advance(120)
        dohle_world.heal()
        async with asyncio.timeout(60):
            while not lost:
                await asyncio.sleep(0.1)
            assert lost == [had]
            record = await waiting
        assert record.offset >= 0


def commit_of(sequence: int, topic: str, offset: int, committer: bytes = b"c" * 16) -> groups_pb2.CommitOffsetsRequest:
    return groups_pb2.CommitOffsetsRequest(
        group_id="billing",
        member_epoch=-1,
        committer_id=committer,
        sequence=sequence,
        offsets=[groups_pb2.CommitOffset(topic=topic, partition=0, offset=offset, leader_epoch=-1)],
    )


async def test_a_commit_that_comes_behind_a_later_one_is_refused(dohle_world, topic):
    node = await asked_to_coordinate(dohle_world, "billing")
    await node("CommitOffsets", commit_of(1, topic, 10))
    await node("CommitOffsets", commit_of(3, topic, 30))
    for late in (commit_of(2, topic, 20), commit_of(3, topic, 30)):
        with pytest.raises(StaleMemberEpoch, match="later"):
            await node("CommitOffsets", late)
    assert await committed(dohle_world, topic) == {0: 30}
    await node("CommitOffsets", commit_of(1, topic, 5, committer=b"another"))
    await node("CommitOffsets", commit_of(0, topic, 4, committer=b""))  # who does not number is not checked
    assert await committed(dohle_world, topic) == {0: 4}
    with pytest.raises(InvalidRequest):
        await node("CommitOffsets", commit_of(4, topic, -1))
    with pytest.raises(InvalidRequest):
        await node("CommitOffsets", commit_of(4, topic, 1, committer=b"c" * 17))
    answer = await node("CommitOffsets", commit_of(4, "nowhere", 1))
    assert [one.failure.code for one in answer.partitions] == [3]
    stranger = commit_of(5, topic, 1)
    stranger.member_id, stranger.member_epoch = "stranger", 7
    with pytest.raises(UnknownMember):
        await node("CommitOffsets", stranger)


async def test_who_does_not_coordinate_says_so(dohle_world, topic):
    right = await coordinator_of(dohle_world, "billing")
    wrong = next(node for node in dohle_world.nodes if node != right)
    node = await asked_to_coordinate(dohle_world, "billing", wrong)
    with pytest.raises(NotCoordinator):
        await node("CommitOffsets", commit_of(1, topic, 10))
    with pytest.raises(InvalidGroupId):
        await node("GroupHeartbeat", groups_pb2.GroupHeartbeatRequest())


async def coordinator_of(dohle, group: str) -> int:
    """Has the topic of the offsets be made first."""
    async with dohle.consumer(group=group) as consumer:
        await consumer.committed(TopicPartition("any", 0))
    return await coordinator(dohle, group)


async def asked_to_coordinate(dohle, group: str, node: int | None = None):
    """Returns what asks that node, or the coordinator, as any program may."""
    wanted = await coordinator_of(dohle, group) if node is None else node
    seams = Seams.of("test", None, None, None)
    methods = methods_of(groups_pb2.DESCRIPTOR.services_by_name["Groups"])
    async with dohle.admin() as admin:
        described = await admin.describe_cluster()
    [address] = [
        endpoint.address
        for known in described.nodes
        if known.node_id == wanted
        for endpoint in known.endpoints
        if endpoint.listener == "GRPC"
    ]

    async def ask(method: str, request):
        return await seams.network.call(address, methods[method], request, lane=Lane.CLIENT, timeout_s=5.0)

    return ask
