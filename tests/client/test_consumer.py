"""The consumer against brokers in memory, over real connections that break."""

import asyncio
from typing import Any

import pytest

from dohle.client.consumer import Consumer
from dohle.client.values import OffsetSpec
from dohle.model.errors import (
    Closed,
    ConfigurationError,
    CorruptMessage,
    DohleError,
    InvalidRequest,
    NotLeaderOrFollower,
    OffsetNotAvailable,
    OffsetOutOfRange,
    UnknownServerError,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from dohle.model.ids import TopicPartition
from dohle.model.records import Record, encode_batch
from tests.client.conftest import MakeCluster
from tests.client.fake_broker import TOPIC, Cluster

FIRST = TopicPartition(TOPIC, 0)
SECOND = TopicPartition(TOPIC, 1)
VALUES = [b"%d" % number for number in range(500)]


async def read(consumer: Consumer, count: int) -> list[bytes | None]:
    values: list[bytes | None] = []
    async with asyncio.timeout(10):
        async for record in consumer:
            values.append(record.value)
            if len(values) == count:
                return values
    raise AssertionError("the consumer ended by itself")


async def test_all_partitions_are_read_in_order_each(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(brokers=2, partitions=3)
    for number in range(3):
        cluster.fill(number, VALUES)
    seen: dict[int, list[bytes | None]] = {0: [], 1: [], 2: []}
    async with Consumer(cluster.bootstrap, partition_max_bytes=2000, max_bytes=5000) as consumer:
        await consumer.assign(TOPIC)
        while sum(map(len, seen.values())) < 1500:
            for record in await consumer.batch(70, timeout_ms=10_000):
                assert record.topic == TOPIC
                assert record.offset == len(seen[record.partition])
                seen[record.partition].append(record.value)
    assert seen == {0: VALUES, 1: VALUES, 2: VALUES}


async def test_a_record_has_everything_that_was_sent(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.topics[TOPIC][0].append(encode_batch([Record(b"k", None, (("h", b"v"),), 77)]))
    async with Consumer(cluster.bootstrap) as consumer:
        await consumer.assign(FIRST)
        assert await consumer.batch() == [(TOPIC, 0, b"k", None, (("h", b"v"),), 77, 0)]


async def test_who_must_seek_may_take_the_time(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(partitions=2)
    cluster.fill(0, VALUES)
    cluster.fill(1, VALUES)
    async with Consumer(cluster.bootstrap, auto_offset_reset="none") as consumer:
        await consumer.assign(FIRST, SECOND)
        await consumer.end_offsets()  # meanwhile it shows that there are no positions
        consumer.seek(FIRST, 499)
        await consumer.seek_to_beginning(SECOND)
        assert len(await read(consumer, 501)) == 501


async def test_who_must_seek_in_two_partitions_and_does_in_one_is_told(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(partitions=2)
    async with Consumer(cluster.bootstrap, auto_offset_reset="none") as consumer:
        await consumer.assign(FIRST, SECOND)
        await consumer.end_offsets()
        consumer.seek(FIRST, 0)
        with pytest.raises(OffsetOutOfRange, match="auto_offset_reset is none"):
            await consumer.batch()


async def test_batches_come_whole_and_undecoded_and_move_the_position(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.fill(0, VALUES, each=100)
    async with Consumer(cluster.bootstrap) as consumer:
        await consumer.assign(FIRST)
        assert len(await consumer.batch(30)) == 30
        read_values: list[bytes | None] = []
        async for batch in consumer.batches():
            read_values += [record.value for record in batch.records()]
            assert await consumer.position(FIRST) == batch.next_offset
            assert batch.high_watermark == 500
            if batch.next_offset == 500:
                break
    assert read_values == VALUES[30:]


async def test_seeks_go_to_offset_beginning_end_and_time(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.fill(0, VALUES, timestamp_ms=10_000)
    async with Consumer(cluster.bootstrap) as consumer:
        await consumer.assign(TOPIC)
        assert await read(consumer, 3) == VALUES[:3]
        consumer.seek(FIRST, 205)  # inside a batch
        assert await read(consumer, 2) == VALUES[205:207]
        assert await consumer.position(FIRST) == 207
        await consumer.seek_to_beginning()
        assert await read(consumer, 1) == VALUES[:1]
        await consumer.seek_to_time(10_333, FIRST)
        assert await read(consumer, 1) == VALUES[333:334]
        await consumer.seek_to_time(99_999)
        assert await consumer.position(FIRST) == 500
        await consumer.seek_to_end(FIRST)
        assert await consumer.batch(timeout_ms=30) == []
        cluster.fill(0, [b"new"])
        assert await read(consumer, 1) == [b"new"]
        assert await consumer.beginning_offsets() == {FIRST: 0}
        assert await consumer.end_offsets(FIRST) == {FIRST: 501}
        assert (await consumer.offsets_for_time(10_333, FIRST))[FIRST].offset == 333
        assert (await consumer.offsets_for_time(OffsetSpec.MAX_TIMESTAMP))[FIRST] == (499, 10_499)
        with pytest.raises(InvalidRequest, match="negative"):
            await consumer.offsets_for_time(-7)


async def test_a_seek_does_not_wait_for_a_fetch_that_waits_for_records(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.fill(0, VALUES)
    async with Consumer(cluster.bootstrap, auto_offset_reset="latest", max_wait_ms=60_000) as consumer:
        await consumer.assign(TOPIC)
        assert await consumer.batch(timeout_ms=50) == []
        consumer.seek(FIRST, 499)
        assert await read(consumer, 1) == VALUES[499:]


async def test_latest_begins_at_the_end(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.fill(0, VALUES)
    async with Consumer(cluster.bootstrap, auto_offset_reset="latest") as consumer:
        await consumer.assign(TOPIC)
        assert await consumer.position(FIRST) == 500
        cluster.fill(0, [b"new"])
        assert await read(consumer, 1) == [b"new"]


async def test_an_offset_that_is_gone_resets_to_what_is_left(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.fill(0, VALUES)
    cluster.topics[TOPIC][0].log_start_offset = 100
    async with Consumer(cluster.bootstrap) as consumer:
        await consumer.assign(TOPIC)
        consumer.seek(FIRST, 5)
        assert await read(consumer, 1) == VALUES[100:101]


async def test_an_offset_that_a_former_leader_alone_has_not_is_read_from_the_next(make_cluster: MakeCluster) -> None:
    """It has begun to delete, nobody else has, and it is deposed before the reader has asked where to go on."""
    cluster = await make_cluster(brokers=2)
    cluster.fill(0, VALUES)
    partition, former = cluster.topics[TOPIC][0], cluster.brokers[0]
    partition.log_start_offset = 100
    answered = former._read

    def refuse_and_be_deposed(entry):
        answer = answered(entry)
        if answer.failure.code == OffsetOutOfRange.code:
            cluster.elect(0, 1)
            partition.log_start_offset = 20
        return answer

    former._read = refuse_and_be_deposed
    async with Consumer(cluster.bootstrap) as consumer:
        await consumer.assign(TOPIC)
        consumer.seek(FIRST, 50)
        assert await read(consumer, 1) == VALUES[50:51]
        consumer.seek(FIRST, 5)
        assert await read(consumer, 1) == VALUES[20:21]


async def test_without_a_reset_a_missing_position_and_an_offset_that_is_gone_are_errors(
    make_cluster: MakeCluster,
) -> None:
    cluster = await make_cluster()
    cluster.fill(0, VALUES)
    async with Consumer(cluster.bootstrap, auto_offset_reset="none") as consumer:
        await consumer.assign(TOPIC)
        with pytest.raises(OffsetOutOfRange, match="auto_offset_reset is none"):
            await consumer.batch(timeout_ms=10_000)
        consumer.seek(FIRST, 1000)
        with pytest.raises(OffsetOutOfRange, match="no offset 1000"):
            await consumer.batch(timeout_ms=10_000)
        consumer.seek(FIRST, 499)
        assert await read(consumer, 1) == VALUES[499:]


async def test_reading_ahead_is_bounded(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.fill(0, [bytes(1000)] * 500)  # batches of some 10 KB
    async with Consumer(cluster.bootstrap, prefetch_bytes=50_000, max_wait_ms=5) as consumer:
        await consumer.assign(TOPIC)
        assert len(await consumer.batch(1)) == 1
        asked: list[int] = []
        while asked != [request.fetch_offset for request in _partitions_asked(cluster)]:  # until it asks no more
            asked = [request.fetch_offset for request in _partitions_asked(cluster)]
            await consumer.end_offsets()
            await consumer.end_offsets()
        assert consumer._ahead.bytes_from(0) <= 61_000
        assert max(asked) <= 100
        assert len(await read(consumer, 499)) == 499


def _partitions_asked(cluster: Cluster) -> list:
    return [partition for request in cluster.brokers[0].fetches for partition in request.partitions]


async def test_a_paused_partition_rests_and_goes_on_where_it_was(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(partitions=2)
    cluster.fill(0, VALUES)
    cluster.fill(1, VALUES)
    async with Consumer(cluster.bootstrap) as consumer:
        await consumer.assign(FIRST)
        assert await read(consumer, 5) == VALUES[:5]
        consumer.pause(FIRST)
        await consumer.assign(FIRST, SECOND)
        records = [record for _ in range(50) for record in await consumer.batch(10, timeout_ms=10_000)]
        assert {record.partition for record in records} == {1}
        assert await consumer.position(FIRST) == 5
        consumer.resume(FIRST)
        assert await read(consumer, 2) == VALUES[5:7]


async def test_what_is_no_longer_assigned_is_no_longer_read(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(partitions=2)
    cluster.fill(0, VALUES)
    cluster.fill(1, [b"other"])
    async with Consumer(cluster.bootstrap) as consumer:
        await consumer.assign(FIRST)
        await read(consumer, 5)
        await consumer.assign(SECOND)
        assert consumer.assignment() == [SECOND]
        assert await read(consumer, 1) == [b"other"]
        assert await consumer.batch(timeout_ms=30) == []
        with pytest.raises(InvalidRequest, match="not assigned"):
            consumer.seek(FIRST, 0)


async def test_a_leader_that_dies_or_moves_is_followed_without_loss_or_repetition(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(brokers=3)
    cluster.fill(0, VALUES)
    async with Consumer(cluster.bootstrap, partition_max_bytes=1500, prefetch_bytes=3000) as consumer:
        await consumer.assign(TOPIC)
        assert await read(consumer, 100) == VALUES[:100]
        cluster.elect(0, 1)
        assert await read(consumer, 200) == VALUES[100:300]
        cluster.elect(0, 2)
        await cluster.servers[1].stop(0)
        assert await read(consumer, 200) == VALUES[300:]


async def test_a_leader_that_moves_while_a_fetch_waits_is_followed(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(brokers=2)
    async with Consumer(cluster.bootstrap, max_wait_ms=60_000) as consumer:
        await consumer.assign(TOPIC)
        assert await consumer.batch(timeout_ms=50) == []
        cluster.elect(0, 1)
        cluster.fill(0, [b"new"])
        assert await read(consumer, 1) == [b"new"]


async def test_the_replica_that_a_leader_names_is_read_and_nobody_else_in_another_rack(
    make_cluster: MakeCluster,
) -> None:
    cluster = await make_cluster(brokers=2)
    cluster.topics[TOPIC][0].named = {"here": 1}
    cluster.fill(0, VALUES)
    async with Consumer(cluster.bootstrap, rack="here", partition_max_bytes=1500, prefetch_bytes=3000) as consumer:
        await consumer.assign(TOPIC)
        assert await read(consumer, 500) == VALUES
    assert len(cluster.brokers[0].fetches) == 1
    assert len(cluster.brokers[1].fetches) > 3
    async with Consumer(cluster.bootstrap, rack="elsewhere") as consumer:
        await consumer.assign(TOPIC)
        assert await read(consumer, 500) == VALUES
    assert len(cluster.brokers[0].fetches) > 1


async def test_what_a_follower_sends_rotten_is_read_from_the_leader(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(brokers=2)
    cluster.topics[TOPIC][0].named = {"here": 1}
    cluster.fill(0, VALUES)
    async with Consumer(cluster.bootstrap, rack="here", partition_max_bytes=1500, prefetch_bytes=3000) as consumer:
        await consumer.assign(TOPIC)
        assert await read(consumer, 100) == VALUES[:100]
        cluster.brokers[1].rots = True
        assert await read(consumer, 400) == VALUES[100:]
    async with Consumer(cluster.bootstrap, rack="here", partition_max_bytes=1500, prefetch_bytes=3000) as consumer:
        await consumer.assign(TOPIC)
        found: list[bytes | None] = []
        while len(found) < 500:
            found += [record.value for record in await consumer.batch(7)]
        assert found == VALUES


@pytest.mark.parametrize(
    "refusal", [NotLeaderOrFollower(), OffsetNotAvailable(), OffsetOutOfRange(), UnknownTopicId(), UnknownServerError()]
)
async def test_whatever_a_replica_refuses_with_its_leader_is_read_then(
    make_cluster: MakeCluster, refusal: DohleError
) -> None:
    cluster = await make_cluster(brokers=2)
    cluster.topics[TOPIC][0].named = {"here": 1}
    cluster.fill(0, VALUES)
    async with Consumer(cluster.bootstrap, rack="here", partition_max_bytes=1500, prefetch_bytes=3000) as consumer:
        await consumer.assign(TOPIC)
        assert await read(consumer, 100) == VALUES[:100]
        cluster.brokers[1].refusal = refusal
        assert await read(consumer, 400) == VALUES[100:]
        asked_again = [request for request in cluster.brokers[0].fetches[1:] if request.partitions[0].rack]
        assert not asked_again, "the leader is not to name anybody for a while"


async def test_a_replica_that_dies_is_replaced_by_its_leader(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(brokers=2)
    cluster.topics[TOPIC][0].named = {"here": 1}
    cluster.fill(0, VALUES)
    async with Consumer(cluster.bootstrap, rack="here", partition_max_bytes=1500, prefetch_bytes=3000) as consumer:
        await consumer.assign(TOPIC)
        assert await read(consumer, 100) == VALUES[:100]
        await cluster.servers[1].stop(0)
        assert await read(consumer, 400) == VALUES[100:]


async def test_a_new_leader_is_asked_by_whom_the_old_one_sent_elsewhere(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(brokers=3)
    cluster.topics[TOPIC][0].named = {"here": 1}
    async with Consumer(cluster.bootstrap, rack="here", max_wait_ms=60_000) as consumer:
        await consumer.assign(TOPIC)
        assert await consumer.batch(timeout_ms=50) == []
        assert cluster.brokers[1].fetches
        cluster.topics[TOPIC][0].named = {}
        cluster.elect(0, 2)
        cluster.fill(0, [b"new"])
        assert await read(consumer, 1) == [b"new"]


async def test_a_leader_in_doubt_makes_its_readers_look_for_another(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(brokers=2)
    cluster.brokers[0].in_doubt = True
    async with Consumer(cluster.bootstrap, max_wait_ms=20) as consumer:
        await consumer.assign(TOPIC)
        before = cluster.metadata_requests
        assert await consumer.batch(timeout_ms=300) == []
        assert before < cluster.metadata_requests <= before + 2, "others are asked, and not for each answer"


async def test_positions_are_looked_for_until_there_is_a_leader_however_long_that_takes(
    make_cluster: MakeCluster,
) -> None:
    cluster = await make_cluster()
    cluster.fill(0, VALUES)
    cluster.elect(0, 9)  # which nobody can reach
    async with Consumer(cluster.bootstrap, request_timeout_ms=50) as consumer:
        await consumer.assign(TOPIC)
        assert await consumer.batch(timeout_ms=300) == []
        cluster.elect(0, 0)
        assert await read(consumer, 500) == VALUES


async def test_a_leader_that_moves_while_another_is_asked_leaves_no_partition_out(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(brokers=2, partitions=2)
    cluster.fill(0, VALUES)
    cluster.elect(1, 1)
    async with Consumer(cluster.bootstrap) as consumer:
        await consumer.assign(TOPIC)
        moving = consumer._fetcher.assigned[SECOND]
        ask = consumer._fetcher.lookup._ask

        async def ask_and_move(*question: Any) -> Any:
            answer = await ask(*question)
            moving.leader = 0
            return answer

        consumer._fetcher.lookup._ask = ask_and_move  # type: ignore[method-assign]
        assert await consumer.end_offsets(FIRST, SECOND) == {FIRST: 500, SECOND: 0}


async def test_an_assignment_that_is_given_up_does_not_keep_the_next_from_its_positions(
    make_cluster: MakeCluster,
) -> None:
    cluster = await make_cluster(partitions=2)
    cluster.fill(1, VALUES)
    cluster.elect(0, 9)
    async with Consumer(cluster.bootstrap) as consumer:
        await consumer.assign(FIRST)
        assert await consumer.batch(timeout_ms=50) == []
        await consumer.assign(SECOND)
        assert await read(consumer, 500) == VALUES


async def test_a_damaged_batch_is_an_error_once_what_precedes_it_is_read(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.fill(0, VALUES[:30])
    log = cluster.topics[TOPIC][0].log
    log[1] = (10, log[1][1][:-1] + b"?")
    async with Consumer(cluster.bootstrap) as consumer:
        await consumer.assign(TOPIC)
        assert len(await consumer.batch(500)) == 10
        with pytest.raises(CorruptMessage, match=f"{FIRST}.*offset 10"):
            await consumer.batch(500)
        assert await consumer.position(FIRST) == 10
        consumer.seek(FIRST, 20)
        assert await read(consumer, 10) == VALUES[20:30]


async def test_control_batches_are_passed_over(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    batch = bytearray(encode_batch([Record(b"\0\0\0\1", b"", timestamp_ms=1)]))
    batch[22] |= 0x20
    cluster.topics[TOPIC][0].append(bytes(batch))
    cluster.fill(0, [b"data"])
    async with Consumer(cluster.bootstrap) as consumer:
        await consumer.assign(TOPIC)
        assert await read(consumer, 1) == [b"data"]


async def test_unknown_topics_and_partitions_are_refused_at_the_assignment(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    async with Consumer(cluster.bootstrap, request_timeout_ms=1000) as consumer:
        with pytest.raises(UnknownTopicOrPartition, match="dohle topic create nope"):
            await consumer.assign("nope")
        with pytest.raises(UnknownTopicOrPartition, match="partitions 0 to 0"):
            await consumer.assign(TopicPartition(TOPIC, 1))


async def test_a_topic_made_again_is_not_taken_for_the_old_one(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.fill(0, VALUES)
    async with Consumer(cluster.bootstrap) as consumer:
        await consumer.assign(TOPIC)
        await read(consumer, 500)
        cluster.ids[TOPIC] = b"u" * 16
        cluster.topics[TOPIC] = [type(cluster.topics[TOPIC][0])()]
        cluster.fill(0, [b"new"])
        with pytest.raises(UnknownTopicId, match="made again"):
            await consumer.batch(timeout_ms=10_000)
        await consumer.assign(TOPIC)
        assert await read(consumer, 1) == [b"new"]


async def test_closing_ends_a_reader_that_waits(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    consumer = Consumer(cluster.bootstrap)
    await consumer.assign(TOPIC)
    reader = asyncio.ensure_future(read(consumer, 1))
    await consumer.end_offsets()
    await consumer.close()
    with pytest.raises(Closed):
        await reader
    with pytest.raises(Closed):
        await consumer.batch()


@pytest.mark.parametrize("options", [{"auto_offset_reset": "oldest"}, {"prefetch_bytes": 0}, {"max_wait_ms": -1}])
def test_unusable_options_are_refused(options: dict) -> None:
    with pytest.raises(ConfigurationError):
        Consumer("localhost:1", **options)
