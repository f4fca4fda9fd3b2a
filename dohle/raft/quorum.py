"""Who votes, and when they are a majority: the arithmetic of a quorum, and nothing else.

A voter is a node id *and* a directory id (rule 5, KIP-853): a node whose disk was wiped is somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from dohle.model.ids import DirectoryId, NodeId, id_text


class ReplicaKey(NamedTuple):
    """One replica of the Raft log: a node, and the data folder that it keeps the log in."""

    node_id: NodeId
    directory_id: DirectoryId

    def __str__(self) -> str:
        return f"{self.node_id}:{id_text(self.directory_id)}"


@dataclass(frozen=True, slots=True)
class VoterSet:
    """The voters, in order of their keys. Build it with `of`."""

    voters: tuple[ReplicaKey, ...]

    @staticmethod
    def of(voters: Iterable[ReplicaKey]) -> VoterSet:
        """Returns the set of `voters`. At least one, no node twice."""
        ordered = tuple(sorted(voters))
        assert ordered, "a quorum has at least one voter"
        assert len({voter.node_id for voter in ordered}) == len(ordered), f"a node votes twice: {ordered}"
        return VoterSet(ordered)

    def differs_by_one_from(self, other: VoterSet) -> bool:
        """Tells whether one voter was added or removed, so that every majority of one meets every one of the other."""
        return len(set(self.voters).symmetric_difference(other.voters)) == 1

    def __contains__(self, key: object) -> bool:
        return key in self.voters

    @property
    def majority(self) -> int:
        """How many voters decide."""
        return len(self.voters) // 2 + 1

    def others(self, key: ReplicaKey) -> tuple[ReplicaKey, ...]:
        """Returns every voter but `key`, in order."""
        return tuple(voter for voter in self.voters if voter != key)

    def reached_by_majority(self, marks: Mapping[ReplicaKey, float]) -> float:
        """Returns the highest mark that a majority of the voters has reached; every voter must have one.

        Marks are anything that grows: durable end offsets, times of contact, rounds of heartbeats.
        """
        return sorted((marks[voter] for voter in self.voters), reverse=True)[self.majority - 1]

    def has_majority(self, agreeing: Iterable[ReplicaKey]) -> bool:
        """Tells whether those `agreeing` include a majority of the voters."""
        return len(set(agreeing).intersection(self.voters)) >= self.majority


NO_VOTERS = VoterSet(())
"""What a node that is to join knows before anybody has told it: nobody's majority, so nobody is elected by it."""
