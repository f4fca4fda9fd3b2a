"""The Raft service: what the other voters say to this one, each on a stream that it keeps to this node."""

from __future__ import annotations

from dohle.controller.quorum import Quorum
from dohle.controller.raft_wire import RAFT, from_wire
from dohle.rpc.methods import service
from dohle.rpc.v1 import raft_pb2
from dohle.runtime.network import RequestContext, Service, Stream


class RaftService:
    """Hands what comes in to the quorum. The answers leave by the streams that this node keeps itself."""

    def __init__(self, quorum: Quorum) -> None:
        self._quorum = quorum

    def as_service(self) -> Service:
        return service(RAFT, self)

    async def converse(
        self, stream: Stream[raft_pb2.RaftEnvelope, raft_pb2.RaftEnvelope], _context: RequestContext
    ) -> None:
        """Refuses nodes of other clusters; then takes messages until the stream breaks."""
        opening = await stream.receive()
        if opening is None:
            return
        source = self._quorum.greet(opening)
        try:
            await stream.send(self._quorum.answer_to(source))
            while (envelope := await stream.receive()) is not None:
                for message in envelope.messages:
                    self._quorum.receive(from_wire(message, source, self._quorum.key))
        finally:
            self._quorum.part(source)
