"""ProcessCluster: a cluster under test whose nodes are processes of this machine, shared by the tests of a session.

A test that breaks it hands it on whole: `restore` starts what it killed. What only a simulation can do raises
OnlySimulated.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from random import SystemRandom

from dohle.cluster.local import LocalCluster, free_base_port, last_lines
from dohle.model.errors import ConfigurationError
from dohle.model.ids import id_text, new_id
from dohle.runtime.clock import LoopClock
from dohle.testing.cluster_under_test import ClusterUnderTest

_ATTEMPTS = 3
_LOG_LINES_SHOWN = 12


class OnlySimulated(ConfigurationError):
    """Processes of this machine share its network and its disk, which no test may break."""


def start_processes(folder: str, nodes: int = 3) -> LocalCluster:
    """Makes a cluster somewhere below `folder`, on free ports, and starts it."""
    for attempt in range(_ATTEMPTS):
        try:
            local = LocalCluster.create(
                os.path.join(folder, f"cluster-{attempt}"),
                nodes,
                base_port=free_base_port(nodes),
                new_cluster_id=id_text(new_id(SystemRandom())),
            )
            local.start()
        except ConfigurationError:  # another session may have taken a port between the look and the start
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return local
    raise AssertionError("the last attempt returns or raises")


def end_processes(local: LocalCluster) -> None:
    """Ends every node at once; nobody wants the data any more."""
    for node in local.state.nodes:
        if node.process is not None:
            node.process.signal(signal.SIGKILL)
    local.stop()


class ProcessCluster(ClusterUnderTest):
    """One test's view of the session's processes."""

    def __init__(self, local: LocalCluster, namespace: str) -> None:
        nodes = [node.node_id for node in local.state.nodes]
        super().__init__(nodes, local.state.bootstrap, LoopClock(), namespace)
        self._local = local
        self._paused: dict[int, None] = {}

    def restore(self) -> None:
        """Lets go on what is paused, and starts what does not run, for the next test."""
        self.heal()
        self._local.start()

    @property
    def timeline(self) -> Sequence[str]:
        """The last lines of each node's log, and where it lies."""
        lines: list[str] = []
        for node in self._local.state.nodes:
            path = self._local.state.log_path(node)
            lines += [f"the end of {path}:", *(f"  {line}" for line in last_lines(path, _LOG_LINES_SHOWN))]
        return lines

    # nodes

    def serves(self, node: int) -> bool:
        return node in self.nodes and self._runs(node) and node not in self._paused

    def _runs(self, node: int) -> bool:
        return self._local.state.node(node).runs()

    def kill(self, *nodes: int) -> None:
        for node in self._all_running(nodes):
            self._local.kill(node)
            self._paused.pop(node, None)

    async def start(self, *nodes: int) -> None:
        for node in self._known(nodes):
            if self._runs(node):
                raise ConfigurationError(f"node {node} runs already")
        await asyncio.to_thread(self._local.start, nodes)

    def pause(self, *nodes: int) -> None:
        for node in self._all_running(nodes):
            self._signal(node, signal.SIGSTOP)
            self._paused[node] = None

    def resume(self, *nodes: int) -> None:
        for node in self._all_running(nodes):
            self._signal(node, signal.SIGCONT)
            self._paused.pop(node, None)

    def heal(self) -> None:
        if self._paused:
            self.resume(*self._paused)

    def _all_running(self, nodes: Sequence[int]) -> tuple[int, ...]:
        for node in self._known(nodes):
            if not self._runs(node):
                raise ConfigurationError(f"node {node} does not run")
        return tuple(nodes)

    def _signal(self, node: int, number: int) -> None:
        process = self._local.state.node(node).process
        assert process is not None, f"node {node} runs"
        process.signal(number)

    # what takes a simulation

    def lose_power(self, *nodes: int) -> None:
        raise _only_simulated("lose_power")

    def partition(self, *nodes: int, from_clients: bool = True) -> None:
        raise _only_simulated("partition")

    def fill_disk(self, *nodes: int) -> None:
        raise _only_simulated("fill_disk")

    def fail_disk(self, *nodes: int) -> None:
        raise _only_simulated("fail_disk")

    def slow_disk(self, *nodes: int, factor: float = 100.0) -> None:
        raise _only_simulated("slow_disk")


def _only_simulated(what: str) -> OnlySimulated:
    return OnlySimulated(
        f"{what} needs dohle_world: dohle_cluster's nodes are processes of this machine, and share its network and disk"
    )
