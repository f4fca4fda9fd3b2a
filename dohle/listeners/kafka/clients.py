"""What a node keeps of Kafka's clients beyond their connections: their fetch sessions, and which software they are."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple

from dohle.listeners.kafka.fetch_sessions import FetchSessions

MOST_SOFTWARE: Final = 100
_MOST_CHARACTERS: Final = 50


class Software(NamedTuple):
    """A client's library, as it says itself."""

    name: str
    version: str


class SoftwareCounts:
    """How often each software has asked which versions are served, which clients do once a connection.

    Only so many are told apart: for one more the least frequent of them goes, and its count to `others`. So names that
    somebody makes up come and go, while those that are in use stay.
    """

    def __init__(self) -> None:
        self.others = 0
        self._counts: dict[Software, int] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def count(self, name: str, version: str) -> None:
        software = Software(name[:_MOST_CHARACTERS], version[:_MOST_CHARACTERS])
        if software not in self._counts and len(self._counts) >= MOST_SOFTWARE:
            rarest = min(self._counts, key=self._counts.__getitem__)
            self.others += self._counts.pop(rarest)
        self._counts[software] = self._counts.get(software, 0) + 1

    def in_order(self) -> list[tuple[Software, int]]:
        """Returns each software with its count, by name and version."""
        return sorted(self._counts.items())


class Clients:
    """What one node keeps; `now` is the monotonic time in seconds."""

    def __init__(self, session_slots: int, now: Callable[[], float], random: Random) -> None:
        self.software = SoftwareCounts()
        self.sessions = FetchSessions(session_slots, now, random)
