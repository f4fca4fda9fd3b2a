"""Trace: a running hash of everything that happened, in its order; two runs with one hash were the same run."""

from __future__ import annotations

import hashlib
import struct

_TURN = struct.Struct("<dI")


class Trace:
    """What a run leaves behind for its comparison with another."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)

    def turn(self, now: float, loop: int) -> None:
        """Notes that a node's loop ran."""
        self._hash.update(_TURN.pack(now, loop))

    def note(self, what: str, content: bytes = b"") -> None:
        """Notes a message, a disk operation or a fault."""
        self._hash.update(what.encode())
        self._hash.update(content)

    def digest(self) -> str:
        return self._hash.hexdigest()
