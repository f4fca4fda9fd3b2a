"""`dohle log verify` on real files: what it says, where, and with which exit code; it changes nothing."""

from __future__ import annotations

import asyncio
import json
import os

import pytest

from dohle.cli.main import run
from dohle.model.image import EMPTY_IMAGE
from dohle.model.image_apply import apply_batch
from dohle.model.metadata_batch import decode_metadata
from dohle.model.records import Record, encode_batch
from dohle.model.snapshot import encode_snapshot
from dohle.runtime.read_only import ReadOnlyDisk
from tests.storage.spoilt import stopped

SEGMENT = f"{0:020d}.log"


@pytest.fixture
def directory(tmp_path):
    """A node's directory with two replicas, stopped cleanly."""
    for path, data in asyncio.run(stopped()).items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return tmp_path / "data"


@pytest.fixture
def controller(capsys, tmp_path):
    """The metadata folder of a controller that was formatted."""
    assert run(["format", "--new", "--json"]) == 0
    new = json.loads(capsys.readouterr().out)
    arguments = ["--cluster-id", new["cluster_id"], "--voters", new["voters"], "--data-dir", str(tmp_path / "node")]
    assert run(["format", *arguments]) == 0
    capsys.readouterr()
    return tmp_path / "node" / "__cluster_metadata-0"


def state(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def verify(capsys, path, *options):
    capsys.readouterr()
    code = run(["log", "verify", str(path), *options])
    return code, capsys.readouterr()


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_a_sound_directory(capsys, directory):
    before = state(directory)
    code, said = verify(capsys, directory)
    assert (code, said.err) == (0, "")
    assert said.out.splitlines()[-1] == "SOUND"
    assert "2 logs, 6 segments, 34 batches, 68 records, " in said.out
    assert "note: " not in said.out
    assert state(directory) == before


def test_damage_is_said_with_file_byte_and_meaning(capsys, directory):
    flip(directory / "t-0" / SEGMENT, 93 + 80)
    before = state(directory)
    for path in (directory, directory / "t-0", f"{directory}/t-0/"):
        code, said = verify(capsys, path)
        assert code == 1
        assert f"{directory}/t-0/{SEGMENT}, byte 93: the CRC-32C of the batch of offset 2 does not match\n" in said.out
        assert "\n  expected: a whole batch of offset 2, leader epoch 0 " in said.out
        assert "\n  it means: these records cannot be read here" in said.out
        assert said.out.endswith("DAMAGED: 1 place\n")
    assert state(directory) == before
    assert verify(capsys, directory / "t-1")[0] == 0


def test_json_is_one_value_with_everything_in_it(capsys, directory):
    flip(directory / "t-1" / "leader-epoch-checkpoint", 6)
    (directory / "t-2.abc@1-stray").mkdir()
    code, said = verify(capsys, directory, "--json")
    assert code == 1
    found = json.loads(said.out)
    assert (found["sound"], found["logs"], found["segments"], found["batches"], found["records"]) == (
        False,
        2,
        6,
        34,
        68,
    )
    assert {fault["file"] for fault in found["faults"]} == {str(directory / "t-1" / "leader-epoch-checkpoint")}
    assert all(fault.keys() == {"file", "position", "found", "expected", "meaning"} for fault in found["faults"])
    assert [note["path"] for note in found["notes"]] == [str(directory / "t-2.abc@1-stray")]
    assert found["bytes"] > 0


def test_a_folder_that_was_set_aside_is_checked_by_its_path(capsys, directory):
    stray = (directory / "t-1").rename(directory / "t-1.abc@1-stray")
    code, said = verify(capsys, stray)
    assert code == 0
    assert "no checkpoint speaks of it" in said.out
    segment = stray / f"{28:020d}.log"
    os.truncate(segment, 270)
    code, said = verify(capsys, stray)
    assert code == 1
    assert f"{segment}, byte 186: the batch needs 93 bytes, and the file has 84" in said.out


@pytest.mark.parametrize("what", ["nothing", "a file", "an empty folder", "a folder of nodes"])
def test_what_is_no_folder_of_a_node_is_wrong_usage(capsys, directory, what, tmp_path):
    (tmp_path / "empty").mkdir()
    path = {
        "nothing": directory / "none",
        "a file": directory / "meta.properties",
        "an empty folder": tmp_path / "empty",
        "a folder of nodes": tmp_path,
    }[what]
    code, said = verify(capsys, path)
    assert code == 2
    assert f"Error: {path} " in said.err
    assert (f"give one of {directory}" in said.err) == (what == "a folder of nodes")


def test_a_controllers_folder_is_checked_down_to_each_record(capsys, controller):
    assert verify(capsys, controller.parent)[0] == 0
    code, said = verify(capsys, controller)
    assert code == 0
    assert "1 log, 1 segment, 1 batch, " in said.out
    content = (controller / SEGMENT).read_bytes()
    kept = state(controller)
    for size in range(0, len(content), 5):
        (controller / SEGMENT).write_bytes(content[:size])
        assert verify(capsys, controller)[0] == 1, size
    for at in range(0, len(content), 3):
        (controller / SEGMENT).write_bytes(content)
        flip(controller / SEGMENT, at)
        code, said = verify(capsys, controller)
        assert code == 1, at
        assert SEGMENT in said.out
    (controller / SEGMENT).write_bytes(encode_batch([Record(None, b"\x93\x63\x63\x63")]))
    assert "needs metadata.version 99" in verify(capsys, controller)[1].out
    (controller / SEGMENT).write_bytes(content)
    vote = controller / "quorum-state"
    for at in range(vote.stat().st_size - 1):  # but for the end of the last line
        vote.write_bytes(kept[vote][0])
        flip(vote, at)
        code, said = verify(capsys, controller)
        assert code == 1, at
        assert f"{vote}, byte 0: the vote file {vote} is damaged" in said.out


def test_snapshots_of_the_metadata(capsys, controller):
    image = EMPTY_IMAGE
    for batch in decode_metadata((controller / SEGMENT).read_bytes()):
        image = apply_batch(image, batch.records, batch.base_offset)
    path = controller / f"{image.next_offset:020d}-{0:010d}.checkpoint"
    content = b"".join(encode_snapshot(image, 0))
    path.write_bytes(content)
    assert verify(capsys, controller)[0] == 0
    for at in range(len(content)):
        path.write_bytes(content)
        flip(path, at)
        code, said = verify(capsys, controller)
        assert code == 1, at
        assert f"{path}, byte 0: " in said.out
    for size in range(0, len(content), 3):
        path.write_bytes(content[:size])
        code, said = verify(capsys, controller)
        assert code == 1, size
        assert f"{path}, byte " in said.out


def test_the_disk_that_it_reads_by_changes_nothing(tmp_path):
    disk = ReadOnlyDisk()
    (tmp_path / "file").write_bytes(b"kept")
    file = disk.open(f"{tmp_path}/file")
    try:
        for change in (
            lambda: file.append([b"more"]),
            lambda: file.truncate(0),
            lambda: disk.open(f"{tmp_path}/new", create=True),
            lambda: disk.delete(f"{tmp_path}/file"),
            lambda: disk.rename(f"{tmp_path}/file", f"{tmp_path}/other"),
            lambda: disk.make_folder(f"{tmp_path}/folder"),
            lambda: disk.lock(f"{tmp_path}/.lock"),
            lambda: asyncio.run(disk.rename_all([(f"{tmp_path}/file", f"{tmp_path}/other")])),
            lambda: asyncio.run(disk.sync([file])),
        ):
            with pytest.raises(OSError):
                change()
        assert os.listdir(tmp_path) == ["file"]
        assert (tmp_path / "file").read_bytes() == b"kept"
    finally:
        file.close()
        disk.close()
