"""Logs cut to the moment: what each node said around it.

Lines begin with the machine's local time, as Dohle's do and as Kafka's are made to; a line that does not belongs to the
one before. A node whose clock was moved by a fault tells another time: its lines are where they say they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from os import SEEK_END
from pathlib import Path

_TIME = len("2026-11-22T17:31:06.659")
_MOST_LINES = 60
_LAST_LINES = 30
_TAIL_BYTES = 16_384


def around(path: Path, begun_at: datetime, spans_s: Sequence[tuple[float, float]]) -> list[list[str]]:
    """Returns for each span, in seconds since the run's begin, the lines of that time; of many, the first and last."""
    found: list[list[str]] = [[] for _ in spans_s]
    if not path.exists():
        return found
    bounds = [(_stamp(begun_at, since_s), _stamp(begun_at, until_s)) for since_s, until_s in spans_s]
    least, most = min((low for low, _ in bounds), default=""), max((high for _, high in bounds), default="")
    here: list[list[str]] = []
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            stamp = line[:_TIME]
            if _is_time(stamp):
                here = []
                if least <= stamp <= most:
                    here = [kept for kept, (low, high) in zip(found, bounds, strict=True) if low <= stamp <= high]
            for kept in here:
                kept.append(line.rstrip("\n"))
    return [_shortened(kept) for kept in found]


def last_of(path: Path) -> list[str]:
    """Returns a log's last lines; of its last part, if it is long."""
    with path.open("rb") as log:
        log.seek(0, SEEK_END)
        log.seek(max(0, log.tell() - _TAIL_BYTES))
        return log.read().decode(errors="replace").splitlines()[-_LAST_LINES:]


def _stamp(begun_at: datetime, seconds: float) -> str:
    moment = datetime.fromtimestamp(begun_at.timestamp() + seconds)  # noqa: DTZ006 -- as the logs say it
    return moment.isoformat(timespec="milliseconds")


def _is_time(stamp: str) -> bool:
    return len(stamp) == _TIME and stamp[4] == "-" and stamp[10] == "T" and stamp[13] == ":" and stamp[:4].isdecimal()


def _shortened(lines: list[str]) -> list[str]:
    if len(lines) <= _MOST_LINES:
        return lines
    half = _MOST_LINES // 2
    return [*lines[:half], f"… {len(lines) - 2 * half} lines …", *lines[-half:]]
