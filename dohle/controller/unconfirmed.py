"""The end of a metadata log of which nobody knows here whether it is committed: it may yet be taken back.

A restart forgets how much is committed until a leader says so. Where no majority of the controllers is to be had, this
is the newest that a controller can tell of the cluster.
"""

from __future__ import annotations

from dohle.controller.raft_wire import spans_of
from dohle.storage.log import Log

_MOST_BYTES = 16 << 20
_PIECE_BYTES = 1 << 20


async def read_unconfirmed(log: Log, offset: int) -> bytes:
    """Returns the batches from `offset` on, as the log had them at one moment; 16 MB of them at most."""
    generation, end = log.generation, log.log_end_offset
    found = bytearray()
    while offset < end and len(found) < _MOST_BYTES:
        batches = await log.read(offset, _PIECE_BYTES, up_to=end)
        if log.generation != generation:  # what was read before is still of one log
            break
        found += batches
        offset = spans_of(batches)[-1].end_offset
    return bytes(found)
