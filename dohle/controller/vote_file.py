"""The vote file `quorum-state`: the term that this voter is in, and whom it voted for in it.

A voter that forgot either could vote twice in one term, and two leaders would follow. So the file is replaced
atomically (temporary file, fsync, rename, fsync of the folder), carries a checksum, and is made when the folder is
formatted: one that is missing or damaged later is an error, never "no vote yet".
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from crc32c import crc32c

from dohle.model.errors import CorruptLog, StorageFailure
from dohle.model.ids import DirectoryId, NodeId, id_text, parse_id
from dohle.raft.quorum import ReplicaKey
from dohle.runtime.disk import Disk
from dohle.storage.checkpoints import write_files
from dohle.storage.room import DiskFull, NoRoom

VOTE_FILE = "quorum-state"
HOW_TO_GO_ON = (
    "restore the folder as it was when this node last stopped; or take this node's vote away with `dohle cluster "
    "voters remove`, format an empty folder with `dohle format --join`, and add it again"
)
"""One that has lost its state is somebody else, and may join as such."""


@dataclass(frozen=True, slots=True)
class Vote:
    """Whom this voter voted for in `term`; nobody yet where that is None."""

    term: int
    voted_for: ReplicaKey | None


async def read_vote(disk: Disk, folder: str) -> Vote:
    """Returns the vote kept in `folder`. Raises CorruptLog if the file is missing or damaged."""
    path = posixpath.join(folder, VOTE_FILE)
    try:
        content = await disk.read_all(path)
    except FileNotFoundError:
        raise CorruptLog(_advice(path, "is missing")) from None
    try:
        body, _, checksum = content.decode("ascii").removesuffix("\n").rpartition("\n")
        if f"crc32c {crc32c(body.encode()):08x}" != checksum:
            raise ValueError("its checksum does not match")
        version, term, voted_for = body.split("\n")
        if version != "version 0":
            raise ValueError(f"{version!r} is not known here")
        return Vote(int(term.removeprefix("term ")), _parse_key(voted_for.removeprefix("voted_for ")))
    except ValueError as error:
        raise CorruptLog(_advice(path, f"is damaged: {error}")) from error


async def write_vote(disk: Disk, folder: str, vote: Vote) -> None:
    """Replaces the vote kept in `folder`; it is durable on return.

    Raises StorageFailure; DiskFull, and it is as it was.
    """
    path = posixpath.join(folder, VOTE_FILE)
    try:
        await write_files(disk, {path: _encode(vote)}, [folder])
    except NoRoom as error:
        raise DiskFull(f"this voter waits, for its vote {path} cannot be written: {error}; free space") from error
    except OSError as error:
        raise StorageFailure(f"the vote file {path} cannot be written ({error}): this voter stops") from error


def _encode(vote: Vote) -> str:
    voted_for = (
        "nobody" if vote.voted_for is None else f"{vote.voted_for.node_id} {id_text(vote.voted_for.directory_id)}"
    )
    body = f"version 0\nterm {vote.term}\nvoted_for {voted_for}"
    return f"{body}\ncrc32c {crc32c(body.encode('ascii')):08x}\n"


def _parse_key(text: str) -> ReplicaKey | None:
    if text == "nobody":
        return None
    node_id, _, directory_id = text.partition(" ")
    return ReplicaKey(NodeId(int(node_id)), DirectoryId(parse_id(directory_id)))


def _advice(path: str, what: str) -> str:
    return (
        f"the vote file {path} {what}; this voter could vote twice in one term, so it takes no part in the quorum: "
        f"{HOW_TO_GO_ON}"
    )
