"""Mover: a simulated client that moves replicas between the directories of their brokers while everything breaks.

What it asks for may be refused, for a directory may have failed and a replica be elsewhere by now. It takes some of its
moves back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from dohle.client.admin import Admin
from dohle.model.errors import DohleError
from dohle.model.ids import TopicPartition
from dohle.testing.clients.sim_client import SimClient

_REQUEST_TIMEOUT_MS = 8_000
_LOOK_UP_S = 0.5
_CANCELS = 0.2


@dataclass(slots=True)
class Mover:
    """Works on all brokers. `done` counts the moves that began, and what others were refused by."""

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
                        await self._move(admin)
                except DohleError as error:
                    self.done[type(error).__name__] += 1  # the broker that is asked may be down

    async def _move(self, admin: Admin) -> None:
        chance = self.client.random
        node_id = chance.choice([node.node_id for node in (await admin.describe_cluster()).nodes])
        dirs = await admin.describe_log_dirs(node_id)
        replicas = [(one, replica) for one in dirs for replica in one.replicas]
        if len(dirs) < 2 or not replicas:
            return
        present, replica = chance.choice(replicas)
        name = TopicPartition(replica.topic, replica.partition)
        target = chance.choice([one for one in dirs if one is not present])
        outcome = (await admin.alter_replica_log_dirs(node_id, {name: target.path}))[name]
        self.done["move" if outcome is None else f"move: {type(outcome).__name__}"] += 1
        if outcome is None and chance.random() < _CANCELS:
            outcome = (await admin.alter_replica_log_dirs(node_id, {name: None}))[name]
            self.done["cancel" if outcome is None else f"cancel: {type(outcome).__name__}"] += 1
