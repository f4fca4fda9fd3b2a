"""Three nodes of either peer, on ports and in folders of their own, ended and removed whatever happens.

Kafka's nodes are brokers and controllers in one, with the flags of its own start script and heaps of 512 MB. The
topics of both have `min.insync.replicas` 2. Only processes that were started here are ended, each by its id.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from bench.peers import asking
from bench.peers.asking import HOST
from dohle.cluster.local import LocalCluster, free_base_port
from dohle.model.ids import id_text, new_id

NODES = (1, 2, 3)
FLUSH = "flush.messages"
DURABLE = "1"
RELAXED = str((1 << 63) - 1)
"""Kafka's default: the operating system writes when it likes."""
_JVM = (
    *("-Xms512m", "-Xmx512m", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"),
    *("-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true"),
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
)
_ENDS_IN_S = 10.0


class Peer(Protocol):
    name: str

    def start(self, node_ids: Sequence[int] = NODES) -> None:
        """Starts nodes that do not run; those that return early are waited for by who asks them."""

    def kill(self, node_id: int) -> None:
        """Ends a node as kill -9 does."""

    def port(self, node_id: int) -> int: ...

    def pids(self) -> list[int]: ...

    def end(self) -> None: ...


class DohleNodes:
    name = "dohle"

    def __init__(self, folder: Path) -> None:
        cluster_id = id_text(new_id(random.SystemRandom()))
        nodes = len(NODES)
        self._cluster = LocalCluster.create(
            str(folder), nodes, base_port=free_base_port(nodes), new_cluster_id=cluster_id
        )

    def start(self, node_ids: Sequence[int] = NODES) -> None:
        self._cluster.start(node_ids)

    def kill(self, node_id: int) -> None:
        self._cluster.kill(node_id)

    def port(self, node_id: int) -> int:
        return self._cluster.state.node(node_id).kafka_port

    def pids(self) -> list[int]:
        return [node.process.pid for node in self._cluster.state.nodes if node.process is not None]

    def end(self) -> None:
        for node in self._cluster.state.nodes:
            if node.runs():
                self._cluster.kill(node.node_id)


class KafkaNodes:
    name = "kafka"

    def __init__(self, folder: Path, jars: str, settings: Mapping[str, str]) -> None:
        self._folder = folder
        self._java = ["java", *_JVM, "-cp", jars]
        base = free_base_port(2 * len(NODES))
        self._ports = {node: (base + 2 * place, base + 2 * place + 1) for place, node in enumerate(NODES)}
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        cluster_id = id_text(new_id(random.SystemRandom()))
        for node in NODES:
            self._home(node).mkdir()
            self._properties(node).write_text(self._configured(node, settings))
            formatting = ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._properties(node))]
            subprocess.run([*self._java, *formatting], check=True, capture_output=True)

    def start(self, node_ids: Sequence[int] = NODES) -> None:
        for node in node_ids:
            with (self._home(node) / "log").open("ab") as log:
                self._running[node] = subprocess.Popen(
                    [*self._java, "kafka.Kafka", str(self._properties(node))],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def kill(self, node_id: int) -> None:
        process = self._running.pop(node_id)
        process.kill()
        process.wait()

    def port(self, node_id: int) -> int:
        return self._ports[node_id][0]

    def pids(self) -> list[int]:
        return [process.pid for process in self._running.values()]

    def end(self) -> None:
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait(_ENDS_IN_S)

    def _home(self, node: int) -> Path:
        return self._folder / f"kafka-{node}"

    def _properties(self, node: int) -> Path:
        return self._home(node) / "server.properties"

    def _configured(self, node: int, settings: Mapping[str, str]) -> str:
        port, controller = self._ports[node]
        configured = {
            "process.roles": "broker,controller",
            "node.id": node,
            "controller.quorum.voters": ",".join(f"{one}@{HOST}:{ports[1]}" for one, ports in self._ports.items()),
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller}",
            "log.dirs": self._home(node) / "data",
            "default.replication.factor": len(NODES),
            "auto.create.topics.enable": "false",
            **settings,
        }
        return "".join(f"{name}={value}\n" for name, value in configured.items())


@contextlib.contextmanager
def kafka(jars: str, settings: Mapping[str, str] | None = None) -> Iterator[KafkaNodes]:
    with scratch() as folder:
        nodes = KafkaNodes(folder, jars, settings or {})
        try:
            yield nodes
        finally:
            nodes.end()


@contextlib.contextmanager
def dohle() -> Iterator[DohleNodes]:
    with scratch() as folder:
        nodes = DohleNodes(folder)
        try:
            yield nodes
        finally:
            nodes.end()


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is removed when all that wrote there has ended."""
    folder = Path(tempfile.mkdtemp(prefix="dohle-peers-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def start_all(peer: Peer) -> None:
    """Starts the three nodes, and returns once each of them knows them all."""
    peer.start()
    all_say(peer, "knows all three", lambda port: len(asking.brokers(port)) == len(NODES))


def all_say(peer: Peer, what: str, is_so: Callable[[int], bool]) -> None:
    """Returns once it is so at the port of each node. Raises NotInTime."""
    for node in NODES:
        asking.until(f"{peer.name}'s node {node} {what}", partial(is_so, peer.port(node)))


def bootstrap(peer: Peer) -> str:
    return ",".join(f"{HOST}:{peer.port(node)}" for node in NODES)


@contextlib.contextmanager
def topic(peer: Peer, name: str, flush: str) -> Iterator[str]:
    """A topic that all nodes know, gone again afterwards."""
    configs = {"min.insync.replicas": "2", FLUSH: flush}
    if peer.name == "kafka":
        configs["file.delete.delay.ms"] = "1000"  # a minute otherwise, and then beside the next measure
    asking.create_topic(peer.port(1), name, configs)
    all_say(peer, f"knows {name}", lambda port: asking.is_whole(port, name, asking.PARTITIONS))
    yield name
    asking.delete_topic(peer.port(1), name)
