"""The demo's story by a client of Kafka's: the same checks, at the nodes' Kafka ports."""

from __future__ import annotations

import asyncio
import sys

import pytest

from dohle.cli.demo_clients import PARTITIONS
from dohle.cli.demo_kafka import KafkaClient
from dohle.cli.demo_run import compare_replicas, run_demo
from dohle.cli.flights import Flight
from dohle.model.errors import ConfigurationError
from tests.integration.clusters import Cluster

_FLIGHTS = [Flight(b"carrier %d" % (number % 16), b"%d,%s" % (number, b"x" * 80)) for number in range(60_000)]


def test_a_client_of_kafkas_loses_no_flight_when_a_leader_dies(fresh_trio: Cluster) -> None:
    client = KafkaClient(fresh_trio.kafka_bootstrap)
    report = asyncio.run(run_demo(fresh_trio.local, _FLIGHTS, print, client))
    fresh_trio.down()
    compare_replicas(fresh_trio.local, report)
    assert report.complaints == []
    assert report.acknowledged == len(_FLIGHTS)
    assert report.killed_node in fresh_trio.node_ids
    assert sum(report.watermarks.values()) == len(_FLIGHTS)
    assert len(report.watermarks) == PARTITIONS


def test_without_confluent_kafka_the_demo_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(ConfigurationError, match="pip install"):
        KafkaClient("localhost:9092")
