"""The real clock, and threads for CPU work."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from dohle.runtime.clock import LoopClock
from dohle.runtime.workers import ThreadWorkers


async def test_sleeping_takes_its_time_and_timers_follow_the_same_clock() -> None:
    clock = LoopClock()
    before = clock.now()
    fired: list[float] = []
    asyncio.get_running_loop().call_later(0.01, lambda: fired.append(clock.now()))
    await clock.sleep(0.02)
    assert clock.now() - before >= 0.02
    assert 0.01 <= fired[0] - before < clock.now() - before


async def test_sleeping_for_no_time_lets_others_run() -> None:
    order: list[str] = []
    asyncio.get_running_loop().call_soon(order.append, "other")
    await LoopClock().sleep(0)
    order.append("sleeper")
    assert order == ["other", "sleeper"]


async def test_waiting_ends_with_the_event_or_by_setting_it_and_leaves_no_timer() -> None:
    clock = LoopClock()
    event = asyncio.Event()
    asyncio.get_running_loop().call_soon(event.set)
    before = clock.now()
    await clock.wait(event, 10.0)
    assert clock.now() - before < 5
    event.clear()
    await clock.wait(event, 0.01)
    assert event.is_set()
    event.clear()
    asyncio.get_running_loop().call_soon(event.set)
    await clock.wait(event, 0.01)
    event.clear()
    await clock.sleep(0.02)
    assert not event.is_set(), "the timer of a wait that is over has set the event"


async def test_wall_time_is_the_systems() -> None:
    assert abs(LoopClock().wall_ms() - time.time() * 1000) < 1000


async def test_workers_work_beside_the_loop_and_raise_what_the_work_raises() -> None:
    workers = ThreadWorkers()
    released = threading.Event()
    waiting = asyncio.ensure_future(workers.run(lambda: released.wait(5)))
    assert await workers.run(lambda: 42) == 42  # while the other still waits
    released.set()
    assert await waiting
    with pytest.raises(ZeroDivisionError):
        await workers.run(lambda: 1 // 0)
    workers.close()
