"""Metadata, ApiVersions, DescribeCluster, FindCoordinator, DescribeTopicPartitions."""

from __future__ import annotations

from typing import Any

from dohle.kafka.declaration import NO_UUID
from dohle.kafka.messages.cluster import (
    ApiVersionsRequest,
    DescribeClusterRequest,
    DescribeTopicPartitionsRequest,
    MetadataRequest,
)
from dohle.kafka.messages.groups import FindCoordinatorRequest
from tests.differential.cases import Cases, all_versions
from tests.differential.cases.produce import NO_SUCH_ID
from tests.differential.sides import Side

TOO_LONG = "x" * 250
ILLEGAL = {
    "with a slash": "no/such",
    "with a blank": "no such",
    "with a colon": "a:b",
    "with letters that are not ASCII": "dohlé",
    "of a dot": ".",
    "of two dots": "..",
    "of nothing": "",
    "of 250 letters": TOO_LONG,
    "with a zero byte": "a\0b",
    "with a line break": "a\n",
}

META = Cases(3)


def named(*names: str | None, topic_id: bytes = NO_UUID, **how: Any) -> MetadataRequest:
    return MetadataRequest(
        **{
            "topics": [MetadataRequest.Topic(name=name, topic_id=topic_id) for name in names],
            "allow_auto_topic_creation": False,
            **how,
        }
    )


def by_id(topic_id: bytes, name: str | None = None, **how: Any) -> MetadataRequest:
    return named(name, topic_id=topic_id, **how)


META.good("one topic", lambda side: named(side.topic()), all_versions(3))
META.good("three partitions", lambda side: named(side.topic(partitions=3)), all_versions(3))
META.good("two topics", lambda side: named(side.topic(), side.topic()))
META.good("a topic twice", lambda side: named(*[side.topic()] * 2))
META.good("none", lambda _: named(), all_versions(3, 1))
META.good(
    "with operations", lambda side: named(side.topic(), include_topic_authorized_operations=True), all_versions(3, 8)
)
META.good(
    "with operations of the cluster",
    lambda side: named(side.topic(), include_cluster_authorized_operations=True),
    [8, 9, 10],
)
META.good("by its id", lambda side: by_id(side.id_of(side.topic())), [12, 13])
META.bad(
    "a topic that is made by it",
    lambda side: named(side.fresh("auto"), allow_auto_topic_creation=True),
    all_versions(3, 4),
)
META.bad("an unknown topic", lambda side: named(side.fresh()), all_versions(3, 4))
META.bad("an unknown topic and a known one", lambda side: named(side.fresh(), side.topic()), all_versions(3, 4))
META.bad("an unknown id", lambda _: by_id(NO_SUCH_ID), [12, 13])
META.bad("no id and no name", lambda _: by_id(NO_UUID), [10, 11, 12, 13])
META.bad("by its id, too old", lambda side: by_id(side.id_of(side.topic())), [10, 11])
META.bad("by its id with a name, too old", lambda side: by_id(side.id_of(side.topic()), "x"), [10, 11])
META.bad("by an unknown id and a name", lambda side: by_id(NO_SUCH_ID, "x"), [12, 13])
for name, text in ILLEGAL.items():
    META.bad(f"a name {name}", lambda _, text=text: named(text), [4, 8, 9, 13])
    META.bad(f"a name {name}, to be made", lambda _, text=text: named(text, allow_auto_topic_creation=True), [0, 4, 13])

VERSIONS = Cases(18)


def versions(name: str = "test", version: str = "1.0") -> ApiVersionsRequest:
    return ApiVersionsRequest(client_software_name=name, client_software_version=version)


VERSIONS.good("all", lambda _: versions(), all_versions(18))
VERSIONS.good("a name with dots and dashes", lambda _: versions("a-b.c", "1.0-x"), [3, 4])
VERSIONS.good("a name of one letter", lambda _: versions("a", "1"), [3, 4])
VERSIONS.good("again on the same connection", lambda _: [versions(), versions()], all_versions(18))
for name, pair in {
    "no name": ("", "1"),
    "no version": ("a", ""),
    "a name that begins with a dash": ("-a", "1"),
    "a name that ends with a dot": ("a.", "1"),
    "a name with a blank": ("a b", "1"),
    "a version with an underscore": ("a", "1_0"),
    "a name with a line break": ("a\n", "1"),
    "a name that is not ASCII": ("é", "1"),
}.items():
    VERSIONS.bad(name, lambda _, pair=pair: versions(*pair), [3, 4])

CLUSTER = Cases(60)


def cluster(**how: Any) -> DescribeClusterRequest:
    return DescribeClusterRequest(**{"include_cluster_authorized_operations": False, **how})


CLUSTER.good("brokers", lambda _: cluster(), all_versions(60))
CLUSTER.good("with operations", lambda _: cluster(include_cluster_authorized_operations=True), all_versions(60))
CLUSTER.good("with those that are fenced", lambda _: cluster(include_fenced_brokers=True), [2])
CLUSTER.bad("controllers", lambda _: cluster(endpoint_type=2), [1, 2])
CLUSTER.bad("endpoints of type 0", lambda _: cluster(endpoint_type=0), [1, 2])
CLUSTER.bad("endpoints of type 3", lambda _: cluster(endpoint_type=3), [1, 2])
CLUSTER.bad("endpoints of a negative type", lambda _: cluster(endpoint_type=-1), [1, 2])
CLUSTER.bad(
    "endpoints of type 127, with operations",
    lambda _: cluster(endpoint_type=127, include_cluster_authorized_operations=True),
    [1, 2],
)

FIND = Cases(10)


def find(*keys: str, kind: int = 0) -> FindCoordinatorRequest:
    return FindCoordinatorRequest(key=keys[0] if keys else "", key_type=kind, coordinator_keys=list(keys))


FIND.good("nobody", lambda _: find(), [4, 5, 6])
FIND.bad("an empty group", lambda _: find("", kind=9), [1, 3, 4, 6])
FIND.bad("a coordinator of an unknown kind", lambda _: find("g", kind=7), all_versions(10, 1))
FIND.bad("a negative kind", lambda _: find("g", kind=-1), all_versions(10, 1))
FIND.bad("two of an unknown kind", lambda _: find("g", "h", kind=7), [4, 5, 6])
FIND.bad("of shares, too old", lambda _: find("g", kind=2), [1, 3, 4, 5])
FIND.bad("of shares, malformed", lambda _: find("g", kind=2), [6])

DESCRIBE = Cases(75)


def describe(*names: str, limit: int = 2000, cursor: tuple[str, int] | None = None) -> DescribeTopicPartitionsRequest:
    at = (
        None
        if cursor is None
        else DescribeTopicPartitionsRequest.Cursor(topic_name=cursor[0], partition_index=cursor[1])
    )
    topics = [DescribeTopicPartitionsRequest.Topic(name=name) for name in names]
    return DescribeTopicPartitionsRequest(topics=topics, response_partition_limit=limit, cursor=at)


def from_cursor(side: Side, *, partition: int, limit: int = 2000) -> DescribeTopicPartitionsRequest:
    topic = side.topic(partitions=4)
    return describe(topic, limit=limit, cursor=(topic, partition))


DESCRIBE.good("one topic", lambda side: describe(side.topic()))
DESCRIBE.good("two topics", lambda side: describe(side.topic(), side.topic(partitions=2)))
DESCRIBE.good("a topic twice", lambda side: describe(*[side.topic()] * 2))
DESCRIBE.good("a page of two partitions", lambda side: describe(side.topic(partitions=4), limit=2))
DESCRIBE.good("a page that ends with a topic", lambda side: describe(side.topic(partitions=2), side.topic(), limit=2))
DESCRIBE.good("from a cursor", lambda side: from_cursor(side, partition=2))
DESCRIBE.good("from a cursor, a page", lambda side: from_cursor(side, partition=1, limit=2))
DESCRIBE.good("from a cursor behind the end", lambda side: from_cursor(side, partition=9))
DESCRIBE.bad("an unknown topic", lambda side: describe(side.fresh()))
DESCRIBE.bad("an unknown topic and a known one", lambda side: describe(side.fresh(), side.topic()))
DESCRIBE.bad("a limit of 0", lambda side: describe(side.fresh(), limit=0))
DESCRIBE.bad("a negative limit", lambda side: describe(side.fresh(), limit=-1))
DESCRIBE.bad("a negative cursor", lambda side: from_cursor(side, partition=-1))
DESCRIBE.bad("a cursor at an unknown topic", lambda side: describe(side.fresh(), cursor=(side.fresh(), 0)))
for name, text in ILLEGAL.items():
    DESCRIBE.bad(f"a name {name}", lambda _, text=text: describe(text))

ALL = (META, VERSIONS, CLUSTER, FIND, DESCRIBE)
