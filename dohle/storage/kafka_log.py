"""Kafka log: a partition's folder that Apache Kafka wrote and nobody uses, read as batches that keep their offsets.

What comes out covers every offset from 0 to the log's end: batches as Kafka holds them, codec, keys, headers and times,
and batches without records (`model.placed`) where it has none to give: below its start, where its cleaner took some,
and in place of transactions' markers and of what was aborted or never committed. The same folder always gives the same
batches, so that an import may begin again in the middle.

A survey comes first: it reads everything, checks each batch down to its records, and learns which transactions were
committed. Whatever it finds wrong is refused with file and byte. Indexes, snapshots and epochs are not needed.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from dohle.model.batch import HEADER_BYTES, BatchHeader, check_crc, read_header
from dohle.model.errors import CorruptLog, CorruptMessage, UnsupportedCompressionType
from dohle.model.placed import holes, placed, placed_from
from dohle.model.records import decode_records
from dohle.runtime.disk import Disk
from dohle.storage.checkpoints import LogKey
from dohle.storage.segment import LOG_SUFFIX, named_offsets, segment_name

_CHUNK_BYTES = 1 << 20
_MARKER = struct.Struct(">hh")
"""The key of a transaction's marker: version, and 0 where it was aborted, 1 where it was committed."""
_ABORT = 0
_COMMIT = 1


@dataclass(slots=True)
class Survey:
    """What a log holds, and what of it is to be had."""

    start_offset: int
    end_offset: int
    records: int = 0
    size_bytes: int = 0  # of the batches that hold them
    largest_batch_bytes: int = 0
    aborted_records: int = 0
    open_records: int = 0  # of transactions without an end
    beyond_watermark: int = 0  # offsets at the log's end that Kafka never called committed


@dataclass(slots=True)
class _Transaction:
    """One whose marker has not come yet."""

    first_offset: int
    records: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Found:
    """A batch, and where it lies."""

    path: str
    position: int
    header: BatchHeader
    data: bytes


@dataclass(slots=True)
class KafkaLog:
    """One partition's folder. `start_offset` and `high_watermark` are what the checkpoints beside it say, if any do."""

    disk: Disk
    folder: str
    key: LogKey
    start_offset: int | None = None
    high_watermark: int | None = None
    _bases: list[int] = field(default_factory=list)
    _uncommitted: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # producer id -> first and last offset
    _surveyed: Survey | None = None

    async def survey(self) -> Survey:
        """Reads all of it. Raises CorruptLog with file and byte, OSError."""
        self._bases = named_offsets(self.disk.list(self.folder), LOG_SUFFIX)
        if not self._bases:
            raise CorruptLog(f"{self.folder} holds no segment, that is no file like {segment_name(0)}{LOG_SUFFIX}")
        start = max(self._bases[0], self.start_offset or 0)
        survey = Survey(start, start)
        transactions: dict[int, _Transaction] = {}
        expected, limit = self._bases[0], self.high_watermark
        async for found in self._batches(self._bases):
            header = found.header
            self._check(found, expected)
            expected = header.next_offset
            if limit is not None and expected > limit:
                survey.beyond_watermark = expected - max(limit, start)
            elif expected > start:
                survey.end_offset = expected
                self._count(survey, found, transactions)
        for producer_id, transaction in transactions.items():
            survey.open_records += transaction.records
            self._leave_out(producer_id, transaction, survey.end_offset)
        self._surveyed = survey
        return survey

    def _count(self, survey: Survey, found: _Found, transactions: dict[int, _Transaction]) -> None:
        header = found.header
        if header.is_control:
            kind = _marker(found)
            ended = transactions.pop(header.producer_id, None) if kind is not None else None
            if ended is not None and kind == _COMMIT:
                survey.records += ended.records
                survey.size_bytes += ended.size_bytes
            elif ended is not None:
                survey.aborted_records += ended.records
                self._leave_out(header.producer_id, ended, header.base_offset)
            return
        parts = list(_of_source(found, survey.start_offset))
        records = sum(read_header(part).record_count for part in parts)
        size_bytes = sum(map(len, parts))
        survey.largest_batch_bytes = max([survey.largest_batch_bytes, *map(len, parts)])
        if header.is_transactional:
            transaction = transactions.setdefault(header.producer_id, _Transaction(header.base_offset))
            transaction.records += records
            transaction.size_bytes += size_bytes
        else:
            survey.records += records
            survey.size_bytes += size_bytes

    def _leave_out(self, producer_id: int, transaction: _Transaction, end_offset: int) -> None:
        self._uncommitted.setdefault(producer_id, []).append((transaction.first_offset, end_offset))

    async def placed_batches(self, from_offset: int = 0) -> AsyncIterator[bytes]:
        """Yields batches for all offsets from `from_offset` on, which is 0 or the end of one of them.

        If it lies within one, that one is yielded first. A survey has been made.
        """
        survey = self._surveyed
        assert survey is not None, "a survey comes first"
        later = [base for base in self._bases if survey.start_offset < base <= from_offset]
        expected = later[-1] if later else 0
        bases = [base for base in self._bases if base >= expected]
        async for found in self._batches(bases):
            header = found.header
            if header.next_offset > survey.end_offset:
                break
            base_offset = int(found.path.rpartition("/")[2].removesuffix(LOG_SUFFIX))
            if base_offset > max(expected, survey.start_offset):  # each segment begins with a batch: see `later`
                for one in _after(holes(expected, base_offset), from_offset):
                    yield one
                expected = base_offset
            if self._is_left_out(header):
                continue
            for part in _of_source(found, survey.start_offset):
                placed_header = read_header(part)
                for one in _after((*holes(expected, placed_header.base_offset), part), from_offset):
                    yield one
                expected = placed_header.next_offset
        for one in _after(holes(expected, survey.end_offset), from_offset):
            yield one

    def _is_left_out(self, header: BatchHeader) -> bool:
        if not header.is_transactional:
            return header.is_control
        left_out = self._uncommitted.get(header.producer_id, ())
        return header.is_control or any(first <= header.base_offset < end for first, end in left_out)

    async def _batches(self, bases: list[int]) -> AsyncIterator[_Found]:
        """Yields the batches of these segments; what cannot be told apart any more raises CorruptLog."""
        for base in bases:
            path = f"{self.folder}/{segment_name(base)}{LOG_SUFFIX}"
            file = self.disk.open(path)
            try:
                size, position, start, chunk = file.size(), 0, 0, b""
                while position < size:
                    needed = HEADER_BYTES
                    for _ in range(2):  # the header says how much the batch needs
                        if position - start + needed > len(chunk):
                            chunk, start = await file.read_at(position, max(needed, _CHUNK_BYTES)), position
                        try:
                            header = read_header(chunk, position - start)
                        except CorruptMessage as error:
                            raise _refusal(path, position, error.message) from error
                        needed = header.size_bytes
                        if needed > size - position:
                            raise _refusal(
                                path, position, f"the batch needs {needed} bytes, {size - position} are there"
                            )
                    yield _Found(path, position, header, chunk[position - start : position - start + needed])
                    position += needed
            finally:
                file.close()

    def _check(self, found: _Found, expected: int) -> None:
        header, data = found.header, found.data
        if header.base_offset < expected or header.last_offset_delta < 0:
            reason = f"a batch of offset {header.base_offset} where {expected} or more comes next"
            raise _refusal(found.path, found.position, reason)
        if not check_crc(data, 0, header):
            raise _refusal(
                found.path, found.position, f"the CRC-32C of the batch of offset {header.base_offset} does not match"
            )
        border = header.base_offset - 1
        try:
            for record in decode_records(data):
                if not border < record.offset <= header.last_offset:
                    raise CorruptMessage(f"a record of offset {record.offset} behind one of {border}")
                border = record.offset
        except (CorruptMessage, UnsupportedCompressionType) as error:
            raise _refusal(found.path, found.position, error.message) from error


def _of_source(found: _Found, start_offset: int) -> Iterator[bytes]:
    """Yields what a batch with records gives; of the one in which the log begins, what lies above."""
    if found.header.base_offset < start_offset:
        yield from placed_from(found.data, start_offset)
    elif found.header.record_count:
        yield placed(found.data)


def _after(batches: Iterator[bytes] | tuple[bytes, ...], offset: int) -> Iterator[bytes]:
    return (one for one in batches if read_header(one).next_offset > offset)


def _marker(found: _Found) -> int | None:
    """Returns how a transaction ended; None where the batch says nothing about one."""
    keys = [record.key for record in decode_records(found.data)]
    if len(keys) != 1 or keys[0] is None or len(keys[0]) < _MARKER.size:
        return None
    kind = int(_MARKER.unpack_from(keys[0])[1])
    return kind if kind in (_ABORT, _COMMIT) else None


def _refusal(path: str, position: int, reason: str) -> CorruptLog:
    return CorruptLog(f"{path}, byte {position}: {reason}")
