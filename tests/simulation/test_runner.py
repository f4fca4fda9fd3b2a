"""Workers: a run there is the run here, and nothing that goes wrong there is missed."""

from __future__ import annotations

from dataclasses import replace

from dohle.testing.campaigns.plan import Plan
from dohle.testing.campaigns.runner import Runner
from dohle.testing.campaigns.simulation import run_plan

PLAN = replace(Plan.drawn(3), storm_s=1.0, faults=())


async def test_a_run_in_a_worker_is_the_same_as_here() -> None:
    async with Runner(1) as runner:
        finished = await runner.run(PLAN)
    assert finished.outcome == run_plan(PLAN)
    assert not finished.outcome.violations


async def test_a_worker_that_dies_is_a_violation_with_its_traceback_and_the_next_plan_has_a_new_one() -> None:
    broken = Plan.drawn(1)
    object.__setattr__(broken.faults[0], "kind", "earthquake")  # which no worker takes
    async with Runner(1) as runner:
        finished = await runner.run(broken)
        sound = await runner.run(PLAN)
    assert "the simulation ended with exit code 1" in finished.outcome.violations[0]
    assert any("there is no fault 'earthquake'" in line for line in finished.log)
    assert not sound.outcome.violations


async def test_a_run_that_hangs_is_a_violation_that_tells_where() -> None:
    async with Runner(1, hang_s=1.0) as runner:
        finished = await runner.run(Plan.drawn(1, storm_s=600.0))  # which takes many times as long
    assert "the simulation hung" in finished.outcome.violations[0]
    assert any("in run_plan" in line for line in finished.log)


async def test_a_run_afresh_is_in_another_process() -> None:
    async with Runner(1) as runner:
        first = await runner.run(PLAN)
        process = runner._workers[0]._process
        assert (await runner.run(PLAN)).outcome == first.outcome
        assert runner._workers[0]._process is process
        assert (await runner.run(PLAN, afresh=True)).outcome == first.outcome
        assert runner._workers[0]._process is not process
