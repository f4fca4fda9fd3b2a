"""Coordinators on whole brokers: loads, hand-overs, and that nobody is told what might still be lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from dohle.broker.groups.coordinator import GroupCoordinator, java_hash, partition_in
from dohle.broker.groups.loading import Loading
from dohle.broker.leading import ACKS_LEADER
from dohle.broker.partition import Partition
from dohle.groups.classic.commands import Join
from dohle.groups.offsets import Commit, FetchOffsets, ListGroups, OffsetToCommit
from dohle.groups.outcome import Moment, Outcome, Ticket
from dohle.groups.records import CommittedOffset, GroupRecord, OffsetRecord
from dohle.groups.shard import GroupShard
from dohle.model.errors import CoordinatorNotAvailable, DohleError, InvalidTopic
from dohle.model.group_errors import CoordinatorLoadInProgress, InvalidGroupId, MemberIdRequired, NotCoordinator
from dohle.model.ids import PartitionKey
from dohle.model.internal_topics import OFFSETS_TOPIC
from tests.broker.brokers import Cluster, Node, until
from tests.broker.logs import TOPIC_ID, batch
from tests.broker.virtual_time import in_virtual_time

GROUP = "flights"


async def cluster_with_topic(*nodes: int) -> Cluster:
    cluster = await Cluster.started(*nodes)
    cluster.controller.topic(TOPIC_ID, [sorted(cluster.nodes)] * 4)
    await until(lambda: all(node.broker.image.topic_named("t") is not None for node in cluster.nodes.values()))
    return cluster


def groups(node: Node) -> GroupCoordinator:
    return node.broker.groups


async def coordinator(cluster: Cluster, group_id: str = GROUP) -> Node:
    """Waits until the group's coordinator answers; returns its node."""
    async with asyncio.timeout(30):
        while True:
            node = next(node for node in cluster.nodes.values() if node.running is not None)
            try:
                found = cluster.nodes[await groups(node).coordinator(group_id)]
                await groups(found).ask(group_id, ListGroups())
            except (DohleError, AssertionError):
                await asyncio.sleep(0.01)
            else:
                return found


def commit(offset: int, group_id: str = GROUP, partition: int = 0) -> Commit:
    return Commit(group_id, (OffsetToCommit("t", partition, offset),))


async def committed(node: Node, group_id: str = GROUP) -> int | None:
    (found,) = await groups(node).ask(group_id, FetchOffsets(group_id, (("t", (0,)),)))
    return None if found.value is None else found.value.offset


def key_of(cluster: Cluster, group_id: str = GROUP) -> PartitionKey:
    topic = cluster.controller.image.topic_named(OFFSETS_TOPIC)
    assert topic is not None
    node = next(node for node in cluster.nodes.values() if node.running is not None)
    return PartitionKey(topic.topic_id, groups(node).partition_of(group_id))


def test_a_groups_partition_is_the_one_that_kafka_reckons() -> None:
    hashes = {"": 0, "a": 97, "polygenelubricants": -(1 << 31), "\U0001f600": 0xD83D * 31 + 0xDE00}
    assert {text: java_hash(text) for text in hashes} == hashes
    assert partition_in(50, "polygenelubricants") == 0  # the least int, which has no absolute value
    assert partition_in(50, "b" * 9) == abs(java_hash("b" * 9)) % 50


@in_virtual_time
async def test_the_topic_is_made_when_a_group_is_first_asked_for() -> None:
    cluster = await cluster_with_topic()
    assert cluster.controller.image.topic_named(OFFSETS_TOPIC) is None
    found = {await groups(node).coordinator(GROUP) for node in cluster.nodes.values()}
    assert len(found) == 1
    made = cluster.controller.image.topic_named(OFFSETS_TOPIC)
    assert made is not None
    assert len(made.partitions) == 50
    assert len(made.partitions[0].assigned_replicas) == 3
    assert made.config.cleanup_policy == ("compact",)
    assert made.config.segment_bytes == 100 << 20


@in_virtual_time
async def test_a_commit_is_read_back_and_others_send_elsewhere() -> None:
    cluster = await cluster_with_topic()
    node = await coordinator(cluster)
    assert await groups(node).ask(GROUP, commit(17)) == (None,)
    assert await committed(node) == 17
    assert cluster.controller.leader(key_of(cluster)) == node.node_id
    for other in cluster.nodes.values():
        if other is not node:
            with pytest.raises(NotCoordinator):
                await committed(other)


@in_virtual_time
async def test_a_commit_is_answered_once_all_in_sync_have_it() -> None:
    cluster = await cluster_with_topic()
    node = await coordinator(cluster)
    key = key_of(cluster)
    await groups(node).ask(GROUP, commit(17))
    ends = [other.log(key).durable_end for other in cluster.nodes.values()]
    assert ends == [1, 1, 1]


@in_virtual_time
async def test_a_read_waits_for_a_commit_that_is_not_yet_everywhere() -> None:
    cluster = await cluster_with_topic()
    node = await coordinator(cluster)
    await groups(node).ask(GROUP, commit(1))
    writing = asyncio.create_task(groups(node).ask(GROUP, commit(2)))
    await asyncio.sleep(0)
    reading = asyncio.create_task(committed(node))
    await asyncio.sleep(0)
    assert not writing.done()
    assert not reading.done()
    assert await reading == 2
    assert writing.done()


@in_virtual_time
async def test_the_next_leader_knows_what_was_committed() -> None:
    cluster = await cluster_with_topic()
    node = await coordinator(cluster)
    for offset in range(1, 20):
        await groups(node).ask(GROUP, commit(offset))
    await node.kill()
    cluster.controller.fence(node.node_id)
    following = await coordinator(cluster)
    assert following is not node
    assert await committed(following) == 19
    assert await groups(following).ask(GROUP, commit(20)) == (None,)


@in_virtual_time
async def test_a_restart_of_the_only_node_loads_what_it_wrote() -> None:
    cluster = await cluster_with_topic(1)
    node = await coordinator(cluster)
    for number in range(30):
        await groups(node).ask(f"g{number}", commit(number, f"g{number}"))
    await node.kill()
    await node.start()
    await coordinator(cluster)
    assert [await committed(node, f"g{number}") for number in range(30)] == list(range(30))


@in_virtual_time
async def test_who_waits_for_a_commit_when_the_leadership_ends_is_sent_on() -> None:
    cluster = await cluster_with_topic()
    node = await coordinator(cluster)
    for other in cluster.nodes.values():
        if other is not node:
            await other.kill()
    waiting = asyncio.create_task(groups(node).ask(GROUP, commit(3)))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    cluster.controller.fence(node.node_id)
    with pytest.raises(NotCoordinator):
        await waiting


@in_virtual_time
async def test_who_is_told_that_no_coordinator_is_there_may_have_committed() -> None:
    cluster = await cluster_with_topic()
    node = await coordinator(cluster)
    await groups(node).ask(GROUP, commit(2))
    others = [other for other in cluster.nodes.values() if other is not node]
    for other in others:
        await other.kill()
    with pytest.raises(CoordinatorNotAvailable) as doubtful:
        await groups(node).ask(GROUP, commit(3))
    assert not doubtful.value.definite
    for other in others:
        await other.start()
    await until(lambda: node.log(key_of(cluster)).high_watermark == 2)
    assert await committed(node) == 3


@in_virtual_time
async def test_a_coordinator_without_a_session_answers_nobody() -> None:
    cluster = await cluster_with_topic()
    node = await coordinator(cluster)
    await groups(node).ask(GROUP, commit(5))
    cluster.controller.is_silent = True
    await until(lambda: node.broker.membership.in_doubt)
    with pytest.raises(NotCoordinator):
        await committed(node)


@in_virtual_time
async def test_what_is_read_from_memory_waits_until_a_controller_has_answered_again() -> None:
    cluster = await cluster_with_topic()
    node = await coordinator(cluster)
    await groups(node).ask(GROUP, commit(5))
    cluster.controller.is_silent = True
    await until(lambda: not node.broker.membership.is_assured)
    assert not node.broker.membership.in_doubt
    reading = asyncio.create_task(committed(node))
    await asyncio.sleep(0)
    await groups(node).ask(GROUP, commit(6))  # the replicas vouch for it
    await asyncio.sleep(0.1)
    assert not reading.done()
    cluster.controller.is_silent = False
    assert await reading == 5


@in_virtual_time
async def test_a_command_that_raises_is_told_and_changes_nothing() -> None:
    cluster = await cluster_with_topic(1)
    node = await coordinator(cluster)

    def refuse(_shard: GroupShard, _ticket: Ticket, _moment: Moment) -> Outcome:
        raise CoordinatorNotAvailable("not now")

    with pytest.raises(CoordinatorNotAvailable, match="not now"):
        await groups(node).ask(GROUP, refuse)
    with pytest.raises(InvalidGroupId):
        await groups(node).ask("", ListGroups())
    assert await groups(node).ask("", ListGroups(), may_be_empty=True) == ()


@in_virtual_time
async def test_what_is_too_large_to_append_is_refused_and_leaves_no_trace() -> None:
    cluster = await cluster_with_topic(1)
    node = await coordinator(cluster)
    told: list[DohleError | None] = []

    def write(_shard: GroupShard, ticket: Ticket, _moment: Moment) -> Outcome:
        def then(failure: DohleError | None, _moment: Moment) -> Outcome:
            told.append(failure)
            return Outcome(replies={})

        value = CommittedOffset(1, -1, "m" * 30_000, 0)
        records = tuple(OffsetRecord(GROUP, "t", number, value) for number in range(50))
        return Outcome(records, {ticket: None}, then)

    with pytest.raises(DohleError) as refused:
        await groups(node).ask(GROUP, write)
    assert refused.value.code == -1
    assert [failure is not None and failure.code for failure in told] == [-1]
    assert await committed(node) is None


@in_virtual_time
async def test_all_shards_of_a_broker_are_asked_in_order() -> None:
    cluster = await cluster_with_topic(1)
    node = await coordinator(cluster)
    names = [f"g{number}" for number in range(9)]
    for name in names:
        await groups(node).ask(name, commit(1, name))
    listed = [group.group_id for answer in await groups(node).ask_each(ListGroups()) for group in answer]
    assert sorted(listed) == names
    assert [groups(node).partition_of(name) for name in listed] == sorted(map(groups(node).partition_of, names))


@in_virtual_time
async def test_a_new_leader_does_not_answer_before_it_has_loaded() -> None:
    cluster = await cluster_with_topic()
    node = await coordinator(cluster)
    await groups(node).ask(GROUP, commit(5))
    await node.kill()
    cluster.controller.fence(node.node_id)
    answers: list[object] = []
    following = cluster.nodes[cluster.controller.leader(key_of(cluster))]

    async def ask() -> bool:
        try:
            answers.append(await committed(following))
        except DohleError as error:
            answers.append(type(error))
        return answers[-1] == 5

    while not await ask():
        await asyncio.sleep(0.0005)
    assert set(answers[:-1]) <= {NotCoordinator, CoordinatorLoadInProgress}


@pytest.mark.parametrize(("load_s", "told"), [(0.9, 5), (1.1, CoordinatorLoadInProgress)])
@in_virtual_time
async def test_who_asks_during_a_short_load_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, load_s: float, told: object
) -> None:
    async def load(self: Loading, partition: Partition, end: int, apply: Callable[[GroupRecord], None]) -> int:
        await asyncio.sleep(load_s)
        return await loads(self, partition, end, apply)

    cluster = await cluster_with_topic()
    node = await coordinator(cluster)
    await groups(node).ask(GROUP, commit(5))
    loads = Loading.load
    monkeypatch.setattr(Loading, "load", load)
    await node.kill()
    cluster.controller.fence(node.node_id)
    following = cluster.nodes[cluster.controller.leader(key_of(cluster))]
    while groups(following).partition_of(GROUP) not in groups(following)._led:
        await asyncio.sleep(0.001)
    try:
        answer: object = await committed(following)
    except DohleError as error:
        answer = type(error)
    assert answer == told


@in_virtual_time
async def test_who_is_sent_to_a_coordinator_that_is_not_ready_is_not_sent_away() -> None:
    cluster = await Cluster.started()
    for node in cluster.nodes.values():
        node.disk.gate.clear()  # replicas are not made before it opens
    found = {await groups(node).coordinator(GROUP) for node in cluster.nodes.values()}
    (coordinator_id,) = found
    sent_to = cluster.nodes[coordinator_id]
    assert groups(sent_to).led == []
    with pytest.raises(CoordinatorLoadInProgress, match="about to be led here"):
        await committed(sent_to)
    for node in cluster.nodes.values():
        if node is not sent_to:
            with pytest.raises(NotCoordinator):
                await committed(node)
        node.disk.gate.set()
    assert await coordinator(cluster) is sent_to
    assert await committed(sent_to) is None


@in_virtual_time
async def test_clients_do_not_write_to_the_topic() -> None:
    cluster = await cluster_with_topic(1)
    node = await coordinator(cluster)
    with pytest.raises(InvalidTopic):
        await node.broker.produce(key_of(cluster), batch(), ACKS_LEADER, 1.0)


@in_virtual_time
async def test_ten_thousand_who_join_and_go_leave_the_coordinator_as_it_was() -> None:
    cluster = await cluster_with_topic(1)
    node = await coordinator(cluster)
    led = groups(node)._led[groups(node).partition_of(GROUP)]
    tasks: list[asyncio.Task[object]] = []
    for number in range(10_000):
        tasks.append(asyncio.create_task(groups(node).ask(GROUP, lambda *_: Outcome())))  # nobody is ever answered
        if number % 100 == 99:
            await asyncio.sleep(0)
    assert len(led._asked) == 10_000
    assert await groups(node).ask(GROUP, commit(1)) == (None,)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert led._asked == {}


@in_virtual_time
async def test_a_flood_of_members_with_ids_of_their_own_is_bounded_and_harms_no_other_group() -> None:
    cluster = await cluster_with_topic(1)
    node = await coordinator(cluster)
    led = groups(node)._led[groups(node).partition_of(GROUP)]
    for number in range(30_000):
        join = Join(
            group_id=GROUP,
            member_id="",
            instance_id=None,
            client_id=f"client-{number}",
            client_host="/10.0.0.1",
            protocol_type="consumer",
            protocols=(("range", bytes(100)),),
            session_timeout_ms=300_000,
            rebalance_timeout_ms=300_000,
        )
        answer = await groups(node).ask(GROUP, join)
        assert isinstance(answer.error, MemberIdRequired)
    assert len(led._shard.state.timers._due) < 20_000  # some 16 MiB: older ids have made room
    assert await groups(node).ask("another", commit(1, "another")) == (None,)
