"""Waiting for room: a controller whose disk is full neither votes nor takes what the active one sends, until it can.

To the others it is one whose disk hangs: what was not written is not acknowledged. It ends nothing here, for the node
may be the one that deletes what fills the disk; its headroom gives up a reserve within a second.
"""

from __future__ import annotations

import logging

from dohle.controller.vote_file import Vote, write_vote
from dohle.model.batch import read_header
from dohle.runtime.clock import Clock
from dohle.runtime.disk import Disk
from dohle.storage.log import Log
from dohle.storage.room import DiskFull

ROOM_RETRY_S = 1.0

log = logging.getLogger(__name__)


async def write_vote_once_there_is_room(disk: Disk, clock: Clock, folder: str, vote: Vote) -> None:
    """As `write_vote`."""
    while True:
        try:
            await write_vote(disk, folder, vote)
        except DiskFull as error:
            log.error("%s", error)
            await clock.sleep(ROOM_RETRY_S)
        else:
            return


async def append_once_there_is_room(metadata_log: Log, clock: Clock, batches: bytes, term: int) -> None:
    """As `append_as_follower`."""
    while batches:
        try:
            metadata_log.append_as_follower(batches, term)
        except DiskFull as error:
            log.error("nothing is taken from the active controller: %s", error)
            await clock.sleep(ROOM_RETRY_S)
            batches = _from(metadata_log.log_end_offset, batches)
        else:
            return


def _from(offset: int, batches: bytes) -> bytes:
    """Returns `batches` without those below `offset`, which are in the log: a segment may have been rolled between."""
    position = 0
    while position < len(batches):
        header = read_header(batches, position)
        if header.base_offset >= offset:
            break
        position += header.size_bytes
    return batches[position:]
