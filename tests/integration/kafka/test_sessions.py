"""Fetch sessions against nodes that run: byte for byte in each version, and by a client that has one."""

from __future__ import annotations

import time

import kafka
import pytest

from dohle.kafka.messages.fetch import FetchRequest, FetchResponse
from tests.integration.clusters import Cluster
from tests.integration.kafka.raw import FIRST_BY_ID, RawKafka, data_of, fetch_request, leader_of, versions_of
from tests.integration.kafka.test_protocol import topic  # noqa: F401 - a fixture
from tests.integration.raw import a_batch

FIRST_WITH_SESSIONS = 7


def asked(session_id: int, epoch: int, *, max_wait_ms: int = 0) -> FetchRequest:
    """Returns an incremental fetch that wants nothing else than before."""
    return FetchRequest(max_wait_ms=max_wait_ms, min_bytes=1, session_id=session_id, session_epoch=epoch, topics=[])


@pytest.mark.parametrize("version", versions_of(1))
def test_a_session_in_each_version(trio: Cluster, topic: str, version: int) -> None:  # noqa: F811
    with leader_of(trio, topic) as leader:
        request = fetch_request(topic, leader.topic(topic).topic_id, 0, max_wait_ms=0, session_epoch=0)
        first = leader.ask(request, version, FetchResponse)
        if version < FIRST_WITH_SESSIONS:
            assert first.session_id == 0
            return
        assert first.session_id > 0
        assert leader.ask(asked(first.session_id, 1), version, FetchResponse).responses == []
        leader.produce(topic, a_batch(b"new"))
        told = leader.ask(asked(first.session_id, 2, max_wait_ms=10_000), version, FetchResponse)
        [new] = told.responses
        assert (new.topic == topic) == (version < FIRST_BY_ID)
        assert (told.session_id, new.partitions[0].high_watermark) == (first.session_id, 1)
        assert data_of(new.partitions[0])
        assert leader.ask(asked(first.session_id, 9), version, FetchResponse).error_code == 71
        assert leader.ask(asked(first.session_id ^ 1, 1), version, FetchResponse).error_code == 70
        other = 12 if version >= FIRST_BY_ID else 13
        assert leader.ask(asked(first.session_id, 3), other, FetchResponse).error_code == 106
        request.session_id, request.session_epoch = first.session_id, -1
        request.forgotten_topics_data = []
        assert leader.ask(request, version, FetchResponse).session_id == 0
        assert leader.ask(asked(first.session_id, 3), version, FetchResponse).error_code == 70


def test_sessions_outlive_their_connections(trio: Cluster, topic: str) -> None:  # noqa: F811
    with leader_of(trio, topic) as leader:
        request = fetch_request(topic, leader.topic(topic).topic_id, 0, max_wait_ms=0, session_epoch=0)
        session = leader.ask_newest(request, FetchResponse).session_id
    with RawKafka(trio.kafka_port(trio.partition(topic).leader)) as again:
        assert again.ask_newest(asked(session, 1), FetchResponse).error_code == 0


def test_a_client_that_has_sessions_reads_many_partitions_while_leaders_die(trio: Cluster) -> None:
    trio.done("topic", "create", "sessions", "-p", "30")
    partitions = [kafka.TopicPartition("sessions", number) for number in range(30)]
    consumer = kafka.KafkaConsumer(bootstrap_servers=trio.kafka_bootstrap, group_id=None, fetch_max_wait_ms=200)
    producer = kafka.KafkaProducer(bootstrap_servers=trio.kafka_bootstrap, acks="all")
    consumer.assign(partitions)
    consumer.seek_to_beginning()
    written: set[tuple[int, bytes]] = set()
    read: list[tuple[int, bytes]] = []
    for turn in range(6):
        if turn == 3:
            trio.kill(1)
            trio.up(1)
        sent = {(number, b"%d.%d" % (number, turn)) for number in range(turn, 30, 3)}
        for one in [producer.send("sessions", value, partition=number) for number, value in sent]:
            one.get(60)
        written |= sent
        deadline = time.monotonic() + 60
        while len(read) < len(written) and time.monotonic() < deadline:
            for found in consumer.poll(500).values():
                read += [(record.partition, record.value) for record in found]
        assert set(read) == written, "each record comes, also of partitions that were silent for long"
        assert len(read) == len(written), "and comes once"
    consumer.close()
    producer.close()
    trio.done("topic", "delete", "sessions", "--yes")
