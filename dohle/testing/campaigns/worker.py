"""A worker: a process that runs plans, one after another, as lines of its standard input ask.

Run as `python -m dohle.testing.campaigns.worker`. Answers are lines of standard output that begin with `ANSWER`;
everything else that appears there, a traceback above all, is for people. An exception in the simulator ends the
worker: whoever asked sees that no answer came, and finds the traceback in its place.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import logging
import os
import signal
import sys
import traceback
import types
from collections import deque

from dohle.testing.campaigns.json_values import from_json, to_json
from dohle.testing.campaigns.plan import Plan
from dohle.testing.campaigns.simulation import run_plan
from dohle.testing.world.process_loop import ProcessLoop

ANSWER = "answer "
HUNG = "HUNG, here:"
_MOST_LOG_LINES = 300


class _LastLines(logging.Handler):
    """Keeps the last lines that nodes logged, with virtual time and the process that wrote them."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=_MOST_LOG_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        loop = asyncio._get_running_loop()
        where = f"{loop._scheduler.now:9.3f}  {loop.name}" if isinstance(loop, ProcessLoop) else "-"
        self.lines.append(f"{where}  {record.levelname}  {record.getMessage()}")
        if record.exc_info is not None and record.exc_info[1] is not None:
            self.lines.extend("".join(traceback.format_exception(record.exc_info[1])).splitlines())


def _hung(_number: int, frame: types.FrameType | None) -> None:
    """Ends the process, saying where it is; an exception would be caught by whoever runs callbacks."""
    print(HUNG, *traceback.format_stack(frame), sep="\n", flush=True)  # noqa: T201
    os._exit(1)


def serve(hang_s: float) -> None:
    """Answers until standard input ends. A run that takes longer than `hang_s` ends the process, with a traceback."""
    signal.signal(signal.SIGALRM, _hung)
    log = _LastLines()
    logging.basicConfig(level=logging.WARNING, handlers=[log], force=True)
    print(f"{ANSWER}ready", flush=True)  # noqa: T201 - standard output is how it talks
    for line in sys.stdin:
        log.lines.clear()
        plan = from_json(Plan, json.loads(line), "plan")
        signal.setitimer(signal.ITIMER_REAL, hang_s)
        outcome = run_plan(plan)
        signal.setitimer(signal.ITIMER_REAL, 0)
        answer = {"outcome": to_json(outcome), "log": list(log.lines) if outcome.violations else []}
        print(ANSWER + json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    faulthandler.enable(file=sys.stdout)
    sys.stderr = sys.stdout
    serve(float(sys.argv[1]))
