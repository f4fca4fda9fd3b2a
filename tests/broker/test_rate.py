"""Rates: bytes a second of the last minutes, whenever one looks."""

from __future__ import annotations

import pytest

from dohle.broker.rate import WINDOW_S, Rate


def test_an_even_stream_has_its_rate_at_every_moment():
    rate = Rate(now=5.0)
    for second in range(1, 1000):
        rate.count(300, 5.0 + second)
        if second > 10:
            assert rate.per_s(5.0 + second) == pytest.approx(300, rel=0.02)


def test_what_ended_is_forgotten_within_two_windows():
    rate = Rate(now=0.0)
    rate.count(1_200_000, 1.0)
    seen = [rate.per_s(WINDOW_S * share) for share in (0.99, 1.0, 1.5, 2.0, 50.0)]
    assert seen == sorted(seen, reverse=True)
    assert seen[2] == pytest.approx(5_000)
    assert seen[3] == seen[4] == 0


def test_a_first_batch_is_no_rate_yet():
    rate = Rate(now=100.0)
    rate.count(1_000, 100.001)
    assert rate.per_s(100.002) == pytest.approx(100)


def test_a_silence_of_many_windows_leaves_nothing_behind():
    rate = Rate(now=0.0)
    rate.count(1_000_000, 0.0)
    rate.count(600, 10 * WINDOW_S)
    assert rate.per_s(10 * WINDOW_S) == pytest.approx(600 / WINDOW_S)
