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
import sys
import traceback
from collections import deque

from dohle.testing.campaigns.json_values import from_json, to_json
from dohle.testing.campaigns.plan import Plan
from dohle.testing.campaigns.simulation import run_plan
from dohle.testing.world.process_loop import ProcessLoop

ANSWER = "answer "
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


def serve(hang_s: float) -> None:
    """Answers until standard input ends. A run that takes longer than `hang_s` ends the process, with a traceback."""
    log = _LastLines()
    logging.basicConfig(level=logging.WARNING, handlers=[log], force=True)
    print(f"{ANSWER}ready", flush=True)  # noqa: T201 - standard output is how it talks
    for line in sys.stdin:
        log.lines.clear()
        plan = from_json(Plan, json.loads(line), "plan")
        faulthandler.dump_traceback_later(hang_s, exit=True, file=sys.stdout)
        outcome = run_plan(plan)
        faulthandler.cancel_dump_traceback_later()
        answer = {"outcome": to_json(outcome), "log": list(log.lines) if outcome.violations else []}
        print(ANSWER + json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    faulthandler.enable(file=sys.stdout)
    sys.stderr = sys.stdout
    serve(float(sys.argv[1]))
