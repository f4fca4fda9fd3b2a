"""Supervised task groups."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from dohle.runtime.tasks import Tasks, cancel, turn


async def forever(ended: list[str], name: str) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append(name)


async def test_closing_cancels_in_the_order_of_creation_and_waits_for_each() -> None:
    failures: list[BaseException] = []
    ended: list[str] = []
    tasks = Tasks("group", failures.append)
    for name in "abcdefgh":
        tasks.spawn(forever(ended, name), name)
    await asyncio.sleep(0)
    assert len(tasks) == 8
    await tasks.close()
    assert ended == list("abcdefgh")
    assert (len(tasks), failures) == (0, [])


async def test_a_failure_reaches_the_owner_once_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    failures: list[BaseException] = []
    tasks = Tasks("group", failures.append)

    async def fail() -> None:
        raise ValueError("broken")

    task = tasks.spawn(fail(), "failing")
    async with asyncio.timeout(5):
        while not failures:
            await asyncio.sleep(0)
    assert [repr(failure) for failure in failures] == ["ValueError('broken')"]
    assert task.get_name() == "group/failing"
    assert [(record.levelno, "group/failing" in record.message) for record in caplog.records] == [
        (logging.CRITICAL, True)
    ]
    await tasks.close()
    assert len(failures) == 1


async def test_a_task_that_ends_or_is_cancelled_is_no_failure() -> None:
    failures: list[BaseException] = []
    tasks = Tasks("group", failures.append)

    async def end() -> None:
        return

    tasks.spawn(end(), "ending")
    await cancel(tasks.spawn(forever([], ""), "cancelled"))
    assert (len(tasks), failures) == (0, [])


async def test_a_closed_group_starts_nothing() -> None:
    tasks = Tasks("group", lambda failure: None)
    await tasks.close()
    started: list[Any] = []

    async def work() -> None:
        started.append(1)

    with pytest.raises(RuntimeError, match="task group group is closed, so late cannot start"):
        tasks.spawn(work(), "late")
    assert started == []


async def test_a_task_that_is_slow_to_end_is_waited_for_and_one_that_fails_at_it_is_reported() -> None:
    failures: list[BaseException] = []
    tasks = Tasks("group", failures.append)
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.02)
            ended.append("slow")

    async def failing() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise OSError("on the way out") from None

    tasks.spawn(slow(), "slow")
    tasks.spawn(failing(), "failing")
    await asyncio.sleep(0)
    await tasks.close()
    assert ended == ["slow"]
    assert [repr(failure) for failure in failures] == ["OSError('on the way out')"]


async def test_a_task_may_close_its_own_group() -> None:
    failures: list[BaseException] = []
    ended: list[str] = []
    tasks = Tasks("group", failures.append)

    async def closes() -> None:
        await tasks.close()
        ended.append("itself")

    tasks.spawn(forever(ended, "other"), "other")
    task = tasks.spawn(closes(), "closes")
    await asyncio.wait_for(task, 5)
    assert ended == ["other", "itself"]
    assert failures == []


async def test_cancel_returns_whatever_the_task_ends_with() -> None:
    async def fail() -> None:
        raise KeyError

    task = asyncio.ensure_future(fail())
    await asyncio.sleep(0)
    await cancel(task)
    assert isinstance(task.exception(), KeyError)


async def test_a_long_piece_of_work_lets_others_run_between() -> None:
    order: list[str] = []

    async def work() -> None:
        for number in range(6):
            await turn(number, every=3)
            order.append(str(number))

    async def other() -> None:
        for name in "ab":
            order.append(name)
            await asyncio.sleep(0)

    await asyncio.gather(work(), other())
    assert order == ["0", "1", "a", "2", "3", "4", "b", "5"]
