"""RunFolder: what a run leaves behind, and where. Each file is written as things happen, a line an event.

::

    run.json         {"seed": 7, "system": "dohle", "version": "0.1.0", "world": "loopback", "nodes": [1, 2, 3],
                      "faults": ["kill"], "workloads": ["append by sdk"], "cannot": {"loss": "why not"},
                      "again": "the command that runs it again", "begun_at": "2026-11-22T23:30:00.125+00:00"};
                      at the end also "ended_s" and "verdict" (verdict.py)
    schedule.json    what was to happen when (schedule.py)
    events.jsonl     what happened: {"time": 1.25, "what": "begin"|"heal", "step": 3, "fault": "kill", "arguments": {}},
                      {..., "what": "effect", "step": 3, "fault": "kill", "count": 1, "counted": "processes killed"},
                      {"time": 60.0, "what": "phase", "phase": "final reads"}
    history.jsonl    what clients did (dohle.testing.history.history_lines), of all worker processes
    state.jsonl      samples: {"time": 1.5, "controller": 1, "partitions": {"append-0": [leader, epoch, [isr, ...]]}};
                      -1 is nobody; {"time": 2.0, "silent": "why nobody could be asked"}
    workers/NAME.log what a worker printed
    nodes/N.log      what a node printed
    report.html

Times are seconds since the run began, of the machine's monotonic clock, which all its processes share. The history is
appended to by many processes, each line in one write to a file opened for appending: a line is there as a whole or not
at all, and the order of the lines is that of the events.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class RunFolder:
    """`origin_s` is what time.monotonic() said when the run began."""

    def __init__(self, path: Path, origin_s: float) -> None:
        self.path = path
        self.origin_s = origin_s

    @property
    def history(self) -> Path:
        return self.path / "history.jsonl"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def state(self) -> Path:
        return self.path / "state.jsonl"

    @property
    def schedule(self) -> Path:
        return self.path / "schedule.json"

    @property
    def run(self) -> Path:
        return self.path / "run.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def worker_log(self, name: str) -> Path:
        return self.path / "workers" / f"{name}.log"

    def now_s(self) -> float:
        return time.monotonic() - self.origin_s


class Lines:
    """Appends lines of JSON to a file, each in one write."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, event: Mapping[str, Any]) -> None:
        """Raises OSError, also if the disk took only a part: then the file's last line is cut off."""
        line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        if os.write(self._descriptor, line) < len(line):
            raise OSError(errno.ENOSPC, "there is no room for the whole line")

    def close(self) -> None:
        os.close(self._descriptor)
