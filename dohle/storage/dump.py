"""Dump: a segment file's batches, one by one, for people to look at. Needs nothing but the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dohle.model.batch import BatchHeader, Bytes, check_crc, read_header
from dohle.model.codecs import Codec
from dohle.model.errors import CorruptMessage, UnsupportedCompressionType


@dataclass(frozen=True, slots=True)
class DumpedBatch:
    """A batch at `position` of its file; `fault` says what is wrong with it, None if nothing is."""

    position: int
    header: BatchHeader | None  # None: there is none to be read
    codec: str
    fault: str | None


def dump_segment(content: Bytes) -> Iterator[DumpedBatch]:
    """Yields every batch of a segment's content; stops behind one whose length cannot be believed."""
    position = 0
    expected = -1
    while position < len(content):
        try:
            header = read_header(content, position)
        except CorruptMessage as error:
            yield DumpedBatch(position, None, "", error.message)
            return
        beyond = position + header.size_bytes
        fault = None
        if beyond > len(content):
            fault = f"it is cut: {header.size_bytes} bytes, and {len(content) - position} are there"
        elif not check_crc(content, position, header):
            fault = "its CRC-32C does not match"
        elif header.base_offset < expected:
            fault = f"its offsets overlap the batch before, which ends below {expected}"
        yield DumpedBatch(position, header, _codec_name(header), fault)
        position, expected = beyond, header.next_offset


def describe(batch: DumpedBatch) -> str:
    """Returns one line about `batch`."""
    header = batch.header
    if header is None:
        return f"position {batch.position}: no batch: {batch.fault}"
    parts = [
        f"position {batch.position}: offsets {header.base_offset}..{header.last_offset}",
        f"{header.record_count} records",
        f"{header.size_bytes} bytes",
        f"leader epoch {header.partition_leader_epoch}",
        f"{'append' if header.is_append_time else 'create'} time {header.base_timestamp}..{header.max_timestamp}",
        f"codec {batch.codec}",
    ]
    if header.producer_id >= 0:
        sequences = f"{header.base_sequence}..{header.last_sequence}"
        parts.append(f"producer {header.producer_id} epoch {header.producer_epoch} sequences {sequences}")
    if header.is_transactional:
        parts.append("transactional")
    if header.is_control:
        parts.append("control")
    if batch.fault is not None:
        parts.append(f"DAMAGED: {batch.fault}")
    return ", ".join(parts)


def _codec_name(header: BatchHeader) -> str:
    try:
        return Codec.numbered(header.codec).name.lower()
    except UnsupportedCompressionType:
        return f"unknown ({header.codec})"
