"""What keeps a node from starting: each is said in words that help, with exit code 1, and nothing is changed."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from dohle.cluster.local import free_base_port
from tests.integration.clusters import Cluster
from tests.integration.load import read_all, write_some


@pytest.fixture(scope="module")
def solo(clusters_folder):
    """One node that has run, holds 50 records, and is stopped. Each test leaves it so that it would start."""
    cluster = Cluster(clusters_folder / "solo", 1)
    cluster.up()
    cluster.done("topic", "create", "kept", "-p", "2", "-r", "1")
    asyncio.run(write_some(cluster.bootstrap, "kept", 50))
    cluster.down()
    try:
        yield cluster
        cluster.up()
        assert len(asyncio.run(read_all(cluster.bootstrap, "kept"))) == 50, "what failed to start changed something"
    finally:
        cluster.end()


@contextlib.contextmanager
def _changed(path, change):
    """Changes a file's bytes; puts it back as it was."""
    before = path.read_bytes()
    path.write_bytes(change(before))
    try:
        yield
    finally:
        path.write_bytes(before)


def _flipped(at):
    def flip(content):
        changed = bytearray(content)
        changed[at] ^= 0x20
        return bytes(changed)

    return flip


@pytest.mark.parametrize("door", ["grpc_port", "http_port", "kafka_port"])
@pytest.mark.parametrize("shared", [False, True], ids=["exclusive", "shared"])
def test_a_port_in_use(solo, door, shared):
    """Shared: gRPC would join a socket with SO_REUSEPORT without a word, and get half of the connections."""
    port = getattr(solo.local.state.nodes[0], door)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        complaint = solo.fails_to_start(1)
    assert str(port) in complaint
    assert "in use" in complaint
    assert door in complaint, "it says what to set"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda text: text.replace(b"node.id=1", b"node.id=7"), "belongs to node 7, and this is node 1"),
        (lambda text: text.replace(b"cluster.id=", b"cluster.id=A"), "belongs to cluster A"),
        (lambda text: text.replace(b"version=1", b"version=2"), "was used by a newer Dohle"),
        (lambda text: text.replace(b"directory.id=", b"directory.id=!"), "meta.properties is damaged"),
        (lambda text: b"", "meta.properties is damaged"),
    ],
    ids=["another node's", "another cluster's", "newer format", "damaged", "empty"],
)
def test_a_data_folder_that_is_not_this_nodes(solo, change, complaint):
    with _changed(solo.data(1) / "meta.properties", change):
        assert complaint in solo.fails_to_start(1)


def test_a_data_folder_in_use_by_a_running_process(solo):
    solo.up()
    elsewhere = free_base_port(1)
    complaint = solo.fails_to_start(1, "--http-port", str(elsewhere + 1000), "--grpc-port", str(elsewhere))
    assert "is in use by another process: stop that node first" in complaint
    assert f"{solo.local.state.nodes[0].http_port} is in use" in solo.fails_to_start(1)
    assert solo.running(1)
    solo.down()


def test_a_data_folder_that_was_never_formatted(solo, tmp_path):
    complaint = solo.fails_to_start(1, "--data-dir", str(tmp_path / "nothing"))
    assert "is not formatted" in complaint
    assert "dohle format" in complaint
    assert not (tmp_path / "nothing").exists()
    assert "is formatted already" in solo.refused(
        "format", "--config", str(solo.config(1)), "--cluster-id", solo.local.state.cluster_id, "--voters",
        "1@127.0.0.1:7092:AAAAAAAAAAAAAAAAAAAAAA",
    )  # fmt: skip


def test_a_vote_file_that_is_damaged_or_missing(solo):
    vote = solo.data(1) / "__cluster_metadata-0" / "quorum-state"
    with _changed(vote, _flipped(12)):
        assert f"the vote file {vote} is damaged" in solo.fails_to_start(1)
    kept = vote.read_bytes()
    vote.unlink()
    assert f"the vote file {vote} is missing" in solo.fails_to_start(1)
    assert not vote.exists()
    vote.write_bytes(kept)


def test_a_metadata_log_that_is_damaged(solo):
    folder = solo.data(1) / "__cluster_metadata-0"
    segment = max(folder.glob("*.log"))
    with _changed(segment, _flipped(80)):
        assert "is damaged" in solo.fails_to_start(1)
        (folder / ".clean-shutdown").unlink(missing_ok=True)  # as after kill -9
        complaint = solo.fails_to_start(1)
        assert "the metadata log is damaged at byte" in complaint
        assert str(segment) in complaint
        assert "neither votes nor leads" in complaint


def test_a_recovery_point_that_is_damaged(solo):
    path = solo.data(1) / "recovery-point-offset-checkpoint"
    with _changed(path, lambda text: text.replace(b"kept 0", b"kept")):
        complaint = solo.fails_to_start(1)
        assert str(path) in complaint
        assert "restore it, or delete it" in complaint


@pytest.mark.parametrize("name", ["replication-offset-checkpoint", "log-start-offset-checkpoint"])
def test_a_checkpoint_that_can_be_learnt_again_is_begun_anew(solo, name):
    (solo.data(1) / name).write_bytes(b"\x00garbage")
    solo.up()
    assert "it is begun anew" in solo.log(1)
    solo.down()


def test_a_partitions_name_plate_that_is_damaged(solo):
    path = solo.data(1) / "kept-0" / "partition.metadata"
    with _changed(path, lambda _: b"version: 0\ntopic_id: ?\n"):
        complaint = solo.fails_to_start(1)
        assert str(path) in complaint
        assert "-stray" in complaint


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("grpc_prt = 1", "did you mean grpc_port?"),
        ("node_id = 'one'", "expected a whole number"),
        ("node_id = ", "is not TOML"),
        ("session_timeout_ms = 100", "session_timeout_ms = 100 is too short"),
        ("grpc_port = 70000", "expected from 1 to 65535"),
        ("roles = 'king'", "expected controller, broker or controller,broker"),
        ("voters = '1@here'", "is no voter"),
    ],
)
def test_a_configuration_that_cannot_be(solo, tmp_path, line, complaint):
    config = tmp_path / "node.toml"
    config.write_text(line + "\n")
    said = solo.refused("node", "--config", str(config))
    assert complaint in said
    assert said.count("\n") == 1
    assert complaint in solo.refused("config", "--config", str(config))


def test_a_configuration_that_cannot_be_read(solo, tmp_path):
    assert "cannot read the configuration file" in solo.refused("node", "--config", str(tmp_path / "none.toml"))
    assert "cannot read the configuration file" in solo.refused("node", "--config", str(tmp_path))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    assert "is not TOML" in solo.refused("node", "--config", str(tmp_path / "binary.toml"))
    assert "did you mean --grpc-port?" in solo.refused("node", "--grcp-port", "1")
    assert "--grpc-port needs a value" in solo.refused("node", "--grpc-port")
    complaint = solo.fails_to_start(1, environment={"DOHLE_GRPC_PRT": "1"})
    assert "did you mean DOHLE_GRPC_PORT?" in complaint
