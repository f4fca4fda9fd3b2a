"""AlterPartitions: a leader proposes in-sync sets (KIP-497, KIP-841, KIP-903; replication.md, rule 11, as amended).

The checks are made in the rule's order. Whoever *joins* must be registered, unfenced, not shutting down, and of the
broker epoch that the leader knows. Members that were there before stay as they are, fenced ones too, since below the
effective min.insync.replicas nobody leaves over silence: a proposal that would go there is not attempted.

Damaged ones leave whatever the minimum is. If the leader is one of them another member leads, in the same record; while
no other can, the leader stays, damaged as it is (rule 16).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from dohle.controller.decision import MOST_CHANGES, Decision, failure_of, registered
from dohle.controller.elections import Revisions, enough_remain
from dohle.model.errors import (
    DohleError,
    FencedLeaderEpoch,
    IneligibleReplica,
    InvalidRequest,
    InvalidUpdateVersion,
    NotController,
    OperationNotAttempted,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from dohle.model.ids import NodeId, PartitionKey, TopicId, id_text
from dohle.model.image import ClusterImage, PartitionImage
from dohle.rpc.v1.controller_pb2 import (
    AlteredPartition,
    AlterPartition,
    AlterPartitionsRequest,
    AlterPartitionsResponse,
)


class IsrProposals:
    """Decides on every proposed ISR of a request by itself, in steps of `most`."""

    def __init__(self, request: AlterPartitionsRequest, most: int = MOST_CHANGES) -> None:
        self._request = request
        self._most = most
        self._left = deque(request.partitions)
        self._seen: set[PartitionKey] = set()
        self._response = AlterPartitionsResponse()

    def next(self, image: ClusterImage) -> Decision[AlterPartitionsResponse]:
        """Decides on the next step. Raises, for all that is left of the request, as `registered` does."""
        broker = registered(image, NodeId(self._request.broker_id), self._request.broker_epoch)
        revisions = Revisions(image)
        for _ in range(min(self._most, len(self._left))):
            self._response.partitions.append(self._answer(image, revisions, broker.node_id, self._left.popleft()))
        changes, alarms = tuple(revisions.changes), tuple(revisions.alarms)
        return Decision(changes, self._response, alarms, more=bool(self._left))

    def _answer(
        self, image: ClusterImage, revisions: Revisions, leader: NodeId, proposal: AlterPartition
    ) -> AlteredPartition:
        key = PartitionKey(TopicId(proposal.topic_id), proposal.partition)
        try:
            if key in self._seen:
                raise InvalidRequest(f"partition {key} is named twice in one request")
            self._seen.add(key)
            answer = _alter(image, revisions, leader, key, proposal)
        except DohleError as error:
            answer = AlteredPartition(failure=failure_of(error))
        answer.topic_id = proposal.topic_id
        answer.partition = proposal.partition
        return answer


def _alter(
    image: ClusterImage, revisions: Revisions, leader: NodeId, key: PartitionKey, proposal: AlterPartition
) -> AlteredPartition:
    before = _partition(image, key)
    _check_epochs(before, leader, proposal)
    members = {NodeId(member.broker_id): member.broker_epoch for member in proposal.in_sync_replicas}
    if len(members) != len(proposal.in_sync_replicas):
        raise InvalidRequest(f"the proposed ISR names a broker twice: {sorted(members)}")
    strangers = [node for node in members if node not in before.assigned_replicas]
    if strangers:
        raise InvalidRequest(f"brokers {strangers} are not among the replicas {list(before.assigned_replicas)}")
    damaged = [NodeId(node) for node in proposal.damaged_replicas]
    if leader not in members and leader not in damaged:
        raise InvalidRequest(f"the leader, {leader}, is not in the proposed ISR {sorted(members)}")
    for node, broker_epoch in members.items():
        if node not in before.in_sync_replicas:
            _check_joining(image, key, node, broker_epoch)
    if leader not in members and not _some_can_lead(image, before, members):
        raise OperationNotAttempted(
            f"broker {leader} is damaged, and no other member of {sorted(members)} can lead now"
        )
    shrinks = any(node not in members and node not in damaged for node in before.in_sync_replicas)
    if shrinks and not enough_remain(image, key, members):
        raise OperationNotAttempted(
            f"the ISR stays {list(before.in_sync_replicas)}: fewer live members than min.insync.replicas would remain"
        )
    change = revisions.revise(key, before, isr=members, lost=damaged)
    now = before if change is None else change
    return AlteredPartition(
        leader=now.leader,
        leader_epoch=now.leader_epoch,
        partition_epoch=now.partition_epoch,
        in_sync_replicas=now.in_sync_replicas,
        min_insync_replicas=image.topics[key.topic_id].effective_min_insync(key.partition),
    )


def _some_can_lead(image: ClusterImage, before: PartitionImage, members: Collection[NodeId]) -> bool:
    """Whether, of these members, one was there before, is active and beyond doubt."""
    return any(
        node in before.in_sync_replicas and image.is_active(node) and before.doubt_about(node) is None
        for node in members
    )


def _partition(image: ClusterImage, key: PartitionKey) -> PartitionImage:
    if key.topic_id not in image.topics:
        raise UnknownTopicId(f"there is no topic with id {id_text(key.topic_id)}; it may have been deleted")
    partition = image.partition(key)
    if partition is None:
        raise UnknownTopicOrPartition(f"topic {image.topics[key.topic_id].name} has no partition {key.partition}")
    return partition


def _check_epochs(before: PartitionImage, leader: NodeId, proposal: AlterPartition) -> None:
    if proposal.leader_epoch > before.leader_epoch or proposal.partition_epoch > before.partition_epoch:
        raise NotController(
            f"the leader knows leader epoch {proposal.leader_epoch} and partition epoch {proposal.partition_epoch}, "
            f"this controller only {before.leader_epoch} and {before.partition_epoch}: it is out of date"
        )
    if proposal.leader_epoch < before.leader_epoch:
        raise FencedLeaderEpoch(f"leader epoch {proposal.leader_epoch} is over, {before.leader_epoch} has begun")
    if before.leader != leader:
        raise InvalidRequest(f"broker {leader} does not lead the partition in epoch {before.leader_epoch}")
    if proposal.partition_epoch < before.partition_epoch:
        raise InvalidUpdateVersion(
            f"partition epoch {proposal.partition_epoch} is over, {before.partition_epoch} has begun"
        )


def _check_joining(image: ClusterImage, key: PartitionKey, node: NodeId, broker_epoch: int) -> None:
    broker = image.brokers.get(node)
    if broker is None:
        raise IneligibleReplica(f"broker {node} is not registered")
    if broker.fenced:
        raise IneligibleReplica(f"broker {node} is fenced")
    if broker.shutting_down:
        raise IneligibleReplica(f"broker {node} is shutting down")
    if key in broker.offline_replicas:
        raise IneligibleReplica(f"the replica of broker {node} lies in a directory that has failed")
    if broker.broker_epoch != broker_epoch:
        raise IneligibleReplica(f"broker {node} has epoch {broker.broker_epoch}, not {broker_epoch}")
