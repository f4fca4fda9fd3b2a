"""Shrink: makes the plan of a failing run small, as long as it still fails in the same way.

First the storm gets shorter, which makes every later try cheaper; then faults go, by delta debugging (Zeller and
Hildebrandt 2002, the complements alone); then writers. Each step is repeated until nothing changes or no tries are
left. The outcome depends on the plan alone, not on how many tries run at once.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

from dohle.testing.campaigns.plan import Plan
from dohle.testing.campaigns.runner import Finished, Runner

_SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)
_SHORTEST_S = 1.0
_QUOTED = re.compile(r"""b?'[^']*'|b?"[^"]*\"""")
_NUMBERS = re.compile(r"-?\d[\d.,]*")


def kind_of(violation: str) -> str:
    """Returns what a violation says without its values: the same for two runs that fail in the same way."""
    first_line = violation.partition("\n")[0]
    return _NUMBERS.sub("#", _QUOTED.sub("…", first_line))


async def shrink_run(
    first: Finished, runner: Runner, *, most_tries: int, minutes: float, show: Callable[[int, Plan], None]
) -> Finished:
    """Returns the smallest run found that fails as `first` does. `show` hears how many tries led to which plan."""
    kinds = {kind_of(violation) for violation in first.outcome.violations}
    loop = asyncio.get_running_loop()
    deadline = loop.time() + minutes * 60

    async def fails(plan: Plan) -> bool:
        finished = await runner.run(plan)
        return any(kind_of(violation) in kinds for violation in finished.outcome.violations)

    async def first_failing(plans: Sequence[Plan]) -> int | None:
        for start in range(0, len(plans), runner.jobs):
            if loop.time() >= deadline:
                return None
            found = await asyncio.gather(*(fails(plan) for plan in plans[start : start + runner.jobs]))
            if True in found:
                return start + found.index(True)
        return None

    return await runner.run(await Shrink(first_failing, most_tries=most_tries, show=show).shrink(first.outcome.plan))


class Shrink:
    """One plan's. `first_failing` says which of some plans is the first that fails as the whole did; None if none."""

    def __init__(
        self,
        first_failing: Callable[[Sequence[Plan]], Awaitable[int | None]],
        *,
        most_tries: int,
        show: Callable[[int, Plan], None],
    ) -> None:
        self._first_failing = first_failing
        self._most_tries = most_tries
        self._show = show
        self._tries = 0

    async def shrink(self, plan: Plan) -> Plan:
        """Returns the smallest plan that was found."""
        while True:
            before = plan
            plan = await self._shorter(plan)
            plan = await self._fewer_faults(plan)
            plan = await self._fewer_writers(plan)
            if plan == before:
                return plan

    async def _first(self, plans: Iterable[Plan]) -> Plan | None:
        candidates = list(plans)[: self._most_tries - self._tries]
        found = await self._first_failing(candidates)
        self._tries += len(candidates) if found is None else found + 1
        if found is None:
            return None
        self._show(self._tries, candidates[found])
        return candidates[found]

    async def _shorter(self, plan: Plan) -> Plan:
        lengths = [max(round(plan.storm_s * share, 1), _SHORTEST_S) for share in _SHARES]
        found = await self._first(_cut_short(plan, length) for length in lengths if length < plan.storm_s)
        return plan if found is None else found

    async def _fewer_faults(self, plan: Plan) -> Plan:
        pieces = 1
        while plan.faults:
            count = len(plan.faults)
            size = -(-count // pieces)
            starts = range(0, count, size)
            found = await self._first(plan.without(range(start, min(start + size, count))) for start in starts)
            if found is not None:
                plan, pieces = found, max(pieces - 1, 2)
            elif size == 1:
                break
            else:
                pieces = min(pieces * 2, count)
        return plan

    async def _fewer_writers(self, plan: Plan) -> Plan:
        found = await self._first(plan.with_writers(count) for count in range(1, plan.mix.writers))
        return plan if found is None else found


def _cut_short(plan: Plan, storm_s: float) -> Plan:
    """Returns the plan with a shorter storm; faults that were to come later are gone with it."""
    return replace(plan, storm_s=storm_s, faults=tuple(fault for fault in plan.faults if fault.at_s < storm_s))
