"""Operator: a simulated client that moves replicas and leaders about while everything breaks, until the storm is over.

What it asks for may be refused, for every reason that there is; what must not happen is an error that says it asked
wrongly, or a leader by an unclean election, which no topic here allows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from dohle.client.admin import Admin
from dohle.client.partition_changes import Reassignment
from dohle.client.values import PartitionDescription
from dohle.model.errors import DohleError, InvalidRequest
from dohle.testing.clients.sim_client import SimClient

_REQUEST_TIMEOUT_MS = 8_000
_LOOK_UP_S = 0.5
_ONE_MORE = 0.3
"""How often a partition gets one replica more than topics have."""
_OF_A_PLAN = 0.3
"""How often what is asked for is bound to the state that it was made on."""
_THROTTLES = (None, None, 0, 100_000, 500_000)


@dataclass(slots=True)
class Operator:
    """Works on the partitions of `topic`. `done` counts what was done, and what it was refused by."""

    client: SimClient
    topic: str
    replication_factor: int
    every_s: float
    least_in_sync: int = 0  # min.insync.replicas as the topic was made, and as it is left; 0: it is left alone
    done: Counter[str] = field(default_factory=Counter)
    _raised: bool = False  # maybe

    async def run(self, over: Callable[[], bool]) -> None:
        chance = self.client.random
        actions = [self._move, self._move, self._move, self._cancel, self._elect, self._elect_uncleanly]
        if self.least_in_sync:
            actions += [self._change_minimum, self._change_minimum]
        async with Admin(self.client.bootstrap, request_timeout_ms=_REQUEST_TIMEOUT_MS, **self.client.seams) as admin:
            while not over():
                await _tried(chance.choice(actions)(admin))
                until = self.client.clock.now() + chance.expovariate(1 / self.every_s)
                while self.client.clock.now() < until and not over():
                    await self.client.clock.sleep(_LOOK_UP_S)
            while self._raised:
                await _tried(self._restore_minimum(admin))

    async def _move(self, admin: Admin) -> None:
        chance = self.client.random
        brokers = [node.node_id for node in (await admin.describe_cluster()).nodes]
        partition = await self._some_partition(admin)
        count = self.replication_factor + (chance.random() < _ONE_MORE)
        if count > len(brokers):
            count = self.replication_factor
        targets = tuple(chance.sample(brokers, min(count, len(brokers))))
        if len(targets) < self.replication_factor:
            return  # they have not all been there yet
        epoch = partition.partition_epoch if chance.random() < _OF_A_PLAN else None
        wanted = Reassignment(self.topic, partition.partition, targets, epoch)
        outcomes = await admin.alter_partition_reassignments([wanted], throttle_bytes_per_s=chance.choice(_THROTTLES))
        self._note("move", outcomes[wanted.name])

    async def _cancel(self, admin: Admin) -> None:
        ongoing = (await admin.list_partition_reassignments()).reassignments
        if ongoing:
            one = self.client.random.choice(ongoing)
            wanted = Reassignment(one.topic, one.partition, None)
            outcomes = await admin.alter_partition_reassignments([wanted])
            self._note("cancel", outcomes[wanted.name])

    async def _elect(self, admin: Admin) -> None:
        for outcome in (await admin.elect_leaders({self.topic: []})).values():
            self._note("elect", outcome if isinstance(outcome, DohleError) else None)

    async def _elect_uncleanly(self, admin: Admin) -> None:
        for name, outcome in (await admin.elect_leaders({self.topic: []}, unclean=True)).items():
            assert isinstance(outcome, DohleError), f"{name} was given a leader that is not in sync"
            self._note("elect uncleanly", outcome)

    async def _change_minimum(self, admin: Admin) -> None:
        """Above what the topic was made with, or back: never below, by which the world reckons what may be lost."""
        self._raised = True
        minimum = self.client.random.randint(self.least_in_sync, self.replication_factor)
        await admin.alter_configs(self.topic, {"min.insync.replicas": str(minimum)})
        self._note("change minimum", None)

    async def _restore_minimum(self, admin: Admin) -> None:
        await self.client.clock.sleep(_LOOK_UP_S)
        await admin.alter_configs(self.topic, {"min.insync.replicas": str(self.least_in_sync)})
        self._raised = False

    async def _some_partition(self, admin: Admin) -> PartitionDescription:
        return self.client.random.choice((await admin.describe_topic(self.topic)).partitions)

    def _note(self, action: str, failure: DohleError | None) -> None:
        if isinstance(failure, InvalidRequest):
            raise failure
        self.done[action if failure is None else f"{action}: {type(failure).__name__}"] += 1


async def _tried(work: Coroutine[Any, Any, None]) -> None:
    """Raises what says that it was asked for wrongly."""
    try:
        await work
    except DohleError as error:
        if error.definite and not error.retriable:
            raise
