"""A local cluster of one real process: what starts, what fails to, what is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from dohle.cluster.local import LocalCluster, NodeFailed, free_base_port
from dohle.model.errors import ConfigurationError
from dohle.model.ids import id_text
from tests.cluster.test_local_state import taken_port

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


@pytest.mark.parametrize("door", ["grpc_port", "http_port"])
def test_a_port_that_is_in_use_is_named_before_anything_starts(cluster, door):
    port = getattr(cluster.state.nodes[0], door)
    complaint = rf"port {port} of node 1 is in use .* --dir FOLDER --base-port PORT"
    with taken_port(port), pytest.raises(ConfigurationError, match=complaint):
        cluster.start()
    assert cluster.state.nodes[0].process is None
    assert cluster.start() == [1]


def test_a_node_that_cannot_start_shows_the_end_of_its_log(cluster):
    config = Path(cluster.state.config_path(cluster.state.nodes[0]))
    sound = config.read_text()
    config.write_text(sound.replace("node_id = 1", "node_id = 7"))
    with pytest.raises(NodeFailed, match=r"(?s)node 1 ended while starting; the end of .*node-1\.log.* node 7"):
        cluster.start()
    assert cluster.state.nodes[0].process is None
    config.write_text(sound)
    assert cluster.start() == [1]


def test_a_node_without_a_controller_says_so(tmp_path):
    made = LocalCluster.create(str(tmp_path / "c"), 3, base_port=free_base_port(3), new_cluster_id=id_text(bytes(16)))
    heard = made._spawn(made.state.nodes[0])
    try:
        deadline = time.monotonic() + 20
        reason = (0, "")
        while reason != (503, "no active controller is known yet\n") and time.monotonic() < deadline:
            try:
                reason = _get(made, "/readyz")
            except urllib.error.URLError:  # does not listen yet
                time.sleep(0.02)
        assert reason == (503, "no active controller is known yet\n")
        status = subprocess.run(
            [sys.executable, "-m", "dohle", "status", "--timeout", "2", "--dir", made.state.folder],
            capture_output=True,
            text=True,
            check=False,
        )
        assert status.returncode == 1
        assert f"cluster {id_text(bytes(16))} in {made.state.folder}: 1 of 3 nodes run (1); `dohle up" in status.stderr
    finally:
        made.kill(1)
        os.close(heard)


def test_a_node_of_which_nobody_knows_does_not_start(cluster):
    node = cluster.state.nodes[0]
    waits, noted = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-m", "dohle", "node", "--config", cluster.state.config_path(node)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DOHLE_NOTED_FD": str(waits)},
        pass_fds=(waits,),
    )
    os.close(waits)
    os.close(noted)  # as by the death of who started it
    _, said = child.communicate(timeout=30)
    assert child.returncode == 1
    assert "not starting" in said
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
