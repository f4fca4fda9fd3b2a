"""Ctrl-C and SIGTERM at any moment: what they end, ends cleanly, soon, and with nothing left behind."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import time

import pytest

from dohle.cluster.local_state import load_state
from tests.integration.clusters import dohle_command, until
from tests.integration.load import read_all, write_some

CLEAN = (0, -signal.SIGTERM, 128 + signal.SIGINT, -signal.SIGINT)
"""Exit codes: 0 from when a node has begun; before, the interpreter's own."""
_SAYS_WHEN_IT_BEGINS = "from dohle.cli.main import main; print('begins', flush=True); main()"


def _started(cluster, *arguments, **more):
    return _process(cluster, dohle_command(*arguments), **more)


def _process(cluster, command, **more):
    return subprocess.Popen(
        command, env={**os.environ, "DOHLE_DIR": str(cluster.folder)}, start_new_session=True, **more
    )


def _node(cluster, path):
    """Returns once the command has begun: an interpreter that is interrupted before may end as it likes."""
    command = [sys.executable, "-c", _SAYS_WHEN_IT_BEGINS, "node", "--config", str(cluster.config(1))]
    with path.open("w") as log:
        node = _process(cluster, command, stdout=log, stderr=log)
    until(lambda: "begins" in path.read_text(), "the command begins")
    return node


def test_a_node_interrupted_at_any_moment_of_its_start_starts_again(make_cluster, tmp_path):
    cluster = make_cluster(1)
    cluster.up()
    cluster.done("topic", "create", "kept", "-p", "4", "-r", "1")
    written = asyncio.run(write_some(cluster.bootstrap, "kept", 40))
    cluster.kill(1)  # so that the first of these has something to recover
    moments = random.Random(11)
    for number in range(8):
        path = tmp_path / f"{number}.log"
        node = _node(cluster, path)
        time.sleep(moments.random())
        node.send_signal(signal.SIGTERM if number % 2 else signal.SIGINT)
        code = node.wait(30)
        assert code in CLEAN, path.read_text()
        if "shutting down" in path.read_text():
            assert code == 0
        if "registered with" in path.read_text():  # before, not all logs were open, and the next start checks them
            assert (cluster.data(1) / ".clean-shutdown").exists()
        assert "Exception" not in path.read_text()
        assert "ERROR" not in path.read_text()
    cluster.up()
    assert sorted(asyncio.run(read_all(cluster.bootstrap, "kept")).values()) == sorted(written)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_node_ends_cleanly_on_a_signal(make_cluster, number):
    cluster = make_cluster(1)
    cluster.up()
    cluster.done("topic", "create", "kept", "-r", "1")
    cluster.signal(1, number)
    assert cluster.local._children[1].wait(20) == 0
    assert (cluster.data(1) / ".clean-shutdown").exists()
    assert f"{number.name}: shutting down" in cluster.log(1)
    cluster.up()
    assert "was not stopped cleanly" not in cluster.log(1)


def test_a_second_signal_ends_a_node_at_once(make_cluster):
    cluster = make_cluster(2)
    cluster.up()
    cluster.done("topic", "create", "kept", "-r", "2")
    written = asyncio.run(write_some(cluster.bootstrap, "kept", 40))
    with cluster.paused(1):  # the controller: node 2 waits a while for its leave
        cluster.signal(2, signal.SIGTERM)
        until(lambda: "SIGTERM: shutting down" in cluster.log(2), "node 2 is shutting down")
        cluster.signal(2, signal.SIGTERM)
        assert cluster.local._children[2].wait(20) == 128 + signal.SIGTERM
    assert "ending at once" in cluster.log(2)
    assert not (cluster.data(2) / ".clean-shutdown").exists()
    cluster.up()
    cluster.until_healthy()
    assert sorted(asyncio.run(read_all(cluster.bootstrap, "kept")).values()) == sorted(written)


def test_a_node_without_a_controller_stops_within_seconds(make_cluster):
    cluster = make_cluster(2)
    cluster.up()
    cluster.kill(1)
    assert cluster.terminate(2) == 0
    assert (cluster.data(2) / ".clean-shutdown").exists()


def test_a_node_that_waits_for_a_quorum_ends_cleanly(make_cluster):
    cluster = make_cluster(3)
    log = cluster.folder / "lonely.log"
    node = _node(cluster, log)
    until(lambda: "listens on" in log.read_text(), "node 1 listens")
    node.terminate()
    assert node.wait(20) == 0
    assert "Traceback" not in log.read_text()
    cluster.up()
    cluster.until_healthy()


@pytest.mark.parametrize("node", [1, 3])
def test_up_interrupted_while_nodes_start_leaves_none_behind(make_cluster, node):
    cluster = make_cluster(3)
    up = _started(cluster, "up", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until((cluster.folder / f"node-{node}.log").exists, f"node {node} was started")
    up.send_signal(signal.SIGINT)
    _, complaint = up.communicate(timeout=30)
    assert up.returncode in (130, -signal.SIGINT), complaint
    status = cluster.dohle("status", "--json", "--timeout", "1")
    assert status.returncode == 1, "a node still runs"
    assert "Ready after" in cluster.done("up")
    cluster.done("down")


def _nodes_of(cluster):
    """Returns the processes that run the cluster's nodes, whoever knows of them."""
    listed = subprocess.run(["ps", "-eww", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    return {int(line.split()[0]) for line in listed.splitlines() if f"node --config {cluster.folder}/node-" in line}


def _known_nodes_of(cluster):
    nodes = load_state(str(cluster.folder)).nodes
    return {node.process.pid for node in nodes if node.process is not None}


@pytest.mark.parametrize("node", [1, 3])
def test_nodes_whose_up_was_killed_are_known_to_down_and_to_the_next_up(make_cluster, node):
    cluster = make_cluster(3)
    for command in ("down", "up"):
        until(lambda: not _nodes_of(cluster), "no node runs")
        for log in cluster.folder.glob("node-*.log"):
            log.unlink()
        up = _started(cluster, "up", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until((cluster.folder / f"node-{node}.log").exists, f"node {node} was started")
        up.kill()
        up.wait(20)
        cluster.done(command)
        until(lambda: _nodes_of(cluster) == _known_nodes_of(cluster), "those run that are known to")
    cluster.done("down")
    until(lambda: not _nodes_of(cluster), "no node runs")


def test_consume_and_produce_end_on_ctrl_c(trio):
    trio.done("topic", "create", "endless", "-p", "1")
    follow = _started(trio, "consume", "endless", "-f", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    trio.done("produce", "endless", "-q", stdin="one\n")
    assert follow.stdout.readline() == "one\n"
    follow.send_signal(signal.SIGINT)
    _, complaint = follow.communicate(timeout=10)
    assert (follow.returncode, complaint.strip()) == (130, "")

    typed = _started(
        trio, "produce", "endless", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    typed.stdin.write("two\n")
    typed.stdin.flush()
    until(lambda: trio.done("consume", "endless") == "one\ntwo\n", "the second record is there")
    typed.send_signal(signal.SIGINT)
    _, complaint = typed.communicate(timeout=10)
    assert typed.returncode == 130
    assert "Traceback" not in complaint


@pytest.mark.parametrize(
    "question",
    [["status", "--watch"], ["status"], ["cluster", "describe", "--json"], ["explain", "partition", "nope", "0"]],
    ids=" ".join,
)
def test_who_asks_ends_on_ctrl_c(trio, question):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.settimeout(20)
        watches = "--watch" in question
        where = [] if watches else ["--bootstrap", f"127.0.0.1:{mute.getsockname()[1]}"]
        asking = _started(trio, *question, *where, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if watches:
            assert "healthy" in asking.stdout.readline()
        else:
            mute.accept()  # it is at work, and gets no answer
        asking.send_signal(signal.SIGINT)
        said, complaint = asking.communicate(timeout=10)
    assert asking.returncode == 130, complaint
    assert (said, complaint.strip()) == ("", "The cluster keeps running." if watches else "")


@pytest.mark.parametrize(
    "question", [["status", "--watch"], ["status"], ["cluster", "describe", "--json"]], ids=" ".join
)
def test_who_has_read_enough_ends_what_is_written(trio, question):
    read, write = os.pipe()
    asking = _started(trio, *question, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    if "--watch" in question:
        assert os.read(read, 100)
    os.close(read)
    _, complaint = asking.communicate(timeout=10)
    assert (asking.returncode, complaint) == (0, "")


def test_output_that_cannot_be_written_is_said(trio):
    with open("/dev/full", "w") as full:
        asking = _started(trio, "status", stdout=full, stderr=subprocess.PIPE, text=True)
        _, complaint = asking.communicate(timeout=10)
    assert (asking.returncode, complaint) == (1, "dohle: the output cannot be written: No space left on device\n")
