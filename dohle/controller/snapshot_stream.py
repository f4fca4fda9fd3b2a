"""Serving a snapshot: the newest one of this controller, to a peer or a broker that is behind the log's start.

The file is open while it is sent, so it may be deleted meanwhile; its batches are checked as they are read, so what
the disk has spoilt is not passed on.
"""

from __future__ import annotations

from dohle.controller.snapshot_files import SnapshotFiles
from dohle.controller.snapshot_taker import SnapshotTaker
from dohle.model.errors import CorruptLog, OffsetNotAvailable
from dohle.rpc.identity import NodeIdentity
from dohle.rpc.v1 import controller_pb2
from dohle.runtime.network import Stream

Serving = Stream[controller_pb2.FetchSnapshotResponse, controller_pb2.FetchSnapshotRequest]


async def send_snapshot(stream: Serving, files: SnapshotFiles, taker: SnapshotTaker, identity: NodeIdentity) -> None:
    """Serves one FetchSnapshot stream. Raises OffsetNotAvailable where there is no snapshot that reaches so far."""
    opening = await stream.receive()
    if opening is None:
        return
    identity.check(opening.hello)
    snapshot = files.newest
    if snapshot.end_offset < max(opening.least_end_offset, 1):
        taker.want(opening.least_end_offset)
        raise OffsetNotAvailable(
            f"node {identity.node_id} has a snapshot up to offset {snapshot.end_offset} and none up to"
            f" {opening.least_end_offset} yet"
        )
    file = files.open(snapshot)
    try:
        size, position = file.size(), 0
        while batches := await files.whole_batches(snapshot, file, position):
            message = controller_pb2.FetchSnapshotResponse(batches=batches)
            if position == 0:
                message.hello.CopyFrom(identity.hello())
                message.end_offset, message.term, message.size_bytes = *snapshot, size
            await stream.send(message)
            position += len(batches)
    except CorruptLog:
        taker.want(snapshot.end_offset)
        raise
    finally:
        file.close()
