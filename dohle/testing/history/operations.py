"""Operations: what clients asked of a log, and what came of it. The values that a history consists of.

An operation is invoked, and completes: ok, fail (it certainly did not happen) or info (nobody knows, as after a
time-out; one that never completes is taken for info). It is atomic: records that were sent together and not in a
transaction are operations of their own. A process is one thread of a client's life; its operations may overlap.

A log is a partition, named as `str(TopicPartition(...))` does. A value is sent to a log once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

_SHOWN_VALUE = 40
_SHOWN_RECORDS = 3


class Outcome(Enum):
    """How an operation completed."""

    OK = "ok"
    FAIL = "fail"
    INFO = "info"


class Send(NamedTuple):
    """Appends `value`; once that is known to have happened, perhaps with the offset."""

    log: str
    value: str
    offset: int | None = None


class Poll(NamedTuple):
    """Takes the next records: offset and value, by log. Empty until it has completed."""

    records: Mapping[str, Sequence[tuple[int, str]]] = {}


class Put(NamedTuple):
    """Gives a key of a compacted log a value, or deletes it. `token` is no other put's, and comes with the record."""

    log: str
    key: str
    token: str
    deletes: bool = False
    offset: int | None = None


class Shown(NamedTuple):
    """A record of a compacted log, as a scan shows it."""

    offset: int
    key: str
    token: str
    deletes: bool = False


class Scan(NamedTuple):
    """Reads compacted logs from where they begin to where they ended then, by log. Empty until it has completed."""

    records: Mapping[str, Sequence[Shown]] = {}


class Assign(NamedTuple):
    """Reads these logs from now on, each from an offset; None: from where it stood, or anywhere if it is new."""

    starts: Mapping[str, int | None]


class Subscribe(NamedTuple):
    """Reads whatever logs of these topics the group leaves to it. Of a group that has a name, all members together
    must read everything, and a poll is ok once its records were dealt with."""

    topics: tuple[str, ...]
    group: str = ""


class Ends(NamedTuple):
    """Asks where logs end: by log the offset behind the last record that can be read. Empty until it has completed."""

    ends: Mapping[str, int] = {}


class Delete(NamedTuple):
    """Has what lies below an offset deleted, by log."""

    before: Mapping[str, int]


class Commit(NamedTuple):
    """Commits, for a group, the offsets that are next, by log. `epoch`: the generation or member epoch, -1: unknown."""

    group: str
    offsets: Mapping[str, int]
    epoch: int = -1


class Committed(NamedTuple):
    """Asks what a group has committed: by log the offset, None where nothing is. Empty until it has completed."""

    group: str
    offsets: Mapping[str, int | None] = {}


Micro = Send | Poll | Put | Scan | Assign | Subscribe | Ends | Delete | Commit | Committed


@dataclass(slots=True)
class Operation:
    """One operation; open until `completed`.

    `invoked` and `completed` are places in the history's one order of events: if one operation completed at a lower
    place than that at which another was invoked, it was over before. `invoked_s` and `completed_s` are times.
    `rebalanced`: the logs that a group gave to this process or took from it meanwhile. `why`: it failed, or is info.
    """

    number: int
    process: str
    micro: tuple[Micro, ...]
    invoked: int
    invoked_s: float
    outcome: Outcome = Outcome.INFO
    completed: int | None = None
    completed_s: float | None = None
    rebalanced: tuple[str, ...] = ()
    why: str = ""

    def __str__(self) -> str:
        until = "" if self.completed_s is None else f" to {self.completed_s:.3f}"
        because = f" ({self.why})" if self.why else ""
        what = ", ".join(map(micro_text, self.micro))
        return f"#{self.number} {self.process} {what}: {self.outcome.value}{because}, {self.invoked_s:.3f}{until} s"


def value_text(value: str) -> str:
    """Returns a value as a proof shows it, shortened."""
    return repr(value if len(value) <= _SHOWN_VALUE else f"{value[:_SHOWN_VALUE]}…")


def micro_text(micro: Micro) -> str:
    """Returns what a part of an operation did, in words."""
    match micro:
        case Send(log, value, offset):
            return f"sends {value_text(value)} to {log}" + ("" if offset is None else f" at {offset}")
        case Poll(records):
            return "polls " + (", ".join(_records_text(*of_log) for of_log in sorted(records.items())) or "nothing")
        case Put(log, key, token, deletes, offset):
            what = f"deletes {value_text(key)} by" if deletes else f"gives {value_text(key)}"
            return f"{what} {value_text(token)} in {log}" + ("" if offset is None else f" at {offset}")
        case Scan(shown):
            counts = (f"{log} with {len(records)} records" for log, records in sorted(shown.items()))
            return f"scans {', '.join(counts) or 'compacted logs'}"
        case Assign(starts):
            logs = (log if start is None else f"{log} from {start}" for log, start in sorted(starts.items()))
            return f"assigns {', '.join(logs)}"
        case Subscribe(topics, group):
            return f"subscribes to {', '.join(topics)}" + (f" in group {group}" if group else "")
        case Ends(ends):
            return "asks for ends " + ", ".join(f"{log} {end}" for log, end in sorted(ends.items()))
        case Delete(before):
            return "deletes " + ", ".join(f"{log} below {offset}" for log, offset in sorted(before.items()))
        case Commit(group, offsets, epoch):
            listed = ", ".join(f"{log} {offset}" for log, offset in sorted(offsets.items()))
            return f"commits for group {group}" + (f" in epoch {epoch}" if epoch >= 0 else "") + f" {listed}"
        case Committed(group, found):
            listed = ", ".join(f"{log} {'none' if at is None else at}" for log, at in sorted(found.items()))
            return f"asks what group {group} has committed: {listed or 'nothing yet'}"


def _records_text(log: str, records: Sequence[tuple[int, str]]) -> str:
    if len(records) <= _SHOWN_RECORDS:
        return " ".join([log, *(f"{offset}={value_text(value)}" for offset, value in records)])
    (first, first_value), (last, last_value) = records[0], records[-1]
    return f"{log} {first}={value_text(first_value)} … {last}={value_text(last_value)}, {len(records)} records"
