"""The in-sync set of a partition as its leader sees it (rule 7 of replication; KIP-497).

Two sets: the *committed* one, which the controller has agreed to, and the *maximal* one, which is what counts for the
high watermark: a growing set counts at once, since the controller may already have committed it and elected from it; a
shrinking one only when it is committed. One change is in flight at a time, and only an answer that says that the change
certainly did not happen takes it back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dohle.model.ids import NodeId


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change asked of the controller. `partition_epoch` is the one it builds on; `damaged` leave for damage."""

    members: tuple[NodeId, ...]
    partition_epoch: int
    damaged: tuple[NodeId, ...] = ()


class InSyncSet:
    """Committed members, and at most one proposal on its way."""

    def __init__(self, committed: Iterable[NodeId], partition_epoch: int) -> None:
        self.committed = tuple(sorted(committed))
        self.partition_epoch = partition_epoch
        self.proposal: Proposal | None = None

    @property
    def maximal(self) -> tuple[NodeId, ...]:
        """Everyone whom the controller has, or may have, in the set."""
        if self.proposal is None:
            return self.committed
        return tuple(sorted({*self.committed, *self.proposal.members}))

    def propose_join(self, node_id: NodeId) -> Proposal | None:
        """Returns the change to ask for, or None while another is in flight or nothing would change."""
        return self._propose({*self.committed, node_id})

    def propose_leave(self, leaving: Iterable[NodeId], *, at_least: int) -> Proposal | None:
        """Returns the change that takes out as many of `leaving` as leaves `at_least` members (amendment 1)."""
        spare = max(0, len(self.committed) - at_least)
        out = [node_id for node_id in self.committed if node_id in set(leaving)][:spare]
        return self._propose(set(self.committed) - set(out))

    def propose_without(self, damaged: Iterable[NodeId]) -> Proposal | None:
        """Returns the change that takes out the damaged, eligible ones too, whoever that leaves (rule 16)."""
        out = tuple(sorted(damaged))
        return self._propose(set(self.committed) - set(out), out)

    def _propose(self, members: set[NodeId], damaged: tuple[NodeId, ...] = ()) -> Proposal | None:
        changes = members != set(self.committed) or any(node_id not in self.committed for node_id in damaged)
        if self.proposal is not None or not changes:
            return None
        self.proposal = Proposal(tuple(sorted(members)), self.partition_epoch, damaged)
        return self.proposal

    def committed_as(self, members: Iterable[NodeId], partition_epoch: int) -> bool:
        """Takes what the controller committed, by its answer or by metadata; returns whether it was news."""
        if partition_epoch <= self.partition_epoch:
            return False
        self.committed = tuple(sorted(members))
        self.partition_epoch = partition_epoch
        self.proposal = None
        return True

    def refused(self, proposal: Proposal) -> None:
        """Takes back `proposal`, which certainly was not committed; a later one stays."""
        if self.proposal == proposal:
            self.proposal = None
