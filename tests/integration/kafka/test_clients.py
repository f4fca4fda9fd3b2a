"""Kafka's own clients, against three nodes that run: what each writes, reads, seeks, makes and deletes, and that the
death of a leader costs none of them a record."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest

from dohle.model.batch import split_batches
from dohle.model.codecs import Codec
from tests.integration.clusters import Cluster, until
from tests.integration.kafka.clients import CLIENTS, KafkaClient, Kcat

_numbers = itertools.count(1)
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


@pytest.fixture(params=CLIENTS, ids=lambda client: client.__name__)
def client(request: pytest.FixtureRequest, trio: Cluster) -> KafkaClient:
    return request.param(trio.kafka_bootstrap)


@pytest.fixture
def topic(trio: Cluster) -> Iterator[str]:
    name = f"kafka-{next(_numbers)}"
    trio.done("topic", "create", name)
    yield name
    trio.done("topic", "delete", name, "--yes")


def stored_codecs(cluster: Cluster, topic: str) -> list[Codec]:
    """Returns the codec of every batch as it lies on the leader's disk."""
    [segment] = (cluster.data(cluster.partition(topic).leader) / f"{topic}-0").glob("*.log")
    return [Codec(header.codec) for _, header in split_batches(segment.read_bytes())]


def values(count: int, of: str = "") -> list[bytes]:
    return [f"{of}{number} {'x' * 300}".encode() for number in range(count)]


def never() -> None:
    pass


def test_what_a_client_writes_with_any_codec_is_stored_so_and_read_by_it(
    trio: Cluster, client: KafkaClient, topic: str
) -> None:
    written: list[bytes] = []
    kinds: list[Codec] = []
    for codec in CODECS:
        client.produce(topic, values(40, codec), codec, never)
        written += values(40, codec)
        fresh = stored_codecs(trio, topic)[len(kinds) :]
        assert set(fresh) == {Codec[codec.upper()]}
        kinds += fresh
    assert client.consume(topic, 0, len(written)) == written
    assert client.consume(topic, 50, 20) == written[50:70], "from within a batch"


def test_what_one_client_writes_every_other_reads(trio: Cluster, client: KafkaClient, topic: str) -> None:
    client.produce(topic, values(30), "lz4", never)
    for other in CLIENTS:
        assert other(trio.kafka_bootstrap).consume(topic, 0, 30) == values(30)
    read = trio.done("consume", topic)
    assert read.encode().splitlines() == values(30)


def test_a_client_seeks_by_time(client: KafkaClient, topic: str) -> None:
    client.produce(topic, values(10, "early"), "none", never)
    border = int(time.time() * 1000) + 1
    until(lambda: time.time() * 1000 > border, "later than the border")
    client.produce(topic, values(10, "late"), "none", never)
    assert client.consume_since(topic, border, 10) == values(10, "late")


def test_a_client_makes_deletes_and_makes_a_topic_again(trio: Cluster, client: KafkaClient) -> None:
    if isinstance(client, Kcat):
        return  # it cannot
    name = f"made-{next(_numbers)}"
    for round_ in ("first", "second"):
        client.create_topic(name, 2)
        client.produce(name, values(10, round_), "none", never)
        assert client.consume(name, 0, 10) == values(10, round_), "nothing is left of an earlier one"
        client.delete_topic(name)
    assert name not in trio.done("topic", "list")


def test_a_topic_is_made_by_being_written_to(trio: Cluster, client: KafkaClient) -> None:
    name = f"asked-for-{next(_numbers)}"
    client.produce(name, values(10), "none", never)
    assert client.consume(name, 0, 10) == values(10)
    assert len(trio.partition(name).assigned_replicas) == 3
    trio.done("topic", "delete", name, "--yes")


def test_a_leader_that_dies_costs_a_client_no_record(trio: Cluster, client: KafkaClient, topic: str) -> None:
    leader = trio.partition(topic).leader
    client.produce(topic, values(200), "none", lambda: trio.kill(leader))
    read = client.consume(topic, 0, 200)
    if isinstance(client, Kcat):  # its first half may have been under way, without idempotence: then it comes twice
        read = list(dict.fromkeys(read))
        assert set(read) <= set(values(200))
    else:
        assert read == values(200)
