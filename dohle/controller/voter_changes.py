"""VoterChanges: who votes among the controllers, as an operator sees and changes it (raft.md, rules 5 and 6; KIP-853).

Keeps: one voter at a time; one is added only when it has the log; none is removed whose loss would leave no majority of
voters that answer. What cannot be is refused with the reason and what would work, before anything is changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from dohle.controller.controller import Controller
from dohle.controller.decision import Decision
from dohle.controller.quorum import Quorum
from dohle.model.errors import BrokerNotAvailable, InvalidRequest, VoterNotFound
from dohle.model.ids import NodeId
from dohle.model.image import ClusterImage
from dohle.model.metadata import Voter, Voters, check_levels
from dohle.raft.quorum import ReplicaKey
from dohle.rpc.v1 import admin_pb2
from dohle.runtime.clock import Clock
from dohle.runtime.network import Address

_ANSWERS_S = 1.0  # a voter that was silent for longer does not count as alive; heartbeats come four times as often
_CATCH_UP_S = 1.0  # a broker that passes a request on waits 2 s for the answer
_LOOK_AGAIN_S = 0.02
_MOST_VOTERS = 7
_UNHEARD = -1


class VoterChanges:
    """Works at the active controller; elsewhere all but `as_known` raises NotController."""

    def __init__(self, controller: Controller, clock: Clock) -> None:
        self._controller = controller
        self._quorum: Quorum = controller.quorum
        self._clock = clock

    async def describe(self) -> admin_pb2.DescribeQuorumResponse:
        """Returns who votes, who learns, and how far each of them is; linearizable."""
        await self._controller.change(lambda _: Decision((), None))
        return self.as_known()

    def as_known(self) -> admin_pb2.DescribeQuorumResponse:
        """Returns what this controller knows of it by itself; of the others' logs that is nothing unless it leads."""
        quorum = self._quorum
        return admin_pb2.DescribeQuorumResponse(
            leader_id=quorum.leader_id,
            term=quorum.term,
            committed_end=quorum.commit_offset,
            log_end=quorum.log_end_offset,
            voters=[self._replica(_key(voter), Address(voter.host, voter.port)) for voter in quorum.voters],
            learners=[self._replica(key, address) for key, address in quorum.learners().items()],
        )

    async def add(self, node_id: NodeId, directory_id: bytes = b"") -> bool:
        """Gives the connected controller `node_id` a vote once it has the log; tells whether it had none.

        With a directory's id: only if it is connected with that data folder.

        Raises VoterNotFound if there is none, BrokerNotAvailable while it lags, UnsupportedVersion or InvalidRequest if
        it may not be.
        """
        self._controller.pending  # noqa: B018 - raises NotController
        key, address = self._learner(node_id)
        if directory_id and key.directory_id != directory_id:
            raise VoterNotFound(f"node {node_id} has another data folder than the one that is named: {key}")
        if key in map(_key, self._quorum.voters):
            return False
        await self._caught_up(key)
        voter = Voter(key.node_id, key.directory_id, address.host, address.port)

        def decide(image: ClusterImage) -> Decision[bool]:
            voting = _voter_on(node_id, image.voters)
            if voting is not None:  # by another request, which came through while the learner caught up
                _check_same_folder(voting, key)
                return Decision((), False)
            self._check_settled()
            check_levels(image.features, self._quorum.supported_features().get(key, ()), f"node {node_id}")
            if len(image.voters) >= _MOST_VOTERS:
                raise InvalidRequest(f"{_MOST_VOTERS} controllers vote already, and more only make it slower")
            return self._decision(image, tuple(sorted((*image.voters, voter))), f"node {node_id} were added")

        return await self._controller.change(decide)

    async def remove(self, node_id: NodeId, directory_id: bytes = b"") -> bool:
        """Takes the vote of `node_id` away; tells whether it had one, so that it may be asked for again. With a
        directory's id: only the vote of that data folder. Raises InvalidRequest if it may not be."""

        def decide(image: ClusterImage) -> Decision[bool]:
            left = tuple(
                voter
                for voter in image.voters
                if voter.node_id != node_id or (directory_id and voter.directory_id != directory_id)
            )
            if len(left) == len(image.voters):
                return Decision((), False)
            if not left:
                raise InvalidRequest(
                    f"node {node_id} is the only voter, and without one there is no cluster: add another one first"
                )
            self._check_settled()
            return self._decision(image, left, f"node {node_id} were removed")

        return await self._controller.change(decide)

    async def transfer(self, node_id: NodeId | None) -> NodeId:
        """Lets the voter `node_id` decide, or the one that is furthest; returns who does then.

        Raises VoterNotFound, and InvalidRequest if nobody takes the office over; this node has it still.
        """
        self._controller.pending  # noqa: B018 - raises NotController
        quorum = self._quorum
        if node_id == quorum.identity.node_id:
            return quorum.identity.node_id
        key = next((_key(voter) for voter in quorum.voters if voter.node_id == node_id), None)
        if node_id is not None and key is None:
            raise VoterNotFound(f"node {node_id} has no vote, so it cannot decide; choose of {_names(quorum.voters)}")
        if not await quorum.transfer(key):
            whom = "no other voter took" if key is None else f"node {node_id} did not take"
            raise InvalidRequest(
                f"{whom} over within an election time-out: it is silent, or far behind; node "
                f"{quorum.identity.node_id} decides on. `dohle cluster voters list` shows who answers"
            )
        await self._controller.leader_found()
        return quorum.leader_id

    def _learner(self, node_id: NodeId) -> tuple[ReplicaKey, Address]:
        learners, voters = self._quorum.learners(), self._quorum.voters
        found = next((key for key in learners if key.node_id == node_id), None)
        voting = _voter_on(node_id, voters)
        if voting is not None and found is None:
            return _key(voting), Address(voting.host, voting.port)
        if voting is not None and found is not None:
            _check_same_folder(voting, found)
        if found is None:
            waiting = ", ".join(str(key.node_id) for key in learners) or "none"
            if self._controller.committed.is_active(node_id):
                raise VoterNotFound(
                    f"node {node_id} runs as a broker alone: give it the role controller as well and a new folder as "
                    "metadata_log_dir, prepare that with `dohle format --join --ignore-formatted`, and start it again"
                )
            raise VoterNotFound(
                f"node {node_id} is no controller that is connected without a vote (those are: {waiting}); format its"
                " folder with `dohle format --join`, and start it with the role controller and this cluster's voters;"
                " if that is done, its log says why it is not connected"
            )
        return found, learners[found]

    async def _caught_up(self, key: ReplicaKey) -> None:
        """Returns once the learner has on its disk what is committed now."""
        goal, deadline = self._quorum.commit_offset, self._clock.now() + _CATCH_UP_S
        while True:
            progress = self._quorum.progress_of(key)
            if progress is not None and progress.durable_end >= goal:
                return
            if self._clock.now() >= deadline:
                lacks = "answers nothing" if progress is None else f"lacks {goal - progress.durable_end} offsets"
                raise BrokerNotAvailable(f"node {key.node_id} {lacks} of the metadata log; ask again when it has them")
            await self._clock.sleep(_LOOK_AGAIN_S)

    def _check_settled(self) -> None:
        if not self._quorum.may_change_voters:
            raise InvalidRequest("another change of the voters is under way; ask again once it is committed")

    def _decision(self, image: ClusterImage, voters: tuple[Voter, ...], what: str) -> Decision[bool]:
        assert image.cluster_id is not None, "the log begins with the cluster's id"
        silent = [voter for voter in voters if not self._answers(voter)]
        needed = len(voters) // 2 + 1
        if len(voters) - len(silent) < needed:
            raise InvalidRequest(
                f"if {what}, {needed} of the {len(voters)} voters {_names(voters)} would have to agree, and "
                f"{_names(silent)} {'does' if len(silent) == 1 else 'do'} not answer: start those first, or remove them"
            )
        return Decision((Voters(image.cluster_id, voters),), True)

    def _answers(self, voter: Voter) -> bool:
        if voter.node_id == self._quorum.identity.node_id:
            return True
        progress = self._quorum.progress_of(_key(voter))
        return progress is not None and progress.silent_s < _ANSWERS_S

    def _replica(self, key: ReplicaKey, address: Address) -> admin_pb2.QuorumReplica:
        mine = key == self._quorum.key
        progress = None if mine else self._quorum.progress_of(key)
        return admin_pb2.QuorumReplica(
            node_id=key.node_id,
            directory_id=key.directory_id,
            host=address.host,
            port=address.port,
            durable_end=self._quorum.durable_end if mine else (progress.durable_end if progress else 0) or _UNHEARD,
            silent_ms=0 if mine else int(progress.silent_s * 1000) if progress else _UNHEARD,
        )


def _voter_on(node_id: NodeId, voters: Sequence[Voter]) -> Voter | None:
    return next((voter for voter in voters if voter.node_id == node_id), None)


def _check_same_folder(voting: Voter, key: ReplicaKey) -> None:
    if _key(voting) != key:
        raise InvalidRequest(
            f"node {key.node_id} votes with another data folder, {_key(voting)}: take that vote away first, with "
            f"`dohle cluster voters remove {key.node_id}`"
        )


def _key(voter: Voter) -> ReplicaKey:
    return ReplicaKey(voter.node_id, voter.directory_id)


def _names(voters: Sequence[Voter]) -> str:
    return ", ".join(str(voter.node_id) for voter in voters)
