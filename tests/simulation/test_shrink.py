"""Shrinking: what the failure does not need goes, and what it needs stays. The runs here are thought up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from dohle.testing.campaigns.plan import Plan, PlannedFault
from dohle.testing.campaigns.shrink import Shrink, kind_of

PLAN = replace(
    Plan.drawn(1).with_writers(3),
    storm_s=60.0,
    faults=tuple(PlannedFault(float(at), "kill", 1, 1.0, at) for at in range(2, 52)),
)


async def shrunk(fails: Callable[[Plan], bool], most_tries: int = 1000) -> tuple[Plan, int]:
    """Returns the small plan, and how often a plan was tried."""
    tried: list[Plan] = []

    async def first_failing(plans: Sequence[Plan]) -> int | None:
        for index, plan in enumerate(plans):
            tried.append(plan)
            if fails(plan):
                return index
        return None

    small = await Shrink(first_failing, most_tries=most_tries, show=lambda _tries, _plan: None).shrink(PLAN)
    return small, len(tried)


def has(*ats: int) -> Callable[[Plan], bool]:
    return lambda plan: set(ats) <= {fault.chance for fault in plan.faults}


@pytest.mark.parametrize("needed", [(2,), (51,), (3, 40), (2, 20, 21, 51)])
async def test_exactly_the_faults_that_matter_are_left(needed: tuple[int, ...]) -> None:
    small, tries = await shrunk(has(*needed))
    assert tuple(fault.chance for fault in small.faults) == needed
    assert small.mix.writers == 1
    assert tries < 250


async def test_a_failure_without_any_fault_has_none_left_and_a_short_storm() -> None:
    small, _ = await shrunk(lambda plan: True)
    assert small.faults == ()
    assert (small.mix.writers, small.storm_s) == (1, 1.0)


async def test_a_storm_that_must_be_long_stays_long() -> None:
    small, _ = await shrunk(lambda plan: plan.storm_s >= 40 and plan.mix.writers >= 2)
    assert 40 <= small.storm_s < 60
    assert small.mix.writers == 2


async def test_a_failure_that_needs_everything_stays_as_it_is() -> None:
    small, _ = await shrunk(lambda plan: plan == PLAN)
    assert small == PLAN


async def test_tries_are_limited_and_the_best_so_far_is_returned() -> None:
    small, tries = await shrunk(has(3, 40), most_tries=12)
    assert tries == 12
    assert has(3, 40)(small)
    assert len(small.faults) < len(PLAN.faults)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("t-0 epoch 3: the watermark fell from 10 to 7", "t-4 epoch 12: the watermark fell from 1,100 to 0"),
        ("lost write: b'0-1:7:..' was acknowledged", 'lost write: b"1" was acknowledged'),
        ("a deadlock at 1.5: no timer\nnode1.1: raft", "a deadlock at 77.25: no timer\nnode2.4: push"),
    ],
)
def test_violations_that_differ_in_values_alone_are_of_one_kind(one: str, other: str) -> None:
    assert kind_of(one) == kind_of(other)


def test_different_violations_are_of_different_kinds() -> None:
    assert kind_of("term 3 has two leaders: node1.1 and node2.1") != kind_of("t-3: the watermark fell from 3 to 1")
