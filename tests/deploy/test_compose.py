"""deploy/compose for real: an image made without a network, three containers, clients on both sides, and faults.

One engine for all tests here, which go in the order of the file: each leaves the cluster healthy.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from dohle.testing.history.checker import judge
from dohle.testing.history.history_lines import read_lines
from dohle.testing.history.operations import Operation, Outcome
from tests.deploy.engine import BASE_IMAGE, Engine, compose_command, why_not
from tests.integration.clusters import until
from tests.means import lacks

pytestmark = pytest.mark.processes
ROOT = Path(__file__).resolve().parent.parent.parent
WORKER = Path(__file__).with_name("worker.py")
NODES = (1, 2, 3)
OUTSIDE, INSIDE = "localhost:17092,localhost:27092,localhost:37092", "dohle-1:7092,dohle-2:7092,dohle-3:7092"
KAFKA = "localhost:19092,localhost:29092,localhost:39092"
NETWORK = "dohle_default"
TOPIC, PARTITIONS = "orders", 3
_WELL_S = 180
_RECORDS_BETWEEN = 150
_KAFKA_CLIENT = """
import sys
from confluent_kafka import Consumer, Producer
producer = Producer({"bootstrap.servers": sys.argv[1], "acks": "all", "enable.idempotence": True})
failures = []
for number in range(100):
    producer.produce("kafkas", str(number), on_delivery=lambda error, _: failures.append(error) if error else None)
assert producer.flush(60) == 0 and not failures, failures
consumer = Consumer({"bootstrap.servers": sys.argv[1], "group.id": "g", "auto.offset.reset": "earliest"})
consumer.subscribe(["kafkas"])
found = set()
while len(found) < 100:
    message = consumer.poll(60)
    assert message is not None and message.error() is None, message
    found.add(int(message.value()))
consumer.close()
assert found == set(range(100))
"""


class Compose:
    """The project of deploy/compose in a copy of what its image is built of, with a wheelhouse."""

    def __init__(self, engine: Engine, context: Path) -> None:
        self.engine = engine
        self._folder = context / "deploy" / "compose"
        self._environment = {"BASE_IMAGE": BASE_IMAGE, "WHEELHOUSE": "deploy/compose/wheelhouse"}

    def __call__(self, *arguments: str, stdin: str = "", code: int | None = 0) -> str:
        file = ["--project-directory", str(self._folder), "--file", str(self._folder / "compose.yaml")]
        command = [*compose_command(), "--env-file", str(self._folder / ".env"), *file, *arguments]
        return self.engine.call(command, self._environment, stdin=stdin, code=code)

    def container(self, node: int) -> str:
        return self("ps", "-q", f"dohle-{node}").split()[-1]

    def node(self, node: int) -> dict:
        return self.engine.inspect(self.container(node))

    def dohle(self, *arguments: str, at: int = 1, stdin: str = "", code: int | None = 0) -> str:
        return self("exec", "-T", f"dohle-{at}", "dohle", *arguments, stdin=stdin, code=code)

    def on_host(self, *arguments: str, stdin: str = "") -> str:
        """Runs the command where the ports are published."""
        dohle = self.engine.on_host(sys.executable, "-m", "dohle", *arguments)
        return self.engine.call(dohle, {"PYTHONPATH": str(ROOT)}, stdin=stdin)

    def until_well(self) -> None:
        said = ""

        def well() -> bool:
            nonlocal said
            try:
                said = self.dohle("status", at=next(node for node in NODES if self._runs(node)))
            except (AssertionError, StopIteration) as failure:
                said = str(failure)
                return False
            return True

        with contextlib.suppress(AssertionError):
            until(well, "", _WELL_S)
        assert well(), f"not healthy within {_WELL_S} s: {said}"

    def keep_logs(self, folder: Path) -> None:
        """Writes down what each container has said, and each node knows."""
        for name in ("format", *(f"dohle-{node}" for node in NODES)):
            (folder / f"{name}.log").write_text(self("logs", "--no-color", name, code=None))
        for node in NODES:
            (folder / f"status-{node}.json").write_text(self.dohle("status", "--json", at=node, code=None))

    def _runs(self, node: int) -> bool:
        state = self.node(node)["State"]
        return bool(state["Running"]) and not state["Paused"]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    if reason := why_not():
        lacks("engine", reason)
    engine = Engine(Path(mkdtemp(prefix="dohle-engine-", dir="/tmp")))  # the path of a socket must be short
    try:
        engine.start()
        engine.import_base()
        yield engine
    finally:
        engine.end()


@pytest.fixture(scope="module")
def compose(
    engine: Engine, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Compose]:
    context = tmp_path_factory.mktemp("context")
    for name in ("dohle", "deploy"):
        shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__", "*.whl"))
    for name in (".dockerignore", "constraints.txt", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, context)
    wheels = str(context / "deploy" / "compose" / "wheelhouse")
    made = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", wheels, ".", "pip"]
    subprocess.run([*made, "--constraint", "constraints.txt"], cwd=context, check=True, timeout=600)
    compose = Compose(engine, context)
    try:
        compose("build")
        compose("up", "-d")
        compose.until_well()
        yield compose
    finally:
        if request.session.testsfailed:
            compose.keep_logs(tmp_path_factory.mktemp("logs"))
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            compose("down", "--volumes", "--timeout", "20")


def test_one_command_makes_a_cluster_that_clients_reach_from_both_sides(compose: Compose) -> None:
    assert "formed cluster" in compose("logs", "format")
    compose.on_host("topic", "create", "greetings", "--partitions", "3", "--bootstrap", OUTSIDE)
    compose.on_host("produce", "greetings", "--bootstrap", OUTSIDE, stdin="hello\nworld\n")
    assert sorted(compose.dohle("consume", "greetings", "--max-count", "2").split()) == ["hello", "world"]
    for port in (19092, 29092, 39092):
        assert "All is well: 3 nodes" in compose.on_host("doctor", "--from", f"localhost:{port}")
    assert "All is well: 3 nodes" in compose.dohle("doctor", "--from", "dohle-2:9092")
    compose.engine.call(compose.engine.on_host(sys.executable, "-c", _KAFKA_CLIENT, KAFKA))
    for port in (8092, 8093, 8094):
        metrics = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=10).read().decode())"
        url = f"http://localhost:{port}/metrics"
        assert "dohle_ready 1.0" in compose.engine.call(compose.engine.on_host(sys.executable, "-c", metrics, url))


def test_a_node_has_no_more_rights_than_it_needs_and_its_state_is_seen(compose: Compose) -> None:
    until(lambda: all(compose.node(node)["State"]["Health"]["Status"] == "healthy" for node in NODES), "health", 30)
    found = compose.node(1)
    assert found["HostConfig"]["ReadonlyRootfs"]
    assert found["HostConfig"]["CapDrop"] == ["ALL"]
    assert "uid=1000(dohle)" in compose("exec", "-T", "dohle-1", "id")
    assert "Read-only file system" in compose("exec", "-T", "dohle-1", "touch", "/opt/dohle/x", code=1)
    base, image = (compose.engine.inspect(name)["Size"] for name in (BASE_IMAGE, "dohle"))
    assert image - base < 100 << 20, f"the image adds {(image - base) >> 20} MiB to its base"


def test_a_node_stops_cleanly_when_it_is_told_to(compose: Compose) -> None:
    container = compose.container(2)
    compose("stop", "dohle-2")
    assert compose.engine.inspect(container)["State"]["ExitCode"] == 0
    assert "SIGTERM: shutting down" in compose.engine.docker("logs", container)
    compose("start", "dohle-2")
    compose.until_well()


class Clients:
    """Workers on the host and in a container, at work meanwhile; then all that they did, put together."""

    def __init__(self, compose: Compose) -> None:
        self._compose = compose
        self._arguments = (TOPIC, str(PARTITIONS))
        engine = compose.engine
        in_container = ["docker", "run", "--rm", "--init", "--network", NETWORK, "--name", "inside"]
        in_container += ["--volume", f"{WORKER}:/worker.py:ro", "dohle", "python", "/worker.py"]
        self._commands = {
            "outside": (engine.on_host(sys.executable, str(WORKER)), OUTSIDE),
            "inside": (in_container, INSIDE),
        }
        self._running = {name: self._start("work", name) for name in self._commands}
        self.histories: list[str] = []

    def _start(self, what: str, name: str) -> subprocess.Popen[str]:
        command, bootstrap = self._commands[name]
        return subprocess.Popen(
            [*command, what, name, bootstrap, *self._arguments],
            env={**self._compose.engine.environment, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=self._complaints(name).open("w"),
            text=True,
        )

    def _complaints(self, name: str) -> Path:
        return self._compose.engine.folder / f"{name}.err"

    def go_on(self) -> None:
        """Returns once each of them has had many more records acknowledged."""
        for name in self._running:
            goal = self._acknowledged(name) + _RECORDS_BETWEEN
            until(lambda name=name, goal=goal: self._acknowledged(name) >= goal, f"the client {name} goes on", _WELL_S)

    def _acknowledged(self, name: str) -> int:
        said = self._complaints(name).read_text()
        assert self._running[name].poll() is None, f"{name} has ended: {said[-2000:]}"
        return max((int(line) for line in said.splitlines() if line.isdecimal()), default=0)

    def end(self) -> list[Operation]:
        """Ends the workers, reads everything, and returns the whole history."""
        self._compose.engine.docker("kill", "--signal", "TERM", "inside")
        self._running["outside"].terminate()
        for name, worker in self._running.items():
            self._heard(name, worker)
        self._heard("outside", self._start("read", "outside"))
        events = [
            {**event, "operation": f"{number}-{event['operation']}"}
            for number, history in enumerate(self.histories)
            for event in map(json.loads, history.splitlines())
        ]
        events.sort(key=lambda event: event["time"])
        return read_lines(json.dumps(event) + "\n" for event in events).operations

    def _heard(self, name: str, worker: subprocess.Popen[str]) -> None:
        said, _ = worker.communicate(timeout=180)
        assert worker.returncode == 0, f"{name}: {self._complaints(name).read_text()[-2000:]}"
        self.histories.append(said)

    def kill(self) -> None:
        for worker in self._running.values():
            worker.kill()


def test_nothing_is_lost_when_containers_are_killed_paused_cut_off_and_made_anew(compose: Compose) -> None:
    create = ("topic", "create", TOPIC, "--partitions", str(PARTITIONS), "--config", "min.insync.replicas=2")
    compose.on_host(*create, "--bootstrap", OUTSIDE)
    clients = Clients(compose)
    try:
        clients.go_on()
        _kill(compose, clients, 1)
        _pause(compose, clients, 2)
        _cut_off(compose, clients, 3)
        _make_anew(compose, clients, 1)
        _lose_volume(compose, clients, 2)
        operations = clients.end()
    finally:
        clients.kill()
    verdict = judge(operations)
    assert verdict.anomalies == ()
    acknowledged = sum(one.outcome is Outcome.OK and one.process.endswith("writer") for one in operations)
    assert acknowledged > 2 * 6 * _RECORDS_BETWEEN
    assert {one.process for one in operations} == {
        *(f"{side}-{who}" for side in ("inside", "outside") for who in ("writer", "watcher")),
        "outside-reader",
    }


def _kill(compose: Compose, clients: Clients, node: int) -> None:
    """The process dies; Docker starts the container again."""
    container = compose.container(node)
    restarts = compose.engine.inspect(container)["RestartCount"]
    os.kill(compose.node(node)["State"]["Pid"], 9)
    until(lambda: compose.engine.inspect(container)["RestartCount"] > restarts, "Docker starts it again", _WELL_S)
    clients.go_on()
    compose.until_well()


def _pause(compose: Compose, clients: Clients, node: int) -> None:
    compose("pause", f"dohle-{node}")
    try:
        clients.go_on()
        assert "down" in compose.dohle("status", at=node % 3 + 1, code=1)
    finally:
        compose("unpause", f"dohle-{node}")
    compose.until_well()


def _cut_off(compose: Compose, clients: Clients, node: int) -> None:
    container = compose.container(node)
    compose.engine.docker("network", "disconnect", NETWORK, container)
    try:
        clients.go_on()
    finally:
        compose.engine.docker("network", "connect", "--alias", f"dohle-{node}", NETWORK, container)
    compose.until_well()


def _make_anew(compose: Compose, clients: Clients, node: int) -> None:
    """The container goes, its volume stays."""
    before = compose.container(node)
    compose("rm", "--stop", "--force", f"dohle-{node}")
    clients.go_on()
    compose("up", "-d")
    assert compose.container(node) != before
    assert "the folders of all nodes are there" in compose("logs", "format")
    compose.until_well()


def _lose_volume(compose: Compose, clients: Clients, node: int) -> None:
    """The volume goes, too: nothing formats it again, the others go on, and docs/deploy/compose.md brings it back."""
    compose("rm", "--stop", "--force", f"dohle-{node}")
    compose("rm", "--force", "format")
    compose.engine.docker("volume", "rm", f"dohle_data-{node}")
    compose("up", "-d")
    assert f"the folder of node {node} is not there" in compose("logs", "format")
    until(lambda: "is not formatted" in compose("logs", f"dohle-{node}"), "the node says why it does not start", 30)
    clients.go_on()

    compose("stop", f"dohle-{node}")
    cluster_id = json.loads(compose.dohle("status", "--json", code=1))["cluster_id"]
    one_off = ("run", "--rm", "--no-deps", f"dohle-{node}", "dohle", "format")
    compose(*one_off, "--cluster-id", cluster_id, "--join")
    compose("up", "-d")
    compose.dohle("cluster", "voters", "remove", str(node))
    compose.dohle("cluster", "voters", "add", str(node))
    compose.until_well()
    clients.go_on()


def test_a_cluster_whose_volumes_are_all_gone_is_not_made_anew_by_itself(compose: Compose) -> None:
    compose("rm", "--stop", "--force")
    for node in NODES:
        compose.engine.docker("volume", "rm", f"dohle_data-{node}")
    said = compose("up", "-d", code=1) + compose("logs", "format")
    assert "no node has its folder any more" in said
    compose("down", "--volumes")
    compose("up", "-d")
    compose.until_well()
    assert json.loads(compose.dohle("topic", "list", "--json")) == []
