"""Leaders by an operator's word, and by the balance of leaders (KIP-460; replication.md, rule 13).

- A *preferred* election gives a partition back to the first of its assigned replicas, if that is in sync and active;
  replicas on brokers that are being drained come last.
- An *unclean* one lets a replica lead that is not in sync, where nobody in sync can, and only where the topic allows it
  (`unclean.leader.election.enable`): acknowledged records may be lost, and an alarm says so.
- Leaders drift to whoever stayed up. `balancing_elections` are of the preferred ones of brokers that lead too few of
  the partitions which prefer them, as `leader.imbalance.per.broker.percentage` bounds it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from dohle.controller.decision import MOST_CHANGES, Decision, failure_of
from dohle.controller.elections import Revisions, may_lead_uncleanly
from dohle.model.errors import (
    DohleError,
    ElectionNotNeeded,
    EligibleLeadersNotAvailable,
    PolicyViolation,
    PreferredLeaderNotAvailable,
    UnknownTopicOrPartition,
)
from dohle.model.ids import NO_NODE, NodeId, PartitionKey, TopicPartition
from dohle.model.image import ClusterImage, PartitionImage
from dohle.rpc.v1 import admin_pb2

MOST_BALANCED = 1000
"""Partitions that one look at the balance has led by others: what is left is for the next."""


class Elections:
    """Decides on the election of every partition by itself, in steps of `most`; `names_in` says which, at the first."""

    def __init__(
        self, names_in: Callable[[ClusterImage], Iterable[TopicPartition]], *, unclean: bool, most: int = MOST_CHANGES
    ) -> None:
        self._names_in = names_in
        self._unclean = unclean
        self._most = most
        self._left: deque[TopicPartition] | None = None
        self._response = admin_pb2.ElectLeadersResponse()

    def next(self, image: ClusterImage) -> Decision[admin_pb2.ElectLeadersResponse]:
        """Decides on the next step."""
        if self._left is None:
            self._left = deque(self._names_in(image))
        revisions = Revisions(image)
        for _ in range(min(self._most, len(self._left))):
            self._take(image, revisions, self._left.popleft())
        changes, alarms = tuple(revisions.changes), tuple(revisions.alarms)
        return Decision(changes, self._response, alarms, more=bool(self._left))

    def _take(self, image: ClusterImage, revisions: Revisions, name: TopicPartition) -> None:
        answer = self._response.partitions.add(topic=name.topic, partition=name.partition)
        try:
            key, partition = _found(image, name)
            _elect(image, revisions, key, partition, name, unclean=self._unclean)
            change = revisions.changes[-1]
            answer.leader, answer.leader_epoch = change.leader, change.leader_epoch
        except DohleError as error:
            answer.failure.CopyFrom(failure_of(error))


def wanted_elections(request: admin_pb2.ElectLeadersRequest) -> Elections:
    """Returns those of the partitions that a request names; without names, of all that need such an election."""
    unclean = request.election_type == admin_pb2.ELECTION_TYPE_UNCLEAN
    if request.partitions:
        return Elections(lambda image: _named(image, request), unclean=unclean)
    return Elections(lambda image: _in_need(image, unclean=unclean), unclean=unclean)


def balancing_elections(most_percent: int) -> Elections:
    """Returns those of the preferred leaders of every active broker that does not lead more than `most_percent` of the
    partitions that prefer it."""
    return Elections(lambda image: _out_of_balance(image, most_percent), unclean=False)


def _out_of_balance(image: ClusterImage, most_percent: int) -> list[TopicPartition]:
    preferring: dict[NodeId, int] = {}
    elsewhere: dict[NodeId, list[tuple[TopicPartition, PartitionImage]]] = {}
    for topic in image.topics_in_order():
        for number, partition in enumerate(topic.partitions):
            preferred = image.preferred_leader(partition)
            preferring[preferred] = preferring.get(preferred, 0) + 1
            if partition.leader != preferred:
                elsewhere.setdefault(preferred, []).append((TopicPartition(topic.name, number), partition))
    found = [
        name
        for preferred, partitions in sorted(elsewhere.items())
        if len(partitions) * 100 > most_percent * preferring[preferred]
        for name, partition in partitions
        if _can_take_over(image, partition)
    ]
    return found[:MOST_BALANCED]


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
