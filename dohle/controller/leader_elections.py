"""Leaders by an operator's word, and by the balance of leaders (KIP-460; replication.md, rule 13).

- A *preferred* election gives a partition back to the first of its assigned replicas, if that is in sync and active;
  replicas on brokers that are being drained come last.
- An *unclean* one lets a replica lead that is not in sync, where nobody in sync can, and only where the topic allows it
  (`unclean.leader.election.enable`): acknowledged records may be lost, and an alarm says so.
- Leaders drift to whoever stayed up. `balanced_leaders` elects the preferred ones of brokers that lead too few of the
  partitions which prefer them, as `leader.imbalance.per.broker.percentage` bounds it.
"""

from __future__ import annotations

from collections.abc import Iterator

from dohle.controller.decision import Decision, failure_of
from dohle.controller.elections import Revisions, may_lead_uncleanly
from dohle.model.errors import (
    DohleError,
    ElectionNotNeeded,
    EligibleLeadersNotAvailable,
    InvalidRequest,
    PolicyViolation,
    PreferredLeaderNotAvailable,
    UnknownTopicOrPartition,
)
from dohle.model.ids import NO_NODE, NodeId, PartitionKey, TopicPartition
from dohle.model.image import ClusterImage, PartitionImage
from dohle.rpc.v1 import admin_pb2

MOST_ELECTIONS = 1000
"""In one batch of the metadata log: what is left is for the next check, or the next request."""


def elect_leaders(
    image: ClusterImage, request: admin_pb2.ElectLeadersRequest
) -> Decision[admin_pb2.ElectLeadersResponse]:
    """Decides on every named partition by itself; without names, on all that need such an election."""
    unclean = request.election_type == admin_pb2.ELECTION_TYPE_UNCLEAN
    response = admin_pb2.ElectLeadersResponse()
    revisions = Revisions(image)
    names = _named(image, request) if request.partitions else _in_need(image, unclean=unclean)
    for name in names:
        answer = response.partitions.add(topic=name.topic, partition=name.partition)
        try:
            key, partition = _found(image, name)
            if len(revisions.changes) >= MOST_ELECTIONS:
                raise InvalidRequest(f"one request elects at most {MOST_ELECTIONS} leaders: ask again for the rest")
            _elect(image, revisions, key, partition, name, unclean=unclean)
            change = revisions.changes[-1]
            answer.leader, answer.leader_epoch = change.leader, change.leader_epoch
        except DohleError as error:
            answer.failure.CopyFrom(failure_of(error))
    return Decision(tuple(revisions.changes), response, tuple(revisions.alarms))


def balanced_leaders(image: ClusterImage, most_percent: int) -> Decision[int]:
    """Elects the preferred leaders of every active broker that does not lead more than `most_percent` of the partitions
    that prefer it; the answer is how many."""
    preferring: dict[NodeId, int] = {}
    elsewhere: dict[NodeId, list[tuple[PartitionKey, PartitionImage]]] = {}
    for topic in image.topics_in_order():
        for number, partition in enumerate(topic.partitions):
            preferred = image.preferred_leader(partition)
            preferring[preferred] = preferring.get(preferred, 0) + 1
            if partition.leader != preferred:
                elsewhere.setdefault(preferred, []).append((PartitionKey(topic.topic_id, number), partition))
    revisions = Revisions(image)
    for preferred in sorted(elsewhere):
        if len(elsewhere[preferred]) * 100 <= most_percent * preferring[preferred]:
            continue
        for key, partition in elsewhere[preferred]:
            if _can_take_over(image, partition) and len(revisions.changes) < MOST_ELECTIONS:
                revisions.elect(key, partition, preferred)
    return Decision(tuple(revisions.changes), len(revisions.changes))


def _named(image: ClusterImage, request: admin_pb2.ElectLeadersRequest) -> list[TopicPartition]:
    names: dict[TopicPartition, None] = {}
    for wanted in request.partitions:
        topic = image.topic_named(wanted.topic)
        every = range(len(topic.partitions)) if topic is not None else range(1)  # of an unknown one, to say so
        names.update(dict.fromkeys(TopicPartition(wanted.topic, number) for number in wanted.partitions or every))
    return list(names)


def _in_need(image: ClusterImage, *, unclean: bool) -> Iterator[TopicPartition]:
    for topic in image.topics_in_order():
        for number, partition in enumerate(topic.partitions):
            if unclean:
                in_need = partition.leader == NO_NODE and topic.config.unclean_leader_election_enable
            else:
                in_need = partition.leader != image.preferred_leader(partition)
            if in_need:
                yield TopicPartition(topic.name, number)


def _found(image: ClusterImage, name: TopicPartition) -> tuple[PartitionKey, PartitionImage]:
    topic = image.topic_named(name.topic)
    if topic is None:
        raise UnknownTopicOrPartition(f"there is no topic {name.topic}")
    if not 0 <= name.partition < len(topic.partitions):
        raise UnknownTopicOrPartition(f"topic {topic.name} has no partition {name.partition}")
    return PartitionKey(topic.topic_id, name.partition), topic.partitions[name.partition]


def _can_take_over(image: ClusterImage, partition: PartitionImage) -> bool:
    preferred = image.preferred_leader(partition)
    return (
        preferred in partition.in_sync_replicas
        and image.is_active(preferred)
        and partition.doubt_about(preferred) is None
    )


def _elect(
    image: ClusterImage,
    revisions: Revisions,
    key: PartitionKey,
    partition: PartitionImage,
    name: TopicPartition,
    *,
    unclean: bool,
) -> None:
    preferred = image.preferred_leader(partition)
    if not unclean:
        if partition.leader == preferred:
            raise ElectionNotNeeded(f"broker {preferred}, the preferred leader of {name}, leads it")
        if not _can_take_over(image, partition):
            raise PreferredLeaderNotAvailable(
                f"broker {preferred} cannot lead {name} now: in sync are {list(partition.in_sync_replicas)}, and it is"
                f" {'available' if image.is_active(preferred) else 'not available'}; wait until it is both"
            )
        revisions.elect(key, partition, preferred)
        return
    if partition.leader != NO_NODE:
        raise ElectionNotNeeded(f"broker {partition.leader} leads {name}")
    if not image.topics[key.topic_id].config.unclean_leader_election_enable:
        raise PolicyViolation(
            f"{name} would lose acknowledged records: its topic does not allow unclean elections. Bring back one of"
            f" brokers {list(partition.in_sync_replicas)}, or accept the loss by setting unclean.leader.election.enable"
        )
    candidate = may_lead_uncleanly(
        image, partition, [node for node in partition.assigned_replicas if image.is_offline(node, key)]
    )
    if candidate == NO_NODE:
        raise EligibleLeadersNotAvailable(
            f"none of the replicas of {name}, {list(partition.assigned_replicas)}, is available: start one of them"
        )
    revisions.elect(key, partition, candidate)
