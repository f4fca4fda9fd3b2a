"""Trace: a running hash of everything that happened, in its order; two runs with one hash were the same run."""

from __future__ import annotations

import hashlib
import struct

TURN = struct.Struct("<dI")
"""What is noted of a turn: when it was, and whose."""
_GATHER_BYTES = 1 << 16  # hashed at once: a call a turn costs more than the hash


class Trace:
    """What a run leaves behind for its comparison with another."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self.gathered = bytearray()  # not hashed yet; the scheduler adds its turns here

    def note(self, what: str, content: bytes = b"") -> None:
        """Notes a message, a disk operation or a fault."""
        self.gathered += what.encode()
        self.gathered += content
        if len(self.gathered) > _GATHER_BYTES:
            self._settle()

    def _settle(self) -> None:
        self._hash.update(self.gathered)
        self.gathered.clear()

    def digest(self) -> str:
        self._settle()
        return self._hash.hexdigest()
