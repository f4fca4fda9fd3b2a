"""Trace: a running hash of everything that happened, in its order; two runs with one hash were the same run."""

from __future__ import annotations

import hashlib
import struct

_TURN = struct.Struct("<dI")
_GATHER_BYTES = 1 << 16  # hashed at once: a call a turn costs more than the hash


class Trace:
    """What a run leaves behind for its comparison with another."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._gathered = bytearray()

    def turn(self, now: float, loop: int) -> None:
        """Notes that a node's loop ran."""
        self._gathered += _TURN.pack(now, loop)

    def note(self, what: str, content: bytes = b"") -> None:
        """Notes a message, a disk operation or a fault."""
        self._gathered += what.encode()
        self._gathered += content
        if len(self._gathered) > _GATHER_BYTES:
            self._settle()

    def _settle(self) -> None:
        self._hash.update(self._gathered)
        self._gathered.clear()

    def digest(self) -> str:
        self._settle()
        return self._hash.hexdigest()
