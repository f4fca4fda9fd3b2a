"""Which processes of controllers are proven gone."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from dohle.controller.incarnations import Incarnations
from dohle.model.ids import DirectoryId, IncarnationId, NodeId
from dohle.raft.quorum import ReplicaKey
from dohle.rpc import probe as probes
from dohle.runtime.network import Address
from dohle.runtime.tasks import Tasks

VOTER = ReplicaKey(NodeId(2), DirectoryId(bytes(16)))
FIRST, SECOND = IncarnationId(b"1" * 16), IncarnationId(b"2" * 16)


class LedBy:
    """Raft that follows VOTER, and is told when that is gone."""

    leader = VOTER
    term = 3
    told = 0

    def leader_gone(self, now: float, node_id: int, term: int) -> list[Any]:
        self.told += 1
        return []


@pytest.fixture
def raft() -> LedBy:
    return LedBy()


@pytest.fixture
def tasks() -> Tasks:
    return Tasks("test", lambda failure: None)


@pytest.fixture
def incarnations(raft: LedBy, tasks: Tasks) -> Incarnations:
    class Still:
        def now(self) -> float:
            return 0.0

    address = Address("there", 1)
    return Incarnations(
        cast("Any", raft), cast("Any", None), cast("Any", Still()), tasks, lambda _: address, lambda _: None
    )


def test_another_incarnation_proves_the_end_of_the_one_before(incarnations: Incarnations, raft: LedBy) -> None:
    incarnations.heard_hello(VOTER, FIRST)
    assert not incarnations.has_ended(VOTER.node_id, FIRST)
    incarnations.heard_hello(VOTER, SECOND)
    assert incarnations.has_ended(VOTER.node_id, FIRST)
    assert not incarnations.has_ended(VOTER.node_id, SECOND)
    assert raft.told == 1


def test_the_last_leader_is_told_once_with_when_it_was_heard(incarnations: Incarnations, raft: LedBy) -> None:
    assert incarnations.last_leader() is None
    incarnations.heard_hello(VOTER, FIRST)
    incarnations.heard(VOTER)
    incarnations.heard(ReplicaKey(NodeId(3), DirectoryId(bytes(16))))
    assert incarnations.last_leader() == (VOTER.node_id, FIRST, 0.0)
    assert incarnations.last_leader() is None


async def test_one_that_was_taken_for_gone_and_says_hello_lives(
    incarnations: Incarnations, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: Any) -> probes.Verdict:
        return probes.Verdict.GONE

    monkeypatch.setattr("dohle.controller.incarnations.probe", refused)
    incarnations.heard_hello(VOTER, FIRST)
    incarnations.stream_broke(VOTER)
    while not incarnations.has_ended(VOTER.node_id, FIRST):
        await asyncio.sleep(0)
    incarnations.heard_hello(VOTER, FIRST)
    assert not incarnations.has_ended(VOTER.node_id, FIRST)
    await tasks.close()
