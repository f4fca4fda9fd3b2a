"""`dohle log verify` and `dohle log dump` on files that are not what they were: they name the file, and never break."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from crc32c import crc32c

from dohle.cli.main import run
from dohle.model.batch import CRC_AT, CRC_END, HEADER_BYTES
from tests.storage.spoilt import stopped
from tests.storage.test_bad_rare_files import GARBAGE, damages, noted, swapping

SEGMENT = f"t-0/{0:020d}.log"
NOBODY = 65534


@pytest.fixture
def directory(tmp_path):
    """A node's directory with every file that it may have."""
    files = asyncio.run(noted(True))[0] | asyncio.run(swapping(True, retired=True))[0] | asyncio.run(stopped())
    for path, data in files.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return tmp_path / "data"


def told(capsys, *arguments):
    """Returns the exit code, what was printed and what was complained of."""
    capsys.readouterr()
    code = run(["log", *map(str, arguments)])
    return code, *capsys.readouterr()


def test_a_dump_of_any_file_says_what_it_is_or_where_it_is_damaged(capsys, directory):
    paths = [path for path in directory.rglob("*") if path.is_file()]
    assert len(paths) > 25
    for path in paths:
        good = path.read_bytes()
        for data in (good, b"", GARBAGE, good[: len(good) // 2], good + GARBAGE):
            path.write_bytes(data)
            code, _, complaint = told(capsys, "dump", path, "--records")
            assert code in (0, 1)
            assert (str(path) in complaint) == (code == 1), (path, data, complaint)
        path.write_bytes(good)


def test_a_dump_of_a_segment_names_the_byte_of_each_damaged_batch(capsys, directory):
    path = directory / SEGMENT
    good = path.read_bytes()
    for data in damages(good):
        path.write_bytes(data)
        code, _, complaint = told(capsys, "dump", path, "--records")
        if code == 1:
            assert f"{path} is damaged at byte " in complaint


def test_a_dump_goes_on_behind_records_that_cannot_be_read(capsys, directory):
    """Their CRC matches: a producer sent them so."""
    path = directory / SEGMENT
    data = bytearray(path.read_bytes())
    data[93 + HEADER_BYTES] ^= 0x7E  # the length of its first record
    data[93 + CRC_AT : 93 + CRC_END] = crc32c(memoryview(data)[93 + CRC_END : 186]).to_bytes(4, "big")
    path.write_bytes(data)
    for options in ([], ["--json"]):
        code, printed, complaint = told(capsys, "dump", path, "--records", *options)
        assert code == 1
        assert "its records cannot be read: " in printed
        assert f"{path} is damaged at byte 93: " in complaint
        assert printed.count('"offset":') == 12


@pytest.mark.parametrize("name", ["leader-epoch-checkpoint", "partition.metadata"])
def test_what_is_no_log_is_not_called_a_torn_tail(capsys, directory, name):
    path = directory / "t-0" / name
    code, _, complaint = told(capsys, "dump", path)
    assert code == 1
    assert f"{path} does not begin with a record batch: this reads .log, .index and .timeindex files" in complaint


def test_a_verification_of_any_damage_ends_with_a_verdict(capsys, directory):
    for path in [path for path in directory.rglob("*") if path.is_file()]:
        good = path.read_bytes()
        for data in (b"", GARBAGE, good[: len(good) // 2], good + GARBAGE):
            path.write_bytes(data)
            code, _, complaint = told(capsys, "verify", directory)
            assert code in (0, 1), complaint
            assert not complaint
        path.write_bytes(good)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look at something as somebody else")
def test_files_that_may_not_be_read_are_named(capsys, directory):
    """As another user, for root may read everything."""
    told(capsys, "verify", directory)  # loads what that user may not
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        for path in [path for path in Path(shutil.copytree(directory, f"{place}/data")).rglob("*") if path.is_file()]:
            path.chmod(0o600)
            os.seteuid(NOBODY)
            try:
                verdict, said, complaint = told(capsys, "verify", f"{place}/data")
                dumped, _, dump_complaint = told(capsys, "dump", path)
            finally:
                os.seteuid(0)
            path.chmod(0o644)
            assert not complaint
            assert str(path) in said or path.name == ".lock"
            assert verdict == 1
            assert dumped == 1
            assert f"cannot read {path}: Permission denied" in dump_complaint
