"""Three nodes of either peer, on ports and in folders of their own, ended and removed whatever happens.

Kafka's nodes have the flags of its own start script and heaps of 512 MB. The topics of both have
`min.insync.replicas` 2. Only processes that were started here are ended, each by its id.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from bench.peers import asking
from bench.peers.asking import HOST
from dohle.cluster.local import LocalCluster, free_base_port
from dohle.model.ids import id_text, new_id
from tools.foreign.kafka import KafkaNodes

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

    def __init__(self, folder: Path, settings: Mapping[str, int] = MappingProxyType({})) -> None:
        cluster_id = id_text(new_id(random.SystemRandom()))
        nodes = len(NODES)
        self._cluster = LocalCluster.create(
            str(folder), nodes, base_port=free_base_port(nodes), new_cluster_id=cluster_id
        )
        for node in self._cluster.state.nodes:
            path = Path(self._cluster.state.config_path(node))
            kept = [line for line in path.read_text().splitlines() if line.split(" = ")[0] not in settings]
            path.write_text("\n".join([*(f"{name} = {value}" for name, value in settings.items()), *kept, ""]))

    def start(self, node_ids: Sequence[int] = NODES) -> None:
        self._cluster.start(node_ids)

    def kill(self, node_id: int) -> None:
        self._cluster.kill(node_id)

    def port(self, node_id: int) -> int:
        return self._cluster.state.node(node_id).kafka_port

    @property
    def own_bootstrap(self) -> str:
        """Returns where the SDK finds it."""
        return self._cluster.state.bootstrap

    def pids(self) -> list[int]:
        return [node.process.pid for node in self._cluster.state.nodes if node.process is not None]

    def end(self) -> None:
        for node in self._cluster.state.nodes:
            if node.runs():
                self._cluster.kill(node.node_id)


@contextlib.contextmanager
def kafka(settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[KafkaNodes]:
    properties = {"default.replication.factor": len(NODES), "auto.create.topics.enable": "false", **settings}
    with scratch() as folder, KafkaNodes(folder, len(NODES), properties, jvm=_JVM) as nodes:
        yield nodes


@contextlib.contextmanager
def dohle(settings: Mapping[str, int] = MappingProxyType({})) -> Iterator[DohleNodes]:
    with scratch() as folder:
        nodes = DohleNodes(folder, settings)
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
def topic(peer: Peer, name: str, flush: str, partitions: int = asking.PARTITIONS) -> Iterator[str]:
    """A topic that all nodes know, gone again afterwards."""
    configs = {"min.insync.replicas": "2", FLUSH: flush}
    if peer.name == "kafka":
        configs["file.delete.delay.ms"] = "1000"  # a minute otherwise, and then beside the next measure
    asking.create_topic(peer.port(1), name, configs, partitions)
    all_say(peer, f"knows {name}", lambda port: asking.is_whole(port, name, partitions))
    yield name
    asking.delete_topic(peer.port(1), name)
