"""Key map: at which offset each key was written last, in bounded memory.

Keys of 32 bytes and more stand there by a digest of 16 bytes (BLAKE2b: nobody finds two keys of one digest), and so do
those of 16 bytes, since one might be another one's digest. Shorter ones stand as they are, and take little more room.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from hashlib import blake2b

ENTRY_BYTES = 200
"""What an entry takes: its place in a dict while that grows, at most 31 bytes as an object, the number."""

_DIGEST_BYTES = 16
_LONG_BYTES = 32


def key_digest(key: bytes) -> bytes:
    """Returns what stands for `key` here."""
    size = len(key)
    return key if size < _LONG_BYTES and size != _DIGEST_BYTES else blake2b(key, digest_size=_DIGEST_BYTES).digest()


class KeyMap:
    """Takes as many keys as fit into `memory_bytes`, and those of one batch in any case."""

    __slots__ = ("_last", "_most", "get")

    def __init__(self, memory_bytes: int) -> None:
        self._last: dict[bytes, int] = {}
        self._most = memory_bytes // ENTRY_BYTES
        self.get = self._last.get
        """Returns the last offset of the key of a digest, if it is known."""

    def __len__(self) -> int:
        return len(self._last)

    def has_room(self, digests: Collection[bytes]) -> bool:
        """Whether those that are not known yet still fit."""
        if not self._last or len(self._last) + len(digests) <= self._most:
            return True
        new = {digest for digest in digests if digest not in self._last}
        return len(self._last) + len(new) <= self._most

    def put(self, offsets: Mapping[bytes, int]) -> None:
        """Notes offsets, none of which is taken for a key's last where a later one is known."""
        last = self._last
        for digest, offset in offsets.items():
            if last.get(digest, -1) < offset:
                last[digest] = offset
