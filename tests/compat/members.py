"""Members of a group that read and commit beside the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from tests.compat.client import PATIENCE_S, Told

Note = Callable[[int, bytes], None]
"""Takes the partition and the value of a record that was read."""
Work = Callable[[Note, threading.Event], None]
"""Joins, notes what it reads and commits it, and leaves once the event is set."""


class Reading:
    """A `Member` in a thread of its own. `tell` tells `work` to leave where it cannot look at an event."""

    def __init__(self, work: Work, tell: Callable[[], None] | None = None) -> None:
        self._read: list[tuple[int, bytes]] = []
        self._failure: Exception | None = None
        self._leaving, self._tell = threading.Event(), tell
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def read(self) -> Sequence[tuple[int, bytes]]:
        if self._failure is not None:
            raise self._failure
        if not self._thread.is_alive() and not self._leaving.is_set():
            raise Told("the member has ended by itself")
        return tuple(self._read)

    def leave(self) -> None:
        self._leaving.set()
        if self._tell is not None and self._thread.is_alive():
            self._tell()
        self._thread.join(PATIENCE_S)
        if self._failure is not None:
            raise self._failure
        assert not self._thread.is_alive(), "the member does not leave"

    def _run(self, work: Work) -> None:
        try:
            work(lambda partition, value: self._read.append((partition, value)), self._leaving)
        except Exception as error:  # noqa: BLE001 -- for those who ask what it has read
            self._failure = error
