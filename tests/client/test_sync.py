"""The synchronous clients, against a cluster whose loop runs in another thread."""

import asyncio
import inspect
import threading
from collections.abc import Iterator
from typing import get_type_hints

import pytest

from dohle.client import admin, consumer
from dohle.client.values import ConsumerRecord
from dohle.model.errors import Closed, ConfigurationError, DeliveryTimedOut, InvalidRecord, UnknownTopicOrPartition
from dohle.model.ids import TopicPartition
from dohle.model.records import Record, encode_batch
from dohle.rpc.grpc_network import GrpcNetwork
from dohle.runtime.network import Address
from dohle.sync import Admin, Consumer, Producer
from tests.client.fake_broker import TOPIC, Cluster
from tests.client.fake_coordinator import FakeCoordinator, Groups

FIRST = TopicPartition(TOPIC, 0)
OTHERWISE = {"batches", "run", "subscribe"}  # an iterator that waits; and what takes functions that may block


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    made.groups = Groups(made)
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        network = GrpcNetwork(client_id="brokers")
        services = [made.brokers[0].service(), FakeCoordinator(made.groups, 0).service()]
        server = await network.serve(Address("127.0.0.1", 0), services, listener="GRPC")
        made.addresses[0] = server.address
        ready.set()
        await over.wait()
        await server.stop(0)
        await network.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait()
    yield made
    loop.call_soon_threadsafe(over.set)
    thread.join()
    loop.close()


def test_records_go_in_in_order_and_come_out_again(cluster: Cluster) -> None:
    values = [b"%d" % number for number in range(3000)]
    with Producer(cluster.bootstrap) as producer:
        assert producer.partitions(TOPIC) == 1
        futures = [producer.send(TOPIC, value) for value in values]
        assert producer.send_and_wait(TOPIC, b"last", key=b"k").offset == 3000
        assert [future.result().offset for future in futures] == list(range(3000))
    with Consumer(cluster.bootstrap) as consumer:
        consumer.assign(TOPIC)
        assert [next(consumer).value for _ in range(10)] == values[:10]
        assert [record.value for record in consumer.batch(5)] == values[10:15]
        consumer.seek(FIRST, 2999)
        assert [record.value for _, record in zip(range(2), consumer, strict=False)] == [values[2999], b"last"]
        consumer.seek_to_beginning()
        read: list[bytes | None] = []
        for batch in consumer.batches():
            read += [record.value for record in batch.records()]
            if consumer.position(FIRST) == 3001:
                break
        assert read == [*values, b"last"]
        consumer.seek_to_end(FIRST)
        consumer.pause()
        consumer.resume(FIRST)
        assert consumer.batch(timeout_ms=20) == []
        assert consumer.end_offsets() == {FIRST: 3001}
        assert consumer.beginning_offsets(FIRST) == {FIRST: 0}
        assert consumer.assignment() == [FIRST]


@pytest.mark.parametrize(
    ("twin", "original"),
    [(Consumer, consumer.Consumer), (Admin, admin.Admin)],
)
def test_a_twin_has_every_method_of_its_original_with_its_arguments_and_types(twin: type, original: type) -> None:
    for name, method in inspect.getmembers(original, inspect.isfunction):
        if name.startswith("_"):
            continue
        mine = getattr(twin, name)
        assert not inspect.iscoroutinefunction(mine), name
        assert list(inspect.signature(mine).parameters) == list(inspect.signature(method).parameters), name
        if name not in OTHERWISE:
            assert get_type_hints(mine) == get_type_hints(method), name


def test_a_member_of_a_group_reads_commits_and_leaves(cluster: Cluster) -> None:
    cluster.fill(0, [b"%d" % number for number in range(20)])
    told: list[tuple[str, str, list[TopicPartition]]] = []
    with Consumer(cluster.bootstrap, group="g", auto_commit=False) as consumer:

        def revoked(partitions: list[TopicPartition]) -> None:
            consumer.commit({FIRST: 7})
            told.append(("revoked", threading.current_thread().name, partitions))

        consumer.subscribe(TOPIC, on_assigned=lambda names: told.append(("assigned", "", names)), on_revoked=revoked)
        assert next(consumer).value == b"0"
        assert len(consumer.batch(5)) == 5
        consumer.commit()
        assert consumer.committed(FIRST) == {FIRST: (6, "")}
        assert consumer.lag() == {FIRST: 14}
    assert [event for event, _, _ in told] == ["assigned", "revoked"]
    assert "dohle-clients" not in [thread for _, thread, _ in told]
    assert cluster.groups.offsets[TOPIC, 0] == (7, "")
    assert cluster.groups.members == {}


def test_handlers_run_in_threads_and_may_block_each_other(cluster: Cluster) -> None:
    records = [Record(b"%d" % (number % 4), b"%d" % number, (), number) for number in range(40)]
    for record in records:
        cluster.topics[TOPIC][0].append(encode_batch([record]))
    together = threading.Barrier(4)
    seen: list[int] = []
    with Consumer(cluster.bootstrap, group="g") as consumer:

        def handle(record: ConsumerRecord) -> None:
            together.wait(10)  # four keys at once
            seen.append(record.offset)
            if len(seen) == 40:
                consumer.stop()

        consumer.subscribe(TOPIC)
        with pytest.raises(ConfigurationError, match="workers"):
            consumer.run(handle, workers=0)
        consumer.run(handle, workers=4)

        def fail(record: ConsumerRecord) -> None:
            raise ZeroDivisionError

        cluster.fill(0, [b"poison"])
        with pytest.raises(ZeroDivisionError):
            consumer.run(fail, attempts=2, retry_backoff_ms=1)
    assert sorted(seen) == list(range(40))
    assert cluster.groups.offsets[TOPIC, 0] == (40, "")


def test_several_threads_may_send_at_once(cluster: Cluster) -> None:
    with Producer(cluster.bootstrap) as producer:

        def send(name: int) -> None:
            for number in range(500):
                producer.send(TOPIC, b"%d-%d" % (name, number))

        threads = [threading.Thread(target=send, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    values = cluster.topics[TOPIC][0].values()
    for name in range(4):
        mine = [value for value in values if value is not None and value.startswith(b"%d-" % name)]
        assert mine == [b"%d-%d" % (name, number) for number in range(500)]


def test_errors_are_those_of_the_originals(cluster: Cluster) -> None:
    with pytest.raises(ConfigurationError):
        Producer(cluster.bootstrap, acks=7)
    producer = Producer(cluster.bootstrap, max_block_ms=1000)
    with pytest.raises(UnknownTopicOrPartition, match="dohle topic create"):
        producer.send("nope", b"")
    with pytest.raises(InvalidRecord):
        producer.send(TOPIC, "text").result()  # type: ignore[arg-type]
    producer.close()
    producer.close()
    with pytest.raises(Closed):
        producer.send(TOPIC, b"")
    with Admin(cluster.bootstrap) as admin:
        assert admin.describe_topic(TOPIC).name == TOPIC
        assert [topic.name for topic in admin.list_topics()] == [TOPIC]
        with pytest.raises(UnknownTopicOrPartition):
            admin.describe_topic("nope")


def test_leaving_by_an_exception_closes_without_waiting_for_deliveries(cluster: Cluster) -> None:
    cluster.brokers[0].answering.clear()
    futures = []

    def send_and_fail() -> None:
        with Producer(cluster.bootstrap) as producer:
            futures.append(producer.send(TOPIC, b"one"))
            producer._on_loop.wait(cluster_has_it())
            raise KeyError

    async def cluster_has_it() -> None:
        while not cluster.topics[TOPIC][0].log:
            await asyncio.sleep(0.001)

    with pytest.warns(ResourceWarning), pytest.raises(KeyError):
        send_and_fail()
    with pytest.raises(DeliveryTimedOut):
        futures[0].result()
