"""Clusters of real processes for tests: made in a temporary folder on free ports, and ended whatever happens.

A `Cluster` is used as a person would use it: `dohle` runs the command; the rest is what happens to processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from dohle import Admin
from dohle.client.values import ClusterDescription, PartitionDescription
from dohle.cluster.local import LocalCluster, free_base_port
from dohle.cluster.local_state import load_state
from dohle.model.errors import DohleError
from dohle.model.ids import id_text, new_id

EMPTY: Mapping[str, str] = MappingProxyType({})
_POLL_S = 0.02


class Cluster:
    """A local cluster under test."""

    def __init__(self, folder: Path, nodes: int = 3, racks: Sequence[str] = ()) -> None:
        self.folder = folder
        self.local = LocalCluster.create(
            str(folder),
            nodes,
            base_port=free_base_port(nodes),
            racks=racks,
            new_cluster_id=id_text(new_id(random.SystemRandom())),
        )
        self.bootstrap = self.local.state.bootstrap
        self.kafka_bootstrap = ",".join(f"127.0.0.1:{node.kafka_port}" for node in self.local.state.nodes)
        self.node_ids = [node.node_id for node in self.local.state.nodes]

    # commands

    def dohle(self, *arguments: str, stdin: str = "", timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Runs the command with this cluster as the one that it finds by itself."""
        return subprocess.run(
            dohle_command(*arguments),
            input=stdin,
            capture_output=True,
            check=False,
            text=True,
            timeout=timeout_s,
            env={**os.environ, "DOHLE_DIR": str(self.folder)},
        )

    def done(self, *arguments: str, stdin: str = "") -> str:
        """Runs a command that must succeed; returns what it printed."""
        outcome = self.dohle(*arguments, stdin=stdin)
        assert outcome.returncode == 0, outcome.stderr
        return outcome.stdout

    def refused(self, *arguments: str, stdin: str = "", code: int = 1) -> str:
        """Runs a command that must fail without a traceback; returns what it complained of."""
        outcome = self.dohle(*arguments, stdin=stdin)
        assert outcome.returncode == code, outcome.stdout + outcome.stderr
        assert "Traceback" not in outcome.stderr, outcome.stderr
        return outcome.stderr

    # processes

    def up(self, *node_ids: int) -> None:
        self.local.start(node_ids or None)

    def down(self, *node_ids: int) -> None:
        """Stops nodes as `dohle down` does; all of them must have ended by themselves."""
        assert not [node for node in self.local.stop(node_ids or None) if node.killed]

    def kill(self, node_id: int) -> None:
        self.local.kill(node_id)

    def kill_all(self) -> None:
        """Ends all nodes at one moment, as a power cut would."""
        for node in self.local.state.nodes:
            if node.process is not None:
                node.process.signal(signal.SIGKILL)
        until(lambda: not any(node.runs() for node in self.local.state.nodes), "all processes have ended")

    def signal(self, node_id: int, number: int) -> None:
        process = self.local.state.node(node_id).process
        assert process is not None
        assert process.signal(number), f"node {node_id} does not run"

    def terminate(self, node_id: int) -> int:
        """Ends a node by SIGTERM; returns its exit code."""
        self.signal(node_id, signal.SIGTERM)
        return self.local._children[node_id].wait(20)

    @contextlib.contextmanager
    def paused(self, node_id: int) -> Iterator[None]:
        """Stops the node's process for a while, connections and all."""
        self.signal(node_id, signal.SIGSTOP)
        try:
            yield
        finally:
            if self.running(node_id):
                self.signal(node_id, signal.SIGCONT)

    def running(self, node_id: int) -> bool:
        return self.local.state.node(node_id).runs()

    def port(self, node_id: int) -> int:
        return self.local.state.node(node_id).grpc_port

    def kafka_port(self, node_id: int) -> int:
        return self.local.state.node(node_id).kafka_port

    def data(self, node_id: int) -> Path:
        return Path(self.local.state.data_dir(self.local.state.node(node_id)))

    def log(self, node_id: int) -> str:
        return Path(self.local.state.log_path(self.local.state.node(node_id))).read_text()

    def config(self, node_id: int) -> Path:
        return Path(self.local.state.config_path(self.local.state.node(node_id)))

    def fails_to_start(self, node_id: int, *more: str, code: int = 1, environment: Mapping[str, str] = EMPTY) -> str:
        """Runs a node that must end by itself; returns what it complained of, which must be no traceback."""
        outcome = subprocess.run(
            dohle_command("node", "--config", str(self.config(node_id)), *more),
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            env={**os.environ, **environment},
        )
        assert outcome.returncode == code, outcome.stderr
        assert "Traceback" not in outcome.stderr, outcome.stderr
        return outcome.stderr

    def end(self) -> None:
        """Ends what still runs, also what is paused."""
        for node in self.local.state.nodes:
            if node.process is not None:
                node.process.signal(signal.SIGKILL)
        for child in self.local._children.values():
            child.wait(10)

    # what the cluster says

    def status(self) -> dict[str, object]:
        return json.loads(self.dohle("status", "--json").stdout)

    def describe(self) -> ClusterDescription:
        async def ask() -> ClusterDescription:
            async with Admin(self.bootstrap, request_timeout_ms=10_000) as admin:
                return await admin.describe_cluster()

        return asyncio.run(ask())

    def partition(self, topic: str, number: int = 0) -> PartitionDescription:
        async def ask() -> PartitionDescription:
            async with Admin(self.bootstrap, request_timeout_ms=10_000) as admin:
                return (await admin.describe_topic(topic)).partitions[number]

        return asyncio.run(ask())

    def until_healthy(self, within_s: float = 30) -> None:
        asyncio.run(healthy(self.bootstrap, within_s))


async def healthy(bootstrap: str, within_s: float = 30) -> None:
    """Returns once no node is fenced and no partition lacks anything."""
    seen: object = None
    async with Admin(bootstrap, request_timeout_ms=5000) as admin:
        try:
            async with asyncio.timeout(within_s):
                while True:
                    try:
                        seen = found = await admin.describe_cluster()
                        if not (found.unhealthy or any(node.fenced for node in found.nodes)) and found.nodes:
                            return
                    except DohleError as error:
                        seen = error
                    await asyncio.sleep(_POLL_S * 3)
        except TimeoutError:
            raise AssertionError(f"not healthy within {within_s} s: {seen!r}") from None


def until(holds: Callable[[], object], what: str, within_s: float = 20) -> None:
    """Returns once `holds` does."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(_POLL_S)


async def until_async(holds: Callable[[], object], what: str, within_s: float = 20) -> None:
    """The same without holding up the event loop."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        await asyncio.sleep(_POLL_S)


def dohle_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "dohle", *arguments]


def end_all_below(folder: Path) -> None:
    """Ends every node of every cluster in `folder`, by what their state files say."""
    for state_file in folder.rglob("cluster.json"):
        state = load_state(str(state_file.parent))
        for node in state.nodes if state is not None else ():
            if node.process is not None:
                node.process.signal(signal.SIGKILL)
