"""OffsetCommit, OffsetFetch, OffsetDelete, ListGroups, DeleteGroups: groups without members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dohle.kafka.messages.groups import (
    DeleteGroupsRequest,
    ListGroupsRequest,
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetDeleteRequest,
    OffsetFetchRequest,
)
from tests.differential.cases import Cases, all_versions
from tests.differential.cases.produce import NO_SUCH_ID
from tests.differential.sides import Side

UNKNOWN_NAME = "no-such-topic"
LONGEST_METADATA = 4096
LAST = (1 << 63) - 1

COMMIT = Cases(8)

Offset = tuple[str, int, int]
"""Topic, partition, offset."""


def topic_id(side: Side, name: str) -> bytes:
    return next((one for one, known in side.topic_ids.items() if known == name), NO_SUCH_ID)


def commit(side: Side, *offsets: Offset, group: str | None = None, **how: Any) -> OffsetCommitRequest:
    """Commits by name and id, of which each version has its own; `metadata` and `leader_epoch` are all partitions'."""
    metadata, leader_epoch = how.pop("metadata", ""), how.pop("leader_epoch", -1)
    topics: dict[str, OffsetCommitRequest.Topic] = {}
    for name, partition, offset in offsets:
        topic = topics.setdefault(
            name, OffsetCommitRequest.Topic(name=name, topic_id=topic_id(side, name), partitions=[])
        )
        topic.partitions.append(
            OffsetCommitRequest.Topic.Partition(
                partition_index=partition,
                committed_offset=offset,
                committed_leader_epoch=leader_epoch,
                committed_metadata=metadata,
            )
        )
    fields = {"member_id": "", "group_id": side.fresh("group") if group is None else group, **how}
    return OffsetCommitRequest(**{"topics": list(topics.values()), **fields})


def simple_group(side: Side, *offsets: Offset, **how: Any) -> str:
    """Returns a new group that has committed these; without any, offset 5 of the kept topic's first partition."""
    group = side.fresh("group")
    request = commit(side, *(offsets or ((side.kept(partitions=2), 0, 5),)), group=group, **how)
    answer = side.ask(request, 9, OffsetCommitResponse)
    assert not any(one.error_code for topic in answer.topics for one in topic.partitions), (side.name, answer)
    return group


def twice(request: Any) -> Any:
    request.topics *= 2
    return request


def both(side: Side) -> tuple[Offset, Offset]:
    topic = side.kept(partitions=2)
    return (topic, 0, 5), (topic, 1, 6)


COMMIT.good("one offset", lambda side: commit(side, (side.kept(), 0, 5)), all_versions(8))
COMMIT.good("two partitions", lambda side: commit(side, *both(side)), all_versions(8))
COMMIT.good("two topics", lambda side: commit(side, (side.kept(), 0, 5), (side.kept(partitions=2), 1, 0)))
COMMIT.good("no topics", lambda side: commit(side), all_versions(8))
COMMIT.good("a topic without partitions", lambda side: without_partitions(commit(side, (side.kept(), 0, 5))))
COMMIT.good("beyond the end", lambda side: commit(side, (side.kept(), 0, LAST)))
COMMIT.good("offset 0", lambda side: commit(side, (side.kept(), 0, 0)))
COMMIT.good("a negative offset", lambda side: commit(side, (side.kept(), 0, -1)))
COMMIT.good("with metadata", lambda side: commit(side, (side.kept(), 0, 5), metadata="mine é"), all_versions(8))
COMMIT.good("without metadata", lambda side: commit(side, (side.kept(), 0, 5), metadata=None), all_versions(8))
COMMIT.good("much metadata", lambda side: commit(side, (side.kept(), 0, 5), metadata="x" * LONGEST_METADATA))
COMMIT.good("metadata of many bytes", lambda side: commit(side, (side.kept(), 0, 5), metadata="é" * LONGEST_METADATA))
COMMIT.good("with a leader epoch", lambda side: commit(side, (side.kept(), 0, 5), leader_epoch=3), [6, 7, 8, 9, 10])
COMMIT.good("with a retention", lambda side: commit(side, (side.kept(), 0, 5), retention_time_ms=10), [2, 3, 4])
COMMIT.good("to no group", lambda side: commit(side, (side.kept(), 0, 5), group=""), all_versions(8))
COMMIT.good("to a simple group again", lambda side: commit(side, (side.kept(), 0, 7), group=simple_group(side)))
COMMIT.good("as a stranger without a generation", lambda side: commit(side, (side.kept(), 0, 5), member_id="m"))
COMMIT.good("a partition twice", lambda side: twice_the_partition(commit(side, (side.kept(), 0, 5))), [2, 9])
COMMIT.good("an instance without a generation", lambda side: commit(side, (side.kept(), 0, 5), group_instance_id="i"))
COMMIT.good("a generation of -2", lambda side: commit(side, (side.kept(), 0, 5), generation_id_or_member_epoch=-2))
COMMIT.bad("an unknown topic", lambda side: commit(side, (UNKNOWN_NAME, 0, 5)), all_versions(8))
COMMIT.bad("no such partition", lambda side: commit(side, (side.kept(), 9, 5)), all_versions(8))
COMMIT.bad("a negative partition", lambda side: commit(side, (side.kept(), -1, 5)))
COMMIT.bad("one good and one bad", lambda side: commit(side, (side.kept(), 0, 5), (side.kept(), 1, 5)), all_versions(8))
COMMIT.bad(
    "a known and an unknown topic",
    lambda side: commit(side, (UNKNOWN_NAME, 0, 5), (side.kept(), 0, 5)),
    all_versions(8),
)
COMMIT.bad("an empty topic name", lambda side: commit(side, ("", 0, 5)), [2, 9])
COMMIT.bad("an illegal topic name", lambda side: commit(side, ("no/such", 0, 5)), [2, 9])
COMMIT.bad(
    "too much metadata", lambda side: commit(side, *both(side), metadata="x" * (LONGEST_METADATA + 1)), all_versions(8)
)
COMMIT.bad(
    "a generation of no group",
    lambda side: commit(side, (side.kept(), 0, 5), member_id="m", generation_id_or_member_epoch=1),
    all_versions(8),
)
COMMIT.bad(
    "a generation of a simple group",
    lambda side: commit(side, (side.kept(), 0, 5), group=simple_group(side), generation_id_or_member_epoch=0),
    all_versions(8),
)
COMMIT.bad(
    "a member of a simple group",
    lambda side: commit(
        side, (side.kept(), 0, 5), group=simple_group(side), member_id="m", generation_id_or_member_epoch=3
    ),
    all_versions(8),
)
COMMIT.bad(
    "an unknown topic and a generation of no group",
    lambda side: commit(side, (UNKNOWN_NAME, 0, 5), (side.kept(), 0, 5), generation_id_or_member_epoch=1),
    [8, 9, 10],
)


def without_partitions(request: OffsetCommitRequest) -> OffsetCommitRequest:
    request.topics[0].partitions.clear()
    return request


def twice_the_partition(request: OffsetCommitRequest) -> OffsetCommitRequest:
    request.topics[0].partitions *= 2
    return request


FETCH = Cases(9)

Asked = Sequence[tuple[str, Sequence[int]]] | None


def fetch(side: Side, topics: Asked, *groups: str, **how: Any) -> OffsetFetchRequest:
    """Asks for the offsets of groups, as the versions of one group and those of several have it."""
    of_group = {name: how.pop(name) for name in ("member_id", "member_epoch") if name in how}
    single, several = None, None
    if topics is not None:
        single = [OffsetFetchRequest.Topic(name=name, partition_indexes=list(numbers)) for name, numbers in topics]
        several = [
            OffsetFetchRequest.Group.Topic(name=name, topic_id=topic_id(side, name), partition_indexes=list(numbers))
            for name, numbers in topics
        ]
    asked = [OffsetFetchRequest.Group(group_id=group, topics=several, **of_group) for group in groups]
    return OffsetFetchRequest(**{"group_id": groups[0] if groups else "", "topics": single, "groups": asked, **how})


def kept_of(side: Side) -> str:
    return side.kept(partitions=2)


SINCE_NULL, SINCE_SEVERAL, SINCE_STABLE, SINCE_MEMBERS = 2, 8, 7, 9

FETCH.good("one offset", lambda side: fetch(side, [(kept_of(side), [0])], simple_group(side)), all_versions(9))
FETCH.good("nothing committed", lambda side: fetch(side, [(kept_of(side), [1])], simple_group(side)), all_versions(9))
FETCH.good("no such group", lambda side: fetch(side, [(kept_of(side), [0, 1])], side.fresh()), all_versions(9))
FETCH.good("no group at all", lambda side: fetch(side, [(kept_of(side), [1])], ""), all_versions(9))
FETCH.good("all", lambda side: fetch(side, None, simple_group(side, *both(side))), all_versions(9, SINCE_NULL))
FETCH.good("all of no such group", lambda side: fetch(side, None, side.fresh()), all_versions(9, SINCE_NULL))
FETCH.good("no topics", lambda side: fetch(side, [], simple_group(side)), all_versions(9))
FETCH.good("no partitions", lambda side: fetch(side, [(kept_of(side), [])], simple_group(side)), all_versions(9))
FETCH.good(
    "an unknown topic, by name", lambda side: fetch(side, [(UNKNOWN_NAME, [0])], simple_group(side)), range(1, 10)
)
FETCH.good("no such partition", lambda side: fetch(side, [(kept_of(side), [7, -1])], simple_group(side)))
FETCH.good("a partition twice", lambda side: fetch(side, [(kept_of(side), [0, 0])], simple_group(side)), [1, 9, 10])
FETCH.good("a topic twice", lambda side: fetch(side, [(kept_of(side), [0])] * 2, simple_group(side)), [1, 9, 10])
FETCH.good(
    "metadata and an epoch",
    lambda side: fetch(side, None, simple_group(side, (kept_of(side), 1, 9), metadata="mine é", leader_epoch=4)),
    all_versions(9, SINCE_NULL),
)
FETCH.good(
    "what is stable",
    lambda side: fetch(side, [(kept_of(side), [0, 1])], simple_group(side), require_stable=True),
    all_versions(9, SINCE_STABLE),
)
FETCH.good(
    "all that is stable",
    lambda side: fetch(side, None, simple_group(side), require_stable=True),
    all_versions(9, SINCE_STABLE),
)
FETCH.good(
    "several groups",
    lambda side: fetch(side, [(kept_of(side), [0])], simple_group(side), side.fresh(), simple_group(side)),
    all_versions(9, SINCE_SEVERAL),
)
FETCH.good("a group twice", lambda side: fetch(side, None, *[simple_group(side)] * 2), all_versions(9, SINCE_SEVERAL))
FETCH.good("no groups", lambda side: fetch(side, None), all_versions(9, SINCE_SEVERAL))
FETCH.good(
    "as a member of a simple group",
    lambda side: fetch(side, [(kept_of(side), [0])], simple_group(side), member_id="m", member_epoch=3),
    all_versions(9, SINCE_MEMBERS),
)
FETCH.bad("an unknown topic, by id", lambda side: fetch(side, [(UNKNOWN_NAME, [0, 1])], simple_group(side)), [10])
FETCH.bad("an unknown topic of no group", lambda side: fetch(side, [(UNKNOWN_NAME, [0])], side.fresh()), [10])
FETCH.bad(
    "a known and an unknown topic",
    lambda side: fetch(side, [(UNKNOWN_NAME, [0]), (kept_of(side), [0])], simple_group(side)),
    [10],
)
FETCH.bad(
    "unknown topics of several groups",
    lambda side: fetch(side, [(UNKNOWN_NAME, [0]), (kept_of(side), [0])], simple_group(side), side.fresh()),
    [10],
)
FETCH.bad("an unknown topic that is stable", lambda side: stable_unknown(side), [10])


def stable_unknown(side: Side) -> OffsetFetchRequest:
    return fetch(side, [(UNKNOWN_NAME, [0])], simple_group(side), require_stable=True)


DELETE = Cases(47)


def delete(group: str, *partitions: tuple[str, int]) -> OffsetDeleteRequest:
    topics: dict[str, OffsetDeleteRequest.Topic] = {}
    for name, partition in partitions:
        topic = topics.setdefault(name, OffsetDeleteRequest.Topic(name=name, partitions=[]))
        topic.partitions.append(OffsetDeleteRequest.Topic.Partition(partition_index=partition))
    return OffsetDeleteRequest(group_id=group, topics=list(topics.values()))


DELETE.good("one offset", lambda side: delete(simple_group(side), (kept_of(side), 0)))
DELETE.good("what was not committed", lambda side: delete(simple_group(side), (kept_of(side), 1)))
DELETE.good("two offsets", lambda side: delete(simple_group(side, *both(side)), (kept_of(side), 0), (kept_of(side), 1)))
DELETE.good("no topics", lambda side: delete(simple_group(side)))
DELETE.good("and read again", lambda side: deleted_and_read(side))
DELETE.bad("no such group", lambda side: delete(side.fresh(), (kept_of(side), 0)))
DELETE.bad("no group at all", lambda side: delete("", (kept_of(side), 0)))
DELETE.bad("an unknown topic", lambda side: delete(simple_group(side), (UNKNOWN_NAME, 0)))
DELETE.bad("no such partition", lambda side: delete(simple_group(side), (kept_of(side), 7), (kept_of(side), 0)))
DELETE.bad("a negative partition", lambda side: delete(simple_group(side), (kept_of(side), -1)))
DELETE.bad("an unknown topic of no such group", lambda side: delete(side.fresh(), (UNKNOWN_NAME, 0)))
DELETE.bad("no topics of no such group", lambda side: delete(side.fresh()))
DELETE.bad(
    "a known and an unknown topic", lambda side: delete(simple_group(side), (kept_of(side), 0), (UNKNOWN_NAME, 0))
)


def deleted_and_read(side: Side) -> list[Any]:
    group = simple_group(side, *both(side))
    return [delete(group, (kept_of(side), 0)), fetch(side, None, group)]


END = Cases(42)


def end(*groups: str) -> DeleteGroupsRequest:
    return DeleteGroupsRequest(groups_names=list(groups))


END.good("one group", lambda side: end(simple_group(side)), all_versions(42))
END.good("two groups", lambda side: end(simple_group(side), simple_group(side)), all_versions(42))
END.good("a group twice", lambda side: end(*[simple_group(side)] * 2), all_versions(42))
END.good("none", lambda _: end(), all_versions(42))
END.good("and its offsets", lambda side: ended_and_read(side))
END.bad("no such group", lambda side: end(side.fresh()), all_versions(42))
END.bad("one that is there and one that is not", lambda side: end(side.fresh(), simple_group(side)), all_versions(42))
END.bad("one that is deleted already", lambda side: [end(group := simple_group(side)), end(group)], all_versions(42))
END.bad("an id of nothing", lambda _: [end(""), end("")], all_versions(42))
END.bad("an id of blanks", lambda _: end("  "))
END.bad("an id of many letters", lambda _: end("x" * 10_000))


def ended_and_read(side: Side) -> list[Any]:
    group = simple_group(side, *both(side))
    return [end(group), fetch(side, None, group)]


LIST = Cases(16)
LIST.good("in a state that there is not", lambda _: ListGroupsRequest(states_filter=["none"]), [4, 5])
LIST.good("of a type that there is not", lambda _: ListGroupsRequest(types_filter=["none"]), [5])
LIST.good("of no type", lambda _: ListGroupsRequest(types_filter=[""]), [5])
LIST.good("all", lambda side: listed(side, ListGroupsRequest()), all_versions(16))
LIST.good("simple ones", lambda side: listed(side, ListGroupsRequest(states_filter=["Empty"])), [4, 5])
LIST.good("in any case", lambda side: listed(side, ListGroupsRequest(states_filter=[" eMPTY "])), [4, 5])
LIST.good(
    "of both types", lambda _: ListGroupsRequest(states_filter=["dead"], types_filter=["classic", "Consumer"]), [5]
)
LIST.good("of another type", lambda _: ListGroupsRequest(types_filter=["consumer"]), [5])
LIST.good("of a type in any case", lambda side: listed(side, ListGroupsRequest(types_filter=["CLASSIC"])), [5])


def listed(side: Side, request: ListGroupsRequest) -> ListGroupsRequest:
    """The request after a group has been made that it lists."""
    simple_group(side)
    return request


ALL = (LIST, COMMIT, FETCH, DELETE, END)
"""Listings come first: a group that others leave without offsets is there at Kafka until its next look for such."""
