"""A real Apache Kafka on this machine: its jars, which Maven brings once, and nodes, brokers and controllers in one."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from dohle.cluster.local import free_base_port
from tools.foreign.cache import Unavailable, made, needed, run

HOST = "127.0.0.1"
SMALL = ("-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
"""Flags for a JVM that starts quickly and takes little, and is not measured."""
_POM = (Path(__file__).parent / "pom.xml").read_text()
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"
_JARS_S = 600
_START_S = 300
_STOP_S = 120
_END_S = 30


class NotStarted(Exception):
    """A node of Kafka's has ended, or does not listen. Says what its log does."""


def kafka_jars() -> Path:
    """Returns the folder of the jars of a broker and of Kafka's tools. Raises Unavailable."""
    needed("java", "mvn")
    return made("kafka-jars", _POM, _fetch_jars)


def _fetch_jars(folder: Path) -> None:
    (folder / "pom.xml").write_text(_POM)
    run(["mvn", "-q", "-B", _COPY, "-DincludeScope=runtime", f"-DoutputDirectory={folder}"], folder, most_s=_JARS_S)
    if not any(folder.glob("kafka_2.13-*.jar")):
        raise Unavailable("Maven brought no jar of Kafka's broker")


class KafkaNodes:
    """Nodes 1 to `count`, each in a folder of its own below `folder`, which end with the context, or with the thread
    that started them.

    `properties` are added to those that make the nodes one cluster; `{node_id}` in a value stands for the node's. The
    quorum of a `standalone` node can grow, any other is fixed. Raises Unavailable.
    """

    name = "kafka"

    def __init__(
        self,
        folder: Path,
        count: int,
        properties: Mapping[str, object],
        *,
        jvm: Sequence[str] = SMALL,
        standalone: bool = False,
        niceness: int = 0,
    ) -> None:
        needed("setpriv")
        self._folder = folder.absolute()
        self._java = ["java", *jvm, "-cp", f"{kafka_jars()}/*"]
        self._prefix = ["setpriv", "--pdeathsig", "KILL", "nice", "-n", str(niceness)]
        base = free_base_port(2 * count)
        self._ports = {node: (base + 2 * place, base + 2 * place + 1) for place, node in enumerate(range(1, count + 1))}
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        quorum = ["--standalone"] if standalone else []
        for node in self._ports:
            self._home(node).mkdir(parents=True)
            lines = {**self._in_cluster(node, standalone=standalone), **properties}.items()
            text = "".join(f"{name}={str(value).replace('{node_id}', str(node))}\n" for name, value in lines)
            self._properties(node).write_text(text)
            formatting = ["format", *quorum, "-t", _CLUSTER_ID, "-c", str(self._properties(node))]
            run([*self._java, "kafka.tools.StorageTool", *formatting], self._home(node))

    def __enter__(self) -> KafkaNodes:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def bootstrap(self) -> str:
        return ",".join(f"{HOST}:{self.port(node)}" for node in self._ports)

    def start(self, node_ids: Sequence[int] = ()) -> None:
        """Starts nodes that do not run, all by default, and does not wait for them."""
        for node in node_ids or self._ports:
            with (self._home(node) / "broker.log").open("ab") as log:
                self._running[node] = subprocess.Popen(
                    [*self._prefix, *self._java, "kafka.Kafka", str(self._properties(node))],
                    cwd=self._home(node),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def until_listening(self) -> None:
        """Returns once all that were started listen. Raises NotStarted."""
        deadline = time.monotonic() + _START_S
        for node, process in self._running.items():
            while not _listens(self.port(node)):
                if process.poll() is not None or time.monotonic() > deadline:
                    log = self._home(node) / "broker.log"
                    state = "does not listen" if process.returncode is None else f"has ended: {process.returncode}"
                    raise NotStarted(f"Kafka's node {node} {state}; {log}:\n{log.read_text()[-2000:]}")
                time.sleep(0.05)

    def kill(self, node_id: int) -> None:
        process = self._running.pop(node_id)
        process.kill()
        process.wait()

    def stop(self, node_id: int) -> None:
        """Lets a node end as it should: it writes what it knows of its logs."""
        self._running[node_id].terminate()
        self._running[node_id].wait(_STOP_S)
        del self._running[node_id]

    def port(self, node_id: int) -> int:
        return self._ports[node_id][0]

    def pids(self) -> list[int]:
        return [process.pid for process in self._running.values()]

    def end(self) -> None:
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait(_END_S)

    def _home(self, node: int) -> Path:
        return self._folder / f"kafka-{node}"

    def _properties(self, node: int) -> Path:
        return self._home(node) / "server.properties"

    def _in_cluster(self, node: int, *, standalone: bool) -> dict[str, object]:
        port, controller = self._ports[node]
        voters = ",".join(f"{voter}@{HOST}:{its}" for voter, (_, its) in self._ports.items())
        found = ("bootstrap.servers", f"{HOST}:{controller}") if standalone else ("voters", voters)
        return {
            "process.roles": "broker,controller",
            "node.id": node,
            f"controller.quorum.{found[0]}": found[1],
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller}",
            "log.dirs": self._home(node) / "data",
        }


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), 1).close()
    except OSError:
        return False
    return True
