from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dohle.controller.vote_file import VOTE_FILE, Vote, read_vote, write_vote
from dohle.model.errors import CorruptLog
from dohle.model.ids import DirectoryId, NodeId
from dohle.raft.quorum import ReplicaKey
from dohle.runtime.files import RealDisk


@pytest.fixture
async def disk() -> AsyncIterator[RealDisk]:
    disk = RealDisk()
    yield disk
    disk.close()


@pytest.mark.parametrize("voted_for", [None, ReplicaKey(NodeId(3), DirectoryId(bytes(range(16))))])
async def test_a_vote_is_read_back_as_it_was_written(
    disk: RealDisk, tmp_path: Path, voted_for: ReplicaKey | None
) -> None:
    await write_vote(disk, str(tmp_path), Vote(3, None))
    await write_vote(disk, str(tmp_path), Vote(1234567, voted_for))
    assert await read_vote(disk, str(tmp_path)) == Vote(1234567, voted_for)
    assert disk.list(str(tmp_path)) == [VOTE_FILE]


async def test_a_crash_before_the_rename_leaves_the_vote_before(disk: RealDisk, tmp_path: Path) -> None:
    await write_vote(disk, str(tmp_path), Vote(3, None))
    (tmp_path / f"{VOTE_FILE}.tmp").write_bytes(b"version 0\nterm 4")
    assert await read_vote(disk, str(tmp_path)) == Vote(3, None)
    await write_vote(disk, str(tmp_path), Vote(5, None))
    assert await read_vote(disk, str(tmp_path)) == Vote(5, None)


async def test_a_missing_vote_file_is_no_vote_of_nobody(disk: RealDisk, tmp_path: Path) -> None:
    with pytest.raises(CorruptLog, match="is missing"):
        await read_vote(disk, str(tmp_path))


async def test_every_damaged_byte_is_found(disk: RealDisk, tmp_path: Path) -> None:
    await write_vote(disk, str(tmp_path), Vote(7, ReplicaKey(NodeId(1), DirectoryId(bytes(16)))))
    path = tmp_path / VOTE_FILE
    good = path.read_bytes()
    for position in range(len(good) - 1):
        path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        with pytest.raises(CorruptLog, match="damaged"):
            await read_vote(disk, str(tmp_path))
    for length in range(len(good) - 1):
        path.write_bytes(good[:length])
        with pytest.raises(CorruptLog, match="damaged"):
            await read_vote(disk, str(tmp_path))
