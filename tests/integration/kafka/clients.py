"""Kafka's clients, each behind the same few calls: what a test does with one, it does with all."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

import pytest

_PATIENCE_S = 60.0


class KafkaClient(Protocol):
    """One library or program. Values are short, and without line breaks."""

    def create_topic(self, topic: str, partitions: int) -> None: ...
    def delete_topic(self, topic: str) -> None: ...

    def produce(self, topic: str, values: Sequence[bytes], codec: str, interrupted: Callable[[], None]) -> None:
        """Writes `values` to partition 0 with acks=all, in one go, calling `interrupted` after half of them were
        acknowledged; returns once all are."""
        ...

    def consume(self, topic: str, offset: int, count: int) -> list[bytes]:
        """Reads so many from partition 0, which is assigned, from `offset` on."""
        ...

    def consume_since(self, topic: str, timestamp_ms: int, count: int) -> list[bytes]:
        """The same from the first record that is not older."""
        ...


class Librdkafka:
    """By confluent-kafka."""

    def __init__(self, bootstrap: str) -> None:
        import confluent_kafka
        import confluent_kafka.admin

        self._kafka, self._admin = confluent_kafka, confluent_kafka.admin
        self._config = {"bootstrap.servers": bootstrap}

    def create_topic(self, topic: str, partitions: int) -> None:
        admin = self._admin.AdminClient(self._config)
        admin.create_topics([self._admin.NewTopic(topic, partitions, 3)])[topic].result(_PATIENCE_S)

    def delete_topic(self, topic: str) -> None:
        admin = self._admin.AdminClient(self._config)
        admin.delete_topics([topic])[topic].result(_PATIENCE_S)

    def produce(self, topic: str, values: Sequence[bytes], codec: str, interrupted: Callable[[], None]) -> None:
        producer = self._kafka.Producer(
            {**self._config, "compression.type": codec, "linger.ms": 20, "enable.idempotence": True}
        )
        failures: list[object] = []

        def delivered(error: object, _message: object) -> None:
            if error is not None:
                failures.append(error)

        for half in _halves(values):
            for value in half:
                producer.produce(topic, value, partition=0, on_delivery=delivered)
            assert producer.flush(_PATIENCE_S) == 0
            interrupted()
            interrupted = _nothing
        assert not failures

    def consume(self, topic: str, offset: int, count: int) -> list[bytes]:
        consumer = self._consumer()
        consumer.assign([self._kafka.TopicPartition(topic, 0, offset)])
        return self._read(consumer, count)

    def consume_since(self, topic: str, timestamp_ms: int, count: int) -> list[bytes]:
        consumer = self._consumer()
        [found] = consumer.offsets_for_times([self._kafka.TopicPartition(topic, 0, timestamp_ms)], timeout=_PATIENCE_S)
        consumer.assign([found])
        return self._read(consumer, count)

    def _consumer(self) -> Any:
        return self._kafka.Consumer({**self._config, "group.id": "none", "enable.auto.commit": False})

    def _read(self, consumer: Any, count: int) -> list[bytes]:
        values: list[bytes] = []
        while len(values) < count:
            message = consumer.poll(_PATIENCE_S)
            assert message is not None, f"{len(values)} of {count} came"
            if message.error() is None:
                values.append(message.value())
        consumer.close()
        return values


class KafkaPython:
    """kafka-python."""

    def __init__(self, bootstrap: str) -> None:
        import kafka
        import kafka.admin

        self._kafka, self._admin = kafka, kafka.admin
        self._bootstrap = bootstrap

    def create_topic(self, topic: str, partitions: int) -> None:
        admin = self._admin.KafkaAdminClient(bootstrap_servers=self._bootstrap)
        admin.create_topics([self._admin.NewTopic(topic, partitions, 3)])
        admin.close()

    def delete_topic(self, topic: str) -> None:
        admin = self._admin.KafkaAdminClient(bootstrap_servers=self._bootstrap)
        admin.delete_topics([topic])
        admin.close()

    def produce(self, topic: str, values: Sequence[bytes], codec: str, interrupted: Callable[[], None]) -> None:
        producer = self._kafka.KafkaProducer(
            bootstrap_servers=self._bootstrap,
            compression_type=None if codec == "none" else codec,
            acks="all",
            linger_ms=20,
            max_block_ms=int(_PATIENCE_S * 1000),
        )
        for half in _halves(values):
            sent = [producer.send(topic, value, partition=0) for value in half]
            for one in sent:
                one.get(_PATIENCE_S)
            interrupted()
            interrupted = _nothing
        producer.close()

    def consume(self, topic: str, offset: int, count: int) -> list[bytes]:
        consumer, partition = self._consumer(topic)
        consumer.seek(partition, offset)
        return self._read(consumer, count)

    def consume_since(self, topic: str, timestamp_ms: int, count: int) -> list[bytes]:
        consumer, partition = self._consumer(topic)
        consumer.seek(partition, consumer.offsets_for_times({partition: timestamp_ms})[partition].offset)
        return self._read(consumer, count)

    def _consumer(self, topic: str) -> tuple[Any, Any]:
        consumer = self._kafka.KafkaConsumer(bootstrap_servers=self._bootstrap, group_id=None)
        partition = self._kafka.TopicPartition(topic, 0)
        consumer.assign([partition])
        return consumer, partition

    def _read(self, consumer: Any, count: int) -> list[bytes]:
        values = [next(consumer).value for _ in range(count)]
        consumer.close()
        return values


class Aiokafka:
    """aiokafka."""

    def __init__(self, bootstrap: str) -> None:
        import aiokafka
        import aiokafka.admin

        self._kafka, self._admin = aiokafka, aiokafka.admin
        self._bootstrap = bootstrap

    def create_topic(self, topic: str, partitions: int) -> None:
        new = self._admin.NewTopic(topic, partitions, 3)
        _run(self._with_admin(lambda admin: admin.create_topics([new])))

    def delete_topic(self, topic: str) -> None:
        _run(self._with_admin(lambda admin: admin.delete_topics([topic])))

    async def _with_admin(self, ask: Callable[[Any], Coroutine[Any, Any, Any]]) -> None:
        admin = self._admin.AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        try:
            await ask(admin)
        finally:
            await admin.close()

    def produce(self, topic: str, values: Sequence[bytes], codec: str, interrupted: Callable[[], None]) -> None:
        async def produce() -> None:
            producer = self._kafka.AIOKafkaProducer(
                bootstrap_servers=self._bootstrap,
                compression_type=None if codec == "none" else codec,
                enable_idempotence=True,
                linger_ms=20,
            )
            await producer.start()
            first, second = _halves(values)
            await asyncio.gather(*[await producer.send(topic, value, partition=0) for value in first])
            interrupted()
            await asyncio.gather(*[await producer.send(topic, value, partition=0) for value in second])
            await producer.stop()

        _run(produce())

    def consume(self, topic: str, offset: int, count: int) -> list[bytes]:
        return _run(self._consume(topic, offset, None, count))

    def consume_since(self, topic: str, timestamp_ms: int, count: int) -> list[bytes]:
        return _run(self._consume(topic, 0, timestamp_ms, count))

    async def _consume(self, topic: str, offset: int, timestamp_ms: int | None, count: int) -> list[bytes]:
        consumer = self._kafka.AIOKafkaConsumer(bootstrap_servers=self._bootstrap)
        await consumer.start()
        partition = self._kafka.TopicPartition(topic, 0)
        consumer.assign([partition])
        if timestamp_ms is not None:
            offset = (await consumer.offsets_for_times({partition: timestamp_ms}))[partition].offset
        consumer.seek(partition, offset)
        values = [(await consumer.getone()).value for _ in range(count)]
        await consumer.stop()
        return values


class Kcat:
    """kcat, which has no way to create or delete topics: it produces to one, which makes it."""

    def __init__(self, bootstrap: str) -> None:
        program = shutil.which("kcat")
        if program is None:
            pytest.skip("kcat is not installed: apt-get install kcat")
        self._command = [program, "-b", bootstrap, "-q", "-X", "message.timeout.ms=60000"]

    def create_topic(self, topic: str, partitions: int) -> None:
        raise NotImplementedError

    delete_topic: Any = None

    def produce(self, topic: str, values: Sequence[bytes], codec: str, interrupted: Callable[[], None]) -> None:
        command = [*self._command, "-P", "-t", topic, "-p", "0", "-z", codec, "-X", "acks=all"]
        first, second = _halves(values)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as running:
            assert running.stdin is not None
            running.stdin.write(b"".join(value + b"\n" for value in first))
            running.stdin.flush()
            interrupted()
            _, complaints = running.communicate(b"".join(value + b"\n" for value in second), _PATIENCE_S)
        assert running.returncode == 0, complaints.decode()

    def consume(self, topic: str, offset: int, count: int) -> list[bytes]:
        return self._consume(topic, str(offset), count)

    def consume_since(self, topic: str, timestamp_ms: int, count: int) -> list[bytes]:
        return self._consume(topic, f"s@{timestamp_ms}", count)

    def _consume(self, topic: str, offset: str, count: int) -> list[bytes]:
        command = [*self._command, "-C", "-t", topic, "-p", "0", "-o", offset, "-c", str(count)]
        done = subprocess.run(command, capture_output=True, check=False, timeout=_PATIENCE_S)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.splitlines()


CLIENTS: tuple[Callable[[str], KafkaClient], ...] = (Librdkafka, KafkaPython, Aiokafka, Kcat)


def _halves(values: Sequence[bytes]) -> tuple[Sequence[bytes], Sequence[bytes]]:
    middle = len(values) // 2
    return values[:middle], values[middle:]


def _nothing() -> None:
    pass


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    async def within() -> Any:
        async with asyncio.timeout(_PATIENCE_S):
            return await work

    return asyncio.run(within())
