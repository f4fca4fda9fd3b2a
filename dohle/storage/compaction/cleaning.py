"""Cleaning: the work of one compaction, without a disk: chunks of segments come in, and what stays of them goes out.

First the part that was not compacted yet is read for its keys (`learn`), until the key map is full; then everything
from the log's first segment on is rewritten (`clean`). Of each key that is known the last record stays. A tombstone
stays until its delete horizon: the first time that it is cleaned the horizon is written into its batch, as KIP-534 has
it (attribute bit 6, the base timestamp). What lies behind the part that was read for keys stays as it is, and so do
records that cannot be decoded, for nobody knows their keys. Records without a key go.

A batch that stays whole is copied; one that loses records keeps base offset, last offset and sequence; the last one of
each producer that is still known keeps its header. Every batch is checked before anything becomes of it, by its CRC
and its neighbours, so that damage is found and never sealed by a new CRC.

All of it runs in a process of its own, chunk by chunk: see `dohle.runtime.workers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from crc32c import crc32c

from dohle.model.batch import (
    CODEC_BITS,
    CONTROL_BIT,
    CRC_END,
    DELETE_HORIZON_BIT,
    HEADER,
    HEADER_BYTES,
    LENGTH_END,
    MAGIC,
    TRANSACTIONAL_BIT,
    BatchHeader,
    read_header,
)
from dohle.model.codecs import Codec, compress, decompress
from dohle.model.errors import CorruptMessage, UnsupportedCompressionType
from dohle.model.record_keys import KeyedRecord, keyed_records, moved_in_time
from dohle.storage.compaction.batches import Gone, emptied, gone, with_payload
from dohle.storage.compaction.key_map import KeyMap, key_digest
from dohle.storage.compaction.sealed_indexes import IndexBuilder, SealedIndexes
from dohle.storage.compaction.transactions import Transactions
from dohle.storage.recovery import batch_fault, least_bytes
from dohle.storage.seals import HEAD_BYTES

ANY_BATCH = -1
"""In place of an offset: which of a producer's batches here is the last is not known, so that each stays."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What one compaction goes by."""

    now_ms: int
    delete_retention_ms: int
    memory_bytes: int  # for the key map
    tombstones_go: bool  # those whose horizon has passed: no replica can still have what they delete
    producers: Mapping[int, int]  # the last offset of each one's last batch, or ANY_BATCH


@dataclass(frozen=True, slots=True)
class Step:
    """What became of a chunk."""

    consumed: int  # so many of its bytes, in whole batches
    needed: int = 0  # bytes of the next batch, as far as is known
    fault: str | None = None  # what is wrong with the next batch
    next_offset: int = 0  # that of the next batch
    learnt_end: int = 0  # below it all keys are known, and no transaction is open
    is_full: bool = False  # the next batch's keys have no room
    output: bytes = b""
    changes: int = 0  # batches that are not what they were
    dropped: int = 0  # records


@dataclass(slots=True)
class _Place:
    """Where a walk has come: what the next batch must follow."""

    offset: int
    epoch: int = -1


class Cleaning:
    """One log's. First `learn` from `begin_learning` on, then for each new segment `begin`, `clean` and `finish`."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._keys = KeyMap(terms.memory_bytes)
        self._transactions = Transactions()
        self._learning = _Place(0)
        self._learn_from = 0
        self._cleaning = _Place(-1)
        self._indexes = IndexBuilder(0, 0)
        self._position = 0
        self._changes = 0
        self._gone: Gone | None = None
        self._output: list[bytes] = []

    # Keys

    def begin_learning(self, offset: int, segment_base: int) -> None:
        """The keys from `offset` on count; it lies in the segment from `segment_base` on."""
        self._learn_from, self._learning = offset, _Place(segment_base)

    def learn(self, chunk: bytes) -> Step:
        place, consumed = self._learning, 0
        for at, end, header in _batches(chunk, place):
            if header.base_offset >= self._learn_from and not self._learn(chunk, at, end, header):
                return Step(consumed, 0, None, place.offset, self._learnt_end, is_full=True)
            consumed = end
        needed, fault = _lacks(chunk, consumed, place)
        return Step(consumed, needed, fault, place.offset, self._learnt_end)

    def _learn(self, chunk: bytes, at: int, end: int, header: BatchHeader) -> bool:
        """False, and nothing is learnt, where there is no room."""
        found = _records(chunk, at, end, header)
        if found is None or not found[1]:
            return True
        records, base, attributes = found[1], header.base_offset, header.attributes
        if attributes & CONTROL_BIT:
            self._keys.put(self._transactions.end(header, records[0]))
            return True
        offsets = {key_digest(key): base + delta for delta, key, _, _, _, _ in records if key is not None}
        if not self._keys.has_room(offsets):
            return False
        if attributes & TRANSACTIONAL_BIT:
            self._transactions.write(header, offsets)
        else:
            self._keys.put(offsets)
        return True

    @property
    def _learnt_end(self) -> int:
        return self._transactions.first_open(self._learning.offset)

    # What stays

    def begin(self, base_offset: int, index_interval_bytes: int) -> None:
        """A new segment begins."""
        self._cleaning = _Place(base_offset, self._cleaning.epoch)
        self._indexes, self._position = IndexBuilder(base_offset, index_interval_bytes), 0

    def clean(self, chunk: bytes) -> Step:
        place, learnt_end = self._cleaning, self._learnt_end
        consumed, dropped, self._changes = 0, 0, 0
        for at, end, header in _batches(chunk, place):
            if header.base_offset >= learnt_end:
                self._keep(header, chunk[at:end])
            else:
                dropped += self._clean(chunk, at, end, header)
            consumed = end
        needed, fault = _lacks(chunk, consumed, place)
        output = b"".join(self._output)
        self._output.clear()
        changes = self._changes + dropped
        return Step(consumed, needed, fault, place.offset, learnt_end, False, output, changes, dropped)

    def finish(self) -> tuple[bytes, SealedIndexes]:
        """The segment ends. Returns what is still to be appended to it, and its indexes."""
        self._fill()
        output = b"".join(self._output)
        self._output.clear()
        return output, self._indexes.seal()

    def _clean(self, chunk: bytes, at: int, end: int, header: BatchHeader) -> int:
        """Returns how many records go."""
        attributes = header.attributes
        if attributes & CONTROL_BIT:
            return self._clean_marker(header, chunk[at:end])
        if attributes & TRANSACTIONAL_BIT:
            self._transactions.pass_data(header)
        found = _records(chunk, at, end, header)
        if found is None:
            self._keep(header, chunk[at:end])
            return 0
        plain, records = found
        if attributes & TRANSACTIONAL_BIT and self._transactions.is_aborted(header):
            kept, has_tombstone = list[KeyedRecord](), False
        else:
            kept, has_tombstone = self._last_ones(header, records)
        if not kept:
            self._drop(header, chunk, at, end)
        elif has_tombstone and not attributes & DELETE_HORIZON_BIT:
            self._write(*self._with_horizon(header, plain, kept))
        elif len(kept) < len(records):
            payload = b"".join([plain[record.start : record.end] for record in kept])
            self._write(_with_records(header, header.base_timestamp, kept), payload)
        else:
            self._keep(header, chunk[at:end])
        return len(records) - len(kept)

    def _last_ones(self, header: BatchHeader, records: list[KeyedRecord]) -> tuple[list[KeyedRecord], bool]:
        """Returns the records that stay, and whether one is a tombstone."""
        last, base, horizon = self._keys.get, header.base_offset, header.attributes & DELETE_HORIZON_BIT
        tombstones_go = horizon and self._has_passed(header)
        kept, has_tombstone = list[KeyedRecord](), False
        for record in records:
            delta, key, is_tombstone, _, _, _ = record
            if key is None or base + delta < last(key_digest(key), -1) or (is_tombstone and tombstones_go):
                continue
            has_tombstone = has_tombstone or is_tombstone
            kept.append(record)
        return kept, has_tombstone

    def _clean_marker(self, header: BatchHeader, batch: bytes) -> int:
        is_empty = self._transactions.is_empty_at(header)
        found = _records(batch, 0, len(batch), header)
        if not is_empty or found is None or not found[1]:
            self._keep(header, batch)
        elif not header.attributes & DELETE_HORIZON_BIT:
            self._write(*self._with_horizon(header, *found))
        elif not self._has_passed(header):
            self._keep(header, batch)
        else:
            self._drop(header, batch, 0, len(batch))
            return header.record_count
        return 0

    def _has_passed(self, header: BatchHeader) -> bool:
        """Whether the delete horizon, which the batch bears, has passed, for all replicas."""
        return self._terms.tombstones_go and header.base_timestamp <= self._terms.now_ms

    def _with_horizon(self, header: BatchHeader, plain: bytes, kept: list[KeyedRecord]) -> tuple[BatchHeader, bytes]:
        horizon = self._terms.now_ms + self._terms.delete_retention_ms
        later_ms = horizon - header.base_timestamp
        payload = b"".join([moved_in_time(plain, record, later_ms) for record in kept])
        changed = _with_records(header, header.base_timestamp, kept)
        return changed._replace(attributes=header.attributes | DELETE_HORIZON_BIT, base_timestamp=horizon), payload

    # What is written

    def _write(self, header: BatchHeader, payload: bytes) -> None:
        self._changes += 1
        codec = Codec.numbered(header.codec)
        batch = with_payload(header, compress(codec, payload) if codec != Codec.NONE else payload)
        self._keep(read_header(batch), batch)

    def _drop(self, header: BatchHeader, chunk: bytes, at: int, end: int) -> None:
        """The records go, and the batch, unless it tells its producer's last sequence."""
        last = self._terms.producers.get(header.producer_id) if header.producer_id >= 0 else None
        if last is not None and last in (ANY_BATCH, header.last_offset):
            batch = chunk[at:end] if not header.record_count else emptied(header)
            self._keep(read_header(batch), batch)
        elif self._gone is not None and self._gone.takes(header):
            self._changes += 1
        else:
            self._fill()
            self._gone = gone(header)

    def _keep(self, header: BatchHeader, batch: bytes) -> None:
        if self._gone is not None:
            self._fill()
        self._add(header.base_offset + header.last_offset_delta, header.max_timestamp, batch)

    def _fill(self) -> None:
        if self._gone is not None:
            one, self._gone = self._gone, None
            self._add(one.next_offset - 1, one.max_timestamp, one.encode())

    def _add(self, last_offset: int, max_timestamp: int, batch: bytes) -> None:
        size = len(batch)
        self._indexes.note(batch[:HEAD_BYTES], last_offset, max_timestamp, self._position, size)
        self._position += size
        self._output.append(batch)


def _batches(chunk: bytes, place: _Place) -> Iterator[tuple[int, int, BatchHeader]]:
    """Yields position, end and header of each whole and sound batch that follows `place`, which then moves there.

    A chunk may have a thousand batches: what `read_header` and `check_crc` do is done in place.
    """
    at, size, view, unpack, new = 0, len(chunk), memoryview(chunk), HEADER.unpack_from, tuple.__new__
    offset, least_epoch = place.offset, place.epoch
    while at + HEADER_BYTES <= size:
        fields = unpack(chunk, at)
        end, epoch, last_delta = at + fields[1] + LENGTH_END, fields[2], fields[6]
        if fields[0] != offset or epoch < least_epoch or fields[3] != MAGIC or last_delta < 0:
            return
        if not at + HEADER_BYTES <= end <= size or crc32c(view[at + CRC_END : end]) != fields[4]:
            return
        yield at, end, new(BatchHeader, fields)
        place.offset, place.epoch = offset, least_epoch = offset + last_delta + 1, epoch
        at = end


def _lacks(chunk: bytes, at: int, place: _Place) -> tuple[int, str | None]:
    """Returns how many bytes the batch at `at` needs, of which some are missing, or 0 and what is wrong with it."""
    if at == len(chunk):
        return 0, None
    needed = least_bytes(chunk, at)
    if at + needed > len(chunk):
        return needed, None
    return 0, batch_fault(chunk, at, place.offset, place.epoch)


def _records(chunk: bytes, at: int, end: int, header: BatchHeader) -> tuple[bytes, list[KeyedRecord]] | None:
    """Returns the records, and what they lie in: the chunk itself, unless they are compressed.

    None where they cannot be decoded, or are of a codec that is not known: they were sent so.
    """
    try:
        if not header.attributes & CODEC_BITS:
            return chunk, keyed_records(chunk, header.record_count, at + HEADER_BYTES, end)
        plain = decompress(Codec.numbered(header.codec), memoryview(chunk)[at + HEADER_BYTES : end])
        return plain, keyed_records(plain, header.record_count, 0, len(plain))
    except (CorruptMessage, UnsupportedCompressionType):
        return None


def _with_records(header: BatchHeader, base_timestamp: int, kept: list[KeyedRecord]) -> BatchHeader:
    newest = header.max_timestamp
    if not header.is_append_time:
        newest = base_timestamp + max(record.timestamp_delta for record in kept)
    return header._replace(record_count=len(kept), max_timestamp=newest)
