"""Groups keep their promises whatever happens to members, answers and coordinators, and come to rest afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.groups.classic_member import classic_world
from tests.groups.consumer_member import consumer_world
from tests.groups.group_world import GroupWorld

STEPS = 250
WORLDS = pytest.mark.parametrize("make", [consumer_world, classic_world], ids=lambda make: make.__name__)


def run(make: Callable[[int], GroupWorld], number: int) -> GroupWorld:
    world = make(number)
    world.storm(STEPS)
    world.heal()
    assert world.judge() == []
    return world


@WORLDS
@settings(max_examples=100)
@given(st.integers(0, 2**32))
def test_a_group_keeps_its_promises(make, number):
    run(make, number)


def test_a_leader_whose_sync_is_answered_anew_sees_what_it_did_not_deal():
    """Found by chance: a partition came between the two, and nobody ever owned it."""
    run(classic_world, 7532056)


@WORLDS
def test_what_is_rare_happens(make):
    met = Counter[str]()
    for number in range(60):
        met.update(run(make, number).met)
    refused = [what for what in met if what.startswith("a commit is refused")]
    assert min(met[what] for what in ("died", "paused", "left", "another coordinator")) > 10
    assert sum(met[what] for what in refused) > 2
