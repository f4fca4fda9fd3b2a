"""Header blocks (RFC 7541), by the library `hpack`.

What is sent refers to nothing that was sent before, so one encoding serves every connection. A block that was decoded
while nothing was indexed, and indexed nothing itself, means the same whenever nothing is: it is not decoded again.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from hpack import Decoder, Encoder, HPACKError, NeverIndexedHeaderTuple, OversizedHeaderListError

from dohle.rpc.http2.frames import Code, ConnectionFault

Headers = tuple[tuple[bytes, bytes], ...]

LARGEST_LIST_BYTES: Final = 16 << 10
"""Of names and values, and 32 bytes for each pair: gRPC's own bound on metadata, twice."""
_KEPT_BLOCKS: Final = 64
_KEPT_BYTES: Final = 512
_TABLE_SIZE_UPDATE: Final = 0x20


@lru_cache(maxsize=1024)
def encode(headers: Headers) -> bytes:
    """Returns a block that any connection can send."""
    block: bytes = Encoder().encode([NeverIndexedHeaderTuple(name, value) for name, value in headers])
    return block


class HeaderDecoder:
    """One connection's."""

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=LARGEST_LIST_BYTES)
        self._kept: dict[bytes, Headers] = {}

    def decode(self, block: bytes) -> Headers:
        """Raises ConnectionFault: what cannot be decoded leaves nothing that later blocks could refer to."""
        indexed = self._decoder.header_table.dynamic_entries
        if not indexed and (kept := self._kept.get(block)) is not None:
            return kept
        was_empty = not indexed
        try:
            found = tuple((bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True))
        except OversizedHeaderListError:
            raise ConnectionFault(
                Code.ENHANCE_YOUR_CALM, f"headers of more than {LARGEST_LIST_BYTES} bytes are not taken"
            ) from None
        except (HPACKError, IndexError) as error:
            raise ConnectionFault(Code.COMPRESSION_ERROR, f"a header block that cannot be decoded: {error}") from None
        is_whole = was_empty and not self._decoder.header_table.dynamic_entries
        if is_whole and len(block) <= _KEPT_BYTES and block and block[0] & 0xE0 != _TABLE_SIZE_UPDATE:
            if len(self._kept) >= _KEPT_BLOCKS:
                self._kept.clear()
            self._kept[block] = found
        return found
