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

from dohle.testing.campaigns.plan import Plan
from dohle.testing.campaigns.simulation import simulate
from dohle.testing.clients.reader import Wish

LEGS = Path(__file__).with_name("legs.py")
SEEDS = [14, 42, 187, 5, 6]  # of which the first three have all that only some seeds have
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


def what_some_have(plan: Plan) -> dict[str, bool]:
    """Returns what a plan has of all that is drawn for some runs, each with code of its own that could leak."""
    mix, topology = plan.mix, plan.topology
    return {
        "several voters": len(topology.controllers) > 1,
        "controllers apart": any(not node.is_broker for node in topology.nodes),
        "an older version": plan.formatted_at > 0,
        "snapshots": plan.snapshot_bytes <= 2_000,
        "scrubbing": plan.scrub_interval_ms > 0,
        "moves between directories": mix.dir_moves_every_s > 0 and any(node.log_dirs > 1 for node in topology.nodes),
        "reading from followers": any(mix.reader_racks) and any(node.rack for node in topology.nodes),
        "a compacted topic": mix.compacted is not None,
        "a topic that is made again": mix.remakes_a_topic,
        "a topic that may lose records": mix.gambles,
        "retention": not mix.retains_all,
        "deletion": mix.deleting_every_s > 0,
        "reassignments": mix.operating_every_s > 0,
        "another minimum": mix.operating_every_s > 0 and mix.changes_the_minimum,
        "rebalancing": mix.rebalancing_every_s > 0,
        "draining": mix.draining_every_s > 0,
        "forks": mix.forking_every_s > 0,
        "forks of what is compacted": mix.forks_compacted,
        **{f"a reader of {wish.value}": wish.value in mix.readers for wish in Wish},
    }


def test_the_seeds_that_are_compared_have_everything_that_some_seeds_have() -> None:
    """When drawing has changed, choose others."""
    theirs = [what_some_have(Plan.drawn(seed, STORM_S)) for seed in SEEDS]
    assert [name for name in theirs[0] if not any(one[name] for one in theirs)] == []


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
        hashes({"PYTHONHASHSEED": "0"}, leak=leak, seeds=[5, 6]),
        hashes({"PYTHONHASHSEED": "1", "PYTHONMALLOC": "malloc"}, leak=leak, seeds=[6, 5]),
    ]
    assert legs[0] != legs[1]


def test_a_planted_clock_read_is_denied() -> None:
    done = run_leg({}, seeds=SEEDS[:1], denied=True, leak="the clock")
    assert done.returncode != 0
    assert "calls perf_counter" in done.stderr
