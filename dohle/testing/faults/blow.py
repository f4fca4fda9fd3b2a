"""Blow: one planned fault as it is carried out: where, for how long, and what it may do to the world.

A fault undoes what it did, so that a storm can go on for ever. Faults that overlap at one node are no trouble: whoever
comes last finds the node up or down, and starts it only if nothing runs there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from dohle.model.image import ClusterImage
from dohle.testing.world.world import Machine, World

_AT_THE_CONTROLLER = 0.4


class Blow:
    """What a fault is given."""

    def __init__(
        self, world: World, kind: str, node_id: int, duration_s: float, chance: Random, counts: Counter[str]
    ) -> None:
        self.world = world
        self.node_id = node_id
        self.duration_s = duration_s
        self.chance = chance
        self.has_struck = False
        self._kind = kind
        self._counts = counts

    @property
    def over(self) -> bool:
        """Whether the storm is: nothing is begun or undone any more."""
        return self.world.is_calm

    @property
    def machine(self) -> Machine:
        return self.world.machines[self.node_id]

    @property
    def runs(self) -> bool:
        """Whether there is a node to hit."""
        return self.machine.process is not None

    def strikes(self, how: str = "") -> None:
        """Notes that the fault takes effect now."""
        self.has_struck = True
        self._counts[self._kind] += 1
        self.world.say(f"fault: {self._kind} at node {self.node_id}{how and ', '}{how}")

    def others(self) -> list[int]:
        return [node_id for node_id in self.world.machines if node_id != self.node_id]

    def running(self) -> list[int]:
        return [node_id for node_id, machine in self.world.machines.items() if machine.process is not None]

    def is_alone(self) -> bool:
        """Whether the node may have the only copy that counts of something that was to have several.

        Of the others a directory has failed, or they are neither in sync nor eligible yet, or nobody knows: there is no
        active controller. One more loss would be one more than the topology bears.
        """
        images = self.committed()
        if not images or any(self.world.machines[node_id].disk.faults.failed for node_id in self.others()):
            return True
        copies = self.world.topology.min_in_sync_replicas
        return any(
            partition.in_sync_replicas == (self.node_id,)
            and not partition.eligible_replicas
            and topic.effective_min_insync(number) >= copies > 1
            for image in images
            for topic in image.topics_in_order()
            for number, partition in enumerate(topic.partitions)
        )

    def committed(self) -> list[ClusterImage]:
        """Returns what each active controller knows to be committed."""
        processes = [self.world.machines[node_id].process for node_id in self.active_controllers()]
        parts = [one.node.controller for one in processes if one is not None and one.node is not None]
        return [part.controller.committed for part in parts if part is not None]

    def name_of(self, node_id: int) -> str:
        return self.world.machines[node_id].name

    def active_controllers(self) -> list[int]:
        """Returns who believes to be the active controller."""
        return [
            node_id
            for node_id, machine in self.world.machines.items()
            if machine.process is not None
            and machine.process.node is not None
            and machine.process.node.controller is not None
            and machine.process.node.controller.quorum.is_leader
        ]

    def often_at_the_active_controller(self) -> None:
        """Moves the blow, by chance, to where it hurts most."""
        active = self.active_controllers()
        if active and self.chance.random() < _AT_THE_CONTROLLER:
            self.node_id = self.chance.choice(active)

    async def lasts(self) -> None:
        await self.world.clock.sleep(self.duration_s)

    async def pause(self, seconds: float) -> None:
        await self.world.clock.sleep(seconds)

    def start(self, *node_ids: int) -> None:
        """Starts nodes that do not run, unless the storm is over: then others decide what comes back."""
        for node_id in node_ids:
            machine = self.world.machines[node_id]
            if not self.over and machine.process is None and not machine.in_service:
                self.world.start(node_id)

    def end(self, *node_ids: int, power: bool) -> None:
        """Kills nodes, or takes their power."""
        for node_id in node_ids:
            if self.world.machines[node_id].process is not None:
                (self.world.lose_power if power else self.world.kill)(node_id)


Fault = Callable[[Blow], Coroutine[Any, Any, None]]
