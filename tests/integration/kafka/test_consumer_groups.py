"""KIP-848 groups on real nodes, by librdkafka: from the classic protocol and back, and no record twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer

from tests.integration.clusters import Cluster, until

pytestmark = pytest.mark.processes

RECORDS = 300
PARTITIONS = 6


class Reader:
    """A consumer that is polled when the test says so. It joins as soon as it is made, and gives nothing up unpolled.

    `read`: partition and offset of all that it has read.
    """

    def __init__(self, trio: Cluster, group: str, topic: str, protocol: str) -> None:
        settings = {
            "bootstrap.servers": f"localhost:{trio.kafka_port(trio.node_ids[0])}",
            "group.id": group,
            "group.protocol": protocol,
            "auto.offset.reset": "earliest",
        }
        if protocol == "classic":
            settings["partition.assignment.strategy"] = "cooperative-sticky"
        self.consumer = Consumer(settings)
        self.consumer.subscribe([topic])
        self.read: list[tuple[int, int]] = []

    @property
    def assigned(self) -> int:
        return len(self.consumer.assignment())

    def poll(self) -> None:
        message = self.consumer.poll(0.05)
        if message is not None:
            assert message.error() is None, message.error()
            self.read.append((message.partition() or 0, message.offset() or 0))


@contextmanager
def reading(*readers: Reader) -> Iterator[tuple[Reader, ...]]:
    """Closes them at the end: each commits, and leaves."""
    try:
        yield readers
    finally:
        for reader in readers:
            reader.consumer.close()


def settled(readers: Sequence[Reader]) -> bool:
    """Polls all of them; returns whether each has its share."""
    for reader in readers:
        reader.poll()
    shares = [reader.assigned for reader in readers]
    return sum(shares) == PARTITIONS and max(shares) - min(shares) <= 1


def filled_topic(trio: Cluster) -> str:
    """Returns a new topic with RECORDS, the same number in each of its PARTITIONS."""
    topic = f"over-{uuid4().hex}"
    trio.done("topic", "create", topic, "-p", str(PARTITIONS), "-r", "3")
    producer = Producer({"bootstrap.servers": f"localhost:{trio.kafka_port(trio.node_ids[0])}"})
    for number in range(RECORDS):
        producer.produce(topic, str(number).encode(), partition=number % PARTITIONS)
    assert producer.flush(30) == 0
    return topic


def test_a_group_goes_over_to_the_consumer_protocol_and_back_while_it_reads(trio: Cluster) -> None:
    topic, group = filled_topic(trio), f"over-{uuid4().hex}"
    with reading(Reader(trio, group, topic, "classic")) as (old,):
        until(lambda: settled([old]), "the classic member has all", 60)
        with reading(Reader(trio, group, topic, "consumer")) as (new,):
            until(lambda: settled([old, new]), "both protocols share", 60)
            until(lambda: settled([old, new]) and len(old.read) + len(new.read) >= RECORDS, "all is read", 60)
        until(lambda: settled([old]), "the group is a classic one again", 60)
    everything = [*old.read, *new.read]
    assert len(everything) == len(set(everything)) == RECORDS


def test_members_of_both_protocols_that_come_at_once_share(trio: Cluster) -> None:
    topic, group = filled_topic(trio), f"at-once-{uuid4().hex}"
    with reading(*(Reader(trio, group, topic, protocol) for protocol in ("classic", "consumer") * 2)) as readers:
        until(lambda: settled(readers), "all four share", 60)
        until(lambda: settled(readers) and sum(len(reader.read) for reader in readers) >= RECORDS, "all is read", 60)
    everything = [record for reader in readers for record in reader.read]
    assert len(everything) == len(set(everything)) == RECORDS
