"""Committed offsets and groups as Kafka's clients ask for them, in every version."""

from __future__ import annotations

import asyncio

import pytest

from dohle.kafka.messages.groups import (
    DeleteGroupsRequest,
    DeleteGroupsResponse,
    ListGroupsRequest,
    ListGroupsResponse,
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetFetchRequest,
    OffsetFetchResponse,
)
from dohle.model.errors import DohleError, UnknownTopicId, UnknownTopicOrPartition
from dohle.model.group_errors import (
    CoordinatorLoadInProgress,
    GroupIdNotFound,
    IllegalGeneration,
    InvalidGroupId,
    OffsetMetadataTooLarge,
)
from dohle.model.ids import TopicId
from dohle.model.internal_topics import OFFSETS_TOPIC
from tests.broker.brokers import Cluster, until
from tests.broker.virtual_time import in_virtual_time
from tests.listeners.kafka.served_broker import ServedBroker

T = TopicId(b"t" * 16)
NO_TOPIC = b"n" * 16
BY_ID = 10


async def with_topic(*names: str) -> ServedBroker:
    """Returns a broker that coordinates all groups."""
    cluster = await Cluster.started(2)
    served = ServedBroker(cluster, cluster.nodes[2])
    for name in names or ("t",):
        served.cluster.controller.topic(TopicId(name[:1].encode() * 16), [[2], [2]], name=name)
    await until(lambda: served.node.broker.image.topic_named("t") is not None)
    await coordinating(served)
    return served


async def coordinating(served: ServedBroker) -> None:
    groups = served.node.broker.groups
    async with asyncio.timeout(30):
        while True:
            try:
                await groups.coordinator("g")
                answer = await served.ask(ListGroupsRequest(), ListGroupsResponse)
                if answer.error_code == 0:
                    return
            except DohleError:
                pass
            await asyncio.sleep(0.01)


def commit(*offsets: tuple[str, int, int], group: str = "g", **fields: object) -> OffsetCommitRequest:
    topics: dict[str, OffsetCommitRequest.Topic] = {}
    for name, partition, offset in offsets:
        topic_id = T if name == "t" else NO_TOPIC
        topic = topics.setdefault(name, OffsetCommitRequest.Topic(name=name, topic_id=topic_id, partitions=[]))
        topic.partitions.append(
            OffsetCommitRequest.Topic.Partition(
                partition_index=partition,
                committed_offset=offset,
                committed_leader_epoch=3,
                committed_metadata=f"at {offset}",
            )
        )
    fields = {"member_id": "", **fields}
    return OffsetCommitRequest(group_id=group, topics=list(topics.values()), **fields)  # type: ignore[arg-type]


async def committed(served: ServedBroker, request: OffsetCommitRequest, version: int | None = None) -> list[int]:
    answer = await served.ask(request, OffsetCommitResponse, version)
    return [one.error_code for topic in answer.topics for one in topic.partitions]


def fetch(version: int, topics: list[str] | None, *groups: str, partitions: int = 2) -> OffsetFetchRequest:
    asked = None if topics is None else [(name, list(range(partitions))) for name in topics]
    if version < 8:
        single = None
        if asked is not None:
            single = [OffsetFetchRequest.Topic(name=name, partition_indexes=numbers) for name, numbers in asked]
        return OffsetFetchRequest(group_id=groups[0], topics=single)
    several = None
    if asked is not None:
        several = [
            OffsetFetchRequest.Group.Topic(
                name=name, topic_id=T if name == "t" else NO_TOPIC, partition_indexes=numbers
            )
            for name, numbers in asked
        ]
    return OffsetFetchRequest(groups=[OffsetFetchRequest.Group(group_id=group, topics=several) for group in groups])


async def fetched(
    served: ServedBroker, version: int, topics: list[str] | None, group: str = "g"
) -> list[tuple[str | bytes, int, int, int, str | None, int]]:
    answer = await served.ask(fetch(version, topics, group), OffsetFetchResponse, version)
    told = answer.topics
    if version >= 8:
        [one] = answer.groups
        assert one.error_code == 0
        told = one.topics  # type: ignore[assignment]
    return [
        (
            getattr(topic, "topic_id", b"") if version >= BY_ID else topic.name,
            one.partition_index,
            one.committed_offset,
            one.committed_leader_epoch,
            one.metadata,
            one.error_code,
        )
        for topic in told
        for one in topic.partitions
    ]


# OffsetCommit and OffsetFetch


@pytest.mark.parametrize("version", range(2, 11))
@in_virtual_time
async def test_what_a_commit_of_each_version_keeps(version: int) -> None:
    served = await with_topic()
    request = commit(("t", 0, 7), ("none", 0, 1), ("t", 9, 1), retention_time_ms=1000)
    unknown = UnknownTopicId.code if version >= BY_ID else UnknownTopicOrPartition.code
    answer = await served.ask(request, OffsetCommitResponse, version)
    named = {topic.topic_id if version >= BY_ID else topic.name: topic for topic in answer.topics}
    known, missing = (T, NO_TOPIC) if version >= BY_ID else ("t", "none")
    assert [one.error_code for one in named[known].partitions] == [0, UnknownTopicOrPartition.code]
    assert [one.error_code for one in named[missing].partitions] == [unknown]
    value = served.node.broker.groups._led[served.node.broker.groups.partition_of("g")]._shard.state.offsets.get(
        "g", "t", 0
    )
    assert value is not None
    assert (value.offset, value.leader_epoch, value.metadata) == (7, 3 if version >= 6 else -1, "at 7")
    assert (value.expire_ms == value.commit_ms + 1000) == (version <= 4)
    assert (value.expire_ms == -1) == (version > 4)
    assert value.topic_id == T


@pytest.mark.parametrize("version", range(1, 11))
@in_virtual_time
async def test_what_a_fetch_of_each_version_tells(version: int) -> None:
    served = await with_topic()
    assert await committed(served, commit(("t", 0, 7))) == [0]
    name = T if version >= BY_ID else "t"
    epoch = 3 if version >= 5 else -1
    kept, nothing = (name, 0, 7, epoch, "at 7", 0), (name, 1, -1, -1, "", 0)
    assert await fetched(served, version, ["t"]) == [kept, nothing]
    assert await fetched(served, version, ["t"], "other") == [(name, 0, -1, -1, "", 0), nothing]
    assert await fetched(served, version, []) == []
    if version >= 2:
        assert await fetched(served, version, None) == [kept]
        assert await fetched(served, version, None, "other") == []
    unknown: tuple[str | bytes, int] = ("none", 0) if version < BY_ID else (NO_TOPIC, UnknownTopicId.code)
    assert await fetched(served, version, ["none"]) == [
        (unknown[0], number, -1, -1, "", unknown[1]) for number in range(2)
    ]


@pytest.mark.parametrize("version", range(8, 11))
@in_virtual_time
async def test_offsets_of_several_groups_come_in_one_answer(version: int) -> None:
    served = await with_topic()
    for number, group in enumerate(("a", "b", "")):
        assert await committed(served, commit(("t", 0, number), group=group)) == [0]
    answer = await served.ask(fetch(version, ["t"], "b", "none", "", "a"), OffsetFetchResponse, version)
    assert [one.group_id for one in answer.groups] == ["b", "none", "", "a"]
    assert [one.topics[0].partitions[0].committed_offset for one in answer.groups] == [1, -1, 2, 0]


@pytest.mark.parametrize("version", range(1, 11))
@in_virtual_time
async def test_a_broker_that_does_not_coordinate_a_group_yet_says_so(version: int) -> None:
    served = await with_topic()
    groups = served.node.broker.groups
    gone = groups._led.pop(groups.partition_of("g"))
    try:
        answer = await served.ask(fetch(version, ["t"], "g"), OffsetFetchResponse, version)
        if version >= 8:
            assert [one.error_code for one in answer.groups] == [CoordinatorLoadInProgress.code]
        elif version >= 2:
            assert (answer.error_code, answer.topics) == (CoordinatorLoadInProgress.code, [])
        else:
            assert [one.error_code for one in answer.topics[0].partitions] == [CoordinatorLoadInProgress.code] * 2
        if version >= 2:
            assert await committed(served, commit(("t", 0, 7)), version) == [CoordinatorLoadInProgress.code]
    finally:
        groups._led[groups.partition_of("g")] = gone


@in_virtual_time
async def test_of_several_groups_each_has_its_own_coordinator() -> None:
    served = await with_topic()
    groups = served.node.broker.groups
    assert groups.partition_of("a") != groups.partition_of("b")
    assert await committed(served, commit(("t", 0, 7), group="b")) == [0]
    gone = groups._led.pop(groups.partition_of("a"))
    answer = await served.ask(fetch(10, ["t"], "a", "b"), OffsetFetchResponse)
    assert [one.error_code for one in answer.groups] == [CoordinatorLoadInProgress.code, 0]
    assert [one.topics for one in answer.groups[:1]] == [[]]
    deleted = await served.ask(DeleteGroupsRequest(groups_names=["a", "b"]), DeleteGroupsResponse)
    assert [one.error_code for one in deleted.results] == [CoordinatorLoadInProgress.code, 0]
    groups._led[groups.partition_of("a")] = gone


@in_virtual_time
async def test_commits_that_are_refused() -> None:
    served = await with_topic()
    large = commit(("t", 0, 7), ("t", 1, 8))
    large.topics[0].partitions[0].committed_metadata = "x" * 4097
    large.topics[0].partitions[1].committed_metadata = None
    assert await committed(served, large) == [OffsetMetadataTooLarge.code, 0]
    assert (await fetched(served, 10, None))[0][1:] == (1, 8, 3, "", 0)
    stranger = commit(("t", 0, 7), group="new", member_id="m", generation_id_or_member_epoch=1)
    assert await committed(served, stranger, 8) == [IllegalGeneration.code]
    assert await committed(served, stranger, 9) == [GroupIdNotFound.code]


@in_virtual_time
async def test_a_retention_beyond_all_time_is_for_ever() -> None:
    served = await with_topic()
    assert await committed(served, commit(("t", 0, 7), retention_time_ms=(1 << 63) - 1), 4) == [0]
    assert await committed(served, commit(("t", 1, 7), retention_time_ms=-(1 << 63)), 4) == [0]
    assert [one[2] for one in await fetched(served, 9, ["t"])] == [7, 7]


@in_virtual_time
async def test_commits_that_are_sent_at_once_take_effect_in_their_order() -> None:
    served = await with_topic()
    jobs = [asyncio.ensure_future(committed(served, commit(("t", 0, offset)))) for offset in range(20)]
    assert [await job for job in jobs] == [[0]] * 20
    assert (await fetched(served, 9, ["t"]))[0][2] == 19


@in_virtual_time
async def test_all_offsets_by_id_leave_out_topics_that_are_not_known() -> None:
    served = await with_topic("t", "u")
    await until(lambda: served.node.broker.image.topic_named("u") is not None)
    assert await committed(served, commit(("u", 0, 1), ("t", 0, 7)), 9) == [0, 0]
    assert [(one[0], one[2]) for one in await fetched(served, 10, None)] == [(T, 7), (b"u" * 16, 1)]
    assert [(one[0], one[2]) for one in await fetched(served, 9, None)] == [("t", 7), ("u", 1)]


# OffsetDelete


@in_virtual_time
async def test_offsets_are_deleted() -> None:
    served = await with_topic()
    assert await committed(served, commit(("t", 0, 7), ("t", 1, 8))) == [0, 0]

    def deletion(group: str, *partitions: tuple[str, int]) -> OffsetDeleteRequest:
        topics = [
            OffsetDeleteRequest.Topic(
                name=name, partitions=[OffsetDeleteRequest.Topic.Partition(partition_index=partition)]
            )
            for name, partition in partitions
        ]
        return OffsetDeleteRequest(group_id=group, topics=topics)

    answer = await served.ask(deletion("g", ("t", 0), ("none", 0), ("t", 5)), OffsetDeleteResponse)
    assert answer.error_code == 0
    codes = [one.error_code for topic in answer.topics for one in topic.partitions]
    assert codes == [0, UnknownTopicOrPartition.code, UnknownTopicOrPartition.code]
    assert [one[1:3] for one in await fetched(served, 9, None)] == [(1, 8)]
    for group, error in (("none", GroupIdNotFound), ("", InvalidGroupId)):
        answer = await served.ask(deletion(group, ("t", 0)), OffsetDeleteResponse)
        assert (answer.error_code, answer.topics) == (error.code, [])


# ListGroups and DeleteGroups


@pytest.mark.parametrize("version", range(6))
@in_virtual_time
async def test_groups_are_listed_in_each_version(version: int) -> None:
    served = await with_topic()
    for group in ("b", "a"):
        assert await committed(served, commit(("t", 0, 7), group=group)) == [0]
    answer = await served.ask(ListGroupsRequest(), ListGroupsResponse, version)
    state, kind = "Empty" if version >= 4 else "", "classic" if version >= 5 else ""
    told = [(one.group_id, one.protocol_type, one.group_state, one.group_type) for one in answer.groups]
    assert told == [("a", "", state, kind), ("b", "", state, kind)]
    if version >= 4:
        request = ListGroupsRequest(states_filter=["Stable"])
        assert (await served.ask(request, ListGroupsResponse, version)).groups == []
    if version >= 5:
        request = ListGroupsRequest(types_filter=["consumer"])
        assert (await served.ask(request, ListGroupsResponse, version)).groups == []


@in_virtual_time
async def test_who_lists_groups_before_there_are_any_makes_no_topic_for_them() -> None:
    cluster = await Cluster.started(2)
    served = ServedBroker(cluster, cluster.nodes[2])
    await until(lambda: not (served.node.broker.membership.fenced or served.node.broker.membership.in_doubt))
    answer = await served.ask(ListGroupsRequest(), ListGroupsResponse)
    assert (answer.error_code, answer.groups) == (0, [])
    assert OFFSETS_TOPIC not in cluster.controller.image.topic_ids


@pytest.mark.parametrize("version", range(3))
@in_virtual_time
async def test_groups_are_deleted_in_each_version(version: int) -> None:
    served = await with_topic()
    assert await committed(served, commit(("t", 0, 7))) == [0]
    request = DeleteGroupsRequest(groups_names=["none", "g", "g", ""])
    answer = await served.ask(request, DeleteGroupsResponse, version)
    assert [(one.group_id, one.error_code) for one in answer.results] == [
        ("none", GroupIdNotFound.code),
        ("g", 0),
        ("", GroupIdNotFound.code),
    ]
    assert await fetched(served, 9, None) == []
    assert (await served.ask(ListGroupsRequest(), ListGroupsResponse)).groups == []
