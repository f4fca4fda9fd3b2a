"""CreateTopics, DeleteTopics, CreatePartitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dohle.kafka.declaration import NO_UUID
from dohle.kafka.messages.topics import CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest
from tests.differential.cases import Cases, all_versions
from tests.differential.cases.cluster import ILLEGAL
from tests.differential.cases.produce import NO_SUCH_ID
from tests.differential.sides import Side

NONE: Mapping[str, str | None] = {}

CREATE = Cases(19)


def new(
    name: str,
    partitions: int = 1,
    replicas: int = 1,
    configs: Mapping[str, str | None] = NONE,
    assigned: Mapping[int, Sequence[int]] | None = None,
) -> CreateTopicsRequest.Topic:
    return CreateTopicsRequest.Topic(
        name=name,
        num_partitions=partitions,
        replication_factor=replicas,
        configs=[CreateTopicsRequest.Topic.Config(name=key, value=value) for key, value in configs.items()],
        assignments=[
            CreateTopicsRequest.Topic.Assignment(partition_index=index, broker_ids=list(brokers))
            for index, brokers in (assigned or {}).items()
        ],
    )


def create(*topics: CreateTopicsRequest.Topic, **how: Any) -> CreateTopicsRequest:
    return CreateTopicsRequest(**{"topics": list(topics), "timeout_ms": 10_000, **how})


def configured(side: Side, **configs: str | None) -> CreateTopicsRequest:
    return create(new(side.fresh(), configs={name.replace("_", "."): value for name, value in configs.items()}))


good, bad = CREATE.good, CREATE.bad
good("one topic", lambda side: create(new(side.fresh())), all_versions(19))
good("three partitions", lambda side: create(new(side.fresh(), 3)))
good("two topics", lambda side: create(new(side.fresh()), new(side.fresh())))
good("no topics", lambda _: create())
good("the cluster's defaults", lambda side: create(new(side.fresh(), -1, -1)), all_versions(19, 4))
good("a name with all signs", lambda side: create(new(side.fresh() + ".a_B-9")))
good("a name of 249 letters", lambda side: create(new(side.fresh().ljust(249, "x"))))
good("assigned", lambda side: create(new(side.fresh(), -1, -1, assigned={0: [1], 1: [1]})))
good("assigned, not in order", lambda side: create(new(side.fresh(), -1, -1, assigned={1: [1], 0: [1]})))
good("with a configuration", lambda side: configured(side, retention_ms="1000"))
good("only to be validated", lambda side: create(new(side.fresh()), validate_only=True), all_versions(19))
bad("a time-out of 0", lambda side: create(new(side.fresh()), timeout_ms=0))
bad("a negative time-out", lambda side: create(new(side.fresh()), timeout_ms=-1))
good("blanks around a number", lambda side: configured(side, retention_ms=" 1000 "))
good("a policy of two", lambda side: configured(side, cleanup_policy="compact,delete"))
good("a policy of two with blanks", lambda side: configured(side, cleanup_policy="compact, delete"))
good("retention for ever", lambda side: configured(side, retention_ms="-1"))
bad("no partitions", lambda side: create(new(side.fresh(), 0)), all_versions(19))
bad("-2 partitions", lambda side: create(new(side.fresh(), -2)))
bad("no replicas", lambda side: create(new(side.fresh(), 1, 0)), all_versions(19))
bad("-2 replicas", lambda side: create(new(side.fresh(), 1, -2)))
bad("more replicas than brokers", lambda side: create(new(side.fresh(), 1, 3)), all_versions(19))
bad("neither partitions nor replicas", lambda side: create(new(side.fresh(), 0, 0)))
bad("one that is there", lambda side: create(new(side.topic())), all_versions(19))
bad("one that is there, only to be validated", lambda side: create(new(side.topic()), validate_only=True))
bad("one twice", lambda side: create(*[new(side.fresh())] * 2), all_versions(19))
bad("one twice beside another", lambda side: create(*[new(side.fresh())] * 2, new(side.fresh())))
bad("dots and underscores alike", lambda side: create(new(side.topic("a.b").replace("a.b", "a_b"))))
good("dots elsewhere than underscores", lambda side: create(new(side.topic("a.b").replace("a.b", "ab_"))))
bad("one good and one bad", lambda side: create(new(side.fresh()), new("no/such")))
for name, text in ILLEGAL.items():
    bad(f"a name {name}", lambda _, text=text: create(new(text)), [2, 7])
bad("a name with a slash, only to be validated", lambda _: create(new("no/such"), validate_only=True))
bad("an internal topic that is there or not", lambda _: create(new("__cluster_metadata")))
bad(
    "assigned to an unknown broker", lambda side: create(new(side.fresh(), -1, -1, assigned={0: [9]})), all_versions(19)
)
bad("assigned to a negative broker", lambda side: create(new(side.fresh(), -1, -1, assigned={0: [-1]})))
bad("assigned to one broker twice", lambda side: create(new(side.fresh(), -1, -1, assigned={0: [1, 1]})))
bad("assigned to nobody", lambda side: create(new(side.fresh(), -1, -1, assigned={0: []})))
bad("assigned with a gap", lambda side: create(new(side.fresh(), -1, -1, assigned={0: [1], 2: [1]})))
bad("assigned not from 0 on", lambda side: create(new(side.fresh(), -1, -1, assigned={1: [1]})))
bad("assigned and counted", lambda side: create(new(side.fresh(), 1, -1, assigned={0: [1]})), all_versions(19))
bad("assigned with a factor", lambda side: create(new(side.fresh(), -1, 1, assigned={0: [1]})))
bad("assigned unevenly", lambda side: create(new(side.fresh(), -1, -1, assigned={0: [1], 1: [1, 1]})))

VALUES = {
    "an unknown configuration": {"no_such": "1"},
    "a configuration without a name": {"": "1"},
    "words for a number": {"retention_ms": "soon"},
    "a fraction for a whole number": {"retention_ms": "1.5"},
    "digits in groups": {"retention_ms": "1_000"},
    "a number below its bounds": {"retention_ms": "-2"},
    "a number that is too large": {"retention_ms": str(1 << 63)},
    "an int that is too large": {"max_message_bytes": str(1 << 31)},
    "a negative size": {"max_message_bytes": "-1"},
    "a segment of 13 bytes": {"segment_bytes": "13"},
    "an index of 3 bytes": {"segment_index_bytes": "3"},
    "an empty number": {"retention_ms": ""},
    "a switch that is none": {"unclean_leader_election_enable": "maybe"},
    "a policy that is none": {"cleanup_policy": "keep"},
    "a policy of two, one of which is none": {"cleanup_policy": "delete,keep"},
    "a codec that is none": {"compression_type": "zip"},
    "a time that is none": {"message_timestamp_type": "Sometime"},
    "a ratio over 1": {"min_cleanable_dirty_ratio": "1.5"},
    "a negative ratio": {"min_cleanable_dirty_ratio": "-0.5"},
    "words for a ratio": {"min_cleanable_dirty_ratio": "half"},
    "no replica in sync": {"min_insync_replicas": "0"},
    "lags that contradict each other": {"min_compaction_lag_ms": "9", "max_compaction_lag_ms": "1"},
    "messages to flush, none": {"flush_messages": "0"},
    "a time to roll of 0": {"segment_ms": "0"},
    "null": {"retention_ms": None},
    "null for an unknown configuration": {"no_such": None},
}
for name, configs in VALUES.items():
    bad(f"{name}", lambda side, configs=configs: configured(side, **configs), [2, 7])
    bad(
        f"{name}, only to be validated",
        lambda side, configs=configs: create(
            new(side.fresh(), configs={key.replace("_", "."): value for key, value in configs.items()}),
            validate_only=True,
        ),
        [7],
    )
good("no policy at all", lambda side: configured(side, cleanup_policy=""), [2, 7])
good("a switch in capitals", lambda side: configured(side, unclean_leader_election_enable="TRUE"), [2, 7])

DELETE = Cases(20)


def delete(*names: str, topic_ids: Sequence[bytes] = (), **how: Any) -> DeleteTopicsRequest:
    by_id = [DeleteTopicsRequest.Topic(topic_id=topic_id) for topic_id in topic_ids]
    by_name = [DeleteTopicsRequest.Topic(name=name, topic_id=NO_UUID) for name in names]
    return DeleteTopicsRequest(**{"topics": by_name + by_id, "topic_names": list(names), "timeout_ms": 10_000, **how})


DELETE.good("one topic", lambda side: delete(side.topic()), all_versions(20))
DELETE.good("two topics", lambda side: delete(side.topic(), side.topic()), all_versions(20))
DELETE.good("by its id", lambda side: delete(topic_ids=[side.id_of(side.topic())]), [6])
DELETE.good("none", lambda _: delete(), all_versions(20))
DELETE.bad("a negative time-out", lambda side: delete(side.topic(), timeout_ms=-1))
DELETE.bad("a time-out of 0", lambda side: delete(side.topic(), timeout_ms=0))
DELETE.bad("an unknown topic", lambda side: delete(side.fresh()), all_versions(20))
DELETE.bad("an unknown topic and a known one", lambda side: delete(side.fresh(), side.topic()), all_versions(20))
DELETE.bad("a topic twice", lambda side: delete(*[side.topic()] * 2), all_versions(20))
DELETE.bad("a topic three times", lambda side: delete(*[side.topic()] * 3))
DELETE.bad("an unknown id", lambda _: delete(topic_ids=[NO_SUCH_ID]), [6])
DELETE.bad("an unknown id twice", lambda _: delete(topic_ids=[NO_SUCH_ID] * 2), [6])
DELETE.bad("neither name nor id", lambda _: delete(topic_ids=[NO_UUID]), [6])
DELETE.bad("by name and id", lambda side: both(side, same=True), [6])
DELETE.bad("by name and another's id", lambda side: both(side, same=False), [6])
DELETE.bad("by name and by id", lambda side: once_each(side), [6])
DELETE.bad("an unknown topic twice", lambda side: delete(*[side.fresh()] * 2))
for name, text in ILLEGAL.items():
    DELETE.bad(f"a name {name}", lambda _, text=text: delete(text), [1, 6])


def both(side: Side, *, same: bool) -> DeleteTopicsRequest:
    name = side.topic()
    topic_id = side.id_of(name if same else side.topic())
    return delete(topics=[DeleteTopicsRequest.Topic(name=name, topic_id=topic_id)])


def once_each(side: Side) -> DeleteTopicsRequest:
    name = side.topic()
    return delete(name, topic_ids=[side.id_of(name)])


GROW = Cases(37)


def grow(name: str, count: int, assigned: Sequence[Sequence[int]] | None = None, **how: Any) -> CreatePartitionsRequest:
    assignments = None
    if assigned is not None:
        assignments = [CreatePartitionsRequest.Topic.Assignment(broker_ids=list(one)) for one in assigned]
    topic = CreatePartitionsRequest.Topic(name=name, count=count, assignments=assignments)
    return CreatePartitionsRequest(**{"topics": [topic], "timeout_ms": 10_000, "validate_only": False, **how})


def grown_together(*asked: CreatePartitionsRequest) -> CreatePartitionsRequest:
    first, *others = asked
    for other in others:
        first.topics += other.topics
    return first


GROW.good("one more", lambda side: grow(side.topic(), 2), all_versions(37))
GROW.good("many more", lambda side: grow(side.topic(), 9))
GROW.good("only to be validated", lambda side: grow(side.topic(), 2, validate_only=True), all_versions(37))
GROW.good("assigned", lambda side: grow(side.topic(), 3, [[1], [1]]), all_versions(37))
GROW.good("no topics", lambda side: grow(side.fresh(), 2, topics=[]))
GROW.bad("a negative time-out", lambda side: grow(side.topic(), 2, timeout_ms=-1))
GROW.bad("as many as there are", lambda side: grow(side.topic(), 1), all_versions(37))
GROW.bad("fewer than there are", lambda side: grow(side.topic(partitions=3), 2), all_versions(37))
GROW.bad("none", lambda side: grow(side.topic(), 0))
GROW.bad("a negative number", lambda side: grow(side.topic(), -1))
GROW.bad("an unknown topic", lambda side: grow(side.fresh(), 2), all_versions(37))
GROW.bad("an unknown topic, only to be validated", lambda side: grow(side.fresh(), 2, validate_only=True))
GROW.bad("a topic twice", lambda side: twice(side), all_versions(37))
GROW.bad("one good and one bad", lambda side: grown_together(grow(side.topic(), 2), grow(side.fresh(), 2)))
GROW.bad("assigned, too few", lambda side: grow(side.topic(), 3, [[1]]), all_versions(37))
GROW.bad("assigned, too many", lambda side: grow(side.topic(), 2, [[1], [1]]))
GROW.bad("assigned, none", lambda side: grow(side.topic(), 2, []))
GROW.bad("assigned to an unknown broker", lambda side: grow(side.topic(), 2, [[9]]))
GROW.bad("assigned to a broker twice", lambda side: grow(side.topic(), 2, [[1, 1]]))
GROW.bad("assigned to nobody", lambda side: grow(side.topic(), 2, [[]]))
for name, text in ILLEGAL.items():
    GROW.bad(f"a name {name}", lambda _, text=text: grow(text, 2), [0, 3])


def twice(side: Side) -> CreatePartitionsRequest:
    name = side.topic()
    return grown_together(grow(name, 2), grow(name, 3))


ALL = (CREATE, DELETE, GROW)
