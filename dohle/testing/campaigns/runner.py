"""Runner: runs plans in worker processes, several at once, and misses nothing that goes wrong there.

Keeps: every plan has an outcome. One whose worker dies, or does not answer in time, has one violation that says so,
with the last that the worker printed. A worker serves a number of plans and is then replaced by a fresh one: what a
killed process held is never let go, so an interpreter grows with every seed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections import deque
from dataclasses import dataclass
from types import TracebackType

from dohle.testing.campaigns.json_values import from_json, to_json
from dohle.testing.campaigns.plan import Plan
from dohle.testing.campaigns.simulation import RunOutcome
from dohle.testing.campaigns.worker import ANSWER, HUNG

HANG_S = 300.0
"""Real time after which a run counts as hung."""
_GRACE_S = 15.0
_PLANS_EACH = 10
_LONGEST_LINE = 1 << 27
_LAST_LINES = 80


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has ended, one way or another."""

    outcome: RunOutcome
    real_s: float
    log: tuple[str, ...]  # the last that the nodes logged; only of a run that violated something


class Runner:
    """`jobs` workers. Use it as a context manager; leaving it ends them, whatever they do."""

    def __init__(self, jobs: int, *, hang_s: float = HANG_S) -> None:
        self.jobs = jobs
        self._idle: asyncio.Queue[_Worker] = asyncio.Queue()
        self._workers = [_Worker(hang_s) for _ in range(jobs)]
        for worker in self._workers:
            self._idle.put_nowait(worker)

    async def __aenter__(self) -> Runner:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for worker in self._workers:
            await worker.end()

    async def run(self, plan: Plan, *, afresh: bool = False) -> Finished:
        """Runs `plan` as soon as a worker is free; `afresh`: in a process that has run nothing before."""
        worker = await self._idle.get()
        try:
            return await worker.run(plan, afresh=afresh)
        finally:
            self._idle.put_nowait(worker)


class _Worker:
    """One process at a time."""

    def __init__(self, hang_s: float) -> None:
        self._hang_s = hang_s
        self._process: Process | None = None
        self._served = 0
        self._printed: deque[str] = deque(maxlen=_LAST_LINES)

    async def run(self, plan: Plan, *, afresh: bool) -> Finished:
        if afresh or self._served == _PLANS_EACH:
            await self.end()
        process = self._process or await self._start()
        self._served += 1
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer = None
        if process is not None:
            assert process.stdin is not None
            process.stdin.write(json.dumps(to_json(plan)).encode() + b"\n")
            answer = await self._answer(process)
        real_s = loop.time() - began
        if answer is None:
            how = await self.end(patience_s=5.0)
            outcome = RunOutcome(plan.seed, plan, (f"the simulation {how}",))
            return Finished(outcome, real_s, tuple(self._printed))
        parts = json.loads(answer)
        return Finished(from_json(RunOutcome, parts["outcome"], "outcome"), real_s, tuple(parts["log"]))

    async def _start(self) -> Process | None:
        """Returns a worker that is ready; None if it could not begin, for which `_printed` has the reason."""
        self._served = 0
        self._printed.clear()
        arguments = (sys.executable, "-m", "dohle.testing.campaigns.worker", str(self._hang_s))
        self._process = await asyncio.create_subprocess_exec(
            *arguments, stdin=PIPE, stdout=PIPE, stderr=STDOUT, limit=_LONGEST_LINE
        )
        return self._process if await self._answer(self._process) is not None else None

    async def _answer(self, process: Process) -> str | None:
        """Returns the next answer; None if the worker died or hangs. It ends a run that hangs itself, with a traceback
        that tells where; the grace is for when it cannot."""
        assert process.stdout is not None
        try:
            async with asyncio.timeout(self._hang_s + _GRACE_S):
                while line := await process.stdout.readline():
                    text = line.decode(errors="replace").rstrip("\n")
                    if text.startswith(ANSWER):
                        return text.removeprefix(ANSWER)
                    self._printed.append(text)
        except TimeoutError:
            self._printed.append("(the worker did not react to its own alarm either)")
        return None

    async def end(self, patience_s: float = 0.0) -> str:
        """Ends the process, at once unless it does so itself in time, and returns how it ended, in words."""
        process, self._process = self._process, None
        if process is None:
            return "could not be started"
        hung = any(line.startswith((HUNG, "(the worker")) for line in self._printed)
        try:
            async with asyncio.timeout(patience_s):
                await process.wait()
        except TimeoutError:
            try:
                process.kill()
            except ProcessLookupError:
                pass  # it was faster
        code = await process.wait()
        if hung:
            return f"hung: no end within {self._hang_s:g} real s"
        return f"ended with exit code {code}: {self._printed[-1] if self._printed else 'it said nothing'}"
