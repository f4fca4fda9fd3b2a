"""Batches of the metadata log: one change of the metadata is one batch, and one Raft entry.

A batch is encoded with its offset and its term (the leader epoch) in it, since only the active controller makes any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from dohle.model.batch import Bytes, split_batches
from dohle.model.ids import ClusterId
from dohle.model.metadata import OLDEST_METADATA_VERSION, FeatureLevel, MetadataRecord, Voters
from dohle.model.metadata_forms import decode_record, encode_record
from dohle.model.records import Record, decode_records, encode_batch

_SMALL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class MetadataBatch:
    """One change: its first record lies at `base_offset`, the next ones follow without a gap."""

    base_offset: int
    end_offset: int  # exclusive
    term: int
    records: tuple[MetadataRecord, ...]


def encode_metadata(
    records: Sequence[MetadataRecord], *, metadata_version: int, base_offset: int, term: int, timestamp_ms: int
) -> bytes:
    """Returns `records` as one batch, in the forms of the version that is finalised before it."""
    return encode_batch(
        [Record(None, encode_record(record, metadata_version), timestamp_ms=timestamp_ms) for record in records],
        base_offset=base_offset,
        leader_epoch=term,
    )


def decode_metadata(batches: Bytes) -> Iterator[MetadataBatch]:
    """Yields the changes in these whole batches.

    Raises CorruptMessage, CorruptLog or UnsupportedVersion where a batch or a record cannot be read.
    """
    for position, header in split_batches(batches):
        batch = bytes(batches[position : position + header.size_bytes])
        read = _read if header.size_bytes <= _SMALL_BYTES else _read.__wrapped__
        yield MetadataBatch(header.base_offset, header.next_offset, header.partition_leader_epoch, read(batch))


@lru_cache(maxsize=64)
def _read(batch: bytes) -> tuple[MetadataRecord, ...]:
    """Small ones are remembered: a node that is controller and broker reads each change as the one and as the other."""
    return tuple(decode_record(record.value or b"") for record in decode_records(batch))


_Said = TypeVar("_Said", Voters, FeatureLevel)


def _mark(record: MetadataRecord) -> re.Pattern[bytes]:
    """How a record of this kind begins in all versions, behind its absent key and its length; other bytes may look like
    it, so it only says where to look."""
    return re.compile(
        rb"\x01[\x80-\xff]{0,4}[\x00-\x7f]" + re.escape(encode_record(record, OLDEST_METADATA_VERSION)[:3])
    )


_MARKS: dict[type[Voters | FeatureLevel], re.Pattern[bytes]] = {
    Voters: _mark(Voters(ClusterId(""), ())),
    FeatureLevel: _mark(FeatureLevel("", 0)),
}


def voters_in(batches: bytes) -> Iterator[tuple[int, Voters]]:
    """Yields what these whole batches say of who votes, each with the end of its batch; cheap where they say nothing.

    Raises as `decode_metadata`.
    """
    return _said_in(batches, Voters)


def levels_in(batches: bytes) -> Iterator[tuple[int, FeatureLevel]]:
    """Yields the levels that these whole batches finalise, as `voters_in`."""
    return _said_in(batches, FeatureLevel)


def _said_in(batches: bytes, kind: type[_Said]) -> Iterator[tuple[int, _Said]]:
    mark = _MARKS[kind]
    if mark.search(batches) is None:
        return
    for position, header in split_batches(batches):
        if mark.search(batches, position, position + header.size_bytes) is not None:
            for record in decode_records(batches, position):
                if isinstance(said := decode_record(record.value or b""), kind):
                    yield header.next_offset, said
