"""The Replication service: takes followers' streams and feeds them (`push_session`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from dohle.broker.push_session import FollowerStream, PushSession
from dohle.broker.replicas import Replicas
from dohle.broker.surroundings import Surroundings
from dohle.model.errors import DohleError, InvalidRequest
from dohle.model.ids import NodeId
from dohle.rpc.v1 import replication_pb2
from dohle.runtime.network import RequestContext

_MOST_BYTES = 1 << 20


class ReplicationService:
    """Each stream is one follower broker's; a new one of the same follower takes its partitions over one by one."""

    def __init__(self, surroundings: Surroundings, replicas: Replicas) -> None:
        self._surroundings = surroundings
        self._replicas = replicas

    async def follow(self, stream: FollowerStream, context: RequestContext) -> None:
        first = await stream.receive()
        if first is None:
            return
        if not first.HasField("opening"):
            raise InvalidRequest(f"the stream from {context.address} did not begin with an opening")
        self._surroundings.identity.check(first.opening.hello)
        session = PushSession(
            stream,
            NodeId(first.opening.hello.node_id),
            first.opening.broker_epoch,
            self._surroundings.identity.hello(),
            self._replicas.leading_for,
            self._surroundings.clock,
            self._replicas.catch_up_bounds,
        )
        name = f"follower {first.opening.hello.node_id}"
        tasks = [
            self._surroundings.tasks.spawn(_until_broken(session.send), f"pushes to {name}"),
            self._surroundings.tasks.spawn(session.catch_up(), f"catch-up of {name}"),
        ]
        try:
            await session.receive()
        finally:
            session.close()
            for task in tasks:
                task.cancel()

    async def read_batches(
        self, request: replication_pb2.ReadBatchesRequest, _context: RequestContext
    ) -> replication_pb2.ReadBatchesResponse:
        """Raises what a subscription is refused with, and DamagedReplica."""
        self._surroundings.identity.check(request.hello)
        leading = self._replicas.leading_for(NodeId(request.hello.node_id), request.broker_epoch, request)
        source = leading.log
        batches = b""
        if request.offset < source.high_watermark:
            most = min(request.max_bytes, _MOST_BYTES)
            batches = await source.read(request.offset, most, up_to=source.high_watermark, for_replica=True)
        return replication_pb2.ReadBatchesResponse(batches=batches)


async def _until_broken(send: Callable[[], Awaitable[None]]) -> None:
    try:
        await send()
    except DohleError:
        pass  # the stream's receiving side sees the break as well, and ends the session
