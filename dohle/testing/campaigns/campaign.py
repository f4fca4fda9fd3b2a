"""Campaign: many seeds one after another and beside each other, what they add up to, and whether that is good.

A campaign is good if no seed violated anything, none fell short of what a seed has to have, and, once it has run enough
seeds, every rare thing has happened in it: a quiet simulator proves nothing. Some seeds it runs twice, in two processes
that hash and keep their memory otherwise: a seed that is not the same run there has failed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from random import Random

from dohle.model.errors import ConfigurationError
from dohle.testing.campaigns.plan import Plan
from dohle.testing.campaigns.runner import Finished, Runner
from dohle.testing.campaigns.simulation import ENOUGH_RECORDS, RunOutcome
from dohle.testing.invariants.rare import RARE

ENOUGH_SEEDS = 300
"""In so many seeds everything rare must have happened."""
TWICE_EVERY = 25
"""The first of so many seeds is run twice."""
_MOST_SEEDS = 1_000_000_000
_FULL_S, _FULL_FAULTS = 60.0, 5


@dataclass(slots=True)
class Tally:
    """What a campaign's seeds add up to so far."""

    seeds: int = 0
    twice: int = 0  # seeds that were the same run in two processes
    full: int = 0  # seeds that lack nothing of what a seed has to have
    short: dict[int, str] = field(default_factory=dict)  # what others lack, though nothing ended them early
    simulated_s: float = 0.0
    real_s: float = 0.0  # of all workers together
    events: int = 0
    acknowledged: int = 0
    sent: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    rare: Counter[str] = field(default_factory=Counter)
    failed: list[Finished] = field(default_factory=list)

    def add(self, finished: Finished) -> None:
        outcome = finished.outcome
        self.seeds += 1
        lacks = shortfall(outcome)
        self.full += not lacks
        if lacks and not outcome.violations and outcome.plan.storm_s >= _FULL_S:
            self.short[outcome.seed] = lacks
        self.simulated_s += outcome.simulated_s
        self.real_s += finished.real_s
        self.events += outcome.events
        self.acknowledged += outcome.acknowledged
        self.sent += outcome.sent
        self.faults.update(outcome.faults)
        self.rare.update(outcome.rare)
        if outcome.violations:
            self.failed.append(finished)

    @property
    def never(self) -> tuple[str, ...]:
        """The rare things that should have happened by now and have not."""
        return tuple(name for name in RARE if not self.rare[name]) if self.seeds >= ENOUGH_SEEDS else ()

    @property
    def good(self) -> bool:
        return not self.failed and not self.never and not self.short


def shortfall(outcome: RunOutcome) -> str:
    """Returns what a run lacks of what a seed has to have, to count as one; empty if nothing."""
    faults = sum(outcome.faults.values())
    lacks = (
        f"{outcome.simulated_s:.0f} of {_FULL_S:.0f} simulated s" if outcome.simulated_s < _FULL_S else "",
        f"{outcome.acknowledged} of {ENOUGH_RECORDS} acknowledged records"
        if outcome.acknowledged < ENOUGH_RECORDS
        else "",
        f"{faults} of {_FULL_FAULTS} faults" if faults < _FULL_FAULTS else "",
    )
    return ", ".join(filter(None, lacks))


async def run_campaign(
    seeds: Iterator[int],
    runner: Runner,
    *,
    minutes: float | None = None,
    keep_going: bool = False,
    storm_s: float = 60.0,
    show: Callable[[Tally, Finished], None],
) -> Tally:
    """Runs `seeds` until they end, the time is over, or, unless it is to keep going, one of them fails; what is being
    run at that moment is run to its end. `show` hears of every run, of one that was run twice once."""
    tally = Tally()
    begun = count()
    loop = asyncio.get_running_loop()
    deadline = None if minutes is None else loop.time() + minutes * 60

    def over() -> bool:
        failed = bool(tally.failed) and not keep_going
        return failed or (deadline is not None and loop.time() >= deadline)

    async def work() -> None:
        while not over():
            seed = next(seeds, None)
            if seed is None:
                return
            is_first = not next(begun) % TWICE_EVERY
            finished = await runner.run(Plan.drawn(seed, storm_s=storm_s))
            if is_first and not finished.outcome.violations:
                finished = compared(finished, await runner.run(finished.outcome.plan, afresh=True))
                tally.twice += not finished.outcome.violations
            tally.add(finished)
            show(tally, finished)

    await asyncio.gather(*(work() for _ in range(runner.jobs)))
    return tally


def compared(first: Finished, again: Finished) -> Finished:
    """Returns the first of two runs of one plan; as a failure if the second was another run, or failed itself."""
    if again.outcome.violations:
        return again
    if again.outcome.trace_hash == first.outcome.trace_hash:
        return first
    differs = (
        f"a second process leaves another trace of this seed, {again.outcome.trace_hash} and not"
        f" {first.outcome.trace_hash}: chance leaks into the run"
    )
    return replace(first, outcome=replace(first.outcome, violations=(differs,)))


def first_fresh_seed(chance: Random) -> int:
    """Returns a seed above those that people choose, for a campaign to begin with."""
    return chance.randrange(1_000_000, 1_000_000_000)


def parse_seeds(text: str, first_fresh: int) -> range:
    """Returns the seeds that `A-B` or a count says; a count's begin at `first_fresh`. Raises ConfigurationError."""
    first, dash, last = text.partition("-")
    if not first.isdecimal() or not (last.isdecimal() or not dash):
        raise ConfigurationError(
            f"{text!r} is no range of seeds: write A-B for seeds A to B, or a number of fresh seeds"
        )
    seeds = range(int(first), int(last) + 1) if dash else range(first_fresh, first_fresh + int(first))
    if not seeds:
        raise ConfigurationError(f"there is no seed in {text!r}: write A-B with A at most B, or a number above 0")
    if seeds.stop - seeds.start > _MOST_SEEDS:
        raise ConfigurationError(
            f"{text!r} is more than {_MOST_SEEDS:,} seeds: write A-B closer together, or use --minutes"
        )
    return seeds
