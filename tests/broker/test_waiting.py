"""What waits for an offset is answered in time, once, and never by mistake."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohle.broker.waiting import Acknowledgements, Produced
from dohle.model.errors import NotEnoughReplicasAfterAppend, NotLeaderOrFollower, RequestTimedOut
from tests.broker.virtual_time import in_virtual_time


def produced(offset: int) -> Produced:
    return Produced(offset, -1, 0)


@in_virtual_time
async def test_each_is_done_when_its_offset_is_reached() -> None:
    waiting = Acknowledgements()
    first, second = waiting.add(10, 9.0, produced(5)), waiting.add(20, 9.0, produced(10))
    waiting.reached(9)
    assert not first.done()
    waiting.reached(19)
    assert first.result() == produced(5)
    assert not second.done()
    assert len(waiting) == 1


@in_virtual_time
async def test_a_duplicate_waits_for_its_older_offset_alone() -> None:
    waiting = Acknowledgements()
    new = waiting.add(20, 9.0, produced(10))
    duplicate = waiting.add(5, 9.0, produced(0))
    waiting.reached(5)
    assert duplicate.done()
    assert not new.done()


@in_virtual_time
async def test_a_failure_reaches_only_what_the_offset_has_passed() -> None:
    waiting = Acknowledgements()
    passed, ahead = waiting.add(5, 9.0, produced(0)), waiting.add(6, 9.0, produced(5))
    waiting.reached(5, NotEnoughReplicasAfterAppend())
    assert isinstance(passed.exception(), NotEnoughReplicasAfterAppend)
    assert not ahead.done()


@in_virtual_time
async def test_whoever_waits_too_long_is_told() -> None:
    waiting = Acknowledgements()
    early, late = waiting.add(5, 2.0, produced(0)), waiting.add(6, 1.0, produced(5))
    waiting.expire(1.5, RequestTimedOut())
    assert isinstance(late.exception(), RequestTimedOut)
    waiting.reached(6)
    assert early.result() == produced(0)


@in_virtual_time
async def test_all_fail_when_the_epoch_ends() -> None:
    waiting = Acknowledgements()
    futures = [waiting.add(offset, 9.0, produced(0)) for offset in (3, 1, 2)]
    waiting.fail_all(NotLeaderOrFollower())
    for future in futures:
        with pytest.raises(NotLeaderOrFollower):
            await future
    assert not waiting


@in_virtual_time
async def test_one_that_was_given_up_disturbs_nobody() -> None:
    waiting = Acknowledgements()
    given_up, other = waiting.add(1, 9.0, produced(0)), waiting.add(1, 9.0, produced(0))
    given_up.cancel()
    waiting.reached(1)
    assert other.done()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=50))
def test_done_is_exactly_what_was_reached(steps: list[tuple[bool, int]]) -> None:
    @in_virtual_time
    async def scenario() -> None:
        waiting, reached = Acknowledgements(), -1
        futures: list[tuple[int, asyncio.Future[Produced]]] = []
        for adds, offset in steps:
            if adds:
                futures.append((offset, waiting.add(offset, 9.0, produced(offset))))
                waiting.reached(reached)
            else:
                reached = max(reached, offset)
                waiting.reached(reached)
            assert all(future.done() == (end <= reached) for end, future in futures)

    scenario()
