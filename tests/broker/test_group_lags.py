"""How far readers are behind: positions as leaders see them, and lags as a coordinator gathers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from dohle.broker.groups import lags
from dohle.broker.groups.lags import GroupLags, Lag, Position
from dohle.broker.positions import MOST_READS, ReaderPosition, Surrounding
from dohle.model.errors import NotLeaderOrFollower, UnknownTopicOrPartition
from dohle.model.ids import PartitionKey, TopicPartition
from dohle.model.records import Record, encode_batch
from tests.broker.brokers import KEY, Cluster, Node, until
from tests.broker.logs import TOPIC_ID
from tests.broker.virtual_time import in_virtual_time

OTHER_KEY = PartitionKey(TOPIC_ID, 1)
HOUR_MS = 3_600_000


async def made() -> tuple[Cluster, Node, Node]:
    """Two brokers, each of which leads one of the topic's partitions."""
    cluster = await Cluster.started(1, 2)
    cluster.controller.topic(TOPIC_ID, [[1, 2], [2, 1]])
    await cluster.led(KEY)
    await cluster.led(OTHER_KEY)
    return cluster, cluster.leader(KEY), cluster.leader(OTHER_KEY)


async def produce(node: Node, key: PartitionKey, *times_ms: int, size: int = 10) -> None:
    """Appends one batch with a record of each time."""
    batch = encode_batch([Record(None, b"." * size, (), time_ms) for time_ms in times_ms])
    future = await node.broker.produce(key, batch, -1, 5.0)
    assert future is not None
    await future


def name_of(node: Node, key: PartitionKey) -> TopicPartition:
    return node.broker.replicas.partitions[key].name


class Groups:
    """What groups have committed."""

    def __init__(self, groups: Mapping[str, Sequence[Position]]) -> None:
        self.groups = groups

    async def offsets(self) -> Mapping[str, Sequence[Position]]:
        return self.groups


def lags_of(node: Node, groups: Mapping[str, Sequence[Position]] | None = None) -> tuple[GroupLags, Groups]:
    broker = node.broker
    of = Groups(groups or {})
    return GroupLags(broker._surroundings, broker.positions, lambda: broker.image, of.offsets), of


async def times_at(node: Node, *offsets: int) -> list[int | None]:
    found = await node.broker.positions.describe([ReaderPosition(KEY, offset, wants_time=True) for offset in offsets])
    return [one.timestamp_ms if isinstance(one, Surrounding) else -1 for one in found]


@in_virtual_time
async def test_the_time_is_that_of_the_very_record_that_comes_next() -> None:
    _, leader, _ = await made()
    await produce(leader, KEY, 1000, 3000, 2000)
    await produce(leader, KEY, 9000)
    assert await times_at(leader, 0, 1, 2, 3, 4, 5, -1) == [1000, 3000, 2000, 9000, None, None, None]


@in_virtual_time
async def test_the_time_within_a_large_batch_is_taken_to_pass_evenly() -> None:
    _, leader, _ = await made()
    await produce(leader, KEY, *range(1000, 1101), size=300)
    assert await times_at(leader, 0, 25, 100) == [1000, 1025, 1100]


@in_virtual_time
async def test_one_request_reads_so_much_and_answers_the_rest_without_times() -> None:
    _, leader, _ = await made()
    await produce(leader, KEY, 1000)
    found = await times_at(leader, *[0] * (MOST_READS + 3))
    assert found == [1000] * MOST_READS + [None] * 3


@in_virtual_time
async def test_only_the_leader_tells() -> None:
    _, _, follower = await made()
    (refused,) = await follower.broker.positions.describe([ReaderPosition(KEY, 0, wants_time=True)])
    assert isinstance(refused, NotLeaderOrFollower)


@in_virtual_time
async def test_a_lag_is_measured_at_whichever_broker_leads() -> None:
    _, here, there = await made()
    await produce(here, KEY, 1000, 2000)
    await produce(there, OTHER_KEY, 5000, 6000, 7000)
    near, far, gone = name_of(here, KEY), name_of(here, OTHER_KEY), TopicPartition("gone", 0)
    wanted = [Position(near, 2), Position(far, 1), Position(far, -1), Position(gone, 5)]
    measured = await lags_of(here)[0].measure(wanted)
    assert measured[wanted[0]] == Lag(0, 2, 0, None)
    assert measured[wanted[1]] == Lag(0, 3, 2, 6000)
    assert measured[wanted[2]] == Lag(0, 3, None, None)
    assert isinstance(measured[wanted[3]], UnknownTopicOrPartition)
    ages = [lag.age_ms(6500) for lag in measured.values() if isinstance(lag, Lag)]
    assert ages == [0, 500, None]


@in_virtual_time
async def test_a_leader_that_is_gone_costs_its_own_partitions_and_no_other() -> None:
    cluster, here, there = await made()
    await produce(here, KEY, 1000)
    near, far = name_of(here, KEY), name_of(here, OTHER_KEY)
    cluster.controller.answers = False  # so that nobody takes over meanwhile
    await there.kill()
    measured = await lags_of(here)[0].measure([Position(far, 0), Position(near, 0)])
    assert measured[Position(near, 0)] == Lag(0, 1, 1, 1000)
    assert not isinstance(measured[Position(far, 0)], Lag)


@in_virtual_time
async def test_all_groups_are_measured_and_who_has_gone_is_forgotten() -> None:
    _, here, _ = await made()
    await produce(here, KEY, 1000, 2000)
    name = name_of(here, KEY)
    measuring, groups = lags_of(here, {"a": [Position(name, 0)], "b": [Position(name, 2)]})
    await measuring.measure_all()
    assert measuring.by_group == {
        "a": {Position(name, 0): Lag(0, 2, 2, 1000)},
        "b": {Position(name, 2): Lag(0, 2, 0, None)},
    }
    groups.groups = {"a": [Position(name, 1)]}
    await measuring.measure_all()
    assert measuring.by_group == {"a": {Position(name, 1): Lag(0, 2, 1, 2000)}}


@in_virtual_time
async def test_where_there_are_too_many_each_has_its_turn_and_no_lag_is_shown_too_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, here, _ = await made()
    await produce(here, KEY, 1000, 2000, 3000)
    name = name_of(here, KEY)
    monkeypatch.setattr(lags, "MOST_TIMES", 1)
    measuring, groups = lags_of(here, {"a": [Position(name, 0)], "b": [Position(name, 1)]})
    await measuring.measure_all()
    await measuring.measure_all()
    assert [lag for of in measuring.by_group.values() for lag in of.values()] == [
        Lag(0, 3, 3, 1000),
        Lag(0, 3, 2, 2000),
    ]
    groups.groups = {"a": [Position(name, 2)], "b": [Position(name, 2)]}
    await measuring.measure_all()
    times = [lag.next_ms for of in measuring.by_group.values() for lag in of.values() if isinstance(lag, Lag)]
    assert times[0] == 3000
    monkeypatch.setattr(lags, "MOST_MEASURED", 1)
    groups.groups = {group: [Position(name, 1)] for group in "abc"}
    measuring.by_group = {}
    for _ in range(3):
        await measuring.measure_all()
    assert all(measuring.by_group[group] for group in "abc")


@in_virtual_time
async def test_a_group_whose_next_records_were_deleted_is_told_of_what_comes_next_now() -> None:
    _, here, _ = await made()
    for time_ms in (1000, 2000, 3000):
        await produce(here, KEY, time_ms)
    name = name_of(here, KEY)
    measuring, _ = lags_of(here)
    assert (await measuring.measure([Position(name, 0)]))[Position(name, 0)] == Lag(0, 3, 3, 1000)
    leading = here.leading(KEY)
    assert leading is not None
    leading.delete_records(2, here.broker.now() + 5)
    await until(lambda: leading.log.log_start_offset == 2)
    found = [(await measuring.measure([Position(name, 0)]))[Position(name, 0)] for _ in range(2)]
    assert found == [Lag(2, 3, 1, None), Lag(2, 3, 1, 3000)]
