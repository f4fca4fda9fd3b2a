"""Links delay, hold back and narrow what passes."""

from __future__ import annotations

from random import Random

import pytest

from dohle.testing.world.links import Links


def test_a_throttled_machine_passes_its_messages_one_after_the_other_at_its_rate_in_both_directions() -> None:
    now = 0.0
    links = Links(Random(1), lambda: now)
    links.weather.mean_delay_s = 1e-9
    links.throttle("a", 1000.0)
    outwards = [links.delay_s("a", "b", 500) for _ in range(3)]
    assert outwards == pytest.approx([0.5, 1.0, 1.5])
    assert links.delay_s("b", "a", 500) == pytest.approx(0.5)
    assert links.delay_s("b", "c", 500) == pytest.approx(0.0, abs=1e-6)
    now = 10.0
    assert links.delay_s("a", "b", 500) == pytest.approx(0.5)
    links.unthrottle("a")
    assert links.delay_s("a", "b", 500) == pytest.approx(0.0, abs=1e-6)


def test_who_refuses_does_so_to_all_but_those_at_home_until_it_accepts_again() -> None:
    links = Links(Random(1), lambda: 0.0)
    links.refuse("a")
    assert links.refuses("b", "a")
    assert not links.refuses("a", "a")
    assert not links.refuses("a", "b")
    assert links.both_ways("a", "b")
    links.accept("a")
    assert not links.refuses("b", "a")
    links.refuse("a")
    links.mend_all()
    assert not links.refuses("b", "a")


def test_a_cut_goes_one_way_and_mending_everything_mends_all_that_was_wrong() -> None:
    links = Links(Random(1), lambda: 0.0)
    links.cut("a", "b")
    assert not links.passes("a", "b")
    assert links.passes("b", "a")
    assert not links.both_ways("a", "b")
    links.weather.loss = 0.5
    links.throttle("a", 1.0)
    links.mend_all()
    assert links.both_ways("a", "b")
    assert links.weather.loss == 0.0
    assert links.delay_s("a", "b") < 0.1


def test_a_detour_makes_one_way_longer() -> None:
    links = Links(Random(1), lambda: 0.0)
    links.weather.mean_delay_s = 1e-9
    links.detour("a", "b", 5.0)
    assert links.delay_s("a", "b") == pytest.approx(5.0)
    assert links.delay_s("b", "a") == pytest.approx(0.0, abs=1e-6)
    links.mend_all()
    assert links.delay_s("a", "b") < 1
