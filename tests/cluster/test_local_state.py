"""The local cluster's state file, and processes told apart."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys

import pytest

from dohle.cluster import formatting, local
from dohle.cluster.config_sources import load_config
from dohle.cluster.local import LocalCluster, free_base_port, last_lines, plan, voters_of
from dohle.cluster.local_state import STATE_FILE, load_state
from dohle.cluster.process_identity import ProcessIdentity
from dohle.model.errors import ConfigurationError, DataFolderError


@contextlib.contextmanager
def taken_port(port):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        yield


@pytest.fixture
def child():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_a_state_is_read_back_as_it_was_saved(tmp_path, child):
    state = plan(str(tmp_path), 3, 7092, ["a", "b", "c"], "cluster").with_process(2, ProcessIdentity.of(child.pid))
    state.save()
    assert load_state(str(tmp_path)) == state
    assert [node.runs() for node in state.nodes] == [False, True, False]
    assert state.bootstrap == "localhost:7092,localhost:7093,localhost:7094"


def test_a_folder_without_state_has_no_cluster(tmp_path):
    assert load_state(str(tmp_path)) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "cluster_id": "x", "nodes": [{"node_id": 1}]}'])
def test_a_damaged_state_file_says_what_to_do(tmp_path, text):
    (tmp_path / STATE_FILE).write_text(text)
    with pytest.raises(ConfigurationError, match=r"cluster\.json is damaged.*delete the file"):
        load_state(str(tmp_path))


def test_a_state_file_of_another_format_is_refused(tmp_path):
    (tmp_path / STATE_FILE).write_text('{"format": 9}')
    with pytest.raises(ConfigurationError, match="another version"):
        load_state(str(tmp_path))


def test_a_process_under_a_reused_pid_is_never_signalled(child):
    own = ProcessIdentity.of(child.pid)
    assert own is not None
    other = ProcessIdentity(child.pid, own.started + "0")
    assert not other.runs()
    assert not other.signal(signal.SIGKILL)
    assert child.poll() is None
    assert own.signal(signal.SIGKILL)
    child.wait()
    assert not own.runs()


def test_a_zombie_does_not_run(child):
    identity = ProcessIdentity.of(child.pid)
    assert identity is not None
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not identity.runs()
    assert ProcessIdentity.of(child.pid) is None


def test_memory_of_a_running_process_is_seen():
    identity = ProcessIdentity.of(os.getpid())
    assert identity is not None
    assert 1 << 20 < identity.resident_bytes() < 1 << 30


@pytest.mark.parametrize(
    ("nodes", "base_port", "racks", "complaint"),
    [
        (0, 7092, [], "0 nodes: expected 1 to 100"),
        (3, 65_000, [], "base port 65000: expected"),
        (3, 7092, ["a"], "1 racks for 3 nodes"),
    ],
)
def test_an_impossible_cluster_is_refused(tmp_path, nodes, base_port, racks, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        plan(str(tmp_path), nodes, base_port, racks, "cluster")


def test_a_small_cluster_has_one_controller_a_larger_one_three_or_five(tmp_path):
    counts = [len(voters_of(plan(str(tmp_path), nodes, 7092, [], "c").nodes)) for nodes in (1, 2, 3, 4, 5, 7)]
    assert counts == [1, 1, 3, 3, 5, 5]


def configured_as_controllers(cluster):
    state = cluster.state
    return [one.node_id for one in state.nodes if load_config(state.config_path(one)).config.is_controller]


@pytest.mark.parametrize(
    ("sizes", "promoted", "controllers"),
    [
        ((1, 2), [()], [1]),
        ((1, 3), [()], [1, 2, 3]),
        ((2, 3), [(2,)], [1, 2, 3]),
        ((2, 5), [(2,)], [1, 2, 3, 4, 5]),
        ((3, 4, 5), [(), (4,)], [1, 2, 3, 4, 5]),
        ((4, 5), [(4,)], [1, 2, 3, 4, 5]),
        ((4, 6), [()], [1, 2, 3, 5, 6]),
        ((5, 7), [()], [1, 2, 3, 4, 5]),
    ],
)
def test_a_cluster_that_grows_has_as_many_controllers_as_one_made_so_large(tmp_path, sizes, promoted, controllers):
    cluster = LocalCluster.create(str(tmp_path), sizes[0], base_port=free_base_port(7), new_cluster_id="A" * 22)
    grown = [cluster.grow(size) for size in sizes[1:]]
    assert [growth.promoted for growth in grown] == promoted
    assert configured_as_controllers(cluster) == controllers
    before = voters_of(cluster.state.nodes[: sizes[0]])
    given = {voter.node_id for voter in before} | {node for growth in grown for node in growth.joining}
    assert sorted(given) == controllers


def test_a_broker_that_becomes_a_controller_keeps_its_other_settings(tmp_path):
    cluster = LocalCluster.create(str(tmp_path), 2, base_port=free_base_port(3), new_cluster_id="A" * 22)
    path = cluster.state.config_path(cluster.state.node(2))
    with open(path, "a") as file:
        file.write("default_partitions = 7\n")
    cluster.grow(3)
    config = load_config(path).config
    assert (config.is_controller, config.is_broker, config.default_partitions) == (True, True, 7)


@pytest.mark.parametrize("cut_at", ["_configure", "_format", "_promote", "to_toml", "format_as_controller"])
def test_a_growth_that_is_cut_short_anywhere_is_finished_from_there(tmp_path, monkeypatch, cut_at):
    cluster = LocalCluster.create(str(tmp_path), 4, base_port=free_base_port(5), new_cluster_id="A" * 22)
    if cut_at == "format_as_controller":  # half of it is done then

        async def cut(_disk, _clock, config):
            os.mkdir(os.path.join(config.metadata_directory, "__cluster_metadata-0"))
            raise KeyboardInterrupt

        monkeypatch.setattr(formatting, cut_at, cut)
    else:
        real = getattr(local, cut_at)

        def cut(*arguments, **more):
            if cut_at == "_format":
                real(*arguments, **more)
            raise KeyboardInterrupt

        monkeypatch.setattr(local, cut_at, cut)
    with pytest.raises(KeyboardInterrupt):
        cluster.grow(5)
    monkeypatch.undo()
    again = LocalCluster.open(str(tmp_path))
    assert again.state.joining == (4, 5)
    assert again.lay_out().joining == (4, 5)
    assert configured_as_controllers(again) == [1, 2, 3, 4, 5]
    for number in (4, 5):
        assert (tmp_path / f"node-{number}" / "__cluster_metadata-0" / "joining").exists()
    assert again.lay_out().promoted == ()
    for number in (4, 5):
        again.has_vote(number)
    assert load_state(str(tmp_path)) == again.state
    assert (again.state.unformatted, again.state.joining) == ((), ())


def test_a_node_that_was_never_laid_out_is_taken_away_again(tmp_path, monkeypatch):
    cluster = LocalCluster.create(str(tmp_path), 2, base_port=free_base_port(3), new_cluster_id="A" * 22)
    monkeypatch.setattr(local, "_configure", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cluster.grow(3)
    cluster.remove(3)
    assert load_state(str(tmp_path)).unformatted == ()
    assert load_state(str(tmp_path)).joining == (2,)


def test_a_growth_lays_its_hands_on_no_folder_that_it_has_not_made(tmp_path):
    cluster = LocalCluster.create(str(tmp_path), 1, base_port=free_base_port(2), new_cluster_id="A" * 22)
    (tmp_path / "node-2").mkdir()
    with pytest.raises(DataFolderError, match="node-2 is there already"):
        cluster.grow(2)
    assert len(load_state(str(tmp_path)).nodes) == 1


def test_nothing_is_formatted_where_a_nodes_folder_is(tmp_path):
    (tmp_path / "node-2").mkdir()
    with pytest.raises(DataFolderError, match="holds node-2 already"):
        LocalCluster.create(str(tmp_path), 3, new_cluster_id="x")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "node-2"]


@pytest.mark.parametrize(("distance", "purpose"), [(1, "gRPC"), (1001, "HTTP"), (2001, "Kafka")])
def test_nothing_is_formatted_while_a_port_is_in_use(tmp_path, distance, purpose):
    base_port = free_base_port(3)
    complaint = rf"port {base_port + distance} \({purpose}, node 2\) is in use.* --base-port"
    with taken_port(base_port + distance), pytest.raises(ConfigurationError, match=complaint):
        LocalCluster.create(str(tmp_path), 3, base_port=base_port, new_cluster_id="x")
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_an_unknown_node_is_named_with_those_there_are(tmp_path):
    with pytest.raises(ConfigurationError, match="no node 9: its nodes are 1, 2"):
        plan(str(tmp_path), 2, 7092, [], "c").node(9)


def test_the_last_lines_of_a_log_are_shown(tmp_path):
    (tmp_path / "log").write_text("".join(f"line {i}\n" for i in range(1000)))
    assert last_lines(str(tmp_path / "log"), 2) == ["line 998", "line 999"]
    assert last_lines(str(tmp_path / "log"), 5, start=(tmp_path / "log").stat().st_size - 9) == ["line 999"]
    assert "No such file" in last_lines(str(tmp_path / "none"), 2)[0]


def test_a_free_range_of_ports_is_found():
    assert 20_000 < free_base_port(3) < 30_000
