"""What a Raft node shows of itself: who leads, who votes, how far everybody is. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from dohle.raft.candidate import Candidate, Prospective
from dohle.raft.core import Core
from dohle.raft.follower import Follower
from dohle.raft.leader import Leader
from dohle.raft.log_view import LogView
from dohle.raft.progress import Progress
from dohle.raft.quorum import ReplicaKey, VoterSet

Role: TypeAlias = Follower | Prospective | Candidate | Leader


class RaftView:
    """The readable side of `node.RaftNode`."""

    __slots__ = ("_core", "_role")

    _core: Core
    _role: Role

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do; None: never. It moves with every input."""
        role = self._role
        if isinstance(role, Leader):
            deadline = role.deadline(self._core)
            return None if deadline == float("inf") else deadline
        return role.deadline if self._core.may_stand else None

    @property
    def term(self) -> int:
        """The highest term that this node has seen."""
        return self._core.term

    @property
    def leader(self) -> ReplicaKey | None:
        """Who leads this term, as far as is known."""
        match self._role:
            case Leader():
                return self._core.key
            case Follower(leader=leader):
                return leader
            case _:
                return None

    @property
    def role(self) -> str:
        """The present role: follower, prospective, candidate or leader."""
        return type(self._role).__name__.lower()

    @property
    def is_leader(self) -> bool:
        """Whether this node leads, as far as it knows: it may append."""
        return isinstance(self._role, Leader)

    @property
    def is_ready(self) -> bool:
        """Whether this node leads, and its no-op is committed: LeaderReady was returned."""
        return isinstance(self._role, Leader) and self._role.is_ready

    @property
    def is_transferring(self) -> bool:
        """Whether this node leads and is handing its office over: it may not append."""
        return isinstance(self._role, Leader) and self._role.is_transferring

    @property
    def voters(self) -> VoterSet:
        """Who votes, as far as this node's log says."""
        return self._core.voters

    @property
    def may_change_voters(self) -> bool:
        """Whether this node leads, and a change of the voters may be appended now (rule 5)."""
        return isinstance(self._role, Leader) and self._role.may_change_voters(self._core)

    @property
    def progress(self) -> Mapping[ReplicaKey, Progress]:
        """How far the other voters and the learners are; empty if this node does not lead."""
        return self._role.progress() if isinstance(self._role, Leader) else {}

    @property
    def commit_offset(self) -> int:
        """Everything below is committed; the newest snapshot's end after a start, until a leader tells."""
        return self._core.commit_offset

    @property
    def log(self) -> LogView:
        """The view of the log, for reading. It is ahead of the log itself while effects are being carried out."""
        return self._core.log
