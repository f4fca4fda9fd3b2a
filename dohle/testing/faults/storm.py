"""Storm: carries out the faults of a plan at their times, and buries nodes that ended by themselves.

`heal` ends it: just enough comes back, and the rest stays dead (simulation.md's liveness phase).
"""

from __future__ import annotations

from collections import Counter
from random import Random

from dohle.model.errors import UnsupportedVersion
from dohle.model.metadata import NEWEST_METADATA_VERSION
from dohle.testing.campaigns.plan import Plan, PlannedFault
from dohle.testing.faults.blow import Blow
from dohle.testing.faults.faults import kind_named
from dohle.testing.world.world import DATA, World

_LEFT_DEAD = 0.5
_SERVICE_S = 10.0


class Storm:
    """Breaks a world. `faults` counts what took effect, by kind."""

    def __init__(self, world: World, plan: Plan) -> None:
        self.faults: Counter[str] = Counter()
        self._world = world
        self._plan = plan

    def begin(self) -> None:
        """Lets the plan's faults happen, each at its time from now."""
        director = self._world.director
        for number, planned in enumerate(self._plan.faults):
            director.spawn(self._strike(planned), f"fault {number}")
        self._world.on_over = self._bury

    async def _strike(self, planned: PlannedFault) -> None:
        """One that finds nothing to hit is a kill, so that a storm has as many faults as were planned."""
        await self._world.clock.sleep(planned.at_s)
        chance = Random(planned.chance)  # noqa: S311 - replays, and no secrets
        for kind in (planned.kind, "kill"):
            blow = Blow(self._world, kind, planned.node_id, planned.duration_s, chance, self.faults)
            if not blow.over:
                await kind_named(kind).strike(blow)
            if blow.has_struck:
                return

    def _bury(self, node_id: int) -> None:
        """Buries a node that ended by itself: a failing disk excuses it, lost data, and software that is too old."""
        machine = self._world.machines[node_id]
        process = machine.process
        if process is not None and process.over and process.ended is not None:
            self._world.say(f"{process.name} ended: {process.ended}")
            is_old = machine.newest_version < NEWEST_METADATA_VERSION
            too_old = is_old and isinstance(process.ended, UnsupportedVersion)
            if not process.met_disk_failure and not machine.harmed and not too_old:
                self._world.report(f"{process.name} ended by itself: {process.ended!r}")
            self._world.kill(node_id)

    async def heal(self, chance: Random) -> None:
        """Ends every fault, and brings back just enough: of the nodes that are expendable, chance leaves some dead."""
        world = self._world
        world.is_calm = True
        await world.until(world.nobody_is_serviced, _SERVICE_S, "the operator is ready")
        world.links.mend_all()
        for node_id in world.topology.expendable:
            if chance.random() < _LEFT_DEAD:
                world.machines[node_id].lost = True
        lost = [machine.name for machine in world.machines.values() if machine.lost]
        world.say(f"the storm is over; dead for good: {', '.join(lost) or 'nobody'}")
        for node_id, machine in world.machines.items():
            machine.disk.faults.mend()
            machine.disk.faults.traps.clear()
            for name in machine.disk.unmounted:
                machine.disk.mount(name)
            process = machine.process
            ends = process is not None and (process.ending or process.met_disk_failure or process.lacks_a_directory)
            if process is not None and (ends or machine.lost):
                world.kill(node_id)
            elif process is not None and process.loop.paused:
                world.resume(node_id)
            if machine.process is None and not machine.lost:
                await self._bring_back(node_id)

    async def _bring_back(self, node_id: int) -> None:
        world, machine = self._world, self._world.machines[node_id]
        if not machine.disk.exists(DATA):
            await world.format_anew(node_id)
        elif not all(machine.disk.exists(path) for path in machine.config.directories):
            await world.format_further(node_id)
        world.start(node_id)
