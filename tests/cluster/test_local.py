"""A local cluster of one real process: what starts, what fails to, what is left behind."""

from __future__ import annotations

import os
import signal
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from dohle.cluster.local import LocalCluster, NodeFailed, free_base_port
from dohle.model.errors import ConfigurationError
from dohle.model.ids import id_text

pytestmark = pytest.mark.processes


@pytest.fixture
def cluster(tmp_path):
    made = LocalCluster.create(str(tmp_path / "c"), 1, base_port=free_base_port(1), new_cluster_id=id_text(bytes(16)))
    yield made
    for node in made.state.nodes:
        if node.runs():
            made.kill(node.node_id)


def _get(cluster, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{cluster.state.nodes[0].http_port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_node_starts_serves_stops_and_starts_again(cluster):
    assert cluster.start() == [1]
    assert cluster.start() == []
    assert _get(cluster, "/healthz") == (200, "ok\n")
    assert _get(cluster, "/readyz") == (200, "ready\n")
    status, metrics = _get(cluster, "/metrics")
    assert status == 200
    assert "\ndohle_ready 1.0\n" in metrics
    assert "\ndohle_controller_active 1.0\n" in metrics
    again = LocalCluster.open(cluster.state.folder)
    assert again is not None
    assert again.state == cluster.state
    assert [(stopped.node_id, stopped.killed) for stopped in again.stop()] == [(1, False)]
    assert not cluster.state.nodes[0].runs()
    assert again.start() == [1]
    assert again.stop()


def test_a_killed_node_starts_again(cluster):
    cluster.start()
    cluster.kill(1)
    assert not cluster.state.nodes[0].runs()
    with pytest.raises(ConfigurationError, match="node 1 does not run"):
        cluster.kill(1)
    assert cluster.start() == [1]


def test_a_node_that_cannot_start_shows_the_end_of_its_log(cluster):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", cluster.state.nodes[0].grpc_port))
        taken.listen()
        with pytest.raises(NodeFailed, match=r"(?s)node 1 ended while starting; the end of .*node-1\.log.* in use"):
            cluster.start()
    assert cluster.state.nodes[0].process is None
    assert cluster.start() == [1]


def test_a_signal_while_starting_ends_the_node_cleanly(cluster):
    heard = cluster._spawn(cluster.state.nodes[0])
    process = cluster.state.nodes[0].process
    assert process is not None
    log = Path(cluster.state.log_path(cluster.state.nodes[0]))
    deadline = time.monotonic() + 20
    while "listens on" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert process.signal(signal.SIGTERM)
    assert cluster._children[1].wait(15) == 0
    os.close(heard)
    assert "Traceback" not in log.read_text()
