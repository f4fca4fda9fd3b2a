"""Rebalancer: a simulated client that evens now and then what brokers carry, while everything breaks.

What it plans has to keep every partition's number of replicas, and to place none on a broker that it was told is down.
What it asks for may be refused, as an operator's moves may: others are at work too. How good a plan is, is not tried
here, so it does not look long for one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from dohle.client import rebalance_plan
from dohle.client.admin import Admin
from dohle.client.rebalance import CURSORY, RebalanceTerms
from dohle.client.rebalance_plan import RebalancePlan
from dohle.model.errors import DohleError, InvalidRequest
from dohle.testing.clients.sim_client import SimClient

_REQUEST_TIMEOUT_MS = 8_000
_LOOK_UP_S = 0.5
_THROTTLES = (None, 50_000, 1_000_000)
_ELECTS = 0.5
"""How often it has the preferred leaders elected at once."""


@dataclass(slots=True)
class Rebalancer:
    """Works on all topics. `done` counts the moves that began, and what others were refused by."""

    client: SimClient
    every_s: float
    done: Counter[str] = field(default_factory=Counter)

    async def run(self, over: Callable[[], bool]) -> None:
        client = self.client
        async with Admin(client.bootstrap, request_timeout_ms=_REQUEST_TIMEOUT_MS, **client.seams) as admin:
            while not over():
                until = client.clock.now() + client.random.expovariate(1 / self.every_s)
                while client.clock.now() < until and not over():
                    await client.clock.sleep(_LOOK_UP_S)
                try:
                    if not over():
                        await self._rebalance(admin)
                except DohleError as error:
                    if error.definite and not error.retriable:
                        raise

    async def _rebalance(self, admin: Admin) -> None:
        chance = self.client.random
        plan = await rebalance_plan.plan_rebalance(admin, RebalanceTerms(effort=CURSORY))
        _check(plan)
        throttle = chance.choice(_THROTTLES)
        for move in plan.moves:
            outcomes = await admin.alter_partition_reassignments([move.wanted], throttle_bytes_per_s=throttle)
            failure = outcomes[move.name]
            if isinstance(failure, InvalidRequest):
                raise failure
            self.done["move" if failure is None else f"move: {type(failure).__name__}"] += 1
        if plan.moves and chance.random() < _ELECTS:
            await admin.elect_leaders({move.name.topic: [move.name.partition] for move in plan.moves})


def _check(plan: RebalancePlan) -> None:
    usable = {broker.node_id for broker in plan.brokers}
    for move in plan.moves:
        assert len(set(move.after)) == len(move.after) == len(move.before), f"{move} loses or doubles a replica"
        assert usable.issuperset(move.after), f"{move} goes to a broker that is down; up are {sorted(usable)}"
