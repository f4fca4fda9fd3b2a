"""A bound on bytes in flight, first come first served."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from dohle.listeners.byte_budget import ByteBudget
from tests.broker.virtual_time import in_virtual_time


async def settle() -> None:
    await asyncio.sleep(0.001)


@in_virtual_time
async def test_what_fits_passes_and_the_rest_waits_its_turn() -> None:
    budget = ByteBudget(10)
    await budget.take(6)
    first, second = asyncio.ensure_future(budget.take(5)), asyncio.ensure_future(budget.take(1))
    await settle()
    assert not second.done(), "it fits, and it is not its turn"
    budget.give_back(6)
    await settle()
    assert first.done()
    assert second.done()


@in_virtual_time
async def test_a_piece_larger_than_all_passes_alone() -> None:
    budget = ByteBudget(10)
    await budget.take(100)
    waiting = asyncio.ensure_future(budget.take(1))
    await settle()
    assert not waiting.done()
    budget.give_back(100)
    await waiting


@in_virtual_time
async def test_one_that_gives_up_leaves_the_queue() -> None:
    budget = ByteBudget(10)
    await budget.take(10)
    given_up, waiting = asyncio.ensure_future(budget.take(10)), asyncio.ensure_future(budget.take(10))
    await settle()
    given_up.cancel()
    budget.give_back(10)
    await waiting
    budget.give_back(10)
    async with asyncio.timeout(1):
        await budget.take(10)


@in_virtual_time
async def test_one_that_is_cancelled_when_its_turn_has_come_gives_it_back() -> None:
    budget = ByteBudget(10)
    await budget.take(10)
    waiting = asyncio.ensure_future(budget.take(10))
    await settle()
    budget.give_back(10)
    waiting.cancel()
    await settle()
    async with asyncio.timeout(1):
        await budget.take(10)


@given(st.lists(st.tuples(st.integers(0, 15), st.sampled_from(["take", "give", "cancel"])), max_size=40))
def test_never_too_much_is_out_and_nobody_is_forgotten(steps: list[tuple[int, str]]) -> None:
    @in_virtual_time
    async def scenario() -> None:
        budget, held, waiting = ByteBudget(10), list[int](), list[tuple[int, asyncio.Task[None]]]()

        def collect() -> None:
            for size, task in list(waiting):
                if task.done():
                    waiting.remove((size, task))
                    if not task.cancelled():
                        held.append(size)

        for size, action in steps:
            if action == "take":
                waiting.append((size, asyncio.ensure_future(budget.take(size))))
            elif action == "give" and held:
                budget.give_back(held.pop(0))
            elif action == "cancel" and waiting:
                waiting[size % len(waiting)][1].cancel()
            await settle()
            collect()
            assert sum(held) <= 10 or len([one for one in held if one]) == 1
        while waiting or held:
            assert held, "somebody waits, and nothing is out"
            budget.give_back(held.pop())
            await settle()
            collect()

    scenario()
