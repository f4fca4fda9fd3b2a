"""Incarnations: which process of each other controller was heard last, which of them led, and which are proven gone.

A process that led and is proven gone (replication.md, rule 18) costs no election timeout: a stream to it that breaks,
or another incarnation under its name, starts a probe or is the proof. Leaves out what follows from it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from dohle.model.ids import IncarnationId, NodeId
from dohle.raft.effects import Effect
from dohle.raft.node import RaftNode
from dohle.raft.quorum import ReplicaKey
from dohle.rpc.probe import probe
from dohle.runtime.clock import Clock
from dohle.runtime.network import Address, Network
from dohle.runtime.tasks import Tasks

log = logging.getLogger(__name__)


class Incarnations:
    """Those of one quorum, told to its Raft `node`. `tasks` owns the probes; `address_of` says where they go."""

    def __init__(
        self,
        node: RaftNode,
        network: Network,
        clock: Clock,
        tasks: Tasks,
        address_of: Callable[[ReplicaKey], Address | None],
        carry_out: Callable[[Sequence[Effect]], None],
    ) -> None:
        self._node = node
        self._network = network
        self._clock = clock
        self._tasks = tasks
        self._address_of = address_of
        self._carry_out = carry_out
        self._heard: dict[ReplicaKey, IncarnationId] = {}
        self._ended: dict[NodeId, IncarnationId] = {}  # proven to be; the last one of each node
        self._probing: dict[ReplicaKey, None] = {}
        self._led: tuple[ReplicaKey, float] | None = None  # who was last heard as the leader, and when

    def has_ended(self, node_id: NodeId, incarnation_id: IncarnationId) -> bool:
        """Whether this incarnation of a controller is proven to run no longer."""
        return self._ended.get(node_id) == incarnation_id

    def heard(self, voter: ReplicaKey) -> None:
        """A message of another voter has been taken in."""
        if self._node.leader == voter:
            self._led = voter, self._clock.now()

    def last_leader(self) -> tuple[NodeId, IncarnationId, float] | None:
        """Returns the process that led before this node took office, and when it was last heard; once.

        None where this process has heard nobody lead, or has told already. Whoever is elected has all that was
        committed, and has it from those who led: a leader that was not heard here has decided nothing.
        """
        led, self._led = self._led, None
        incarnation = None if led is None else self._heard.get(led[0])
        return None if led is None or incarnation is None else (led[0].node_id, incarnation, led[1])

    def heard_hello(self, voter: ReplicaKey, incarnation: IncarnationId) -> None:
        """Another incarnation is proof that the one before is gone; it can lead only in a later term."""
        before = self._heard.get(voter)
        self._heard[voter] = incarnation
        if self.has_ended(voter.node_id, incarnation):  # its connections were refused, and yet it lives
            del self._ended[voter.node_id]
        if before is None or before == incarnation:
            return
        self._ended[voter.node_id] = before
        if self._node.leader == voter:
            self._carry_out(self._node.leader_gone(self._clock.now(), voter.node_id, self._node.term))

    def stream_broke(self, voter: ReplicaKey) -> None:
        """A stream with `voter` has ended, or could not be opened: if it leads, asks whether it is still there."""
        incarnation, address = self._heard.get(voter), self._address_of(voter)
        if incarnation is None or address is None or voter in self._probing:
            return
        if self._node.leader == voter:
            self._probing[voter] = None
            self._tasks.spawn(self._probe(voter, address, incarnation, self._node.term), f"probe-{voter.node_id}")

    async def _probe(self, voter: ReplicaKey, address: Address, incarnation: IncarnationId, term: int) -> None:
        try:
            verdict = await probe(self._network, self._clock, address, incarnation)
        finally:
            del self._probing[voter]
        if verdict.proves_end:
            self._ended[voter.node_id] = incarnation
            log.warning("the leader of term %d, node %d, is %s", term, voter.node_id, verdict.value)
            self._carry_out(self._node.leader_gone(self._clock.now(), voter.node_id, term))
