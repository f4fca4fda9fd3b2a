"""One piece of work in each pass of the event loop."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

from dohle.runtime.files import RealDisk
from dohle.runtime.turnstile import Turnstile


async def test_one_comes_through_in_each_pass_and_others_have_their_turn() -> None:
    turnstile, order = Turnstile(), list[str]()

    async def bulk(name: str) -> None:
        for _ in range(2):
            await turnstile.passed()
            order.append(name)

    def other(left: int) -> None:
        order.append("-")
        if left:
            asyncio.get_running_loop().call_soon(other, left - 1)

    asyncio.get_running_loop().call_soon(other, 20)
    await asyncio.gather(bulk("a"), bulk("b"), bulk("c"))
    assert sorted(one for one in order if one != "-") == ["a", "a", "b", "b", "c", "c"]
    assert all("-" in pair for pair in pairwise(order)), order


async def test_who_comes_alone_waits_for_nothing() -> None:
    turnstile = Turnstile()
    work = turnstile.passed()
    try:
        work.send(None)
    except StopIteration:
        pass
    else:
        raise AssertionError("it waits")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not turnstile._is_taken


async def test_who_was_cancelled_takes_nobodys_turn() -> None:
    turnstile = Turnstile()
    await turnstile.passed()
    waiting = [asyncio.ensure_future(turnstile.passed()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.gather(waiting[0], waiting[2])
    assert waiting[1].cancelled()


async def test_a_bulk_read_goes_on_where_its_file_is_closed_meanwhile(tmp_path: Path) -> None:
    disk = RealDisk()
    file = disk.open(f"{tmp_path}/log", create=True)
    file.append([bytes(300_000)])
    reads = [asyncio.ensure_future(file.read_at(number, 200_000)) for number in range(3)]
    await asyncio.sleep(0)
    file.close()
    assert [len(data) for data in await asyncio.gather(*reads)] == [200_000] * 3
    assert file._users == 0
    disk.close()
