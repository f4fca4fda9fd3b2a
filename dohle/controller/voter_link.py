"""What this voter says to one other voter: a stream of its own, dialled again whenever it breaks.

Raft bears the loss of any message, so nothing here waits: the few newest messages wait for the stream, older ones are
dropped, and what has gathered while one send was under way leaves as one envelope. The far side says nothing on this
stream after its Hello; reading on only shows when the stream breaks.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dohle.controller.raft_wire import CONVERSE, to_wire
from dohle.model.errors import DohleError, InvalidRequest, NetworkException
from dohle.model.ids import DirectoryId, IncarnationId, NodeId
from dohle.raft.core import Uniform
from dohle.raft.messages import Message
from dohle.raft.quorum import ReplicaKey
from dohle.rpc.identity import NodeIdentity
from dohle.rpc.v1 import common_pb2, raft_pb2
from dohle.runtime.clock import Clock
from dohle.runtime.network import Address, Dial, Lane, Network, Stream
from dohle.runtime.tasks import Tasks, cancel

log = logging.getLogger(__name__)

_MOST_WAITING = 16
_ENVELOPE_BYTES = 1 << 20
_HELLO_TIMEOUT_S = 3.0
_FIRST_BACKOFF_S = 0.05
_LONGEST_BACKOFF_S = 0.5

OnVoters = Callable[[Sequence[Address]], None]


@dataclass(frozen=True, slots=True)
class LinkEnds:
    """What every link of one controller needs: the seams, what it says first, and who is told what comes of it."""

    identity: NodeIdentity
    clock: Clock
    network: Network
    random: Uniform
    tasks: Tasks
    opening: Callable[[], raft_pb2.RaftEnvelope]
    on_hello: Callable[[ReplicaKey, IncarnationId], None]
    on_broken: Callable[[ReplicaKey], None]


class VoterLink:
    """The sending end towards `voter`; `run` keeps it up until it is cancelled.

    Without a voter it only knocks: whoever listens at the address learns that this node is here, and `on_voters` where
    the voters are.
    """

    def __init__(self, voter: ReplicaKey | None, address: Address, ends: LinkEnds, on_voters: OnVoters) -> None:
        self.voter = voter
        self.address = address
        self._ends = ends
        self._on_voters = on_voters
        self._waiting: deque[Message] = deque(maxlen=_MOST_WAITING)
        self._has_work = asyncio.Event()
        self._seen = asyncio.Event()
        self._said = ""

    @property
    def name(self) -> str:
        """For logs and tasks."""
        return "a controller" if self.voter is None else f"voter-{self.voter.node_id}"

    def send(self, message: Message) -> None:
        """Queues `message`; the oldest one falls out where too many wait."""
        self._waiting.append(message)
        self._has_work.set()

    def seen(self) -> None:
        """The voter has dialled this node, so it is there: dial it now."""
        self._seen.set()

    async def run(self) -> None:
        """Dials, sends until the stream breaks, and dials again after 50 to 500 ms, or when the voter is seen."""
        backoff_s = _FIRST_BACKOFF_S
        while True:
            was_open = False
            self._seen.clear()
            try:
                await self._check_listening()
                stream = self._ends.network.stream(self.address, CONVERSE, lane=Lane.CONTROL)
                try:
                    await self._open(stream)
                    was_open = True
                    self._say(f"connected to {self.name} at {self.address}")
                    await self._converse(stream)
                finally:
                    stream.close()
            except DohleError as error:
                self._say(f"no connection to {self.name} at {self.address}: {error.message}")
            if self.voter is not None:
                self._ends.on_broken(self.voter)
            backoff_s = _FIRST_BACKOFF_S if was_open or self._seen.is_set() else min(2 * backoff_s, _LONGEST_BACKOFF_S)
            try:
                async with asyncio.timeout(self._ends.random.uniform(backoff_s / 2, backoff_s)):
                    await self._seen.wait()
            except TimeoutError:
                pass

    async def _check_listening(self) -> None:
        """A connection of its own shows it for less; and one that is refused would make gRPC pause, for up to half a
        second, while the voter may be there any moment."""
        found = await self._ends.network.dial(self.address, timeout_s=_HELLO_TIMEOUT_S)
        if found is not Dial.ACCEPTED:
            raise NetworkException("nothing listens there" if found is Dial.REFUSED else "no answer")

    async def _open(self, stream: Stream[raft_pb2.RaftEnvelope, raft_pb2.RaftEnvelope]) -> None:
        try:
            async with asyncio.timeout(_HELLO_TIMEOUT_S):
                await stream.send(self._ends.opening())
                answer = await stream.receive()
        except TimeoutError:
            raise NetworkException(f"no answer within {_HELLO_TIMEOUT_S:g} s") from None
        if answer is None:
            raise NetworkException("it ended the conversation before it said who it is")
        found = key_of(answer.hello, self._ends.identity)
        if self.voter is None:
            self._on_voters([Address(voter.host, voter.port) for voter in answer.voters])
            return
        if found != self.voter:
            raise InvalidRequest(f"{found} answers there, not voter {self.voter}; check the addresses of the voters")
        self._ends.on_hello(self.voter, IncarnationId(answer.hello.incarnation_id))

    async def _converse(self, stream: Stream[raft_pb2.RaftEnvelope, raft_pb2.RaftEnvelope]) -> None:
        sending = self._ends.tasks.spawn(self._send_all(stream), f"to-{self.name}")
        try:
            await stream.receive()
        finally:
            await cancel(sending)

    async def _send_all(self, stream: Stream[raft_pb2.RaftEnvelope, raft_pb2.RaftEnvelope]) -> None:
        try:
            while True:
                await self._has_work.wait()
                await stream.send(self._gathered())
        except DohleError:
            stream.close()  # the receiving side sees it as well, and dials again

    def _gathered(self) -> raft_pb2.RaftEnvelope:
        """Takes the oldest messages, at least one, up to the envelope's size."""
        envelope = raft_pb2.RaftEnvelope()
        size_bytes = 0
        while self._waiting and size_bytes < _ENVELOPE_BYTES:
            wire = to_wire(self._waiting.popleft())
            size_bytes += len(wire.append_request.batches)
            envelope.messages.append(wire)
        if not self._waiting:
            self._has_work.clear()
        return envelope

    def _say(self, what: str) -> None:
        if what != self._said:
            self._said = what
            log.info("%s", what)


def key_of(hello: common_pb2.Hello, identity: NodeIdentity) -> ReplicaKey:
    """Returns who says `hello` to this node. Raises InconsistentClusterId if it belongs to another cluster."""
    identity.check(hello)
    if len(hello.directory_id) != 16 or len(hello.incarnation_id) != 16:
        raise InvalidRequest(f"node {hello.node_id} says hello without a directory id and an incarnation id")
    return ReplicaKey(NodeId(hello.node_id), DirectoryId(hello.directory_id))
