"""Formatting a controller: the birth of a cluster's metadata log.

Every first voter gets the same first batch, byte for byte: cluster id, voters, feature levels, term 0, timestamp 0. So
their logs agree before they have ever spoken to each other. A node never does this by itself (raft.md, rule 5): a log
that came from nothing could elect a leader that knows nothing.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from dohle.controller.joining_mark import JOINING_FILE
from dohle.controller.quorum import metadata_folder
from dohle.controller.vote_file import Vote, write_vote
from dohle.model.errors import ConfigurationError, DataFolderError
from dohle.model.ids import ClusterId
from dohle.model.metadata import NEWEST_METADATA_VERSION, OLDEST_METADATA_VERSION, Voter, bootstrap_records
from dohle.model.metadata_batch import encode_metadata
from dohle.runtime.clock import Clock
from dohle.runtime.disk import Disk
from dohle.runtime.tasks import OnFailure, Tasks
from dohle.storage.checkpoints import write_files
from dohle.storage.single_log import open_single_log

_MOST_VOTERS = 5


async def format_controller(
    disk: Disk,
    clock: Clock,
    data_folder: str,
    *,
    cluster_id: ClusterId,
    voters: Sequence[Voter],
    metadata_version: int = NEWEST_METADATA_VERSION,
    on_failure: OnFailure,
) -> None:
    """Writes the first metadata log and an empty vote into a data folder, durable on return.

    Raises ConfigurationError for a set of voters that cannot work, DataFolderError if there is a metadata log already.
    """
    check_voters(voters)
    records = bootstrap_records(cluster_id, tuple(sorted(voters)), metadata_version)
    batch = encode_metadata(records, metadata_version=metadata_version, base_offset=0, term=0, timestamp_ms=0)
    await _make(disk, clock, data_folder, batch, on_failure=on_failure)


async def format_joining_controller(disk: Disk, clock: Clock, data_folder: str, *, on_failure: OnFailure) -> None:
    """Writes an empty metadata log and an empty vote, durable on return: the cluster's log will come from its leader.

    Raises DataFolderError if there is a metadata log already.
    """
    await _make(disk, clock, data_folder, b"", on_failure=on_failure)


async def _make(disk: Disk, clock: Clock, data_folder: str, first_batch: bytes, *, on_failure: OnFailure) -> None:
    folder = metadata_folder(data_folder)
    if disk.exists(folder):
        raise DataFolderError(f"{folder} exists already: this data folder belongs to a controller; format an empty one")
    disk.make_folder(folder)
    tasks = Tasks("format", on_failure)
    single_log = await open_single_log(disk, clock, folder, tasks, on_failure=on_failure)
    if first_batch:
        single_log.log.append_as_follower(first_batch, 0)
    await single_log.log.flush()
    await single_log.close()
    await tasks.close()
    if not first_batch:
        await write_files(disk, {posixpath.join(folder, JOINING_FILE): ""}, [folder])
    await write_vote(disk, folder, Vote(term=0, voted_for=None))
    await disk.sync([], [data_folder])


def check_metadata_version(metadata_version: int) -> None:
    """Raises ConfigurationError unless this software knows it."""
    if not OLDEST_METADATA_VERSION <= metadata_version <= NEWEST_METADATA_VERSION:
        raise ConfigurationError(
            f"metadata.version {metadata_version} is unknown to this software: give one of "
            f"{OLDEST_METADATA_VERSION} to {NEWEST_METADATA_VERSION}"
        )


def check_voters(voters: Sequence[Voter]) -> None:
    """Raises ConfigurationError unless there are 1, 3 or 5 voters, each a node and a directory of its own."""
    if len(voters) % 2 == 0 or len(voters) > _MOST_VOTERS:
        raise ConfigurationError(f"{len(voters)} voters cannot be the controllers' quorum; give 1, 3 or 5")
    if len({voter.node_id for voter in voters}) < len(voters):
        raise ConfigurationError("a node is named twice among the voters; give each node one vote")
    if len({voter.directory_id for voter in voters}) < len(voters):
        raise ConfigurationError("two voters have the same directory id; give each data folder an id of its own")
