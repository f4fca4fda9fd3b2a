"""Search: for each mutation the first seed whose simulation finds a violation.

    python -m tests.simulation.mutations.search [NAME ...] [--seeds 500] [--first 1] [--storm-s 60] [--keep]

A NAME is part of a mutation's name. A seed counts only if the product as it is passes it. With --keep the plan is made
small and put into `kept.toml`, unless a run is kept there or a scenario finds the mutation. Each run has a process of
its own, one at a time: what a killed node held is never let go, and a mutated product may never rest.
"""

# ruff: noqa: T201 - a command's output
from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection

from dohle.testing.campaigns.plan import Plan
from dohle.testing.campaigns.plan_file import KeptRun, kept_text
from dohle.testing.campaigns.shrink import Shrink, kind_of
from dohle.testing.campaigns.simulation import run_plan
from tests.simulation.mutations.mutation import Activity, Mutation
from tests.simulation.mutations.table import KEPT_FILE, MUTATIONS, kept_runs

MOST_S = 60.0
"""Of real time for one run; one that takes longer finds nothing."""
MOST_TRIES = 14
"""To make a plan small."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one plan came to."""

    violations: tuple[str, ...]
    times: int  # that the mutated places were passed
    simulated_s: float


@contextlib.contextmanager
def _applied(mutation: Mutation | None) -> Iterator[Activity]:
    if mutation is None:
        yield Activity()
    else:
        with mutation.applied() as activity:
            yield activity


def attempt(mutation: Mutation | None, plan: Plan) -> Attempt | None:
    """Runs `plan` with the rule switched off, None: as it is, in a process of its own; None if it came to no end."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)

    def run(answer: Connection) -> None:
        logging.disable()
        with _applied(mutation) as activity:
            outcome = run_plan(plan)
        answer.send(Attempt(outcome.violations, activity.times, outcome.simulated_s))

    child = fork.Process(target=run, args=(theirs,))
    child.start()
    theirs.close()
    try:
        return ours.recv() if ours.poll(MOST_S) else None
    except EOFError:
        return None  # it has said on stderr why
    finally:
        child.kill()
        child.join()


@cache
def passes(plan: Plan) -> bool:
    """Tells whether the product as it is violates nothing."""
    control = attempt(None, plan)
    return control is not None and not control.violations


def search(mutation: Mutation, plans: Sequence[Plan]) -> tuple[Plan, Attempt] | None:
    """Prints the first of `plans` that finds the mutation, and what it finds, and returns both."""
    times = unusable = 0
    for tried, plan in enumerate(plans, 1):
        before = time.monotonic()
        found = attempt(mutation, plan)
        real_s = time.monotonic() - before
        times += 0 if found is None else found.times
        if found is None or (found.violations and not (found.times and passes(plan))):
            unusable += 1
        elif found.violations:
            what = found.violations[-1].splitlines()[0][:160]
            took = f"{found.simulated_s:.0f} simulated s, {real_s:.1f} s, active {found.times} times"
            print(f"FOUND      {mutation.name}: seed {plan.seed} (the {tried}.): {what} [{took}]", flush=True)
            return plan, found
    print(f"not found  {mutation.name}: {len(plans)} seeds, active {times} times, {unusable} unusable", flush=True)
    return None


def small(mutation: Mutation, plan: Plan, first: Attempt) -> Plan:
    """Returns a small plan that finds the mutation in the same way."""
    kinds = {kind_of(violation) for violation in first.violations}

    def fails(candidate: Plan) -> bool:
        found = attempt(mutation, candidate)
        return found is not None and bool(kinds.intersection(map(kind_of, found.violations))) and passes(candidate)

    async def first_failing(candidates: Sequence[Plan]) -> int | None:
        return next((index for index, candidate in enumerate(candidates) if fails(candidate)), None)

    shrink = Shrink(first_failing, most_tries=MOST_TRIES, show=lambda _tries, _plan: None)
    return asyncio.run(shrink.shrink(plan))


def keep(mutation: Mutation, plan: Plan, violation: str) -> None:
    run = KeptRun(mutation.name, violation.splitlines()[0][:200], plan)
    with KEPT_FILE.open("a") as file:
        file.write("\n" + kept_text(run))
    print(f"kept       {mutation.name}: {plan.storm_s:g} s, {len(plan.faults)} faults", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="part of a mutation's name; without any: all")
    parser.add_argument("--seeds", type=int, default=500, help="how many to try for each mutation")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--storm-s", type=float, default=60.0, help="how long each storm lasts")
    parser.add_argument("--unfound", action="store_true", help="only those that neither a scenario nor a plan finds")
    parser.add_argument("--keep", action="store_true", help="keep a small plan of each that is found and has none")
    options = parser.parse_args()
    chosen = [one for one in MUTATIONS if not options.names or any(name in one.name for name in options.names)]
    if options.keep or options.unfound:
        kept = kept_runs()
        chosen = [one for one in chosen if one.scenario is None and one.name not in kept]
    plans = [Plan.drawn(seed, options.storm_s) for seed in range(options.first, options.first + options.seeds)]
    count = 0
    for mutation in chosen:
        found = search(mutation, plans)
        if found is not None:
            count += 1
            if options.keep:
                keep(mutation, small(mutation, *found), found[1].violations[-1])
    print(f"{count} of {len(chosen)} found")


if __name__ == "__main__":
    main()
