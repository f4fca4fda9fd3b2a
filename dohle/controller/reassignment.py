"""Reassignments: a partition's replicas move to other brokers while it is written and read (KIP-455, rule 14).

A plan is taken as a whole or not at all: everything is checked before anything changes, and what is refused says why,
and what would work. From then on the partition has the replicas of both sides; it ends when all targets are in sync,
which `elections` sees, and can be taken back until then.

What is not here: how far the replicas that are added have come, which their brokers know.
"""

from __future__ import annotations

from collections import Counter

from dohle.controller.decision import Decision, failure_of
from dohle.controller.elections import Revisions, enough_remain
from dohle.controller.replica_sets import ReplicaSets, moving_to, taken_back
from dohle.model.errors import (
    DohleError,
    InvalidReplicaAssignment,
    InvalidReplicationFactor,
    InvalidRequest,
    InvalidUpdateVersion,
    NoReassignmentInProgress,
    NotEnoughReplicas,
    OperationNotAttempted,
    ReassignmentInProgress,
    UnknownTopicOrPartition,
)
from dohle.model.ids import NodeId, PartitionKey, TopicPartition
from dohle.model.image import ClusterImage, PartitionImage, TopicImage
from dohle.model.metadata import MetadataRecord, ReassignmentThrottle
from dohle.rpc.v1 import admin_pb2

MOST_REASSIGNMENTS = 10_000
"""In one request, all of which is one batch of the metadata log."""

ANY_EPOCH = -1
"""In place of a partition epoch: the plan does not say on which state it was made."""


def alter_partition_reassignments(
    image: ClusterImage, request: admin_pb2.AlterPartitionReassignmentsRequest
) -> Decision[admin_pb2.AlterPartitionReassignmentsResponse]:
    """Decides on a plan: either all of it begins, or none, unless each part stands by itself; each says why not."""
    if len(request.partitions) > MOST_REASSIGNMENTS:
        raise InvalidRequest(
            f"{len(request.partitions)} reassignments in one request: at most {MOST_REASSIGNMENTS} are taken; split it"
        )
    if request.HasField("throttle_bytes_per_s") and request.throttle_bytes_per_s < 0:
        raise InvalidRequest("a throttle is a number of bytes a second, or 0 for none")
    response = admin_pb2.AlterPartitionReassignmentsResponse()
    revisions = Revisions(image)
    counts = Counter((wanted.topic, wanted.partition) for wanted in request.partitions)
    refused = False
    for wanted in request.partitions:
        answer = response.partitions.add(topic=wanted.topic, partition=wanted.partition)
        try:
            if counts[wanted.topic, wanted.partition] > 1:
                raise InvalidRequest(f"{_name(wanted)} is named twice in one plan: name it once")
            _alter(image, revisions, wanted, request)
        except DohleError as error:
            answer.failure.CopyFrom(failure_of(error))
            refused = True
    if refused and not request.each_by_itself:
        untouched = OperationNotAttempted("nothing was changed, since other parts of the plan are refused")
        for answer in response.partitions:
            if not answer.failure.code:
                answer.failure.CopyFrom(failure_of(untouched))
        return Decision((), response)
    if request.validate_only:
        return Decision((), response)
    records: tuple[MetadataRecord, ...] = (*_throttle(image, request), *revisions.changes)
    return Decision(records, response, tuple(revisions.alarms))


def list_partition_reassignments(
    image: ClusterImage, _request: admin_pb2.ListPartitionReassignmentsRequest
) -> Decision[admin_pb2.ListPartitionReassignmentsResponse]:
    """Says which reassignments have not ended."""
    response = admin_pb2.ListPartitionReassignmentsResponse(throttle_bytes_per_s=image.reassignment_bytes_per_s)
    for name, partition in sorted(_ongoing(image)):
        response.partitions.add(
            topic=name.topic,
            partition=name.partition,
            partition_epoch=partition.partition_epoch,
            leader=partition.leader,
            replicas=partition.assigned_replicas,
            adding_replicas=partition.adding_replicas,
            removing_replicas=partition.removing_replicas,
            in_sync_replicas=partition.in_sync_replicas,
        )
    return Decision((), response)


def _ongoing(image: ClusterImage) -> list[tuple[TopicPartition, PartitionImage]]:
    return [
        (TopicPartition(image.topics[key.topic_id].name, key.partition), partition)
        for key in sorted(image.reassigning)
        if (partition := image.partition(key)) is not None
    ]


def _throttle(image: ClusterImage, request: admin_pb2.AlterPartitionReassignmentsRequest) -> list[MetadataRecord]:
    """Returns the record of a new bound. One that nobody named is over with the reassignments that it was meant for."""
    bound = image.reassignment_bytes_per_s if image.reassigning else 0
    if request.HasField("throttle_bytes_per_s"):
        bound = request.throttle_bytes_per_s
    return [] if bound == image.reassignment_bytes_per_s else [ReassignmentThrottle(bound)]


def _name(wanted: admin_pb2.WantedReassignment) -> str:
    return f"{wanted.topic}-{wanted.partition}"


def _alter(
    image: ClusterImage,
    revisions: Revisions,
    wanted: admin_pb2.WantedReassignment,
    request: admin_pb2.AlterPartitionReassignmentsRequest,
) -> None:
    topic = image.topic_named(wanted.topic)
    if topic is None:
        raise UnknownTopicOrPartition(f"there is no topic {wanted.topic}")
    if not 0 <= wanted.partition < len(topic.partitions):
        raise UnknownTopicOrPartition(
            f"topic {topic.name} has no partition {wanted.partition}: it has 0 to {len(topic.partitions) - 1}"
        )
    key = PartitionKey(topic.topic_id, wanted.partition)
    before = topic.partitions[wanted.partition]
    if wanted.partition_epoch not in (ANY_EPOCH, before.partition_epoch):
        raise InvalidUpdateVersion(
            f"the plan is out of date: it was made when {_name(wanted)} was in partition epoch"
            f" {wanted.partition_epoch}, and it is in {before.partition_epoch}: make it anew"
        )
    if wanted.cancel:
        _cancel(image, revisions, key, before, _name(wanted))
        return
    targets = tuple([NodeId(node) for node in wanted.replicas])
    if before.is_reassigning and targets == before.target_replicas:
        return  # asked for again
    _check_targets(image, topic, before, targets, _name(wanted))
    if request.keep_replication_factor and len(targets) != before.replication_factor:
        raise InvalidReplicationFactor(
            f"{_name(wanted)} has {before.replication_factor} replicas, and the plan names {len(targets)}"
        )
    if before.is_reassigning and not request.replace:
        raise ReassignmentInProgress(
            f"{_name(wanted)} is on its way to brokers {list(before.target_replicas)}: wait for its end, or cancel it"
        )
    _revise(image, revisions, key, before, moving_to(before, targets), _name(wanted))


def _cancel(image: ClusterImage, revisions: Revisions, key: PartitionKey, before: PartitionImage, name: str) -> None:
    if not before.is_reassigning:
        raise NoReassignmentInProgress(
            f"{name} is not being reassigned: its replicas are {list(before.assigned_replicas)}"
        )
    _revise(image, revisions, key, before, taken_back(before), name)


def _revise(
    image: ClusterImage,
    revisions: Revisions,
    key: PartitionKey,
    before: PartitionImage,
    replicas: ReplicaSets,
    name: str,
) -> None:
    """Raises NotEnoughReplicas where too few of those who are in sync would stay."""
    members = [node for node in before.in_sync_replicas if node in replicas.assigned]
    leaves = len(members) < len(before.in_sync_replicas)
    if not members or (leaves and not enough_remain(image, key, members)):
        raise NotEnoughReplicas(
            f"{name} needs the replicas that were added: without them only {members} would be in sync. Wait until more"
            f" of {list(replicas.assigned)} are, or let it go on"
        )
    revisions.revise(key, before, isr=members, replicas=replicas)


def _check_targets(
    image: ClusterImage, topic: TopicImage, before: PartitionImage, targets: tuple[NodeId, ...], name: str
) -> None:
    active = [broker.node_id for broker in image.brokers_in_order() if broker.active and not broker.draining]
    if len(set(targets)) != len(targets):
        raise InvalidReplicaAssignment(f"{name} names a broker twice: {list(targets)}")
    least = max(1, min(topic.config.min_insync_replicas, before.replication_factor))
    if len(targets) < least:
        raise InvalidReplicaAssignment(
            f"{name} needs at least {least} replicas, since min.insync.replicas is {topic.config.min_insync_replicas},"
            f" and the plan names {list(targets)}: name more brokers, or lower min.insync.replicas first"
        )
    unknown = [node for node in targets if node not in image.brokers]
    if unknown:
        raise InvalidReplicaAssignment(
            f"{name} names brokers that are not registered, {unknown}: available are {active}"
        )
    coming = [node for node in targets if node not in before.assigned_replicas]
    choice = [node for node in active if node not in targets] or active
    if draining := [node for node in coming if image.is_draining(node)]:
        raise InvalidReplicaAssignment(
            f"{name} would move to brokers that are being drained, and get no new replicas, {draining}: choose among"
            f" {choice}, or end that first, with `dohle cluster drain {draining[0]} --cancel`"
        )
    down = [node for node in coming if not image.is_active(node)]
    if down:
        raise InvalidReplicaAssignment(
            f"{name} would move to brokers that are fenced or shutting down, {down}: start them first, or choose among"
            f" {choice}"
        )
