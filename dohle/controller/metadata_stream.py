"""The metadata stream: pushes the committed log to one broker, from where its own knowledge ends.

What is pushed are the log's batches as they lie on disk, read in bounded pieces: a broker that is far behind costs this
node no memory. Only the active controller pushes; when it is that no longer the stream ends by saying so. It ends as
well where the log begins behind the broker, or the broker begins with nothing: a snapshot is the way then.
"""

from __future__ import annotations

import asyncio

from dohle.controller.controller import Controller
from dohle.controller.decision import failure_of
from dohle.controller.quorum import Quorum
from dohle.model.batch import split_batches
from dohle.model.errors import DohleError, InvalidRequest, OffsetOutOfRange
from dohle.rpc.identity import NodeIdentity
from dohle.rpc.v1 import controller_pb2
from dohle.runtime.network import Stream
from dohle.runtime.tasks import Tasks, cancel

_PUSH_BYTES = 1 << 17
"""Bounds what a message takes of memory; a broker applies it by parts."""

Following = Stream[controller_pb2.FollowMetadataResponse, controller_pb2.FollowMetadataRequest]


async def push_metadata(stream: Following, controller: Controller, identity: NodeIdentity, tasks: Tasks) -> None:
    """Serves one FollowMetadata stream until it breaks, or until this node stops being active."""
    opening = await stream.receive()
    if opening is None:
        return
    identity.check(opening.hello)
    quorum = controller.quorum
    await controller.leader_found()
    if controller.is_active:
        if opening.next_offset > quorum.applied_offset:
            await _check_is_committed(opening, quorum)
        await stream.send(
            controller_pb2.FollowMetadataResponse(
                hello=identity.hello(), leader_id=identity.node_id, committed_end=quorum.applied_offset
            )
        )
    due = asyncio.Event()
    controller.watch(due)
    listening = tasks.spawn(_until_end(stream, due), f"metadata-of-{opening.hello.node_id}")
    try:
        await _push(stream, controller, opening.next_offset, due, listening)
    finally:
        controller.unwatch(due)
        await cancel(listening)


async def _check_is_committed(opening: controller_pb2.FollowMetadataRequest, quorum: Quorum) -> None:
    """Raises InvalidRequest where a broker has what this cluster has not, NotController where this node cannot tell.

    It may have been deposed and not have heard of it, or have applied less yet than it has committed: the broker
    began with what a voter beside it has applied.
    """
    committed_end = await quorum.read_barrier()
    if opening.next_offset > committed_end:
        raise InvalidRequest(
            f"node {opening.hello.node_id} has metadata up to offset {opening.next_offset}, this cluster only up to "
            f"{committed_end}; its data folder belongs to another cluster, or the controllers lost data"
        )


async def _push(
    stream: Following, controller: Controller, offset: int, due: asyncio.Event, listening: asyncio.Task[None]
) -> None:
    quorum, served = controller.quorum, controller.is_active
    while not listening.done():
        due.clear()
        if not controller.is_active:
            if served:
                await controller.leader_found()  # who has just handed over can say to whom a moment later
            await stream.send(_refusal(quorum))
            return
        newest = quorum.snapshots.files.newest
        try:
            batches = await quorum.read_committed(offset, _PUSH_BYTES) if offset or not newest.end_offset else None
        except OffsetOutOfRange:
            batches = None
        if batches is None:
            await stream.send(
                controller_pb2.FollowMetadataResponse(
                    snapshot_end_offset=max(quorum.log_start_offset, 1), leader_id=quorum.leader_id
                )
            )
            return
        if batches:
            *_, (_, last) = split_batches(batches)
            offset = last.next_offset
            await stream.send(
                controller_pb2.FollowMetadataResponse(
                    batches=batches, committed_end=quorum.applied_offset, leader_id=quorum.leader_id
                )
            )
        else:
            await due.wait()


def _refusal(quorum: Quorum) -> controller_pb2.FollowMetadataResponse:
    """Returns what a broker is told by a controller that is not the active one: whom to ask instead, if it knows."""
    leader = next((voter for voter in quorum.voters if voter.node_id == quorum.leader_id), None)
    return controller_pb2.FollowMetadataResponse(
        failure=failure_of(quorum.not_controller()),
        leader_id=quorum.leader_id,
        leader_host="" if leader is None else leader.host,
        leader_port=0 if leader is None else leader.port,
    )


async def _until_end(stream: Following, due: asyncio.Event) -> None:
    """The broker has nothing more to say: what comes is the stream's end."""
    try:
        await stream.receive()
    except DohleError:
        pass  # the push finds out as well
    finally:
        due.set()
