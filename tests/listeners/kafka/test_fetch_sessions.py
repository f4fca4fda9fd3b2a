"""Fetch sessions (KIP-227) on brokers in memory: what a client with one is told, and what that costs."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from dohle.broker.reads import Reads
from dohle.kafka.messages.fetch import FetchRequest
from dohle.listeners.kafka import fetch_sessions
from dohle.listeners.kafka.fetch_sessions import EVICTION_S, FetchSession, FetchSessions
from dohle.model.ids import PartitionKey, TopicId
from tests.broker.brokers import Cluster, Node, until
from tests.broker.logs import TOPIC_ID, batch
from tests.broker.virtual_time import in_virtual_time
from tests.listeners.kafka.session_client import BY_NAME, Door, Place, SessionClient, View, offsets_in, parts, views

NAME = "t"


async def made(partitions: int = 3) -> tuple[Cluster, Node, Door]:
    cluster = await Cluster.started(1)
    cluster.controller.topic(TOPIC_ID, [[1]] * partitions)
    await cluster.led(PartitionKey(TOPIC_ID, partitions - 1))
    node = cluster.nodes[1]
    return cluster, node, Door(node)


async def produce(node: Node, partition: int = 0, topic_id: TopicId = TOPIC_ID) -> None:
    future = await node.broker.produce(PartitionKey(topic_id, partition), batch(), -1, 5.0)
    assert future is not None
    await future


async def delete_below(node: Node, partition: int, offset: int) -> None:
    leading = node.leading(PartitionKey(TOPIC_ID, partition))
    assert leading is not None
    await leading.delete_records(offset, node.broker.now() + 5.0)


def places(count: int) -> dict[Place, int]:
    return {Place(TOPIC_ID, number): 0 for number in range(count)}


@in_virtual_time
async def test_a_full_fetch_tells_of_everything_and_the_next_one_of_what_is_new() -> None:
    _, node, door = await made()
    client = SessionClient(door)
    first = await client.fetch(places(3))
    assert list(parts(first)) == list(places(3))
    assert first.session_id > 0
    assert (await client.fetch()).responses == []
    await produce(node, 1)
    new = await client.fetch()
    assert (new.session_id, list(parts(new))) == (first.session_id, [Place(TOPIC_ID, 1)])
    assert offsets_in(parts(new)[Place(TOPIC_ID, 1)]) == [0]
    again = await client.fetch()
    assert offsets_in(parts(again)[Place(TOPIC_ID, 1)]) == [0], "it has not said that it has it"
    assert (await client.fetch({Place(TOPIC_ID, 1): 1})).responses == []


@in_virtual_time
async def test_a_moved_watermark_and_a_later_beginning_are_told_once() -> None:
    cluster, node, door = await made()
    client = SessionClient(door)
    zero = Place(TOPIC_ID, 0)
    await produce(node)
    await produce(node)
    await client.fetch({zero: 2, Place(TOPIC_ID, 1): 0})
    assert (await client.fetch()).responses == []
    await delete_below(node, 0, 1)
    assert views(await client.fetch()) == {zero: View(0, 2, 1)}
    assert (await client.fetch()).responses == []
    await produce(node)
    await client.fetch({zero: 3})
    assert client.known[zero] == View(0, 3, 1)
    assert (await client.fetch()).responses == []
    assert cluster.failures == []


@in_virtual_time
async def test_what_is_wrong_with_a_session_is_said_by_its_code() -> None:
    _, _, door = await made()
    client = SessionClient(door)
    await client.fetch(places(2))
    for session, version, code in (
        ((client.number + 1, 1), 18, 70),
        ((0, 1), 18, 70),
        ((client.number, 2), 18, 71),
        ((client.number, -7), 18, 71),
        ((client.number, 1), 12, 106),
    ):
        answer = await door.ask({}, session=session, version=version)
        assert (answer.error_code, answer.session_id, answer.responses) == (code, 0, [])
    assert (await client.fetch()).error_code == 0, "the session has taken no harm"
    assert (await door.ask({}, session=(client.number, client.epoch - 1))).error_code == 71
    named = SessionClient(door, version=BY_NAME)
    await named.fetch({Place(NAME, 0): 0})
    assert (await door.ask({}, session=(named.number, 1), version=13)).error_code == 106


@in_virtual_time
async def test_a_session_ends_by_its_last_epoch_by_a_new_full_fetch_and_when_nothing_is_wanted() -> None:
    _, _, door = await made()
    client = SessionClient(door)
    await client.fetch(places(2))
    last = await door.ask(places(1), session=(client.number, -1))
    assert (last.session_id, list(parts(last))) == (0, list(places(1)))
    assert (await client.fetch()).error_code == 70
    client = SessionClient(door)
    await client.fetch(places(2))
    anew = await door.ask(places(3), session=(client.number, 0))
    assert anew.session_id not in (0, client.number)
    assert (await client.fetch()).error_code == 70
    client = SessionClient(door)
    await client.fetch(places(2))
    over = await client.fetch(forget=list(places(2)))
    assert (over.error_code, over.session_id, over.responses) == (0, 0, [])
    assert (len(door.sessions), door.sessions.partitions) == (1, 3)
    assert (await door.ask(places(1), session=(0, -1))).session_id == 0
    assert (await door.ask(places(1), session=(0, 0), version=4)).session_id > 0


@in_virtual_time
async def test_partitions_come_and_go_while_a_session_lasts() -> None:
    _, node, door = await made()
    client = SessionClient(door)
    await client.fetch(places(2))
    await produce(node, 0)
    await produce(node, 2)
    answer = await client.fetch({Place(TOPIC_ID, 2): 0}, forget=[Place(TOPIC_ID, 0)])
    assert list(parts(answer)) == [Place(TOPIC_ID, 2)]
    assert door.sessions.partitions == 2
    answer = await client.fetch({Place(TOPIC_ID, 0): 0}, forget=[Place(TOPIC_ID, 7)])
    assert sorted(parts(answer)) == [Place(TOPIC_ID, 0), Place(TOPIC_ID, 2)]


@in_virtual_time
async def test_a_topic_that_is_not_there_is_told_of_each_time_and_then_read() -> None:
    cluster, node, door = await made()
    other = TopicId(b"other topic's id")
    by_id, by_name = SessionClient(door), SessionClient(door, version=BY_NAME)
    for client, place, code in ((by_id, Place(other, 0), 100), (by_name, Place("other", 0), 3)):
        known = place._replace(topic=TOPIC_ID if isinstance(place.topic, bytes) else NAME)
        first = await client.fetch({place: 0, known: 0}, max_wait_ms=60_000)
        assert {one: part.error_code for one, part in parts(first).items()} == {place: code, known: 0}
        for _ in range(2):
            assert {k: v.error_code for k, v in views(await client.fetch(max_wait_ms=60_000)).items()} == {place: code}
    cluster.controller.topic(other, [[1]], name="other")
    await cluster.led(PartitionKey(other, 0))
    await produce(node, 0, other)
    for client, place in ((by_id, Place(other, 0)), (by_name, Place("other", 0))):
        assert offsets_in(parts(await client.fetch())[place]) == [0]
        assert (await client.fetch({Place(place.topic, 5): 0})).error_code == 0
        assert client.known[Place(place.topic, 5)].error_code == 3


@in_virtual_time
async def test_a_topic_that_is_deleted_and_made_again_goes_on_under_its_name_and_not_under_its_id() -> None:
    cluster, node, door = await made(1)
    await produce(node)
    by_id, by_name = SessionClient(door), SessionClient(door, version=BY_NAME)
    await by_id.fetch({Place(TOPIC_ID, 0): 1})
    await by_name.fetch({Place(NAME, 0): 1})
    waits = [asyncio.ensure_future(one.fetch(max_wait_ms=30_000)) for one in (by_id, by_name)]
    await asyncio.sleep(1)
    cluster.controller.remove(TOPIC_ID)
    assert [next(iter(views(await one).values())).error_code for one in waits] == [100, 3]
    again = TopicId(b"the same once mo")
    cluster.controller.topic(again, [[1]])
    await cluster.led(PartitionKey(again, 0))
    assert views(await by_id.fetch()) == {Place(TOPIC_ID, 0): View(100, -1, -1)}
    await produce(node, 0, again)
    assert views(await by_name.fetch({Place(NAME, 0): 0})) == {Place(NAME, 0): View(0, 1, 0)}


@in_virtual_time
async def test_a_fetch_waits_for_what_its_session_wants_and_an_overtaken_one_is_told_so() -> None:
    _, node, door = await made()
    client = SessionClient(door)
    await client.fetch(places(3))
    waiting = asyncio.ensure_future(client.fetch(max_wait_ms=30_000))
    await asyncio.sleep(1)
    assert not waiting.done()
    await produce(node, 2)
    assert list(parts(await waiting)) == [Place(TOPIC_ID, 2)]
    waiting = asyncio.ensure_future(client.fetch({Place(TOPIC_ID, 2): 1}, max_wait_ms=30_000))
    await asyncio.sleep(1)
    newer = await door.ask({}, session=(client.number, client.epoch + 1))
    assert (newer.error_code, newer.responses) == (0, [])
    assert (await waiting).error_code == 71
    began = asyncio.get_running_loop().time()
    idle = await door.ask({}, session=(client.number, client.epoch + 2), max_wait_ms=5000)
    assert (idle.responses, asyncio.get_running_loop().time() - began) == ([], pytest.approx(5.0))


@in_virtual_time
async def test_a_fetch_that_was_given_up_loses_no_news() -> None:
    _, node, door = await made()
    client = SessionClient(door)
    await client.fetch(places(3))
    waiting = asyncio.ensure_future(client.fetch(max_wait_ms=30_000, min_bytes=1 << 20))
    await asyncio.sleep(1)
    await produce(node, 1)
    await asyncio.sleep(1)
    waiting.cancel()
    await asyncio.wait([waiting])
    answer = await door.ask({Place(TOPIC_ID, 1): 1}, session=(client.number, client.epoch + 1))
    assert views(answer) == {Place(TOPIC_ID, 1): View(0, 1, 0)}


@in_virtual_time
async def test_partitions_take_turns_where_an_answer_has_no_room_for_all() -> None:
    _, node, door = await made(3)
    for partition in (0, 1, 2):
        for _ in range(4):
            await produce(node, partition)
    client = SessionClient(door)
    first = await client.fetch(places(3), max_bytes=1)
    got = {place: offsets_in(part) for place, part in parts(first).items()}
    order: list[int] = []
    while any(position < 4 for position in client.position.values()):
        changes = {place: offsets[-1] + 1 for place, offsets in got.items() if offsets}
        order += [place.partition for place in changes]
        answer = await client.fetch(changes, max_bytes=1)
        got = {place: offsets_in(part) for place, part in parts(answer).items()}
        assert len(order) <= 12
    assert order == [0, 1, 2] * 4


@in_virtual_time
async def test_an_incremental_fetch_looks_only_at_what_may_have_news(monkeypatch: pytest.MonkeyPatch) -> None:
    _, node, door = await made(100)
    looked: list[int] = []
    look = Reads._read_one

    async def counted(self: Reads, interest, *arguments, **named):
        looked.append(interest.wanted.key.partition)
        return await look(self, interest, *arguments, **named)

    monkeypatch.setattr(Reads, "_read_one", counted)
    client = SessionClient(door)
    await client.fetch(places(100))
    assert len(looked) == 100
    looked.clear()
    waiting = asyncio.ensure_future(client.fetch(max_wait_ms=30_000, min_bytes=1 << 20))
    await asyncio.sleep(1)
    for _ in range(3):
        await produce(node, 42)
    await waiting
    assert set(looked) == {42}
    looked.clear()
    await client.fetch({Place(TOPIC_ID, 42): 3, Place(TOPIC_ID, 7): 0})
    await client.fetch(max_wait_ms=1000)
    assert looked == [42, 7]


@in_virtual_time
async def test_a_session_with_a_rack_is_sent_to_a_follower_and_back_when_that_hears_nothing() -> None:
    cluster = await Cluster.started(racked=True)
    cluster.controller.topic(TOPIC_ID, [[1, 2, 3]] * 2)
    leader = await cluster.led()
    near = next(node for node in cluster.nodes.values() if node is not leader)
    rack = f"rack{near.node_id}"
    await until(lambda: all(one.subscriber is not None for one in leader.leading().replicas.values()))
    await produce(leader)
    place = Place(TOPIC_ID, 0)
    at_leader = SessionClient(Door(leader))
    await at_leader.fetch({Place(TOPIC_ID, 1): 0})
    for _ in range(2):
        sent = parts(await at_leader.fetch({place: 0}, rack=rack))[place]
        assert (sent.preferred_read_replica, offsets_in(sent)) == (near.node_id, [])
    await until(lambda: near.log().high_watermark == 1)
    follower = SessionClient(Door(near))
    first = await follower.fetch({place: 0}, rack=rack)
    assert offsets_in(parts(first)[place]) == [0]
    assert (await follower.fetch({place: 1}, rack=rack)).responses == []
    waiting = asyncio.ensure_future(follower.fetch(rack=rack, max_wait_ms=30_000))
    await asyncio.sleep(1)
    await produce(leader)
    assert offsets_in(parts(await waiting)[place]) == [1]
    await follower.fetch({place: 2}, rack=rack)
    assert (await follower.fetch(rack=rack)).responses == []
    following = near.broker.replicas.partitions[PartitionKey(TOPIC_ID, 0)].role
    number, following.subscription = following.subscription, 0
    assert parts(await follower.fetch(rack=rack))[place].error_code == 6
    following.subscription = number
    assert views(await follower.fetch(rack=rack)) == {place: View(0, 2, 0)}
    assert (await follower.fetch(rack="elsewhere")).responses == [], "it follows all the same"
    assert parts(await follower.fetch(rack=""))[place].error_code == 6


class Hours:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def wanting(count: int, epoch: int = 0, number: int = 0) -> FetchRequest:
    partitions = [
        FetchRequest.Topic.Partition(partition=one, fetch_offset=0, partition_max_bytes=1) for one in range(count)
    ]
    return FetchRequest(
        max_wait_ms=0,
        min_bytes=0,
        session_id=number,
        session_epoch=epoch,
        topics=[FetchRequest.Topic(topic="t", partitions=partitions)],
    )


class Places:
    """The places of sessions, and a clock."""

    def __init__(self, slots: int) -> None:
        self.clock = Hours()
        self.sessions = FetchSessions(slots, self.clock, Random(1))

    def new(self, partitions: int) -> FetchSession:
        session = self.sessions.begin(wanting(partitions), by_id=False)
        self.sessions.keep(session, wanting(partitions))
        return session

    def use(self, session: FetchSession) -> None:
        self.sessions.begin(wanting(1, session.epoch, session.number), by_id=False)


def test_a_place_is_given_away_when_its_session_was_silent_for_long() -> None:
    held = Places(2)
    first, second = held.new(5), held.new(5)
    held.clock.now_s += EVICTION_S
    held.use(first)
    assert held.new(3).number == 0, "not yet"
    held.clock.now_s += 0.1
    third = held.new(3)
    assert third.number > 0
    assert second.number not in held.sessions._sessions
    assert (held.sessions.evictions, held.sessions.partitions) == (1, 8)


def test_a_larger_session_takes_the_place_of_the_smallest_old_one() -> None:
    held = Places(3)
    sizes = {4: held.new(4), 2: held.new(2), 3: held.new(3)}
    held.clock.now_s += EVICTION_S + 1
    for session in sizes.values():
        held.use(session)
    assert held.new(2).number == 0, "it is not larger"
    young = held.new(3)
    assert young.number > 0
    assert sizes[2].number not in held.sessions._sessions
    assert held.new(4).number > 0, "in place of the other one with 3: the young one is as small"
    assert sizes[3].number not in held.sessions._sessions
    assert young.number in held.sessions._sessions


def test_there_are_no_sessions_without_places_nor_with_too_many_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Places(0).new(1).number == 0
    monkeypatch.setattr(fetch_sessions, "MOST_PARTITIONS", 10)
    held = Places(5)
    small = held.new(6)
    assert held.new(5).number == 0
    assert held.new(4).number > 0
    grows = wanting(8, small.epoch, small.number)
    with pytest.raises(fetch_sessions.FetchSessionIdNotFound):
        held.sessions.begin(grows, by_id=False)
    assert (len(held.sessions), held.sessions.partitions) == (1, 4)


def test_epochs_go_round_and_leave_out_the_first_one() -> None:
    held = Places(1)
    session = held.new(2)
    session.epoch = (1 << 31) - 1
    held.use(session)
    assert session.epoch == 1
