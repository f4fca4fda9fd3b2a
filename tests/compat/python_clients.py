"""The clients of Python, as they are called, and kcat, each as a `KafkaClient`."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any

from tests.compat.client import PATIENCE_S, CannotDo, Told, halves, never
from tests.compat.members import Note, Reading


class Librdkafka:
    """By confluent-kafka."""

    def __init__(self, bootstrap: str) -> None:
        import confluent_kafka
        import confluent_kafka.admin

        self._kafka, self._admin = confluent_kafka, confluent_kafka.admin
        self._config = {"bootstrap.servers": bootstrap}
        self._asks = confluent_kafka.admin.AdminClient(self._config)

    def create_topic(self, topic: str, partitions: int) -> None:
        self._asks.create_topics([self._admin.NewTopic(topic, partitions, 3)])[topic].result(PATIENCE_S)

    def grow_topic(self, topic: str, partitions: int) -> None:
        self._asks.create_partitions([self._admin.NewPartitions(topic, partitions)])[topic].result(PATIENCE_S)

    def alter_topic(self, topic: str, configs: Mapping[str, str]) -> None:
        changes = [
            self._admin.ConfigEntry(name, value, incremental_operation=self._admin.AlterConfigOpType.SET)
            for name, value in configs.items()
        ]
        resource = self._admin.ConfigResource("topic", topic, incremental_configs=changes)
        self._asks.incremental_alter_configs([resource])[resource].result(PATIENCE_S)

    def topic_configs(self, topic: str) -> Mapping[str, str]:
        resource = self._admin.ConfigResource("topic", topic)
        found = self._asks.describe_configs([resource])[resource].result(PATIENCE_S)
        return {name: entry.value for name, entry in found.items()}

    def delete_topic(self, topic: str) -> None:
        self._asks.delete_topics([topic])[topic].result(PATIENCE_S)

    def produce(self, topic: str, values: Sequence[bytes], codec: str, interrupted: Callable[[], None]) -> None:
        producer = self._kafka.Producer(
            {**self._config, "compression.type": codec, "linger.ms": 20, "enable.idempotence": True}
        )
        failures: list[object] = []

        def delivered(error: object, _message: object) -> None:
            if error is not None:
                failures.append(error)

        for half in halves(values):
            for value in half:
                producer.produce(topic, value, partition=0, on_delivery=delivered)
            assert producer.flush(PATIENCE_S) == 0
            interrupted()
            interrupted = never
        assert not failures

    def consume(self, topic: str, offset: int, count: int) -> list[bytes]:
        consumer = self._consumer()
        consumer.assign([self._kafka.TopicPartition(topic, 0, offset)])
        return self._read(consumer, count)

    def consume_since(self, topic: str, timestamp_ms: int, count: int) -> list[bytes]:
        consumer = self._consumer()
        [found] = consumer.offsets_for_times([self._kafka.TopicPartition(topic, 0, timestamp_ms)], timeout=PATIENCE_S)
        consumer.assign([found])
        return self._read(consumer, count)

    def subscribe(self, topic: str, group: str, count: int, seconds: float) -> list[bytes]:
        with _noted("librdkafka") as words:
            logger = logging.getLogger("librdkafka")
            consumer = self._kafka.Consumer(
                {**self._config, "group.id": group, "auto.offset.reset": "earliest", "debug": "cgrp"}, logger=logger
            )
            consumer.subscribe([topic])
            return self._read(consumer, count, seconds, words)

    def join(self, topic: str, group: str) -> Reading:
        def work(note: Note, leaving: threading.Event) -> None:
            config = {"group.id": group, "auto.offset.reset": "earliest", "auto.commit.interval.ms": 200}
            consumer = self._kafka.Consumer({**self._config, **config})
            consumer.subscribe([topic])
            while not leaving.is_set():
                message = consumer.poll(0.2)
                if message is not None and message.error() is None:
                    note(message.partition(), message.value())
            consumer.close()

        return Reading(work)

    def _consumer(self) -> Any:
        return self._kafka.Consumer({**self._config, "group.id": "none", "enable.auto.commit": False})

    def _read(
        self, consumer: Any, count: int, seconds: float = PATIENCE_S, words: io.StringIO | None = None
    ) -> list[bytes]:
        values: list[bytes] = []
        deadline = time.monotonic() + seconds
        while len(values) < count and time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                values.append(message.value())
        consumer.close()
        return _all(values, count, words)


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

    def grow_topic(self, topic: str, partitions: int) -> None:
        admin = self._admin.KafkaAdminClient(bootstrap_servers=self._bootstrap)
        admin.create_partitions({topic: self._admin.NewPartitions(partitions)})
        admin.close()

    def alter_topic(self, topic: str, configs: Mapping[str, str]) -> None:
        admin = self._admin.KafkaAdminClient(bootstrap_servers=self._bootstrap)
        admin.alter_configs([self._admin.ConfigResource("topic", topic, dict(configs))])
        admin.close()

    def topic_configs(self, topic: str) -> Mapping[str, str]:
        admin = self._admin.KafkaAdminClient(bootstrap_servers=self._bootstrap)
        found = admin.describe_configs([self._admin.ConfigResource("topic", topic)])
        admin.close()
        return {name: entry["value"] for name, entry in found["topic"][topic].items()}

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
            max_block_ms=int(PATIENCE_S * 1000),
        )
        for half in halves(values):
            sent = [producer.send(topic, value, partition=0) for value in half]
            for one in sent:
                one.get(PATIENCE_S)
            interrupted()
            interrupted = never
        producer.close()

    def consume(self, topic: str, offset: int, count: int) -> list[bytes]:
        consumer, partition = self._consumer(topic)
        consumer.seek(partition, offset)
        return self._read(consumer, count)

    def consume_since(self, topic: str, timestamp_ms: int, count: int) -> list[bytes]:
        consumer, partition = self._consumer(topic)
        consumer.seek(partition, consumer.offsets_for_times({partition: timestamp_ms})[partition].offset)
        return self._read(consumer, count)

    def subscribe(self, topic: str, group: str, count: int, seconds: float) -> list[bytes]:
        with _noted("kafka") as words:
            consumer = self._kafka.KafkaConsumer(
                topic, bootstrap_servers=self._bootstrap, group_id=group, auto_offset_reset="earliest"
            )
            values: list[bytes] = []
            deadline = time.monotonic() + seconds
            while len(values) < count and time.monotonic() < deadline:
                for records in consumer.poll(200).values():
                    values += [record.value for record in records]
            consumer.close()
        return _all(values, count, words)

    def join(self, topic: str, group: str) -> Reading:
        def work(note: Note, leaving: threading.Event) -> None:
            consumer = self._kafka.KafkaConsumer(
                topic,
                bootstrap_servers=self._bootstrap,
                group_id=group,
                auto_offset_reset="earliest",
                auto_commit_interval_ms=200,
            )
            while not leaving.is_set():
                for records in consumer.poll(200).values():
                    for record in records:
                        note(record.partition, record.value)
            consumer.close()

        return Reading(work)

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

    def grow_topic(self, topic: str, partitions: int) -> None:
        more = {topic: self._admin.NewPartitions(partitions)}
        _run(self._with_admin(lambda admin: admin.create_partitions(more)))

    def alter_topic(self, topic: str, configs: Mapping[str, str]) -> None:
        resource = self._resource(topic, configs)
        [answer] = _run(self._with_admin(lambda admin: admin.alter_configs([resource])))
        [(code, message, *_)] = answer.resources
        if code:
            raise Told(f"{code}: {message}")

    def topic_configs(self, topic: str) -> Mapping[str, str]:
        resource = self._resource(topic, None)
        [answer] = _run(self._with_admin(lambda admin: admin.describe_configs([resource])))
        [(_, _, _, _, entries)] = answer.resources
        return {name: value for name, value, *_ in entries}

    def delete_topic(self, topic: str) -> None:
        _run(self._with_admin(lambda admin: admin.delete_topics([topic])))

    def _resource(self, topic: str, configs: Mapping[str, str] | None) -> Any:
        from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

        return ConfigResource(ConfigResourceType.TOPIC, topic, dict(configs) if configs else None)

    async def _with_admin(self, ask: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        admin = self._admin.AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        try:
            return await ask(admin)
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
            first, second = halves(values)
            await asyncio.gather(*[await producer.send(topic, value, partition=0) for value in first])
            interrupted()
            await asyncio.gather(*[await producer.send(topic, value, partition=0) for value in second])
            await producer.stop()

        _run(produce())

    def consume(self, topic: str, offset: int, count: int) -> list[bytes]:
        return _run(self._consume(topic, offset, None, count))

    def consume_since(self, topic: str, timestamp_ms: int, count: int) -> list[bytes]:
        return _run(self._consume(topic, 0, timestamp_ms, count))

    def subscribe(self, topic: str, group: str, count: int, seconds: float) -> list[bytes]:
        values: list[bytes] = []

        async def read() -> None:
            consumer = self._kafka.AIOKafkaConsumer(
                topic, bootstrap_servers=self._bootstrap, group_id=group, auto_offset_reset="earliest"
            )
            try:
                async with asyncio.timeout(seconds):
                    await consumer.start()
                    while len(values) < count:
                        values.append((await consumer.getone()).value)
            except TimeoutError:
                pass
            finally:
                await consumer.stop()

        with _noted("aiokafka") as words:
            _run(read())
        return _all(values, count, words)

    def join(self, topic: str, group: str) -> Reading:
        async def read(note: Note, leaving: threading.Event) -> None:
            async with self._kafka.AIOKafkaConsumer(
                topic,
                bootstrap_servers=self._bootstrap,
                group_id=group,
                auto_offset_reset="earliest",
                auto_commit_interval_ms=200,
            ) as consumer:
                while not leaving.is_set():
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        for record in records:
                            note(record.partition, record.value)

        return Reading(lambda note, leaving: asyncio.run(read(note, leaving)))

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
    """kcat, which writes and reads, and makes topics only by writing to them."""

    def __init__(self, bootstrap: str) -> None:
        self._command = ["kcat", "-b", bootstrap, "-q", "-X", "message.timeout.ms=60000"]

    def create_topic(self, topic: str, partitions: int) -> None:
        raise CannotDo("has no call for it")

    def grow_topic(self, topic: str, partitions: int) -> None:
        raise CannotDo("has no call for it")

    def alter_topic(self, topic: str, configs: Mapping[str, str]) -> None:
        raise CannotDo("has no call for it")

    def topic_configs(self, topic: str) -> Mapping[str, str]:
        raise CannotDo("has no call for it")

    def delete_topic(self, topic: str) -> None:
        raise CannotDo("has no call for it")

    def subscribe(self, topic: str, group: str, count: int, seconds: float) -> list[bytes]:
        command = [
            *self._command,
            "-X",
            "auto.offset.reset=earliest",
            "-d",
            "cgrp",
            "-c",
            str(count),
            "-G",
            group,
            topic,
        ]
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=seconds)
        except subprocess.TimeoutExpired as late:
            raise Told((late.stderr or b"").decode()) from None
        return done.stdout.splitlines()

    def join(self, topic: str, group: str) -> Reading:
        config = ["-X", "auto.offset.reset=earliest", "-X", "auto.commit.interval.ms=200"]
        return reading_by([*self._command, *config, "-u", "-f", "%p\\t%s\\n", "-G", group, topic])

    def produce(self, topic: str, values: Sequence[bytes], codec: str, interrupted: Callable[[], None]) -> None:
        command = [*self._command, "-P", "-t", topic, "-p", "0", "-z", codec, "-X", "acks=all"]
        first, second = halves(values)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as running:
            assert running.stdin is not None
            running.stdin.write(b"".join(value + b"\n" for value in first))
            running.stdin.flush()
            interrupted()
            _, complaints = running.communicate(b"".join(value + b"\n" for value in second), PATIENCE_S)
        assert running.returncode == 0, complaints.decode()

    def consume(self, topic: str, offset: int, count: int) -> list[bytes]:
        return self._consume(topic, str(offset), count)

    def consume_since(self, topic: str, timestamp_ms: int, count: int) -> list[bytes]:
        return self._consume(topic, f"s@{timestamp_ms}", count)

    def _consume(self, topic: str, offset: str, count: int) -> list[bytes]:
        command = [*self._command, "-C", "-t", topic, "-p", "0", "-o", offset, "-c", str(count)]
        done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.splitlines()


def reading_by(command: Sequence[str]) -> Reading:
    """Starts a program that prints a line for each record: the partition, a tab, the value. SIGTERM has it leave."""
    program = subprocess.Popen(command, stdout=subprocess.PIPE)

    def work(note: Note, leaving: threading.Event) -> None:
        assert program.stdout is not None
        with program:
            for line in program.stdout:
                partition, _, value = line.rstrip(b"\n").partition(b"\t")
                note(int(partition.removeprefix(b"Partition:")), value)

    return Reading(work, program.terminate)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    async def within() -> Any:
        async with asyncio.timeout(PATIENCE_S):
            return await work

    return asyncio.run(within())


def _all(values: list[bytes], count: int, words: io.StringIO | None) -> list[bytes]:
    if len(values) < count:
        raise Told(f"{len(values)} of {count} came\n{words.getvalue() if words else ''}")
    return values[:count]


@contextlib.contextmanager
def _noted(logger_name: str) -> Iterator[io.StringIO]:
    """Collects what a library logs: of a coordinator that is not there, that is all it says."""
    words = io.StringIO()
    notes, logger = logging.StreamHandler(words), logging.getLogger(logger_name)
    before = logger.level
    logger.addHandler(notes)
    logger.setLevel(logging.DEBUG)
    try:
        yield words
    finally:
        logger.removeHandler(notes)
        logger.setLevel(before)
