"""Long changes: step by step, with others in between; shutdowns that outlive heartbeats and controllers."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import patch

import pytest

from dohle.controller import shutdowns
from dohle.controller.decision import Decision
from dohle.controller.shutdowns import Shutdowns
from dohle.model.errors import InvalidRequest, NotController
from dohle.model.ids import NodeId
from dohle.model.image import ClusterImage
from dohle.model.metadata import NoOp
from dohle.runtime.tasks import Tasks
from tests.controller.alone_quorum import AloneController
from tests.controller.decided_cluster import DecidedCluster

ONE = NodeId(1)


async def turns(count: int = 50) -> None:
    """Lets everything happen that can."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
async def alone() -> AloneController:
    """In office, over three brokers, of which the first leads five partitions."""
    cluster = DecidedCluster(brokers=3)
    cluster.topic("t", *[[1, 2, 3]] * 5)
    alone = AloneController(cluster)
    await alone.take_office()
    return alone


class Steps:
    """Changes nothing, in so many steps; `seen` is where the metadata ended at each."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.seen: list[int] = []
        self._count = count
        self._error = error

    def next(self, image: ClusterImage) -> Decision[str]:
        self.seen.append(image.next_offset)
        if len(self.seen) == self._count and self._error is not None:
            raise self._error
        return Decision((NoOp(),), f"after {len(self.seen)}", more=len(self.seen) < self._count)


async def test_others_are_let_in_between_the_steps_of_a_long_change(alone: AloneController) -> None:
    begin = alone.controller.pending.next_offset
    steps = Steps(3)
    changing = asyncio.ensure_future(alone.controller.change(steps.next))
    other = asyncio.ensure_future(alone.controller.change(Steps(1).next))
    assert await changing == "after 3"
    assert await other == "after 1"
    assert steps.seen == [begin, begin + 2, begin + 3], "the other one came after the first step"


async def test_few_steps_are_on_their_way_and_the_answer_waits_for_the_last(alone: AloneController) -> None:
    alone.quorum.held_back = []
    steps = Steps(9)
    changing = asyncio.ensure_future(alone.controller.change(steps.next))
    await turns()
    assert len(steps.seen) == 5
    alone.quorum.let_go(1)
    await turns()
    assert len(steps.seen) == 6
    for _ in range(8):
        alone.quorum.let_go(1)
        await turns()
        assert changing.done() == (len(alone.quorum.held_back) == 0)
    assert await changing == "after 9"


async def test_an_error_of_a_later_step_waits_for_those_before_it(alone: AloneController) -> None:
    alone.quorum.held_back = []
    changing = asyncio.ensure_future(alone.controller.change(Steps(3, InvalidRequest("no")).next))
    await turns()
    alone.quorum.let_go(1)
    await turns()
    assert not changing.done()
    alone.quorum.let_go(1)
    with pytest.raises(InvalidRequest):
        await changing


async def test_who_loses_office_between_two_steps_says_so(alone: AloneController) -> None:
    alone.quorum.held_back = []
    changing = asyncio.ensure_future(alone.controller.change(Steps(9).next))
    await turns()
    alone.leave_office()
    with pytest.raises(NotController):
        await changing


class Leaving:
    """The first broker, which shuts down."""

    def __init__(self, alone: AloneController) -> None:
        self.alone = alone
        self.failures: list[BaseException] = []
        self.tasks = Tasks("test", self.failures.append)
        self.shutdowns = Shutdowns(alone.controller, self.tasks)
        self.broker_epoch = alone.controller.committed.brokers[ONE].broker_epoch

    def asks(self) -> asyncio.Task[bool]:
        return asyncio.ensure_future(self.shutdowns.emptied(ONE, self.broker_epoch))

    @property
    def leads(self) -> int:
        return len(list(self.alone.controller.committed.led_by(ONE)))


@pytest.fixture
async def leaving(alone: AloneController) -> Any:
    leaving = Leaving(alone)
    with patch.object(shutdowns, "MOST_CHANGES", 1):
        yield leaving
    await leaving.tasks.close()
    assert not leaving.failures


async def test_a_broker_is_emptied_once_the_last_step_is_committed(leaving: Leaving) -> None:
    leaving.alone.quorum.held_back = held = []
    asked = leaving.asks()
    for _ in range(5):
        await turns()
        assert not asked.done()
        leaving.alone.quorum.let_go(1)
    await turns()
    assert held == []
    assert await asked
    assert leaving.leads == 0


async def test_a_beat_that_waits_no_longer_stops_nothing(leaving: Leaving) -> None:
    leaving.alone.quorum.held_back = []
    first = leaving.asks()
    await turns()
    first.cancel()
    leaving.alone.quorum.let_go(1)
    second = leaving.asks()
    for _ in range(4):
        await turns()
        assert not second.done()
        leaving.alone.quorum.let_go(1)
    assert await second
    assert await leaving.asks(), "what was done is not done again"
    assert leaving.alone.quorum.commits == 1 + 5


async def test_who_takes_office_in_between_goes_on_when_the_broker_asks_there(leaving: Leaving) -> None:
    alone = leaving.alone
    alone.quorum.held_back = []
    asked = leaving.asks()
    await turns()
    alone.quorum.let_go(2)
    alone.leave_office()
    assert not await asked
    await turns()
    alone.quorum.forget_held_back()
    await alone.take_office()
    assert leaving.leads == 3
    assert await leaving.asks()
    assert leaving.leads == 0


async def test_a_registration_that_is_over_is_not_emptied(leaving: Leaving) -> None:
    leaving.broker_epoch -= 1
    assert not await leaving.asks()
    assert leaving.leads == 5
