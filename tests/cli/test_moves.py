"""Waiting for moves: what Ctrl-C leaves behind is said."""

from __future__ import annotations

import asyncio

import pytest

from dohle.cli import moves
from dohle.cli.moves import until_arrived
from dohle.client.partition_changes import OngoingReassignment, OngoingReassignments
from dohle.client.values import ClusterDescription, NodeDescription
from dohle.model.errors import BrokerNotAvailable
from dohle.model.ids import TopicPartition

BOTH = [TopicPartition("a", 0), TopicPartition("b", 0)]


class OneStaysAway:
    """An admin of a cluster where one of two moves has arrived, and the other one never does."""

    def __init__(self, *down: int) -> None:
        self.down = down
        self.asked = asyncio.Event()

    async def list_partition_reassignments(self) -> OngoingReassignments:
        self.asked.set()
        return OngoingReassignments((OngoingReassignment("b", 0, 0, 1, (1, 2), (2,), (), (1,)),), 0)

    async def describe_cluster(self) -> ClusterDescription:
        nodes = [NodeDescription(node, (), "", node in self.down, False, 1, b"", 0, 0) for node in (1, 2)]
        return ClusterDescription("c", 1, tuple(nodes), (), 1, 1, 1, 1, ())


async def test_who_stops_watching_is_told_what_goes_on_without_him(capsys):
    admin = OneStaysAway()
    watching = asyncio.create_task(until_arrived(admin, BOTH))
    await admin.asked.wait()
    await asyncio.sleep(0)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    said = capsys.readouterr()
    assert said.err.startswith("1 partition still on the way: `dohle cluster reassign --list` shows how far")
    assert said.out == ""


async def test_nothing_is_waited_for_where_nothing_is_on_its_way(capsys):
    assert await until_arrived(OneStaysAway(), []) == []
    assert capsys.readouterr() == ("", "")


async def test_what_waits_for_a_broker_that_is_down_is_said_once_and_waited_for_no_longer_than_asked(
    capsys, monkeypatch
):
    monkeypatch.setattr(moves, "_LOOK_EVERY_S", 0.01)
    [held] = await until_arrived(OneStaysAway(2), BOTH, patience_s=0.05)
    assert (held.move.name, held.down) == (TopicPartition("b", 0), (2,))
    assert capsys.readouterr().err == "b-0 waits for broker 2, which is down\n"


async def test_what_is_merely_slow_is_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(moves, "_LOOK_EVERY_S", 0.001)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(until_arrived(OneStaysAway(), BOTH, patience_s=0.01), 0.1)


async def test_the_list_of_moves_says_what_each_waits_for():
    admin = OneStaysAway(2)
    admin.describe_log_dirs = lambda node: _no_answer()
    [move] = await moves.moves(admin)
    assert move.to_json()["waits_for"] == [2]


async def _no_answer():
    raise BrokerNotAvailable
