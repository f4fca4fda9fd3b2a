"""The same seed is the same run, whatever of the process it runs in is different; and a leak would be seen."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dohle.testing.campaigns.simulation import simulate

LEGS = Path(__file__).with_name("legs.py")
SEEDS = [5, 6, 7]
STORM_S = 6.0

HASH_SEEDS = ("0", "1", "random")
ORDERS = ("forward", "reversed")
COLLECTIONS = (None, 37, "off")


def run_leg(environment: dict[str, str], **leg: Any) -> subprocess.CompletedProcess[str]:
    leg = {"seeds": SEEDS, "storm_s": STORM_S, **leg}
    return subprocess.run(
        [sys.executable, str(LEGS), json.dumps(leg)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def hashes(environment: dict[str, str], **leg: Any) -> dict[str, str]:
    done = run_leg(environment, **leg)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def expected() -> dict[str, str]:
    return {str(seed): simulate(seed, storm_s=STORM_S).trace_hash for seed in SEEDS}


def test_a_seed_gives_the_same_trace_and_timeline_twice_whatever_ran_between() -> None:
    first = simulate(SEEDS[0], storm_s=STORM_S)
    other = simulate(SEEDS[1], storm_s=STORM_S)
    assert other.trace_hash != first.trace_hash
    again = simulate(SEEDS[0], storm_s=STORM_S)
    assert (again.trace_hash, again.timeline) == (first.trace_hash, first.timeline)


@pytest.mark.parametrize(("hash_seed", "order", "collection"), list(itertools.product(HASH_SEEDS, ORDERS, COLLECTIONS)))
def test_neither_hashes_nor_the_order_of_seeds_nor_the_garbage_collector_matter(
    expected: dict[str, str], hash_seed: str, order: str, collection: int | str | None
) -> None:
    seeds = SEEDS if order == "forward" else SEEDS[::-1]
    assert hashes({"PYTHONHASHSEED": hash_seed}, seeds=seeds, gc=collection) == expected


def test_addresses_do_not_matter(expected: dict[str, str]) -> None:
    assert hashes({"PYTHONMALLOC": "malloc"}) == expected


def test_nothing_reads_a_clock_draws_global_chance_or_starts_a_thread(expected: dict[str, str]) -> None:
    assert hashes({}, seeds=SEEDS[:1], denied=True) == {str(SEEDS[0]): expected[str(SEEDS[0])]}


# that the legs above can fail


@pytest.mark.parametrize("leak", ["a set of objects", "a set of texts", "a persistent map", "the clock"])
def test_a_planted_leak_is_seen(leak: str) -> None:
    legs = [
        hashes({"PYTHONHASHSEED": "0"}, leak=leak),
        hashes({"PYTHONHASHSEED": "1", "PYTHONMALLOC": "malloc"}, leak=leak, seeds=SEEDS[::-1]),
    ]
    assert legs[0] != legs[1]


def test_a_planted_clock_read_is_denied() -> None:
    done = run_leg({}, seeds=SEEDS[:1], denied=True, leak="the clock")
    assert done.returncode != 0
    assert "calls perf_counter" in done.stderr
