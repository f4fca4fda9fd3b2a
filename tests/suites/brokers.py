"""Brokers for a suite: Dohle's nodes, or those of a real Apache Kafka."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from dohle.cluster.local import free_base_port
from tests.integration.clusters import Cluster, until
from tests.suites.cache import run
from tests.suites.kafka_home import kafka_home
from tests.suites.suite import Setup

ROOT = Path(__file__).resolve().parents[2]
START_S = 300
_INTERNAL = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
JAVA = (
    *("setpriv", "--pdeathsig", "KILL"),  # no broker outlives the runner
    *(
        "java",
        "-Xmx512m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    ),
)
CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"


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
        with cluster.config(node_id).open("a") as config:
            config.write(f"default_partitions = {setup.partitions}\n")
            config.write(f"auto_create_topics_enable = {str(setup.auto_create).lower()}\n")
    try:
        cluster.up()
        cluster.until_healthy()
        yield cluster.kafka_bootstrap
        gone = [node_id for node_id in cluster.node_ids if not cluster.running(node_id)]
        if gone:
            raise NodeEnded(f"nodes ended while tests ran: {gone}; their logs are in {cluster.folder}")
    finally:
        cluster.end()


@contextlib.contextmanager
def kafka_nodes(setup: Setup, folder: Path) -> Iterator[str]:
    """The same of Apache Kafka's own, each of them broker and controller."""
    libraries, base = kafka_home() / "libs", free_base_port(setup.nodes)
    ports = [(base + 2 * number, base + 2 * number + 1) for number in range(setup.nodes)]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(1, len(ports) + 1):
            home = folder / f"kafka-{number}"
            home.mkdir(parents=True)
            (home / "server.properties").write_text(_properties(setup, number, ports, home))
            command = [*JAVA, "-cp", f"{libraries}/*"]
            formatting = [*command, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"]
            run([*formatting, str(home / "server.properties")], home)
            with (home / "broker.log").open("wb") as log:
                broker = [*command, "kafka.Kafka", str(home / "server.properties")]
                processes.append(subprocess.Popen(broker, cwd=home, stdout=log, stderr=log, start_new_session=True))
        for port, _ in ports:
            until(lambda port=port: _answers(port), f"a real Kafka listens on {port}; see {folder}", START_S)
        yield ",".join(f"127.0.0.1:{port}" for port, _ in ports)
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _properties(setup: Setup, number: int, ports: list[tuple[int, int]], home: Path) -> str:
    port, controller = ports[number - 1]
    voters = ",".join(f"{voter}@127.0.0.1:{each}" for voter, (_, each) in enumerate(ports, 1))
    return "\n".join(
        (
            "process.roles=broker,controller",
            f"node.id={number}",
            f"broker.rack=RACK{number}",
            f"controller.quorum.voters={voters}",
            "controller.listener.names=CONTROLLER",
            f"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            f"log.dirs={home}/data",
            f"num.partitions={setup.partitions}",
            f"default.replication.factor={setup.nodes}",
            f"auto.create.topics.enable={str(setup.auto_create).lower()}",
            "group.initial.rebalance.delay.ms=0",
            *(f"{topic}.replication.factor={setup.nodes}" for topic in _INTERNAL),
            *(f"{topic}.min.isr=1" for topic in _INTERNAL[1:]),
            "offsets.topic.num.partitions=5",
            "transaction.state.log.num.partitions=5",
            "share.coordinator.state.topic.num.partitions=5",
            "",
        )
    )
