"""Brokers for a suite: Dohle's nodes, or those of a real Apache Kafka."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.integration.clusters import Cluster
from tests.suites.suite import Setup
from tools.foreign.kafka import KafkaNodes

ROOT = Path(__file__).resolve().parents[2]
_INTERNAL = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")


class NodeEnded(Exception):
    """A node of Dohle's ended while tests ran: says which, and where its log is."""


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Dohle's nodes below `folder` end with this process, even if it is killed."""
    command = [sys.executable, "-m", "tests.integration.watchman", str(folder)]
    watchman = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT, start_new_session=True)
    try:
        yield
    finally:
        watchman.communicate(timeout=60)


@contextlib.contextmanager
def dohle_nodes(setup: Setup, folder: Path) -> Iterator[str]:
    """Nodes of Dohle's, until here is left, when all of them must still run; gives their bootstrap addresses."""
    cluster = Cluster(folder / "dohle", setup.nodes, [f"RACK{number}" for number in range(1, setup.nodes + 1)])
    for node_id in cluster.node_ids:
        _set(cluster.config(node_id), setup)
    try:
        cluster.up()
        cluster.until_healthy()
        yield cluster.kafka_bootstrap
        gone = [node_id for node_id in cluster.node_ids if not cluster.running(node_id)]
        if gone:
            raise NodeEnded(f"nodes ended while tests ran: {gone}; their logs are in {cluster.folder}")
    finally:
        cluster.end()


def _set(config: Path, setup: Setup) -> None:
    """Writes what the set-up says into a node's configuration, in place of what is there."""
    settings = {
        "default_partitions": setup.partitions,
        "auto_create_topics_enable": str(setup.auto_create).lower(),
        "group_initial_rebalance_delay_ms": setup.rebalance_delay_ms,
        "group_min_session_timeout_ms": setup.least_session_ms,
    }
    kept = [line for line in config.read_text().splitlines() if line.partition(" ")[0] not in settings]
    config.write_text("\n".join([*kept, *(f"{name} = {value}" for name, value in settings.items()), ""]))


@contextlib.contextmanager
def kafka_nodes(setup: Setup, folder: Path) -> Iterator[str]:
    """The same of Apache Kafka's own."""
    properties = {
        "broker.rack": "RACK{node_id}",
        "num.partitions": setup.partitions,
        "default.replication.factor": setup.nodes,
        "auto.create.topics.enable": str(setup.auto_create).lower(),
        "group.initial.rebalance.delay.ms": setup.rebalance_delay_ms,
        "group.min.session.timeout.ms": setup.least_session_ms,
        **{f"{topic}.replication.factor": setup.nodes for topic in _INTERNAL},
        **{f"{topic}.min.isr": 1 for topic in _INTERNAL[1:]},
        **{f"{topic}.num.partitions": 5 for topic in _INTERNAL},
    }
    with KafkaNodes(folder, setup.nodes, properties) as nodes:
        nodes.start()
        nodes.until_listening()
        yield nodes.bootstrap
