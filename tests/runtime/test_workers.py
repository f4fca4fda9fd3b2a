"""Workers: the process in which pure-Python work is done."""

from __future__ import annotations

import asyncio
import os

import pytest

from dohle.runtime.workers import LostWorker, ThreadWorkers


def niceness(_: list[int]) -> int:
    return os.nice(0)


async def test_work_is_done_on_a_value_in_a_process_that_gives_way() -> None:
    workers = ThreadWorkers()
    aside = await workers.aside(list)
    await aside.run(list.append, 1)
    await aside.run(list.append, 2)
    assert await aside.run(list.copy) == [1, 2]
    assert await aside.run(niceness) == 19
    await aside.close()
    workers.close()


async def test_a_process_that_ends_is_told_of() -> None:
    workers = ThreadWorkers()
    aside = await workers.aside(list)
    for _ in range(3):  # however much later
        with pytest.raises(LostWorker):
            await aside.run(list.remove, 7)  # which raises there
        await asyncio.sleep(0)
    await aside.close()
    with pytest.raises(LostWorker):
        await aside.run(list.copy)
    workers.close()


async def test_much_goes_to_and_fro() -> None:
    workers = ThreadWorkers()
    aside = await workers.aside(list)
    await aside.run(list.append, bytes(3 << 20))
    assert await aside.run(list.pop) == bytes(3 << 20)
    await aside.close()
    workers.close()
