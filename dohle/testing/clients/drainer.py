"""Drainer: a simulated operator that empties brokers while everything breaks, takes some out of the cluster, and back.

It drains one broker after the other, makes a topic meanwhile, and sometimes lets the broker take replicas again, empty
or not. Brokers that are no controllers it may switch off, before they are emptied or when they are, has the cluster
forget them, and starts them again on the disks that they had. What it asks for may be refused, for want of brokers say;
what must not happen is that it asked wrongly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from dohle.client.admin import Admin
from dohle.client.drain import moves_away
from dohle.model.errors import (
    BrokerIdNotRegistered,
    DohleError,
    InvalidReplicaAssignment,
    InvalidReplicationFactor,
    InvalidRequest,
    TopicAlreadyExists,
    UnknownTopicOrPartition,
    UnsupportedVersion,
)
from dohle.testing.clients.sim_client import SimClient
from dohle.testing.world.world import World

_TOPIC = "meanwhile"
_PARTITIONS = 4
_REQUEST_TIMEOUT_MS = 8_000
_LOOK_UP_S = 0.5
_PATIENCE_S = 15.0
"""For so long it waits for a broker to be empty, or known to be down."""
_CANCELS = 0.4
_RETIRES = 0.6
"""How often a broker that is no controller is taken out of the cluster once it is empty."""
_IS_GONE_BEFORE = 0.4
"""How often such a one is switched off before it is emptied."""
_THROTTLES = (None, None, 0, 50_000)
_EXPECTED = (
    BrokerIdNotRegistered,  # it is just being taken out, or has never been there
    InvalidReplicaAssignment,  # too few others would be left
    UnsupportedVersion,  # the cluster is being upgraded
)


@dataclass(slots=True)
class Drainer:
    """`done` counts what was done, and what it was refused by."""

    client: SimClient
    world: World
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
                        await self._work(admin, over)
                except _EXPECTED as error:
                    self.done[type(error).__name__] += 1
                except DohleError as error:
                    if error.definite and not error.retriable:
                        raise

    async def _work(self, admin: Admin, over: Callable[[], bool]) -> None:
        chance, nodes = self.client.random, (await admin.describe_cluster()).nodes
        draining = [node.node_id for node in nodes if node.draining]
        if over():
            return  # the answer took long
        if draining and chance.random() < _CANCELS:
            await admin.drain_broker(chance.choice(draining), cancel=True)
            self.done["cancel"] += 1
        elif nodes:
            node_id = chance.choice(nodes).node_id
            may_go = node_id not in self.world.topology.controllers and not self.world.machines[node_id].in_service
            if not may_go or chance.random() >= _RETIRES:
                await self._empty(admin, node_id, over)
            elif chance.random() < _IS_GONE_BEFORE or await self._empty(admin, node_id, over):
                await self._retire(admin, node_id, over)

    async def _empty(self, admin: Admin, node_id: int, over: Callable[[], bool]) -> bool:
        """Drains a broker; returns whether it became empty within this operator's patience."""
        clock, throttle = self.client.clock, self.client.random.choice(_THROTTLES)
        self.done["drain"] += (await admin.drain_broker(node_id)).changed
        await self._make_topic(admin)
        until = clock.now() + _PATIENCE_S
        while clock.now() < until and not over():
            for wanted in await moves_away(admin, node_id):
                outcomes = await admin.alter_partition_reassignments([wanted], throttle_bytes_per_s=throttle)
                failure = outcomes[wanted.name]
                self.done["move" if failure is None else f"move: {type(failure).__name__}"] += 1
            if not (await admin.drain_broker(node_id, validate_only=True)).replicas:
                self.done["empty"] += 1
                return True
            await clock.sleep(_LOOK_UP_S)
        return False

    async def _make_topic(self, admin: Admin) -> None:
        """Makes a topic while a broker is drained, in place of the last such one."""
        with suppress(UnknownTopicOrPartition):
            await admin.delete_topic(_TOPIC)
        with suppress(TopicAlreadyExists, InvalidReplicationFactor):  # an answer got lost; too few are left for it
            replicas = self.world.topology.replication_factor
            await admin.create_topic(_TOPIC, partitions=_PARTITIONS, replication_factor=replicas)

    async def _retire(self, admin: Admin, node_id: int, over: Callable[[], bool]) -> None:
        """Switches a broker off, empties it if that is still to be done, and has the cluster forget it; starts it."""
        world, machine = self.world, self.world.machines[node_id]
        if machine.in_service or over():
            return  # somebody is at its disk; or the storm has ended, and nobody switches anything off any more
        if machine.process is not None:
            world.kill(node_id)
        with world.in_service(node_id):
            if await self._empty(admin, node_id, over):
                await self._forget(admin, node_id, over)
        if not over() and machine.process is None:
            world.start(node_id)

    async def _forget(self, admin: Admin, node_id: int, over: Callable[[], bool]) -> None:
        clock = self.client.clock
        until = clock.now() + _PATIENCE_S
        while clock.now() < until and not over():
            try:
                await admin.unregister_broker(node_id)
            except InvalidRequest:  # it is not known to be down yet
                await clock.sleep(_LOOK_UP_S)
            else:
                self.done["unregister"] += 1
                return
