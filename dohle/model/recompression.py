"""A batch in another codec: what a leader stores where a topic's `compression.type` is not its producer's.

The records and everything that the header says of them stay; only the codec, the length and the CRC-32C change.
"""

from __future__ import annotations

from crc32c import crc32c

from dohle.model.batch import CODEC_BITS, CRC_END, HEADER, HEADER_BYTES, LENGTH_END, Bytes, read_header
from dohle.model.codecs import Codec, compress, decompress
from dohle.model.topic_config import TopicConfig


def wanted_codec(config: TopicConfig) -> Codec | None:
    """Returns the codec that the topic stores batches in; None where it keeps the producer's."""
    match config.compression_type:
        case "producer":
            return None
        case "uncompressed":
            return Codec.NONE
        case name:
            return Codec.named(name)


def recompressed(batch: Bytes, codec: Codec) -> bytearray:
    """Returns the sound batch `batch` in `codec`. Raises CorruptMessage if its records cannot be decompressed."""
    header = read_header(batch)
    records = decompress(Codec.numbered(header.codec), memoryview(batch)[HEADER_BYTES : header.size_bytes])
    payload = compress(codec, records)
    changed = header._replace(
        attributes=header.attributes & ~CODEC_BITS | codec,
        batch_length=HEADER_BYTES - LENGTH_END + len(payload),
    )
    packed = HEADER.pack(*changed)
    crc = crc32c(payload, crc32c(packed[CRC_END:]))
    return bytearray(HEADER.pack(*changed._replace(crc=crc))) + payload
