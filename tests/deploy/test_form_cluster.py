"""What the service `format` of compose.yaml does: it forms a new cluster once, and nothing again that was lost."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest

from deploy.compose.form_cluster import main
from dohle.cluster.config import NodeConfig
from dohle.cluster.directories import open_directories
from dohle.runtime.files import RealDisk

VOTERS = "1@dohle-1:7092,2@dohle-2:7092,3@dohle-3:7092"
NODES = (1, 2, 3)


class Volumes:
    def __init__(self, folder: Path) -> None:
        self._nodes, self.note = folder / "nodes", folder / "cluster" / "cluster.json"
        self.note.parent.mkdir()
        for node in NODES:
            self.volume(node).mkdir(parents=True)

    def volume(self, node: int) -> Path:
        return self._nodes / str(node)

    def identity(self, node: int) -> str:
        return (self.volume(node) / "node" / "meta.properties").read_text()

    def lose(self, node: int) -> None:
        shutil.rmtree(self.volume(node))
        self.volume(node).mkdir()

    def form(self) -> int:
        return main([str(self._nodes), str(self.note)])

    def files(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self._nodes.rglob("*") if path.is_file()}


@pytest.fixture
def volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Volumes:
    monkeypatch.setenv("DOHLE_VOTERS", VOTERS)
    return Volumes(tmp_path)


async def test_a_new_cluster_is_formed_and_its_nodes_know_their_folders(volumes: Volumes, tmp_path: Path) -> None:
    (volumes.volume(2) / "lost+found").mkdir()  # of a file system of its own
    assert await asyncio.to_thread(volumes.form) == 0
    noted = json.loads(volumes.note.read_text())
    disk = RealDisk()
    try:
        for node in NODES:
            config = NodeConfig(node_id=node, data_dir=str(volumes.volume(node) / "node"))
            found = (await open_directories(disk, config)).metadata
            assert found.cluster_id == noted["cluster_id"]
            assert f"{node}@dohle-{node}:7092:" in noted["voters"]
    finally:
        disk.close()
    directories = re.findall(r"directory.id=(\S+)", "".join(map(volumes.identity, NODES)))
    assert sorted(directories) == sorted(one.rpartition(":")[2] for one in noted["voters"].split(","))


def test_what_is_formed_stays_as_it_is(volumes: Volumes, capsys: pytest.CaptureFixture[str]) -> None:
    assert volumes.form() == 0
    before = volumes.files()
    assert volumes.form() == 0
    assert volumes.files() == before
    assert "the folders of all nodes are there" in capsys.readouterr().out


@pytest.mark.parametrize("is_noted", [True, False])
@pytest.mark.parametrize("lost", [(1,), (2, 3)])
def test_a_lost_folder_is_named_and_not_made_anew(
    volumes: Volumes, capsys: pytest.CaptureFixture[str], lost: tuple[int, ...], is_noted: bool
) -> None:
    volumes.form()
    for node in lost:
        volumes.lose(node)
    if not is_noted:
        volumes.note.unlink()
    before = volumes.files()
    assert volumes.form() == 0, "the others shall start"
    assert volumes.files() == before
    assert f"the folder of node {', '.join(map(str, lost))} is not there" in capsys.readouterr().out


def test_a_cluster_that_has_lost_everything_is_not_formed_again(
    volumes: Volumes, capsys: pytest.CaptureFixture[str]
) -> None:
    volumes.form()
    for node in NODES:
        volumes.lose(node)
    assert volumes.form() == 1
    assert volumes.files() == {}
    assert "no node has its folder any more" in capsys.readouterr().err


def test_folders_that_were_formatted_by_hand_count_as_formed(volumes: Volumes) -> None:
    volumes.form()
    volumes.note.unlink()
    assert volumes.form() == 0
    for node in NODES:
        volumes.lose(node)
    assert volumes.form() == 1
    assert volumes.files() == {}


def test_what_is_not_ours_is_not_formatted_over(volumes: Volumes, capsys: pytest.CaptureFixture[str]) -> None:
    (volumes.volume(3) / "node").mkdir()
    (volumes.volume(3) / "node" / "x").write_text("precious")
    assert volumes.form() == 1
    assert list(volumes.files().values()) == [b"precious"]
    assert not volumes.note.exists()
    assert "is not formatted, and not empty" in capsys.readouterr().err


def test_forming_that_is_cut_short_is_told_from_a_new_cluster(
    volumes: Volumes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as cut:
        cut.setattr("deploy.compose.form_cluster.format_node", fail)
        assert volumes.form() == 1
    assert "No space left" in capsys.readouterr().err
    assert volumes.form() == 1
    assert volumes.files() == {}
    assert "cut short" in capsys.readouterr().err


def test_without_voters_nothing_is_formed(
    volumes: Volumes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DOHLE_VOTERS")
    assert volumes.form() == 1
    assert volumes.files() == {}
    assert "DOHLE_VOTERS is empty" in capsys.readouterr().err
