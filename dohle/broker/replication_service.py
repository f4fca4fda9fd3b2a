"""The Replication service: takes followers' streams and feeds them (`push_session`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from dohle.broker.push_session import FollowerStream, PushSession
from dohle.broker.replicas import Replicas
from dohle.broker.surroundings import Surroundings
from dohle.model.errors import DohleError, InvalidRequest
from dohle.model.ids import NodeId
from dohle.runtime.network import RequestContext


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


async def _until_broken(send: Callable[[], Awaitable[None]]) -> None:
    try:
        await send()
    except DohleError:
        pass  # the stream's receiving side sees the break as well, and ends the session
