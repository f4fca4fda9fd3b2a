"""Key map: at which offset each key was written last, in bounded memory.

Keys of 16 bytes and more stand there by a digest of 16 bytes (BLAKE2b: nobody finds two keys of one digest), shorter
ones as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b

ENTRY_BYTES = 200
"""What an entry takes: its place in a dict, the bytes of the digest, the number."""

_DIGEST_BYTES = 16


def key_digest(key: bytes) -> bytes:
    return key if len(key) < _DIGEST_BYTES else blake2b(key, digest_size=_DIGEST_BYTES).digest()


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

    def has_room(self, digests: Iterable[bytes]) -> bool:
        """Whether those that are not known yet still fit."""
        if not self._last:
            return True
        new = {digest for digest in digests if digest not in self._last}
        return len(self._last) + len(new) <= self._most

    def put(self, offsets: Mapping[bytes, int]) -> None:
        """Notes offsets, none of which is taken for a key's last where a later one is known."""
        last = self._last
        for digest, offset in offsets.items():
            if last.get(digest, -1) < offset:
                last[digest] = offset
