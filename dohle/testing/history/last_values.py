"""Last values: what a compacted log must show of each key, judged by what was written to it.

A read from the beginning to the end finds each key's last acknowledged value, or a later one of which nobody knows
whether it was written. Where the last one is a tombstone it may be gone; what it deleted stays deleted. What is
shown was written, once, and at the offset that its writer was told. Below where a log begins anything may be gone.
A fork shows what was written to its source below the cut, as if nothing had been written to it since.
Knows nothing of the simulator.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dohle.testing.history.operations import Outcome


class Found(NamedTuple):
    """A record that was read."""

    offset: int
    key: bytes
    value: bytes | None
    token: bytes  # the write that it is of, by what came with it


@dataclass(slots=True)
class Write:
    """A record that was sent. `token` is no other's."""

    log: str
    key: bytes
    value: bytes | None
    token: bytes
    outcome: Outcome = Outcome.INFO
    offset: int | None = None  # where it was acknowledged, if that was told


class LastValues:
    """All writes to compacted logs, of which `write` takes note before they are sent."""

    def __init__(self) -> None:
        self._writes: dict[bytes, Write] = {}

    def write(self, write: Write) -> Write:
        assert write.token not in self._writes, f"{write.token!r} is sent twice"
        self._writes[write.token] = write
        return write

    def never_written(self, log: str, read: Sequence[Found]) -> Iterator[str]:
        """Yields what of one read, of any part of the log, shows what is not there by right."""
        before, seen = -1, dict[bytes, int]()
        for found in read:
            if found.offset <= before:
                yield f"{log} shows offset {found.offset} behind {before}"
            before = found.offset
            write = self._writes.get(found.token)
            if write is None or (write.log, write.key, write.value) != (log, found.key, found.value):
                yield f"{log} shows {found}, and what was sent is {write}"
            elif write.outcome is Outcome.FAIL:
                yield f"{log} shows {found}, and its send has failed"
            elif write.offset not in (None, found.offset):
                yield f"{log} shows {found}, which was acknowledged at {write.offset}"
            if seen.setdefault(found.token, found.offset) != found.offset:
                yield f"{log} shows {found} at {seen[found.token]}, too"

    def not_the_last(
        self, log: str, read: Sequence[Found], begins_at: int, *, cut: int = sys.maxsize, may_be_late: bool = False
    ) -> Iterator[str]:
        """Yields of which keys a read from the beginning to the end, after all writes, ends with what it must not.

        What was read may be that of a fork, cut at `cut`. `may_be_late`: the read may have taken longer than tombstones
        stay, so that what one of them deleted was read, and the tombstone was not.
        """
        last = {found.key: found for found in read}
        for key, written in sorted(self._last_acknowledged(log, cut).items()):
            found, at = last.get(key), written.offset
            assert at is not None
            if found is not None and found.offset < at and not (may_be_late and written.value is None):
                yield f"{log} shows {found} as the last of its key, and {written} was acknowledged"
            elif found is None and at >= begins_at and written.value is not None and not self._may_be_deleted(log, key):
                yield f"{log} shows nothing of {key!r}, and {written} was acknowledged"

    def _last_acknowledged(self, log: str, cut: int) -> Mapping[bytes, Write]:
        last: dict[bytes, Write] = {}
        for write in self._writes.values():
            if write.log == log and write.outcome is Outcome.OK and write.offset is not None and write.offset < cut:
                known = last.get(write.key)
                if known is None or write.offset > (known.offset or 0):
                    last[write.key] = write
        return last

    def _may_be_deleted(self, log: str, key: bytes) -> bool:
        """Whether there is a tombstone that may lie anywhere."""
        return any(
            write.log == log and write.key == key and write.value is None and write.offset is None
            for write in self._writes.values()
            if write.outcome is not Outcome.FAIL
        )
