"""Consumers of a group, against brokers and a coordinator in memory, over real connections."""

import asyncio
from collections.abc import Callable

import pytest

from dohle.client.consumer import Consumer
from dohle.model.errors import ConfigurationError, InvalidRequest, UnknownTopicOrPartition
from dohle.model.group_errors import (
    GroupMaxSizeReached,
    InvalidRegularExpression,
    NotCoordinator,
    StaleMemberEpoch,
    UnknownMember,
)
from dohle.model.ids import TopicPartition
from dohle.model.records import Record, encode_batch
from tests.client.conftest import MakeCluster
from tests.client.fake_broker import TOPIC, Cluster, Partition

FIRST = TopicPartition(TOPIC, 0)
SECOND = TopicPartition(TOPIC, 1)
VALUES = [b"%d" % number for number in range(100)]


def consumer_of(cluster: Cluster, **options) -> Consumer:
    return Consumer(cluster.bootstrap, **{"group": "g", "auto_commit_interval_ms": 20, "max_wait_ms": 50} | options)


async def read(consumer: Consumer, count: int) -> list[bytes | None]:
    values: list[bytes | None] = []
    async with asyncio.timeout(10):
        async for record in consumer:
            values.append(record.value)
            if len(values) == count:
                return values
    raise AssertionError("the consumer ended by itself")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


async def reading(consumer: Consumer, seen: list[bytes | None]) -> None:
    async for record in consumer:
        seen.append(record.value)  # noqa: PERF401 - it never ends


async def test_a_group_of_one_reads_everything_and_its_successor_goes_on(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(brokers=2, partitions=2)
    cluster.fill(0, VALUES)
    cluster.fill(1, VALUES)
    async with consumer_of(cluster) as consumer:
        await consumer.subscribe(TOPIC)
        await read(consumer, 150)
    assert cluster.groups.events == ["joined", "left"]
    committed = sum(offset for offset, _ in cluster.groups.offsets.values())
    assert committed == 149  # of the last record it never said that it is finished
    async with consumer_of(cluster) as successor:
        await successor.subscribe(TOPIC)
        assert len(await read(successor, 51)) == 51
        assert await successor.batch(timeout_ms=50) == []


async def test_what_the_loop_has_not_finished_is_not_committed(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.fill(0, VALUES)
    async with consumer_of(cluster) as consumer:
        await consumer.subscribe(TOPIC)
        async for record in consumer:
            if record.offset == 7:
                await until(lambda: cluster.groups.offsets.get((TOPIC, 0)) == (7, ""))
                break
    assert cluster.groups.offsets[TOPIC, 0] == (7, "")
    assert all(commit[TOPIC, 0] <= 7 for commit in cluster.groups.commits)


async def test_a_batch_is_finished_when_the_next_is_asked_for(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.fill(0, VALUES)
    async with consumer_of(cluster) as consumer:
        await consumer.subscribe(TOPIC)
        assert len(await consumer.batch(30)) == 30
        assert len(await consumer.batch(30)) == 30
        await until(lambda: cluster.groups.offsets.get((TOPIC, 0)) == (30, ""))
        assert await consumer.lag() == {FIRST: 70}
        async for batch in consumer.batches():
            assert batch.next_offset == 70
            break
        await until(lambda: cluster.groups.offsets.get((TOPIC, 0)) == (60, ""))


async def test_commits_by_hand_say_what_is_finished(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(partitions=2)
    cluster.fill(0, VALUES)
    async with consumer_of(cluster, auto_commit=False) as consumer:
        await consumer.subscribe(TOPIC)
        assert await consumer.batch(10)
        await consumer.commit()
        assert (await consumer.committed(FIRST))[FIRST] == (10, "")
        await consumer.commit({FIRST: 3}, metadata="by hand")
        assert await consumer.committed() == {FIRST: (3, "by hand"), SECOND: (0, "")}
        with pytest.raises(InvalidRequest, match="not assigned"):
            await consumer.commit({TopicPartition(TOPIC, 2): 1})
        with pytest.raises(InvalidRequest, match="negative"):
            await consumer.commit({FIRST: -1})
        await consumer.batch(10)
    assert cluster.groups.offsets[TOPIC, 0] == (3, "by hand")


async def test_partitions_of_ones_own_choice_begin_at_the_groups_offsets(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.fill(0, VALUES)
    cluster.groups.offsets[TOPIC, 0] = (90, "")
    async with consumer_of(cluster) as consumer:
        await consumer.assign(TOPIC)
        assert await read(consumer, 5) == VALUES[90:95]
        await consumer.commit()
        with pytest.raises(InvalidRequest, match="own choice"):
            await consumer.subscribe(TOPIC)
    assert cluster.groups.offsets[TOPIC, 0] == (95, "")
    assert cluster.groups.events == []


async def test_a_second_member_gets_its_share_when_the_first_has_finished(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(partitions=2)
    cluster.fill(0, VALUES)
    cluster.fill(1, VALUES)
    told: list[tuple[str, list[TopicPartition]]] = []
    committed_when_revoked: list[object] = []

    async def revoked(partitions: list[TopicPartition]) -> None:
        told.append(("revoked", partitions))
        committed_when_revoked.append(cluster.groups.members)

    async with consumer_of(cluster, auto_commit_interval_ms=60_000) as first:
        await first.subscribe(TOPIC, on_assigned=lambda names: told.append(("assigned", names)), on_revoked=revoked)
        records = await first.batch(200)
        while len(records) < 200:
            records += await first.batch(200)
        assert told == [("assigned", [FIRST, SECOND])]
        async with consumer_of(cluster) as second:
            await second.subscribe(TOPIC)
            waits = asyncio.create_task(read(second, 1))
            await asyncio.sleep(0.3)  # several heartbeats, in which nothing may be handed on: the batch is in work
            assert len(first.assignment()) == 2
            assert second.assignment() == []
            assert len(told) == 1
            more = asyncio.create_task(first.batch(10, timeout_ms=5000))
            await until(lambda: len(second.assignment()) == 1)
            [moved] = second.assignment()
            assert told[1:] == [("revoked", [moved])]
            assert cluster.groups.offsets[moved] == (100, "")
            assert len(first.assignment()) == 1
            number = moved.partition
            cluster.fill(number, [b"for the second"])
            assert await waits == [b"for the second"]
            cluster.fill(1 - number, [b"for the first"])
            assert [record.value for record in await more] == [b"for the first"]
    assert told[-1][0] == "revoked"  # at the end


async def test_partitions_that_stay_are_read_on_while_another_is_given_up(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(partitions=2)
    let_go = asyncio.Event()

    async def revoked(partitions: list[TopicPartition]) -> None:
        await let_go.wait()

    async with consumer_of(cluster) as first:
        await first.subscribe(TOPIC, on_revoked=revoked)
        seen: list[bytes | None] = []
        task = asyncio.create_task(reading(first, seen))
        await until(lambda: len(first.assignment()) == 2)
        async with consumer_of(cluster) as second:
            await second.subscribe(TOPIC)
            await until(lambda: any(one.held for one in first._fetcher.assigned.values()))
            [stays] = [name.partition for name, one in first._fetcher.assigned.items() if not one.held]
            for number in range(20):
                cluster.fill(stays, [b"%d" % number])
                await until(lambda: len(seen) == number + 1)  # noqa: B023
            assert second.assignment() == []
            let_go.set()
            await until(lambda: len(second.assignment()) == 1)
        task.cancel()


async def test_a_member_that_is_fenced_loses_everything_and_joins_again(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.fill(0, VALUES)
    lost: list[list[TopicPartition]] = []
    async with consumer_of(cluster, auto_commit_interval_ms=60_000) as consumer:
        await consumer.subscribe(TOPIC, on_lost=lost.append)
        assert await read(consumer, 10) == VALUES[:10]
        await consumer.commit()
        assert await read(consumer, 10) == VALUES[10:20]
        [member_id] = cluster.groups.members
        cluster.groups.fence(member_id)
        with pytest.raises(UnknownMember):
            await consumer.commit()
        await until(lambda: lost == [[FIRST]])
        assert await read(consumer, 20) == VALUES[10:30]
        assert [*cluster.groups.members] != [member_id]
        await consumer.commit()
    assert cluster.groups.offsets[TOPIC, 0] == (30, "")


async def test_another_coordinator_is_found_and_knows_the_member(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(brokers=2)
    cluster.fill(0, VALUES)
    async with consumer_of(cluster) as consumer:
        await consumer.subscribe(TOPIC)
        await read(consumer, 5)
        cluster.groups.node = 1
        await consumer.commit()
        assert cluster.groups.offsets[TOPIC, 0] == (5, "")
        await read(consumer, 5)
        address = cluster.addresses.pop(1)
        await cluster.servers.pop(1).stop(0)
        cluster.groups.node = 0
        await consumer.commit()
        assert cluster.groups.offsets[TOPIC, 0] == (10, "")
        cluster.addresses[1] = address
    assert cluster.groups.events == ["joined", "left"]


async def test_a_commit_whose_answer_is_lost_is_repeated(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.fill(0, VALUES)
    async with consumer_of(cluster, auto_commit=False) as consumer:
        await consumer.subscribe(TOPIC)
        await read(consumer, 5)
        cluster.coordinators[0].lost_answers = 2
        await consumer.commit()
        assert [commit[TOPIC, 0] for commit in cluster.groups.commits] == [5, 5, 5]


async def test_a_commit_with_a_stale_epoch_is_repeated_after_a_heartbeat(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.fill(0, VALUES)
    cluster.groups.heartbeat_interval_ms = 60_000
    async with consumer_of(cluster, auto_commit=False) as consumer:
        await consumer.subscribe(TOPIC)
        await read(consumer, 5)
        heartbeats = cluster.coordinators[0].heartbeats
        await until(lambda: len(heartbeats) == 2)  # joined, and told that it owns what it has
        cluster.coordinators[0].commit_faults += [StaleMemberEpoch(), StaleMemberEpoch()]
        cluster.groups.epoch += 1
        await consumer.commit()
        assert cluster.groups.offsets[TOPIC, 0] == (5, "")
        assert len(heartbeats) == 4  # one for each time that it was stale


async def test_who_does_not_come_back_in_time_leaves_until_it_does(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.fill(0, VALUES)
    lost: list[list[TopicPartition]] = []
    async with consumer_of(cluster, max_poll_interval_ms=150) as consumer:
        await consumer.subscribe(TOPIC, on_lost=lost.append)
        assert await consumer.batch(10)
        await until(lambda: cluster.groups.events == ["joined", "left"])
        await until(lambda: lost == [[FIRST]])
        assert consumer.assignment() == []
        again = await consumer.batch(10, timeout_ms=5000)
        assert [record.value for record in again] == VALUES[:10]  # which were never finished while it was a member


async def test_a_static_member_comes_back_to_its_partitions(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.fill(0, VALUES)
    for _ in range(2):
        async with consumer_of(cluster, instance_id="one") as consumer:
            await consumer.subscribe(TOPIC)
            await read(consumer, 5)
    assert cluster.groups.events == ["joined", "away", "back", "away"]


async def test_a_static_member_waits_for_its_former_selfs_session_to_end(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.fill(0, VALUES)
    former = consumer_of(cluster, instance_id="one")
    await former.subscribe(TOPIC)
    async with consumer_of(cluster, instance_id="one") as consumer:
        joining = asyncio.create_task(consumer.subscribe(TOPIC))
        await asyncio.sleep(0.1)
        assert not joining.done()
        await former.close()
        await joining
        assert await read(consumer, 5) == VALUES[:5]


async def test_who_waits_for_the_group_to_take_it_in_is_not_late(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    former = consumer_of(cluster, instance_id="one")
    await former.subscribe(TOPIC)
    async with consumer_of(cluster, instance_id="one", max_poll_interval_ms=50) as consumer:
        joining = asyncio.create_task(consumer.subscribe(TOPIC))
        await asyncio.sleep(0.1)
        assert not joining.done()
        await former.close()
        await joining


async def test_what_the_group_refuses_is_told_to_who_subscribes(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.fill(0, VALUES)
    async with consumer_of(cluster) as consumer:
        with pytest.raises(InvalidRegularExpression):
            await consumer.subscribe(pattern="(")
        await consumer.subscribe(TOPIC)
        assert await read(consumer, 5) == VALUES[:5]
        cluster.coordinators[0].faults.append(GroupMaxSizeReached())
        with pytest.raises(GroupMaxSizeReached):
            await reading(consumer, [])
        assert consumer.assignment() == []


async def test_a_subscription_may_change_and_end(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.topics["other"] = [Partition()]
    cluster.ids["other"] = b"o" * 16
    cluster.fill(0, VALUES)
    cluster.topics["other"][0].append(encode_batch([Record(None, b"other", (), 1)]))
    async with consumer_of(cluster) as consumer:
        await consumer.subscribe(TOPIC)
        assert await read(consumer, 5) == VALUES[:5]
        await consumer.subscribe("other")
        assert (await read(consumer, 1))[0] in (VALUES[5], b"other")
        while consumer.assignment() != [TopicPartition("other", 0)]:
            await consumer.batch(timeout_ms=5)
        await consumer.unsubscribe()
        assert consumer.assignment() == []
        assert cluster.groups.members == {}
        cluster.fill(0, VALUES)
        await consumer.subscribe(TOPIC)
        assert len(await read(consumer, 5)) == 5


async def test_a_callback_that_fails_is_the_readers_failure(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.fill(0, VALUES)

    def assigned(partitions: list[TopicPartition]) -> None:
        raise ZeroDivisionError

    async with consumer_of(cluster) as consumer:
        await consumer.subscribe(TOPIC, on_assigned=assigned)
        seen: list[bytes | None] = []
        with pytest.raises(ZeroDivisionError):
            await reading(consumer, seen)
        await reading_of(consumer, seen, 100)


async def reading_of(consumer: Consumer, seen: list[bytes | None], count: int) -> None:
    seen += await read(consumer, count - len(seen))
    assert seen == VALUES[:count]


async def test_on_assigned_may_seek_before_anything_is_read(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.fill(0, VALUES)
    consumer = consumer_of(cluster, auto_offset_reset="none")

    async def assigned(partitions: list[TopicPartition]) -> None:
        await asyncio.sleep(0.05)
        consumer.seek(partitions[0], 95)

    async with consumer:
        await consumer.subscribe(TOPIC, on_assigned=assigned)
        assert await read(consumer, 5) == VALUES[95:]


async def test_a_topic_may_be_made_after_it_was_subscribed_to_and_be_deleted(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.fill(0, VALUES)
    async with consumer_of(cluster) as consumer:
        await consumer.subscribe(TOPIC, "later")
        assert await read(consumer, 100) == VALUES
        cluster.topics["later"] = [Partition()]
        cluster.ids["later"] = b"l" * 16
        cluster.groups.epoch += 1
        cluster.topics["later"][0].append(encode_batch([Record(None, b"here", (), 1)]))
        assert await read(consumer, 1) == [b"here"]
        del cluster.topics["later"]
        cluster.groups.epoch += 1
        assert await consumer.batch(timeout_ms=100) == []
        await until(lambda: consumer.assignment() == [FIRST])


async def test_what_cannot_be_is_refused(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    with pytest.raises(ConfigurationError, match="group"):
        Consumer(cluster.bootstrap, instance_id="one")
    with pytest.raises(ConfigurationError, match="group"):
        Consumer(cluster.bootstrap, group="")
    with pytest.raises(ConfigurationError, match="positive"):
        consumer_of(cluster, max_poll_interval_ms=0)
    async with Consumer(cluster.bootstrap) as alone:
        with pytest.raises(InvalidRequest, match="no group"):
            await alone.subscribe(TOPIC)
        with pytest.raises(InvalidRequest, match="no group"):
            await alone.commit()
    async with consumer_of(cluster) as consumer:
        with pytest.raises(InvalidRequest, match="pattern"):
            await consumer.subscribe()
        await consumer.subscribe(TOPIC)
        with pytest.raises(InvalidRequest, match="the group assigns"):
            await consumer.assign(TOPIC)


async def test_heartbeats_say_only_what_has_changed(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    async with consumer_of(cluster) as consumer:
        await consumer.subscribe(TOPIC)
        heartbeats = cluster.coordinators[0].heartbeats
        await until(lambda: len(heartbeats) >= 4)
        assert heartbeats[0].HasField("topics")
        assert heartbeats[1].HasField("owned")
        assert not heartbeats[1].HasField("topics")
        assert not any(one.HasField("owned") or one.HasField("topics") for one in heartbeats[2:4])
        cluster.coordinators[0].faults.append(NotCoordinator())
        known = len(heartbeats)
        await until(lambda: len(heartbeats) >= known + 3)
        assert any(one.HasField("topics") and one.HasField("owned") for one in heartbeats[known:])


class Poison(Exception):
    pass


def keyed(cluster: Cluster, partition: int, keys: int, count: int) -> None:
    for number in range(count):
        record = Record(b"k%d" % (number % keys), b"%d" % number, (("h", b"v"),), number)
        cluster.topics[TOPIC][partition].append(encode_batch([record]))


async def test_a_pool_keeps_the_order_of_each_key_and_works_on_others_meanwhile(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(partitions=2)
    keyed(cluster, 0, keys=10, count=200)
    keyed(cluster, 1, keys=10, count=200)
    seen: dict[tuple[int, bytes | None], list[int]] = {}
    at_work: set[tuple[int, bytes | None]] = set()
    most = 0
    async with consumer_of(cluster) as consumer:

        async def handle(record) -> None:
            nonlocal most
            lane = (record.partition, record.key)
            assert lane not in at_work
            at_work.add(lane)
            most = max(most, len(at_work))
            await asyncio.sleep(0.001)
            at_work.remove(lane)
            seen.setdefault(lane, []).append(record.offset)
            if sum(map(len, seen.values())) == 400:
                consumer.stop()

        await consumer.subscribe(TOPIC)
        async with asyncio.timeout(20):
            await consumer.run(handle, workers=16)
    assert 10 < most <= 16
    assert all(offsets == sorted(offsets) and len(offsets) == 20 for offsets in seen.values())
    assert cluster.groups.offsets == {(TOPIC, 0): (200, ""), (TOPIC, 1): (200, "")}


async def test_a_pool_commits_up_to_the_lowest_record_that_is_not_finished(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    keyed(cluster, 0, keys=7, count=50)
    go_on = asyncio.Event()
    done: list[int] = []
    async with consumer_of(cluster) as consumer:

        async def handle(record) -> None:
            if record.offset == 8:
                await go_on.wait()
            done.append(record.offset)
            if len(done) == 50:
                consumer.stop()

        await consumer.subscribe(TOPIC)
        running = asyncio.create_task(consumer.run(handle, workers=8))
        await until(lambda: len(done) == 44)  # all but those with the key of the one that waits
        await until(lambda: cluster.groups.offsets.get((TOPIC, 0)) == (8, ""))
        await consumer.commit()
        assert cluster.groups.offsets[TOPIC, 0] == (8, "")
        assert await consumer.lag() == {FIRST: 42}
        with pytest.raises(InvalidRequest, match="handler runs"):
            await consumer.batch()
        go_on.set()
        await running
    assert cluster.groups.offsets[TOPIC, 0] == (50, "")


async def test_poison_goes_to_the_dead_letters_and_the_rest_goes_on(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.topics["dead"] = [Partition()]
    cluster.ids["dead"] = b"d" * 16
    keyed(cluster, 0, keys=3, count=10)
    tries: list[int] = []
    async with consumer_of(cluster) as consumer:

        async def handle(record) -> None:
            tries.append(record.offset)
            if record.offset == 4:
                raise Poison("cannot be")
            if record.offset == 9:
                consumer.stop()

        await consumer.subscribe(TOPIC)
        await consumer.run(handle, attempts=3, retry_backoff_ms=1, dead_letters="dead")
    assert tries == [0, 1, 2, 3, 4, 4, 4, 5, 6, 7, 8, 9]
    [letter] = cluster.topics["dead"][0].records()
    assert (letter.key, letter.value) == (b"k1", b"4")
    assert dict(letter.headers) == {
        "h": b"v",
        "dohle.dead.topic": TOPIC.encode(),
        "dohle.dead.partition": b"0",
        "dohle.dead.offset": b"4",
        "dohle.dead.timestamp": b"4",
        "dohle.dead.group": b"g",
        "dohle.dead.attempts": b"3",
        "dohle.dead.error": b"Poison",
        "dohle.dead.message": b"cannot be",
    }
    assert cluster.groups.offsets[TOPIC, 0] == (10, "")


async def test_poison_without_dead_letters_stops_and_comes_again(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    keyed(cluster, 0, keys=3, count=10)
    async with consumer_of(cluster) as consumer:

        async def handle(record) -> None:
            if record.offset == 4:
                raise Poison

        await consumer.subscribe(TOPIC)
        with pytest.raises(Poison):
            await consumer.run(handle, attempts=2, retry_backoff_ms=1)
        assert [record.offset for record in await consumer.batch()][:1] == [4]
        with pytest.raises(UnknownTopicOrPartition):
            await consumer.run(handle, dead_letters="nowhere")
        with pytest.raises(ConfigurationError):
            await consumer.run(handle, workers=0)
        with pytest.raises(ConfigurationError):
            await consumer.run(handle, attempts=0)
    assert cluster.groups.offsets[TOPIC, 0][0] >= 4


async def test_a_pool_gives_a_partition_up_once_what_is_at_work_is_done(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(partitions=2)
    keyed(cluster, 0, keys=5, count=40)
    keyed(cluster, 1, keys=5, count=40)
    handled: list[tuple[str, int, int]] = []
    slow = asyncio.Event()
    async with consumer_of(cluster) as first, consumer_of(cluster) as second:

        async def handle_first(record) -> None:
            await slow.wait()
            handled.append(("first", record.partition, record.offset))

        async def handle_second(record) -> None:
            handled.append(("second", record.partition, record.offset))

        await first.subscribe(TOPIC)
        running = asyncio.create_task(first.run(handle_first, workers=16))
        await until(lambda: first._pool is not None and len(first._pool._began) == 10)
        await second.subscribe(TOPIC)
        running_too = asyncio.create_task(second.run(handle_second, workers=4))
        await asyncio.sleep(0.2)
        assert second.assignment() == []
        slow.set()
        await until(lambda: len({(partition, offset) for _, partition, offset in handled}) == 80)
        assert len(handled) == 80  # each once: what was at work is finished, what had not begun is the other's
        first.stop()
        second.stop()
        await running
        await running_too
    assert cluster.groups.offsets == {(TOPIC, 0): (40, ""), (TOPIC, 1): (40, "")}


async def test_a_pool_that_is_cancelled_has_finished_what_it_has_finished(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    keyed(cluster, 0, keys=50, count=20)

    async def handle(record) -> None:
        if record.offset == 5:
            await asyncio.Event().wait()

    async with consumer_of(cluster, auto_commit_interval_ms=60_000) as consumer:
        await consumer.subscribe(TOPIC)
        running = asyncio.create_task(consumer.run(handle, workers=3))
        await until(lambda: consumer._pool is not None and len(consumer._pool._began) == 1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert cluster.groups.offsets[TOPIC, 0] == (5, "")
