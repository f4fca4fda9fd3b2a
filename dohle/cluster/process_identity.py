"""Processes told apart: a pid alone may belong to another process by now, a pid and its start cannot.

Keeps: a signal is only ever sent to the very process that was started.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process, by its number and by when it began, in whatever form the system says that."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity | None:
        """Returns the identity of the process that has `pid` now; None if none has, or if it has ended already."""
        started = _start_of(pid)
        return cls(pid, started) if started is not None else None

    def runs(self) -> bool:
        return _start_of(self.pid) == self.started

    def signal(self, number: int) -> bool:
        """Sends a signal. Returns False if the process is gone."""
        if not self.runs():
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def resident_bytes(self) -> int:
        """Returns how much memory the process has in use; 0 if it is gone."""
        if sys.platform == "linux":
            try:
                with open(f"/proc/{self.pid}/statm", encoding="ascii") as file:
                    return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
            except OSError:
                return 0
        kilobytes = _ask_ps(self.pid, "rss=")
        return int(kilobytes) * 1024 if kilobytes else 0


def _start_of(pid: int) -> str | None:
    if sys.platform != "linux":
        state = _ask_ps(pid, "state=")
        return None if not state or state.startswith("Z") else _ask_ps(pid, "lstart=")
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # the name in parentheses may hold anything, so fields are counted from its end; see proc(5)
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    state, start_ticks = fields[0], fields[19]
    return None if state == "Z" else start_ticks


def _ask_ps(pid: int, column: str) -> str | None:
    answer = subprocess.run(["ps", "-o", column, "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607 - fixed words and a number
    return answer.stdout.strip() or None
