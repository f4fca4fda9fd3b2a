"""History: what clients did and saw, and what a log must never show; anomalies by name, with what proves them.

Knows nothing of the simulator: a history of real clients is judged alike. Values are unique, and a key has one writer,
whose sends are numbered in their order. An outcome that is not known (a time-out) permits both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


class Place(NamedTuple):
    """Where a record is."""

    partition: int
    offset: int  # -1: acknowledged without one


@dataclass(slots=True)
class Send:
    """One record that was sent. Without an outcome it may have been written."""

    key: bytes
    value: bytes
    number: int  # in its key's order
    acknowledged: Place | None = None
    refused: str | None = None  # why it certainly was not written


class Anomaly(NamedTuple):
    """What should never be."""

    name: str
    proof: str

    def __str__(self) -> str:
        return f"{self.name}: {self.proof}"


@dataclass(slots=True)
class History:
    """Filled while clients run; `final` by a reader that read every partition from its start to its end."""

    sends: dict[bytes, Send] = field(default_factory=dict)  # by value
    seen: dict[Place, bytes] = field(default_factory=dict)
    final: dict[Place, bytes] = field(default_factory=dict)
    anomalies: list[Anomaly] = field(default_factory=list)

    def sent(self, key: bytes, value: bytes, number: int) -> Send:
        assert value not in self.sends, "values are unique"
        send = self.sends[value] = Send(key, value, number)
        return send

    def polled(self, place: Place, value: bytes, expected_offset: int) -> None:
        """A reader got `value`, and `expected_offset` was the one after its last."""
        if place.offset != expected_offset:
            name = "internal skip" if place.offset > expected_offset else "non-monotonic poll"
            self.anomalies.append(Anomaly(name, f"{place} was read where {expected_offset} was due"))
        if self.seen.setdefault(place, value) != value:
            self.anomalies.append(
                Anomaly("inconsistent offsets", f"{place} was read as {self.seen[place]!r} and as {value!r}")
            )

    @property
    def acknowledged(self) -> int:
        return sum(send.acknowledged is not None for send in self.sends.values())


def check(history: History) -> list[Anomaly]:
    """Returns every anomaly of a history whose final read is complete."""
    return [
        *history.anomalies,
        *_inconsistent(history),
        *_unwritten(history),
        *_lost(history),
        *_out_of_order(history),
    ]


def _inconsistent(history: History) -> Iterator[Anomaly]:
    for place, value in history.seen.items():
        if history.final.get(place) != value:
            now = history.final.get(place)
            yield Anomaly("inconsistent offsets", f"{place} was read as {value!r} and is {now!r} at the end")


def _unwritten(history: History) -> Iterator[Anomaly]:
    """Duplicates, records that were certainly not written, and records that nobody sent."""
    places: dict[bytes, Place] = {}
    for place, value in history.final.items():
        if value in places:
            yield Anomaly("duplicate", f"{value!r} is at {places[value]} and at {place}")
        places[value] = place
        send = history.sends.get(value)
        if send is None:
            yield Anomaly("unknown record", f"{value!r} at {place} was never sent")
        elif send.refused is not None:
            yield Anomaly("aborted read", f"{value!r} is at {place}, though refused: {send.refused}")


def _lost(history: History) -> Iterator[Anomaly]:
    places = {value: place for place, value in history.final.items()}
    for value, send in history.sends.items():
        if send.acknowledged is None:
            continue
        found = places.get(value)
        if found is None:
            yield Anomaly("lost write", f"{value!r} was acknowledged at {send.acknowledged} and is nowhere")
        elif send.acknowledged.offset >= 0 and found != send.acknowledged:
            yield Anomaly("inconsistent offsets", f"{value!r} was acknowledged at {send.acknowledged}, is at {found}")


def _out_of_order(history: History) -> Iterator[Anomaly]:
    last: dict[bytes, Send] = {}
    for place, value in sorted(history.final.items()):
        send = history.sends.get(value)
        if send is None:
            continue
        before = last.get(send.key)
        if before is not None and before.number >= send.number:
            yield Anomaly("non-monotonic send", f"{value!r} at {place} follows {before.value!r}, which was sent later")
        last[send.key] = send
