"""Waiting for moves: what Ctrl-C leaves behind is said."""

from __future__ import annotations

import asyncio

import pytest

from dohle.cli.moves import until_arrived
from dohle.client.partition_changes import OngoingReassignment, OngoingReassignments
from dohle.model.ids import TopicPartition


class OneStaysAway:
    """An admin of a cluster where one of two moves has arrived, and the other one never does."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def list_partition_reassignments(self) -> OngoingReassignments:
        self.asked.set()
        return OngoingReassignments((OngoingReassignment("b", 0, 0, 1, (1, 2), (2,), (), (1,)),), 0)


async def test_who_stops_watching_is_told_what_goes_on_without_him(capsys):
    admin = OneStaysAway()
    watching = asyncio.create_task(until_arrived(admin, [TopicPartition("a", 0), TopicPartition("b", 0)]))
    await admin.asked.wait()
    await asyncio.sleep(0)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    said = capsys.readouterr()
    assert said.err.startswith("1 partition still on the way: `dohle cluster reassign --list` shows how far")
    assert said.out == ""


async def test_nothing_is_waited_for_where_nothing_is_on_its_way(capsys):
    await until_arrived(OneStaysAway(), [])
    assert capsys.readouterr() == ("", "")
