"""LeaderBalance: gives partitions back to their preferred leaders, now and then and by itself.

After a node was away its partitions are led by others, and they stay so: nothing is wrong, but the load lies on fewer
shoulders. Once a while the active controller elects the preferred leaders of brokers that lead too little of what
prefers them. It says nothing where the leaders are in balance, and is off with an interval of 0.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from dohle.controller.controller import Controller
from dohle.controller.leader_elections import balancing_elections
from dohle.model.errors import DohleError
from dohle.runtime.clock import Clock
from dohle.runtime.tasks import OnFailure, Tasks

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BalanceTerms:
    """When leaders are looked at, and from which imbalance on something is done; Kafka's defaults."""

    check_interval_s: float = 300.0  # 0: never
    most_percent: int = 10  # of the partitions that prefer a broker may be led by others


DEFAULT_BALANCE = BalanceTerms()


class LeaderBalance:
    """Works while this node is the active controller. `elections` counts what it has had elected."""

    def __init__(self, controller: Controller, terms: BalanceTerms, *, clock: Clock, on_failure: OnFailure) -> None:
        self.elections = 0
        self._controller = controller
        self._terms = terms
        self._clock = clock
        self._tasks = Tasks("leader balance", on_failure)

    async def start(self) -> None:
        if self._terms.check_interval_s > 0:
            self._tasks.spawn(self._watch(), "watch")

    async def close(self) -> None:
        await self._tasks.close()

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(self._terms.check_interval_s)
            if not self._controller.is_active:
                continue
            try:
                answer = await self._controller.change(balancing_elections(self._terms.most_percent).next)
            except DohleError as error:
                log.info("leaders were not balanced: %s", error.message)
                continue
            elected = sum(not one.failure.code for one in answer.partitions)
            if elected:
                self.elections += elected
                log.info("%d partitions are led by their preferred leaders again", elected)
