"""Storm: the faults of one run, each begun and undone by chance, a few at a time.

At least what a fault hit is undone by it, so that a storm can go on for ever; `calm` ends all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random

from dohle.testing.world import Machine, World

Fault = Callable[[int, float], Awaitable[None]]


class Storm:
    """Breaks a world. `faults` counts what was done, by kind."""

    def __init__(self, world: World, chance: Random) -> None:
        self.faults: Counter[str] = Counter()
        self._world = world
        self._random = chance
        self._over = False
        self._mean_pause_s = chance.choice((1.0, 3.0, 6.0))
        kinds: dict[str, Fault] = {
            "kill": self._kill,
            "kill in a sync": self._kill_in_sync,
            "power loss": self._power_loss,
            "power loss in a sync": self._power_loss_in_sync,
            "power loss of all": self._power_loss_of_all,
            "pause": self._pause,
            "isolation": self._isolate,
            "one-way cut": self._one_way,
            "pair cut": self._pair,
            "reset": self._reset,
            "slow disk": self._slow_disk,
            "failing disk": self._failing_disk,
            "full disk": self._full_disk,
            "stop": self._stop,
            "bad weather": self._bad_weather,
        }
        chosen = chance.sample(sorted(kinds), chance.randint(2, len(kinds)))
        self._kinds = {kind: kinds[kind] for kind in chosen}

    def begin(self) -> None:
        director = self._world.director
        for number in range(self._random.randint(1, 3)):
            director.spawn(self._blow(), f"storm {number}")
        director.spawn(self._undertake(), "undertaker")

    async def _blow(self) -> None:
        chance = self._random
        while True:
            await self._world.clock.sleep(chance.expovariate(1 / self._mean_pause_s))
            if self._over:
                return
            kind = chance.choice(list(self._kinds))
            node_id = chance.choice(list(self._world.machines))
            if self._machine(node_id).process is None:
                continue
            self.faults[kind] += 1
            duration_s = chance.choice((0.05, 0.5, 2.0, 5.0, 10.0)) * chance.uniform(0.5, 1.5)
            self._world.say(f"fault: {kind} at node {node_id} for {duration_s:.2f} s")
            await self._kinds[kind](node_id, duration_s)

    async def _undertake(self) -> None:
        """Buries nodes that ended by themselves, which only a failing disk excuses."""
        while not self._over:
            await self._world.clock.sleep(0.05)
            for node_id, machine in self._world.machines.items():
                process = machine.process
                if process is not None and process.over and process.ended is not None:
                    self._world.say(f"{process.name} ended: {process.ended}")
                    if not process.met_disk_failure:
                        self._world.bugs.append(f"{process.name} ended by itself: {process.ended!r}")
                    self._world.kill(node_id)

    async def calm(self) -> None:
        """Undoes every fault, and starts what does not run."""
        self._over = True
        world = self._world
        world.say("calm")
        world.links.mend_all()
        world.links.weather.loss, world.links.weather.mean_delay_s = 0.0, 0.0005
        for node_id, machine in world.machines.items():
            faults = machine.disk.faults
            faults.full, faults.sync_fails, faults.slowness = False, False, 1.0
            faults.before_sync.clear()
            process = machine.process
            if process is not None and process.loop.paused:
                world.resume(node_id)
            if process is not None and (process.ending or process.met_disk_failure):
                world.kill(node_id)
            self._start(node_id)

    # what the faults share

    def _machine(self, node_id: int) -> Machine:
        return self._world.machines[node_id]

    def _start(self, node_id: int) -> None:
        if self._machine(node_id).process is None:
            self._world.start(node_id)

    async def _back_after(self, node_id: int, duration_s: float) -> None:
        await self._world.clock.sleep(duration_s)
        if not self._over:
            self._start(node_id)

    def _others(self, node_id: int) -> list[str]:
        return [machine.name for other, machine in self._world.machines.items() if other != node_id]

    # the faults

    async def _kill(self, node_id: int, duration_s: float) -> None:
        self._world.kill(node_id)
        await self._back_after(node_id, duration_s)

    async def _power_loss(self, node_id: int, duration_s: float) -> None:
        self._world.lose_power(node_id)
        await self._back_after(node_id, duration_s)

    async def _in_sync(self, node_id: int, duration_s: float, end: Callable[[int], None]) -> None:
        process = self._machine(node_id).process

        def strike() -> None:
            if self._machine(node_id).process is process:
                end(node_id)

        self._machine(node_id).disk.faults.before_sync.append(strike)
        await self._back_after(node_id, duration_s)

    async def _kill_in_sync(self, node_id: int, duration_s: float) -> None:
        await self._in_sync(node_id, duration_s, self._world.kill)

    async def _power_loss_in_sync(self, node_id: int, duration_s: float) -> None:
        await self._in_sync(node_id, duration_s, self._world.lose_power)

    async def _power_loss_of_all(self, node_id: int, duration_s: float) -> None:
        for one, machine in self._world.machines.items():
            if machine.process is not None:
                self._world.lose_power(one)
        for one in self._world.machines:
            await self._back_after(one, duration_s / 3)

    async def _pause(self, node_id: int, duration_s: float) -> None:
        process = self._machine(node_id).process
        self._world.pause(node_id)
        await self._world.clock.sleep(duration_s)
        if self._machine(node_id).process is process and process is not None and process.loop.paused:
            self._world.resume(node_id)

    async def _cut(self, ways: list[tuple[str, str]], duration_s: float) -> None:
        for source, target in ways:
            self._world.links.cut(source, target)
        await self._world.clock.sleep(duration_s)
        for source, target in ways:
            self._world.links.mend(source, target)

    async def _isolate(self, node_id: int, duration_s: float) -> None:
        """From the other nodes; clients still reach it."""
        me = self._machine(node_id).name
        await self._cut([way for other in self._others(node_id) for way in ((me, other), (other, me))], duration_s)

    async def _one_way(self, node_id: int, duration_s: float) -> None:
        me, outwards = self._machine(node_id).name, self._random.random() < 0.5
        await self._cut([(me, other) if outwards else (other, me) for other in self._others(node_id)], duration_s)

    async def _pair(self, node_id: int, duration_s: float) -> None:
        """Two nodes do not reach each other; both reach the third, a bridge."""
        me, other = self._machine(node_id).name, self._random.choice(self._others(node_id))
        await self._cut([(me, other), (other, me)], duration_s)

    async def _reset(self, node_id: int, duration_s: float) -> None:
        self._world.reset_connections(node_id)

    async def _slow_disk(self, node_id: int, duration_s: float) -> None:
        faults = self._machine(node_id).disk.faults
        faults.slowness = self._random.choice((10.0, 100.0, 1000.0))
        await self._world.clock.sleep(duration_s)
        faults.slowness = 1.0

    async def _failing_disk(self, node_id: int, duration_s: float) -> None:
        self._machine(node_id).disk.faults.sync_fails = True
        await self._world.clock.sleep(duration_s)
        if not self._over:
            await self._recover(node_id)

    async def _full_disk(self, node_id: int, duration_s: float) -> None:
        self._machine(node_id).disk.faults.full = True
        await self._world.clock.sleep(duration_s)
        if not self._over:
            await self._recover(node_id)

    async def _recover(self, node_id: int) -> None:
        """The disk is mended, and the node begins anew if it has noticed."""
        faults = self._machine(node_id).disk.faults
        faults.full = faults.sync_fails = False
        process = self._machine(node_id).process
        if process is not None:
            if process.loop.paused:
                self._world.resume(node_id)
            self._world.kill(node_id)
        await self._back_after(node_id, 0.1)

    async def _stop(self, node_id: int, duration_s: float) -> None:
        """A controlled shutdown, cut short by a kill after a while, as process supervisors do."""
        process = self._machine(node_id).process
        assert process is not None
        process.stop(lambda: None)
        deadline = self._world.scheduler.now + 12
        while not process.over and process.loop.alive and self._world.scheduler.now < deadline:
            await self._world.clock.sleep(0.02)
        if self._machine(node_id).process is process:
            self._world.say(f"{process.name} has stopped" if process.over else f"{process.name} does not stop")
            self._world.kill(node_id)
        await self._back_after(node_id, duration_s)

    async def _bad_weather(self, node_id: int, duration_s: float) -> None:
        weather = self._world.links.weather
        weather.loss = self._random.uniform(0, 0.3)
        weather.mean_delay_s = self._random.choice((0.001, 0.01, 0.05, 0.1))
        await self._world.clock.sleep(duration_s)
        weather.loss, weather.mean_delay_s = 0.0, 0.0005
