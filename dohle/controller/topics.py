"""Topics come, grow, change and go. Each topic of a command succeeds or fails by itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain, product

from dohle.controller.decision import Decision, failure_of
from dohle.controller.elections import Revisions
from dohle.controller.group_configs import alter_group_configs
from dohle.controller.placement import Random, place
from dohle.model.errors import (
    DohleError,
    InvalidConfig,
    InvalidPartitions,
    InvalidReplicaAssignment,
    InvalidReplicationFactor,
    InvalidRequest,
    InvalidTopic,
    TopicAlreadyExists,
    UnknownTopicOrPartition,
)
from dohle.model.ids import NO_NODE, NodeId, PartitionKey, TopicId, new_id
from dohle.model.image import ClusterImage, TopicImage
from dohle.model.image_apply import apply_batch
from dohle.model.internal_topics import check_may_go, check_may_grow, check_may_have
from dohle.model.metadata import MetadataRecord, Partition, RemoveTopic, Topic, TopicOverride
from dohle.model.snapshot_names import check_writable, is_snapshot
from dohle.model.topic_config import ConfigType, check_topic_name, config_key, validate_overrides
from dohle.rpc.v1 import admin_pb2

MOST_PARTITIONS = 10_000
"""Of one topic, and in one command: all of it is one batch of the metadata log."""

_MOST_VARIANTS_BITS = 8
"""So many dots and underscores: 256 names are looked for; past that all topics are gone through."""
_DEFAULT = -1
_UNCLEAN_ELECTIONS = "unclean.leader.election.enable"
_MIN_IN_SYNC = "min.insync.replicas"
_RESERVED_NAMES = frozenset({"__cluster_metadata"})


@dataclass(frozen=True, slots=True)
class TopicDefaults:
    """What a topic gets when its creator does not say."""

    partitions: int = 1
    replication_factor: int = 3  # or as many as there are brokers, if fewer


def create_topics(
    image: ClusterImage, request: admin_pb2.CreateTopicsRequest, *, defaults: TopicDefaults, random: Random
) -> Decision[admin_pb2.CreateTopicsResponse]:
    """Decides on new topics; the ids of the topics and the replicas' places come from `random`."""
    response = admin_pb2.CreateTopicsResponse()
    records: list[MetadataRecord] = []
    counts = Counter(topic.name for topic in request.topics)
    room = MOST_PARTITIONS
    for topic in request.topics:
        try:
            _check_named_once(topic.name, counts)
            taken = _taken_before(image, topic)
            if taken is not None:
                response.topics.append(
                    admin_pb2.CreatedTopic(
                        name=taken.name,
                        topic_id=taken.topic_id,
                        partitions=len(taken.partitions),
                        replication_factor=taken.partitions[0].replication_factor,
                    )
                )
                continue
            check_new_name(image, topic.name)
            if is_snapshot(topic.name):
                raise InvalidTopic(f"{topic.name}: names like this are those of snapshots: choose another one")
            overrides = _entries(topic.configs)
            validate_overrides(overrides)
            check_may_have(topic.name, overrides)
            assignments = _assignments(image, topic, defaults, random, room)
        except DohleError as error:
            response.topics.append(admin_pb2.CreatedTopic(name=topic.name, failure=failure_of(error)))
            continue
        room -= len(assignments)
        topic_id = TopicId(topic.topic_ids[-1] if topic.topic_ids else new_id(random))
        records.append(Topic(topic_id, topic.name))
        records.extend(TopicOverride(topic_id, name, value) for name, value in sorted(overrides.items()))
        records.extend(_new_partitions(image, topic_id, 0, assignments))
        created = admin_pb2.CreatedTopic(
            name=topic.name,
            topic_id=topic_id,
            partitions=len(assignments),
            replication_factor=len(assignments[0]),
        )
        response.topics.append(created)
    return Decision(() if request.validate_only else tuple(records), response)


def delete_topics(
    image: ClusterImage, request: admin_pb2.DeleteTopicsRequest
) -> Decision[admin_pb2.DeleteTopicsResponse]:
    """Decides on topics to delete."""
    response = admin_pb2.DeleteTopicsResponse()
    records: list[MetadataRecord] = []
    counts = Counter(request.topics)
    if len(request.topic_ids) not in (0, len(request.topics)):
        raise InvalidRequest("give an id for each of the topics, or none at all")
    for name, topic_id in zip(request.topics, request.topic_ids or [b""] * len(request.topics), strict=True):
        try:
            _check_named_once(name, counts)
            topic = existing_topic(image, name, topic_id)
            check_may_go(topic.name)
        except DohleError as error:
            response.topics.append(admin_pb2.DeletedTopic(name=name, failure=failure_of(error)))
            continue
        records.append(RemoveTopic(topic.topic_id))
        response.topics.append(admin_pb2.DeletedTopic(name=name, topic_id=topic.topic_id))
    return Decision(tuple(records), response)


def create_partitions(
    image: ClusterImage, request: admin_pb2.CreatePartitionsRequest, *, random: Random
) -> Decision[admin_pb2.CreatePartitionsResponse]:
    """Decides on partitions to add; they get the replication factor of the topic's first one."""
    response = admin_pb2.CreatePartitionsResponse()
    records: list[MetadataRecord] = []
    counts = Counter(wanted.topic for wanted in request.topics)
    room = MOST_PARTITIONS
    for wanted in request.topics:
        answer = response.topics.add(topic=wanted.topic)
        try:
            _check_named_once(wanted.topic, counts)
            topic = existing_topic(image, wanted.topic, wanted.topic_id)
            check_writable(topic.name)
            check_may_grow(topic.name)
            present = len(topic.partitions)
            if wanted.total_count <= present:
                raise InvalidPartitions(
                    f"topic {topic.name} has {present} partitions: it can only get more, not {wanted.total_count}"
                )
            _check_partitions(wanted.total_count, MOST_PARTITIONS)
            _check_partitions(wanted.total_count - present, room)
            replication_factor = len(topic.partitions[0].target_replicas)
            if wanted.assignments:
                assignments = _added_by_hand(image, wanted, present, replication_factor)
            else:
                assignments = _placed(image, wanted.total_count - present, replication_factor, random)
        except DohleError as error:
            answer.failure.CopyFrom(failure_of(error))
            continue
        room -= len(assignments)
        records.extend(_new_partitions(image, topic.topic_id, present, assignments))
    return Decision(() if request.validate_only else tuple(records), response)


def alter_configs(
    image: ClusterImage, request: admin_pb2.AlterConfigsRequest
) -> Decision[admin_pb2.AlterConfigsResponse]:
    """Decides on overrides of topics and of groups: what is set, and what goes back to its default."""
    response = admin_pb2.AlterConfigsResponse()
    records: list[MetadataRecord] = []
    counts = Counter(wanted.topic for wanted in request.topics)
    for wanted in request.topics:
        answer = response.topics.add(topic=wanted.topic)
        try:
            _check_named_once(wanted.topic, counts)
            topic = existing_topic(image, wanted.topic)
            check_writable(topic.name)
            changes = _override_changes(topic, wanted)
        except DohleError as error:
            answer.failure.CopyFrom(failure_of(error))
            continue
        records.extend(changes)
    records.extend(alter_group_configs(image, request, response))
    if request.validate_only:
        return Decision((), response)
    revisions = _consequences(image, records)
    return Decision((*records, *revisions.changes), response, tuple(revisions.alarms))


def _consequences(image: ClusterImage, records: Sequence[MetadataRecord]) -> Revisions:
    """Finds what follows for partitions from these overrides.

    Who was eligible beside another min.insync.replicas is so no more (KIP-966). Where unclean elections are allowed
    from now on, partitions without a leader get one.
    """
    names: dict[TopicId, set[str]] = {}
    for record in records:
        if isinstance(record, TopicOverride) and record.name in (_UNCLEAN_ELECTIONS, _MIN_IN_SYNC):
            names.setdefault(record.topic_id, set()).add(record.name)
    revisions = Revisions(apply_batch(image, records, image.next_offset) if names else image)
    for topic_id, changed in names.items():
        for number, partition in enumerate(image.topics[topic_id].partitions):
            key = PartitionKey(topic_id, number)
            if _MIN_IN_SYNC in changed and partition.eligible_replicas:
                revisions.revise(key, partition, eligible=())
            elif _UNCLEAN_ELECTIONS in changed and partition.leader == NO_NODE:
                revisions.revise(key, partition)
    return revisions


def _check_named_once(name: str, counts: Counter[str]) -> None:
    if counts[name] > 1:
        raise InvalidRequest(f"topic {name} is named {counts[name]} times in one request: name it once")


def _taken_before(image: ClusterImage, topic: admin_pb2.NewTopic) -> TopicImage | None:
    """Returns what an earlier attempt at the same request has made. Raises InvalidRequest for ids that are none."""
    if any(len(one) != 16 for one in topic.topic_ids):
        raise InvalidRequest("a topic's id has 16 bytes")
    existing = image.topic_named(topic.name)
    if existing is not None and existing.topic_id in topic.topic_ids:
        return existing
    if any(TopicId(one) in image.topics or TopicId(one) in image.forks for one in topic.topic_ids):
        raise InvalidRequest(f"an id for {topic.name} is another topic's")
    return None


def check_new_name(image: ClusterImage, name: str) -> None:
    """Raises InvalidTopic, TopicAlreadyExists."""
    check_topic_name(name)
    if name in _RESERVED_NAMES:
        raise InvalidTopic(f"{name} is the cluster's own: choose another name")
    if name in image.topic_ids:
        raise TopicAlreadyExists(f"topic {name} exists")
    if taken := _alike(image, name):
        raise InvalidTopic(f"{name} and the topic {taken} differ in '.' and '_' alone: choose another name")
    if any(fork.name == name for fork in image.forks_in_order()):
        raise TopicAlreadyExists(f"topic {name} is being forked")


def _alike(image: ClusterImage, name: str) -> str | None:
    """Returns a topic whose name is another one only for dots and underscores: in metrics both would have one name."""
    places = [place for place, sign in enumerate(name) if sign in "._"]
    if len(places) > _MOST_VARIANTS_BITS:
        plain = name.replace(".", "_")
        return next((one for one in sorted(image.topic_ids) if one.replace(".", "_") == plain), None)
    parts = re.split("[._]", name)
    for signs in product("._", repeat=len(places)):
        variant = "".join(chain.from_iterable(zip(parts, (*signs, ""), strict=True)))
        if variant in image.topic_ids:
            return variant
    return None


def existing_topic(image: ClusterImage, name: str, topic_id: bytes = b"") -> TopicImage:
    """Raises UnknownTopicOrPartition, also where an id is given and the topic of that name is another one."""
    topic = image.topic_named(name)
    if topic is None:
        raise UnknownTopicOrPartition(f"there is no topic {name}")
    if topic_id and topic.topic_id != topic_id:
        raise UnknownTopicOrPartition(f"the topic {name} that was asked for is gone; there is another one of that name")
    return topic


def _check_partitions(count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise InvalidPartitions(
            f"{count} partitions: a topic, and one request in all, can have 1 to {MOST_PARTITIONS}"
            + (f", and {most} are left to this request" if most < MOST_PARTITIONS else "")
        )


def _assignments(
    image: ClusterImage, topic: admin_pb2.NewTopic, defaults: TopicDefaults, random: Random, room: int
) -> list[tuple[NodeId, ...]]:
    """Returns the replicas of each partition of a new topic."""
    if topic.assignments:
        return _assigned_by_hand(image, topic, room)
    replication_factor = topic.replication_factor
    if replication_factor == _DEFAULT:
        replication_factor = max(1, min(defaults.replication_factor, len(image.brokers)))
    if replication_factor < 1:
        raise InvalidReplicationFactor(f"replication factor {replication_factor}: it must be at least 1")
    partitions = defaults.partitions if topic.partitions == _DEFAULT else topic.partitions
    _check_partitions(partitions, room)
    return _placed(image, partitions, replication_factor, random)


def _placed(image: ClusterImage, partitions: int, replication_factor: int, random: Random) -> list[tuple[NodeId, ...]]:
    """Places on active brokers; where they are too few, the rest of the replicas goes to those that are down.

    Those that drain get none.
    """
    active = [broker for broker in image.brokers_in_order() if broker.active and not broker.draining]
    down = [broker for broker in image.brokers_in_order() if not broker.active and not broker.draining]
    draining = [broker.node_id for broker in image.brokers_in_order() if broker.draining]
    missing = replication_factor - len(active)
    if replication_factor < 1 or missing > len(down) or not active:
        raise InvalidReplicationFactor(
            f"replication factor {replication_factor}: it must be at least 1 and at most the number of registered "
            f"brokers that take replicas, which is {len(active) + len(down)} ({len(active)} of them available"
            f"{_not_those(draining)}): start more brokers or ask for fewer replicas"
        )
    if missing <= 0:
        return place(active, partitions=partitions, replication_factor=replication_factor, random=random)
    first = place(active, partitions=partitions, replication_factor=len(active), random=random)
    rest = place(down, partitions=partitions, replication_factor=missing, random=random, beside=active)
    return [leaders + others for leaders, others in zip(first, rest, strict=True)]


def _not_those(draining: Sequence[NodeId]) -> str:
    return f"; {list(draining)} are being drained, and take none" if draining else ""


def _assigned_by_hand(image: ClusterImage, topic: admin_pb2.NewTopic, room: int) -> list[tuple[NodeId, ...]]:
    if topic.partitions != _DEFAULT or topic.replication_factor != _DEFAULT:
        raise InvalidRequest("with replicas assigned by hand, leave partitions and replication factor at -1")
    _check_partitions(len(topic.assignments), room)
    chosen = {entry.partition: tuple(NodeId(node) for node in entry.replicas) for entry in topic.assignments}
    if sorted(chosen) != list(range(len(topic.assignments))):
        raise InvalidReplicaAssignment("name every partition from 0 on exactly once")
    assignments = [chosen[number] for number in range(len(chosen))]
    _check_by_hand(image, assignments, 0, len(assignments[0]))
    return assignments


def _added_by_hand(
    image: ClusterImage, wanted: admin_pb2.NewPartitions, present: int, replication_factor: int
) -> list[tuple[NodeId, ...]]:
    added = wanted.total_count - present
    if len(wanted.assignments) != added:
        raise InvalidReplicaAssignment(
            f"{added} partitions are added to {wanted.topic}, and replicas are given for {len(wanted.assignments)}"
        )
    assignments = [tuple(NodeId(node) for node in entry.replicas) for entry in wanted.assignments]
    _check_by_hand(image, assignments, present, replication_factor)
    return assignments


def _check_by_hand(
    image: ClusterImage, assignments: Sequence[tuple[NodeId, ...]], first: int, replication_factor: int
) -> None:
    """Raises InvalidReplicaAssignment unless the partitions from `first` on can have these replicas."""
    for number, replicas in enumerate(assignments, first):
        unknown = [node for node in replicas if node not in image.brokers]
        if not replicas or len(replicas) != replication_factor:
            raise InvalidReplicaAssignment(
                f"partition {number} needs as many replicas as the others, {max(1, replication_factor)}:"
                f" {list(replicas)} are given"
            )
        if len(set(replicas)) != len(replicas):
            raise InvalidReplicaAssignment(f"partition {number} names a broker twice: {list(replicas)}")
        if unknown:
            raise InvalidReplicaAssignment(f"partition {number} names brokers that are not registered: {unknown}")
        if draining := [node for node in replicas if image.is_draining(node)]:
            raise InvalidReplicaAssignment(
                f"partition {number} names brokers that are being drained, and get no new replicas: {draining}"
            )
        if not any(image.is_active(node) for node in replicas):
            raise InvalidReplicaAssignment(f"none of partition {number}'s brokers {list(replicas)} is available")


def _new_partitions(
    image: ClusterImage, topic_id: TopicId, first: int, assignments: Sequence[tuple[NodeId, ...]]
) -> list[MetadataRecord]:
    records: list[MetadataRecord] = []
    for number, replicas in enumerate(assignments, first):
        members = tuple(node for node in replicas if image.is_active(node))
        records.append(Partition(topic_id, number, replicas, members, members[0]))
    return records


def _entries(entries: Sequence[admin_pb2.ConfigEntry]) -> dict[str, str]:
    values = {entry.name: entry.value for entry in entries}
    if len(values) < len(entries):
        raise InvalidConfig("a configuration key is given twice: give each one once")
    return values


def _override_changes(topic: TopicImage, wanted: admin_pb2.AlterTopicConfigs) -> list[TopicOverride]:
    changes: dict[str, str | None] = dict.fromkeys(topic.overrides) if wanted.replace else {}
    changes |= _entries(wanted.set)
    for name in wanted.remove:
        config_key(name)
        if changes.get(name) is not None:
            raise InvalidConfig(f"{name} is both set and taken back to its default: choose one")
        changes[name] = None
    for entry in wanted.append:
        changes[entry.name] = ",".join([*(items := _items(topic, entry.name)), *_new(entry.value, items)])
    for entry in wanted.subtract:
        changes[entry.name] = ",".join(_new(",".join(_items(topic, entry.name)), entry.value.split(",")))
    result = {name: value for name, value in {**topic.overrides, **changes}.items() if value is not None}
    validate_overrides(result)
    check_may_have(topic.name, result)
    return [
        TopicOverride(topic.topic_id, name, value)
        for name, value in sorted(changes.items())
        if topic.overrides.get(name) != value
    ]


def _items(topic: TopicImage, name: str) -> list[str]:
    """Returns what the topic's list has. Raises InvalidConfig where the key is no list's."""
    key = config_key(name)
    if key.type is not ConfigType.LIST:
        raise InvalidConfig(f"{name} is no list, so nothing can be appended to it or subtracted from it")
    text = topic.overrides.get(name, key.default_text)
    return text.split(",") if text else []


def _new(text: str, items: Collection[str]) -> list[str]:
    """Returns the items of a list that are not among those."""
    taken = [item.strip() for item in items]
    return [item for item in dict.fromkeys(one.strip() for one in text.split(",")) if item not in taken]
