"""Storm: faults happen by the schedule, each noted when it begins, is healed, and has told what it did.

Keeps: each fault that began is healed, also when the storm is cancelled; one that destroys is alone, and begins only
while all that the cluster has is in sync; those that name nodes wait for each other where it is the same node, for
healing may take longer than the schedule knows: a node is not killed by one while another starts it. Where that makes
one late, all that follow are late by as much, and do not come at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from dohle.model.errors import DohleError
from dohle.testing.chaos.fault import Effect, Fault, Kinds
from dohle.testing.chaos.run_folder import Lines, RunFolder
from dohle.testing.chaos.schedule import Schedule, Step
from dohle.testing.chaos.world import World

Say = Callable[[str], object]


@dataclass
class Storm:
    """`whole` returns once the cluster is, and whether that was in time. What is told of: `failures`, sentences;
    `effects`, by the step's number."""

    world: World
    kinds: Kinds
    schedule: Schedule
    folder: RunFolder
    events: Lines
    whole: Callable[[], Awaitable[bool]]
    say: Say
    failures: list[str] = field(default_factory=list)
    effects: dict[int, Effect] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._turns = _Turns()
        self._late_s = 0.0
        self._nodes = {node: asyncio.Lock() for node in self.world.nodes}

    async def blow(self, began_s: float) -> None:
        """Returns when the last step is healed. `began_s`: when, of the folder's time, the schedule begins."""
        async with asyncio.TaskGroup() as tasks:
            for number, step in enumerate(self.schedule.steps):
                tasks.create_task(self._happen(number, step, began_s))

    async def _happen(self, number: int, step: Step, began_s: float) -> None:
        kind = self.kinds.named(step.fault)
        while True:
            await self._due(step, began_s)
            async with self._turns.turn(alone=kind.destroys), self._taking(step):
                if self._early_s(step, began_s) > 0:  # what it waited for has made the rest late
                    continue
                await self._take_turn(number, step, kind)
                if kind.destroys or kind.takes_nodes:
                    self._late_s = max(self._late_s, self.folder.now_s() - began_s - step.at_s - step.for_s)
                return

    async def _due(self, step: Step, began_s: float) -> None:
        while (early_s := self._early_s(step, began_s)) > 0:
            await asyncio.sleep(early_s)

    def _early_s(self, step: Step, began_s: float) -> float:
        return began_s + step.at_s + self._late_s - self.folder.now_s()

    async def _take_turn(self, number: int, step: Step, kind: type[Fault]) -> None:
        if kind.destroys and not await self.whole():
            self.failures.append(f"{step.fault} (step {number}) did not begin: the cluster was not whole before it")
            return
        await self._break(number, step, kind(self.world, step.arguments))
        if kind.destroys and not await self.whole():
            self.failures.append(f"{step.fault} (step {number}) was healed, and the cluster did not become whole")

    @contextlib.asynccontextmanager
    async def _taking(self, step: Step) -> AsyncIterator[None]:
        """Has the nodes that it names for itself."""
        nodes = sorted(step.arguments.get("nodes", ()))
        async with contextlib.AsyncExitStack() as held:
            for node in nodes:
                await held.enter_async_context(self._nodes[node])
            yield

    async def _break(self, number: int, step: Step, fault: Fault) -> None:
        self.say(f"{step.fault} {_arguments_text(step)}")
        self._note("begin", number, step, arguments=dict(step.arguments))
        try:
            await fault.begin()
            await asyncio.sleep(step.for_s)
        except (DohleError, OSError) as error:
            self.failures.append(f"{step.fault} (step {number}) could not be made: {error}")
        finally:
            await _whatever_comes(self._heal(number, step, fault))

    async def _heal(self, number: int, step: Step, fault: Fault) -> None:
        try:
            await fault.heal()
            self._note("heal", number, step)
            effect = await fault.effect()
        except (DohleError, OSError) as error:
            self.failures.append(f"{step.fault} (step {number}) could not be healed: {error}")
            return
        self.effects[number] = effect
        self._note("effect", number, step, count=effect.count, counted=effect.what)

    def _note(self, what: str, number: int, step: Step, **more: object) -> None:
        self.events.write(
            {"time": round(self.folder.now_s(), 6), "what": what, "step": number, "fault": step.fault, **more}
        )


class _Turns:
    """Many side by side, or one alone, whom nobody overtakes."""

    def __init__(self) -> None:
        self._many = asyncio.Condition()
        self._inside = 0
        self._one = asyncio.Lock()  # held by who is alone or waits to be, and by others while they come in

    @contextlib.asynccontextmanager
    async def turn(self, *, alone: bool) -> AsyncIterator[None]:
        if alone:
            async with self._one:
                async with self._many:
                    await self._many.wait_for(lambda: not self._inside)
                yield
            return
        async with self._one:
            self._inside += 1
        try:
            yield
        finally:
            async with self._many:
                self._inside -= 1
                self._many.notify_all()


async def _whatever_comes(work: Awaitable[None]) -> None:
    """Has `work` end although this task is cancelled, even more than once; then raises that."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled


def _arguments_text(step: Step) -> str:
    return ", ".join(f"{name} {value}" for name, value in step.arguments.items())
