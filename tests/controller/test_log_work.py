"""The work on the metadata log: in order, and bounded while the disk hangs."""

from __future__ import annotations

import asyncio

from dohle.controller.log_work import LogWork
from dohle.raft.effects import AppendNoOp, Committed, LeaderReady
from tests.broker.virtual_time import in_virtual_time


@in_virtual_time
async def test_work_comes_out_in_order_and_whoever_is_early_waits() -> None:
    work = LogWork()
    first = asyncio.ensure_future(work.next())
    await asyncio.sleep(1)
    assert not first.done()
    work.put(AppendNoOp(1, 0))
    work.put(LeaderReady(1))
    assert [await first, await work.next()] == [AppendNoOp(1, 0), LeaderReady(1)]


@in_virtual_time
async def test_commits_that_follow_each_other_are_one_and_pass_nothing_else() -> None:
    work = LogWork()
    for effect in (Committed(1), AppendNoOp(1, 5), *map(Committed, range(2, 1000))):
        work.put(effect)
    assert [await work.next() for _ in range(len(work))] == [Committed(1), AppendNoOp(1, 5), Committed(999)]
