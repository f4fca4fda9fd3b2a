"""The producer against brokers that check sequence numbers, over real connections that break."""

import asyncio
import warnings
from random import Random

import pytest

from dohle.client.producer import Producer, Receipt
from dohle.model.batch import read_header
from dohle.model.errors import (
    BrokerNotAvailable,
    BufferFull,
    Closed,
    ConfigurationError,
    DeliveryTimedOut,
    InvalidRecord,
    MessageTooLarge,
    NotEnoughReplicas,
    NotEnoughReplicasAfterAppend,
    UnknownTopicOrPartition,
)
from dohle.model.partitioner import partition_for
from tests.client.conftest import MakeCluster
from tests.client.fake_broker import TOPIC

NUMBERS = [b"%d" % number for number in range(1000)]
FAST = {"delivery_timeout_ms": 1500, "request_timeout_ms": 500}


async def send_all(producer: Producer, values: list[bytes], *, pause_every: int = 50) -> list:
    receipts = []
    for index, value in enumerate(values):
        receipts.append(await producer.send(TOPIC, value, partition=0))
        if index % pause_every == 0:
            await asyncio.sleep(0)  # lets what is there leave, so that many batches are made
    return receipts


async def test_sent_records_are_written_in_order_and_their_receipts_tell_where(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    async with Producer(cluster.bootstrap) as producer:
        deliveries = [await receipt for receipt in await send_all(producer, NUMBERS)]
    assert cluster.topics[TOPIC][0].values() == NUMBERS
    assert [delivery.offset for delivery in deliveries] == list(range(1000))


async def test_key_headers_timestamp_and_null_value_arrive_as_sent(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    async with Producer(cluster.bootstrap) as producer:
        delivery = await producer.send_and_wait(
            TOPIC, None, key=b"k", headers=[("h", b"v"), ("n", None)], timestamp_ms=7
        )
    assert delivery == (TOPIC, 0, 0, 7)
    assert cluster.topics[TOPIC][0].records() == [(b"k", None, (("h", b"v"), ("n", None)), 7, 0)]


@pytest.mark.parametrize("seed", range(4))
async def test_lost_requests_and_answers_neither_lose_double_nor_reorder(make_cluster: MakeCluster, seed: int) -> None:
    cluster = await make_cluster()
    random = Random(seed)
    kinds = ["lose request", "lose answer", NotEnoughReplicas(), None, None, None]
    cluster.brokers[0].faults.extend(random.choice(kinds) for _ in range(12))
    async with Producer(cluster.bootstrap, random=random) as producer:
        deliveries = [await receipt for receipt in await send_all(producer, NUMBERS, pause_every=random.randint(5, 60))]
    assert cluster.topics[TOPIC][0].values() == NUMBERS
    assert [delivery.offset for delivery in deliveries] == list(range(1000))


async def test_a_moved_leader_is_found_and_order_is_kept(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(brokers=3)
    async with Producer(cluster.bootstrap) as producer:
        receipts = await send_all(producer, NUMBERS[:500])
        cluster.elect(0, 2)
        receipts += await send_all(producer, NUMBERS[500:])
        deliveries = [await receipt for receipt in receipts]
    assert cluster.topics[TOPIC][0].values() == NUMBERS
    assert [delivery.offset for delivery in deliveries] == list(range(1000))


async def test_a_leader_that_dies_with_answers_owed_is_replaced(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(brokers=2)
    broker = cluster.brokers[0]
    broker.answering.clear()
    async with Producer(cluster.bootstrap) as producer:
        appended = broker.appended
        receipts = await send_all(producer, NUMBERS)
        await appended.wait()
        cluster.elect(0, 1)
        await cluster.servers[0].stop(0)
        deliveries = [await receipt for receipt in receipts]
    assert cluster.topics[TOPIC][0].values() == NUMBERS
    assert [delivery.offset for delivery in deliveries] == list(range(1000))


async def test_a_silent_leader_is_left_as_soon_as_another_was_elected(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(brokers=2)
    cluster.brokers[0].answering.clear()  # accepts, and never says anything again
    async with Producer(cluster.bootstrap) as producer:
        appended = cluster.brokers[0].appended
        receipt = await producer.send(TOPIC, b"one", partition=0)
        await appended.wait()
        cluster.elect(0, 1)
        async with asyncio.timeout(10):  # far less than the 30 s of request_timeout_ms
            assert (await receipt).offset == 0
    assert cluster.topics[TOPIC][0].values() == [b"one"]


async def test_a_delivery_time_out_with_an_answer_owed_says_that_it_may_have_happened(
    make_cluster: MakeCluster,
) -> None:
    cluster = await make_cluster()
    broker = cluster.brokers[0]
    broker.answering.clear()
    async with Producer(cluster.bootstrap, **FAST) as producer:
        with pytest.raises(DeliveryTimedOut) as caught:
            await producer.send_and_wait(TOPIC, b"one")
        assert not caught.value.definite
        broker.answering.set()
        await producer.send_and_wait(TOPIC, b"two")
    assert cluster.topics[TOPIC][0].values() == [b"one", b"two"]


async def test_a_delivery_time_out_after_refusals_only_is_certain_and_production_goes_on(
    make_cluster: MakeCluster,
) -> None:
    cluster = await make_cluster()
    cluster.brokers[0].faults.extend(NotEnoughReplicas() for _ in range(100))
    async with Producer(cluster.bootstrap, **FAST) as producer:
        with pytest.raises(NotEnoughReplicas) as caught:
            await producer.send_and_wait(TOPIC, b"one")
        assert caught.value.definite
        cluster.brokers[0].faults.clear()
        await producer.send_and_wait(TOPIC, b"two")
    assert cluster.topics[TOPIC][0].values() == [b"two"]


async def test_without_any_broker_nothing_was_sent_and_that_is_certain(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    async with Producer(cluster.bootstrap, **FAST) as producer:
        await producer.partitions(TOPIC)
        await cluster.servers[0].stop(0)
        with pytest.raises(BrokerNotAvailable) as caught:
            await producer.send_and_wait(TOPIC, b"one")
        assert caught.value.definite


async def test_a_refused_batch_fails_alone_and_those_behind_it_get_a_new_producer_id(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    broker = cluster.brokers[0]
    async with Producer(cluster.bootstrap) as producer:
        await producer.send_and_wait(TOPIC, b"first")
        broker.faults.append(InvalidRecord("no"))
        with pytest.raises(InvalidRecord):
            await producer.send_and_wait(TOPIC, b"refused")
        await producer.send_and_wait(TOPIC, b"last")
    partition = cluster.topics[TOPIC][0]
    assert partition.values() == [b"first", b"last"]
    assert len({read_header(batch).producer_id for _, batch in partition.log}) == 2


async def test_a_leader_that_forgot_the_sequence_is_given_a_new_producer_id(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    async with Producer(cluster.bootstrap) as producer:
        await producer.send_and_wait(TOPIC, b"one")
        cluster.topics[TOPIC][0].produced.clear()
        await producer.send_and_wait(TOPIC, b"two")
    assert cluster.topics[TOPIC][0].values() == [b"one", b"two"]


async def test_an_append_that_lost_its_replicas_is_repeated_and_written_once(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.brokers[0].faults.append("lose answer")
    cluster.brokers[0].faults.append(NotEnoughReplicasAfterAppend())
    async with Producer(cluster.bootstrap) as producer:
        assert (await producer.send_and_wait(TOPIC, b"one")).offset == 0
    assert cluster.topics[TOPIC][0].values() == [b"one"]


async def test_a_partition_whose_replicas_lag_holds_no_other_back(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(partitions=2)
    broker = cluster.brokers[0]
    broker.lagging = {0}
    producer = Producer(cluster.bootstrap)
    for number in range(8):
        appended = broker.appended
        await producer.send(TOPIC, b"%d" % number, partition=0)
        if number < 5:  # max_in_flight
            await appended.wait()
    async with asyncio.timeout(5):
        assert (await producer.send_and_wait(TOPIC, b"other", partition=1)).offset == 0
    with pytest.warns(ResourceWarning, match="8 undelivered"):
        await producer.close()


async def test_small_batches_gather_while_a_request_is_under_way(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    async with Producer(cluster.bootstrap) as producer:
        await producer.send_and_wait(TOPIC, b"first")
        cluster.brokers[0].answering.clear()  # however quick it would be
        receipts = await send_all(producer, NUMBERS[:200], pause_every=1)
        cluster.brokers[0].answering.set()
        await receipts[-1]
    assert cluster.brokers[0].produce_requests <= 20


async def test_back_pressure_bounds_what_is_buffered(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    broker = cluster.brokers[0]
    broker.answering.clear()
    limits = {"buffer_bytes": 40_000, "batch_bytes": 4_000, "max_request_bytes": 8_000}
    async with Producer(cluster.bootstrap, max_block_ms=60_000, **limits) as producer:
        await producer.partitions(TOPIC)
        taken = 0
        try:
            while taken < 1000:
                producer.send_nowait(TOPIC, bytes(1000))
                taken += 1
        except BufferFull:
            pass
        assert 30 <= taken <= 40
        waiting = asyncio.ensure_future(producer.send(TOPIC, b"x" * 1000))
        appended = broker.appended
        await appended.wait()
        assert not waiting.done()
        broker.answering.set()
        await (await waiting)
    assert len(cluster.topics[TOPIC][0].values()) == taken + 1


async def test_a_buffer_that_stays_full_refuses_after_max_block_ms(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    cluster.brokers[0].answering.clear()
    limits = {"buffer_bytes": 8_000, "batch_bytes": 4_000, "max_request_bytes": 8_000, "max_block_ms": 50}
    producer = Producer(cluster.bootstrap, **limits)
    await producer.partitions(TOPIC)
    with pytest.raises(BufferFull, match="max_block_ms") as caught:
        await asyncio.gather(*(producer.send(TOPIC, bytes(1000)) for _ in range(10)))
    assert caught.value.definite
    with pytest.warns(ResourceWarning):
        await producer.close()


async def test_closing_with_undelivered_records_warns_and_fails_them_as_uncertain(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    broker = cluster.brokers[0]
    broker.answering.clear()
    producer = Producer(cluster.bootstrap)
    appended = broker.appended
    receipt = await producer.send(TOPIC, b"one")
    await appended.wait()
    with pytest.warns(ResourceWarning, match="1 undelivered"):
        await producer.close()
    with pytest.raises(DeliveryTimedOut):
        await receipt
    with pytest.raises(Closed):
        await producer.send(TOPIC, b"two")


async def test_closing_after_a_flush_warns_of_nothing(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    producer = Producer(cluster.bootstrap, linger_ms=60_000)
    receipt = await producer.send(TOPIC, b"one")
    await producer.flush()
    assert receipt.done()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await producer.close()


async def test_lingering_gathers_and_then_leaves_by_itself(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    async with Producer(cluster.bootstrap, linger_ms=30) as producer:
        receipts = await send_all(producer, NUMBERS[:100], pause_every=1)
        await receipts[-1]
    assert cluster.brokers[0].produce_requests == 1


async def test_keyed_records_go_where_kafka_puts_them(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(partitions=7)
    keys = [b"key-%d" % number for number in range(50)]
    async with Producer(cluster.bootstrap) as producer:
        deliveries = [await producer.send_and_wait(TOPIC, b"", key=key) for key in keys]
    assert [delivery.partition for delivery in deliveries] == [partition_for(key, 7) for key in keys]


async def test_keyless_records_fill_one_batch_after_the_other_and_reach_every_partition(
    make_cluster: MakeCluster,
) -> None:
    cluster = await make_cluster(partitions=4)
    async with Producer(cluster.bootstrap, batch_bytes=2_000, linger_ms=20) as producer:
        for number in range(400):
            await producer.send(TOPIC, b"%100d" % number)
    counts = [len(partition.values()) for partition in cluster.topics[TOPIC]]
    assert sum(counts) == 400
    assert min(counts) >= 75
    assert sum(len(partition.log) for partition in cluster.topics[TOPIC]) <= 30


async def test_without_acks_records_are_sent_and_nothing_is_awaited(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    broker = cluster.brokers[0]
    broker.answering.clear()
    async with Producer(cluster.bootstrap, acks=0) as producer:
        appended = broker.appended
        assert (await producer.send_and_wait(TOPIC, b"one")).offset == -1
        await appended.wait()
    assert cluster.topics[TOPIC][0].values() == [b"one"]


async def test_without_acks_a_moved_leader_is_found_all_the_same(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(brokers=2)
    async with Producer(cluster.bootstrap, acks=0) as producer:
        await producer.send_and_wait(TOPIC, b"one")
        cluster.elect(0, 1)
        async with asyncio.timeout(10):
            appended = cluster.brokers[1].appended
            while not appended.is_set():
                await producer.send_and_wait(TOPIC, b"more")
    assert cluster.topics[TOPIC][0].values()[-1] == b"more"


async def test_an_unknown_topic_is_named_with_the_command_that_creates_it(
    make_cluster: MakeCluster,
) -> None:
    cluster = await make_cluster()
    async with Producer(cluster.bootstrap, max_block_ms=1000) as producer:
        with pytest.raises(UnknownTopicOrPartition, match="dohle topic create nope"):
            await producer.send("nope", b"")
        with pytest.raises(UnknownTopicOrPartition, match="partitions 0 to 0"):
            await producer.send(TOPIC, b"", partition=1)


async def test_bad_records_are_refused_before_they_are_buffered(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    async with Producer(cluster.bootstrap) as producer:
        with pytest.raises(InvalidRecord, match="encode it first"):
            await producer.send(TOPIC, "text")  # type: ignore[arg-type]
        with pytest.raises(InvalidRecord, match="header"):
            await producer.send(TOPIC, b"", headers=[("name", "text")])  # type: ignore[list-item]
        with pytest.raises(MessageTooLarge, match="max_request_bytes"):
            await producer.send(TOPIC, bytes(2 << 20))
        await producer.send_and_wait(TOPIC, bytearray(b"fine"))  # type: ignore[arg-type]
    assert cluster.topics[TOPIC][0].values() == [b"fine"]


@pytest.mark.parametrize(
    "options",
    [
        {"acks": 2},
        {"acks": 1, "idempotent": True},
        {"max_in_flight": 6},
        {"batch_bytes": 2 << 20},
        {"buffer_bytes": 1000},
        {"compression": "rar"},
        {"delivery_timeout_ms": 10},
    ],
)
def test_contradictory_options_are_refused(options: dict) -> None:
    with pytest.raises(ConfigurationError):
        Producer("localhost:1", **options)


async def test_a_topic_made_again_takes_records_again(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    async with Producer(cluster.bootstrap) as producer:
        await producer.send_and_wait(TOPIC, b"old")
        cluster.ids[TOPIC] = b"u" * 16
        cluster.topics[TOPIC] = [type(cluster.topics[TOPIC][0])()]
        await producer.send_and_wait(TOPIC, b"new")
    assert cluster.topics[TOPIC][0].values() == [b"new"]


async def test_unawaited_failures_are_logged_once_a_batch(
    make_cluster: MakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = await make_cluster()
    cluster.brokers[0].faults.append(InvalidRecord("no"))
    async with Producer(cluster.bootstrap, linger_ms=5) as producer:
        await send_all(producer, NUMBERS[:10])
    assert [record.getMessage() for record in caplog.records] == [f"10 records for {TOPIC}-0 failed: no"]


async def test_after_a_flush_every_callback_has_been_called(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    called: list[Receipt] = []
    async with Producer(cluster.bootstrap) as producer:
        for receipt in await send_all(producer, NUMBERS[:50]):
            receipt.add_done_callback(called.append)
        await producer.flush()
        assert len(called) == 50
