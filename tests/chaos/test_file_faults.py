"""What faults of files leave in a segment: such as a start cuts, or finds to be damaged."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from dohle.model.batch import HEADER_BYTES, is_torn, with_stamp
from dohle.storage.dump import dump_segment
from dohle.testing.chaos.faults.files import PARTITION_FILE, partition_folders, rot, tear, whole_batches
from dohle.testing.chaos.faults.limits import first_beyond
from dohle.testing.chaos.faults.members import wipe
from tests.storage.world import batch

BATCHES = b"".join(with_stamp(batch(3, size=200), offset, 5) for offset in (0, 3, 6))


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    path = tmp_path / "00000000000000000000.log"
    path.write_bytes(BATCHES)
    return path


@pytest.mark.parametrize("seed", range(40))
def test_a_torn_tail_is_one_that_a_start_cuts(segment, seed):
    assert tear(segment, Random(seed)) == 1
    content = segment.read_bytes()
    assert content.startswith(BATCHES)
    tail = content[len(BATCHES) :]
    found = list(dump_segment(content))
    assert [one.fault for one in found[:3]] == [None] * 3
    if found[3].header is None:
        assert len(tail) < HEADER_BYTES or is_torn(tail[:HEADER_BYTES], len(BATCHES))
    else:
        assert found[3].header.base_offset == 9
        assert found[3].header.size_bytes > len(tail) or is_torn(tail, len(BATCHES))


@pytest.mark.parametrize("seed", range(40))
def test_rot_is_one_byte_of_a_record(segment, seed):
    assert rot(segment, Random(seed)) == 1
    content = segment.read_bytes()
    assert sum(was != now for was, now in zip(BATCHES, content, strict=True)) == 1
    found = list(dump_segment(content))
    [bad] = [number for number, one in enumerate(found) if one.fault is not None]
    assert found[bad].fault == "its CRC-32C does not match"
    placed = whole_batches(segment)[bad]
    assert not is_torn(content[placed.begin : placed.end], placed.begin), "nor does it look like a crash"


def test_what_a_kill_has_torn_is_left_as_it_is(segment):
    segment.write_bytes(BATCHES[:-1])
    assert tear(segment, Random(1)) == 0
    assert segment.read_bytes() == BATCHES[:-1]


def test_where_nothing_was_written_nothing_is_torn_and_nothing_rots(segment):
    segment.write_bytes(b"")
    assert (tear(segment, Random(1)), rot(segment, Random(1))) == (0, 0)
    assert segment.read_bytes() == b""


def test_folders_that_are_not_in_service_are_no_partitions(tmp_path):
    for name in ("t-1", "t-0", "t-2.abc-stray", "t-3.abc-delete", "t-4.abc-new", "metadata"):
        (tmp_path / name).mkdir()
        if name != "metadata":
            (tmp_path / name / PARTITION_FILE).touch()
    assert [path.name for path in partition_folders(tmp_path)] == ["t-0", "t-1"]


def test_a_wiped_folder_is_as_a_new_disk_is(tmp_path):
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "t-0").mkdir()
    (tmp_path / "t-0" / "file").write_bytes(b"12345")
    (tmp_path / "other").write_bytes(b"678")
    assert wipe(tmp_path) == 8
    assert [path.name for path in tmp_path.iterdir()] == ["lost+found"]


@pytest.mark.parametrize(
    ("used", "spare", "limit"),
    [({0, 1, 2}, 0, 3), ({0, 1, 2}, 2, 5), ({0, 2, 5}, 0, 1), ({0, 2, 5}, 1, 3), (set(), 0, 0)],
)
def test_a_limit_leaves_so_many_descriptors_to_spare(used, spare, limit):
    assert first_beyond(used, spare) == limit
    assert sum(number not in used for number in range(limit)) == spare
