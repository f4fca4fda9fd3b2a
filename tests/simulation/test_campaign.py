"""Campaigns: when they stop, what they add up to, and when they are good. The runs here are thought up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random

import pytest

from dohle.model.errors import ConfigurationError
from dohle.testing.campaigns.campaign import (
    ENOUGH_SEEDS,
    TWICE_EVERY,
    Tally,
    compared,
    first_fresh_seed,
    parse_seeds,
    run_campaign,
)
from dohle.testing.campaigns.plan import Plan
from dohle.testing.campaigns.runner import Finished, Runner
from dohle.testing.campaigns.simulation import RunOutcome
from dohle.testing.invariants.rare import RARE

DULL = RunOutcome(
    seed=0,
    plan=Plan.drawn(0),
    violations=(),
    trace_hash="",
    simulated_s=60.0,
    events=10,
    acknowledged=500,
    sent=501,
    faults={"kill": 3, "pause": 2},
    rare=dict.fromkeys(RARE, 1),
    timeline=(),
)


class _Dreamer(Runner):
    """Runs nothing, and takes its turn all the same."""

    def __init__(self, jobs: int, failing: tuple[int, ...], leaking: tuple[int, ...]) -> None:
        super().__init__(jobs)
        self._failing = failing
        self._leaking = leaking

    async def run(self, plan: Plan, *, afresh: bool = False) -> Finished:
        await asyncio.sleep(0)
        violations = ("it fell",) if plan.seed in self._failing else ()
        trace_hash = "another" if afresh and plan.seed in self._leaking else "one"
        outcome = replace(DULL, seed=plan.seed, plan=plan, violations=violations, trace_hash=trace_hash)
        return Finished(outcome, 2.0, ())


async def campaign(
    seeds: range,
    *,
    failing: tuple[int, ...] = (),
    leaking: tuple[int, ...] = (),
    jobs: int = 1,
    keep_going: bool = False,
    minutes: float | None = None,
) -> Tally:
    shown: list[int] = []

    def show(tally: Tally, finished: Finished) -> None:
        shown.append(finished.outcome.seed)
        assert tally.seeds == len(shown)

    return await run_campaign(
        iter(seeds), _Dreamer(jobs, failing, leaking), minutes=minutes, keep_going=keep_going, storm_s=5.0, show=show
    )


async def test_a_campaign_adds_up_its_seeds() -> None:
    tally = await campaign(range(10), jobs=3)
    assert (tally.seeds, tally.full, tally.simulated_s, tally.real_s) == (10, 10, 600.0, 20.0)
    assert tally.faults == {"kill": 30, "pause": 20}
    assert tally.good


async def test_the_first_failing_seed_ends_it_and_what_runs_beside_is_run_to_its_end() -> None:
    tally = await campaign(range(100), failing=(4, 50), jobs=2)
    assert [finished.outcome.seed for finished in tally.failed] == [4]
    assert tally.seeds <= 6
    assert not tally.good


async def test_some_seeds_run_twice_and_one_that_is_another_run_there_has_failed() -> None:
    sound = await campaign(range(2 * TWICE_EVERY), leaking=(1, 2, 3))
    assert (sound.seeds, sound.twice, sound.good) == (2 * TWICE_EVERY, 2, True)
    leaking = await campaign(range(2 * TWICE_EVERY), leaking=(TWICE_EVERY,))
    assert (leaking.seeds, leaking.twice, leaking.good) == (TWICE_EVERY + 1, 1, False)
    [failed] = leaking.failed
    assert failed.outcome.violations == (
        "a second process leaves another trace of this seed, another and not one: chance leaks into the run",
    )


def test_a_second_run_that_fails_is_the_one_that_is_told_of() -> None:
    first, again = Finished(DULL, 1.0, ()), Finished(replace(DULL, violations=("it hung",)), 2.0, ("where",))
    assert compared(first, again) is again
    assert compared(first, replace(again, outcome=DULL)) is first


async def test_it_keeps_going_if_told_to() -> None:
    tally = await campaign(range(100), failing=(4, 50), jobs=2, keep_going=True)
    assert [finished.outcome.seed for finished in tally.failed] == [4, 50]
    assert tally.seeds == 100


async def test_no_seed_begins_once_the_time_is_over() -> None:
    assert (await campaign(range(100), minutes=0.0)).seeds == 0


@pytest.mark.parametrize(
    ("change", "lacks"),
    [
        ({"simulated_s": 59.4}, "59 of 60 simulated s"),
        ({"acknowledged": 499}, "499 of 500 acknowledged records"),
        ({"faults": {"kill": 4}}, "4 of 5 faults"),
    ],
)
def test_a_seed_in_which_little_happened_is_not_full_and_fails_the_campaign(
    change: dict[str, object], lacks: str
) -> None:
    tally = Tally()
    tally.add(Finished(replace(DULL, **change), 1.0, ()))
    assert (tally.seeds, tally.full) == (1, 0)
    assert tally.short == {0: lacks}
    assert not tally.good


def test_a_short_storm_or_one_that_a_violation_ended_is_not_blamed_for_being_short() -> None:
    tally = Tally()
    tally.add(Finished(replace(DULL, simulated_s=30.0, plan=Plan.drawn(0, storm_s=20.0)), 1.0, ()))
    tally.add(Finished(replace(DULL, simulated_s=30.0, violations=("it fell",)), 1.0, ()))
    assert (tally.full, tally.short) == (0, {})


@pytest.mark.parametrize(("seeds", "never"), [(ENOUGH_SEEDS - 1, ()), (ENOUGH_SEEDS, RARE[:1])])
def test_what_never_happened_in_enough_seeds_fails_the_campaign(seeds: int, never: tuple[str, ...]) -> None:
    tally = Tally()
    for _ in range(seeds):
        tally.add(Finished(replace(DULL, rare=dict.fromkeys(RARE[1:], 1)), 1.0, ()))
    assert tally.never == never
    assert tally.good is not bool(never)


def test_seeds_are_a_range_or_a_number_of_fresh_ones() -> None:
    assert parse_seeds("3-7", 100) == range(3, 8)
    assert parse_seeds("7-7", 100) == range(7, 8)
    assert parse_seeds("5", 100) == range(100, 105)


def test_fresh_seeds_of_one_origin_begin_alike_and_of_another_elsewhere() -> None:
    starts = [first_fresh_seed(Random(origin)) for origin in ("one state", "one state", "another")]
    assert starts[0] == starts[1] != starts[2]
    assert min(starts) >= 1_000_000  # nobody's favourite


def test_more_seeds_than_anybody_can_wait_for_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="more than 1,000,000,000 seeds"):
        parse_seeds("1-99999999999999999999", 1)


@pytest.mark.parametrize("text", ["", "-", "x", "1-", "-3", "5-4", "0", "1-2-3", "1.5"])
def test_a_bad_range_is_explained(text: str) -> None:
    with pytest.raises(ConfigurationError, match="write A-B"):
        parse_seeds(text, 1)
