"""KafkaWorld: Apache Kafka in a NamespaceWorld, for what the same harness says of it.

KRaft nodes, controllers and brokers in one, with Kafka's own defaults where a cluster of three does not need others:
what is written is flushed when the operating system likes. Java and Maven are needed: tools/foreign/kafka.py.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from dohle.model.errors import ConfigurationError
from dohle.testing.chaos.view import ClusterView
from dohle.testing.chaos.world import Means
from jepsen_lite import ready
from jepsen_lite.kafka_view import KafkaView
from jepsen_lite.namespace_world import KAFKA_PORT, NamespaceWorld
from tests.machine.commands import run
from tools.foreign.cache import Unavailable
from tools.foreign.kafka import kafka_jars

_CONTROLLER_PORT = 9093
_CLUSTER_ID = "ZG9obGUtamVwc2VuLWxpdA"
_JVM = (
    *("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"),
    *("-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.defaultLogLevel=info"),
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
)
_NOTHING: Mapping[str, object] = MappingProxyType({})
_UNKNOWN: dict[Means, str] = {
    "files": "what is damaged is Dohle's files",
    "shim": "the calls that it fails are those of Dohle's nodes",
    "clocks": "the JVM reads clocks that the library cannot fake",
    "memory": "a JVM's own bound would be met first",
    "members": "members come and go by Dohle's own commands",
}


def kafka_version() -> str:
    """Raises ConfigurationError where Kafka cannot be had."""
    (jar,) = _jars().glob("kafka_2.13-*.jar")
    return jar.stem.removeprefix("kafka_2.13-")


def _jars() -> Path:
    try:
        return kafka_jars()
    except Unavailable as missing:
        raise ConfigurationError(f"Kafka cannot be had: {missing}") from missing


class KafkaWorld(NamespaceWorld):
    """Nodes 1, 2, 3, …, all of them controllers and brokers."""

    def __init__(
        self,
        folder: Path,
        nodes: int = 3,
        *,
        settings: Mapping[str, object] = _NOTHING,
        disk_mib: int = 2048,
        seed: int = 0,
    ) -> None:
        """`settings` are properties of all nodes, as server.properties has them."""
        super().__init__(folder, nodes, settings=settings, disk_mib=disk_mib, seed=seed)
        self.means = self.means - _UNKNOWN.keys()
        self.cannot = {**self.cannot, **_UNKNOWN}
        self._java: tuple[str, ...] = ()

    def bootstrap(self, protocol: Literal["dohle", "kafka"]) -> str:
        if protocol == "dohle":
            raise ConfigurationError("Kafka does not speak Dohle's protocol: its workloads are librdkafka's and Java's")
        return super().bootstrap(protocol)

    def view(self) -> ClusterView:
        return KafkaView(self.bootstrap("kafka"), len(self.nodes))

    def config_file(self, node: int) -> Path:
        return self.folder / "nodes" / f"{node}.properties"

    def command(self, node: int) -> tuple[str, ...]:
        program = (sys.executable, ready.__file__, self.address(node), str(KAFKA_PORT))
        return (*program, *self._java, "kafka.Kafka", str(self.config_file(node)))

    def _install(self) -> None:
        self._java = ("java", *_JVM, "-cp", f"{_jars()}/*")
        (self.folder / "nodes").mkdir(exist_ok=True)
        for node in self.nodes:
            lines = {**self._properties(node), **self._settings}.items()
            self.config_file(node).write_text("".join(f"{name}={value}\n" for name, value in lines))
            formatting = ("format", "-t", _CLUSTER_ID, "-c", str(self.config_file(node)))
            run(*self._java, "kafka.tools.StorageTool", *formatting)
            run("sync", "--file-system", str(self.data_folder(node)))  # it begins whole, whenever its power goes

    def _properties(self, node: int) -> dict[str, object]:
        address, replicas = self.address(node), min(3, len(self.nodes))
        voters = ",".join(f"{voter}@{self.address(voter)}:{_CONTROLLER_PORT}" for voter in self.nodes)
        return {
            "process.roles": "broker,controller",
            "node.id": node,
            "controller.quorum.voters": voters,
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{address}:{KAFKA_PORT},CONTROLLER://{address}:{_CONTROLLER_PORT}",
            "log.dirs": self.data_folder(node) / "kafka",
            "auto.create.topics.enable": "false",
            "default.replication.factor": replicas,
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.replication.factor": replicas,
            "share.coordinator.state.topic.replication.factor": replicas,
            "group.initial.rebalance.delay.ms": 0,
        }
