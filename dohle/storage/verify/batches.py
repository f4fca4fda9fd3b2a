"""Every batch of a log, read in bounded memory and judged as a recovery judges it, and its records besides.

A batch is right if its header is one, its CRC-32C matches, its offset follows the batch before, its leader epoch does
not fall, and its records can be decoded and are those that the header says. Behind a bad batch whose length can be
believed the walk goes on. A torn tail, by the recovery's own rule, is no fault: a node writes it, or a crash left it.
"""

from __future__ import annotations

from collections.abc import Callable

from crc32c import crc32c

from dohle.model.batch import CRC_END, HEADER_BYTES, BatchHeader, Bytes, read_header
from dohle.model.errors import CorruptLog, CorruptMessage, UnsupportedCompressionType, UnsupportedVersion
from dohle.model.records import decode_records
from dohle.runtime.disk import File
from dohle.storage.recovery import batch_fault, is_explained_by_a_crash, least_bytes
from dohle.storage.segment import Segment
from dohle.storage.verify.report import LOST, Report

_CHUNK_BYTES = 4 << 20
_MOST_BYTES = 64 << 20
"""A batch that says to be larger is held in memory only once its CRC has been found to match."""

_SENT_SO = "its CRC-32C matches, so that it was sent as it is, and no disk damaged it; consumers fail at it: skip it"

Take = Callable[[int, BatchHeader], None]
Look = Callable[[Bytes, int], None]
"""Looks into the batch at a position of a buffer; raises CorruptMessage, CorruptLog or UnsupportedVersion."""


class BatchWalk:
    """Goes through one log's segments, one after the other. `recovery_point` is None where nobody knows it."""

    def __init__(self, report: Report, *, recovery_point: int | None, clean: bool, look: Look | None = None) -> None:
        self.end_offset: int | None = None  # of the batches so far; None: not known
        self.is_over = False  # a torn tail was met
        self._report = report
        self._torn_from = None if clean else recovery_point
        self._drops_cache = clean  # nobody has use for it
        self._look = look
        self._epoch = -1
        self._epoch_from = ""  # the batch that begins it

    async def read(self, segment: Segment, take: Take) -> bool:
        """Calls `take` with position and header of each sound batch. Returns whether all of the file was walked."""
        window = _Window(segment.file(), segment.size)
        if self._drops_cache:
            await segment.file().drop_cache()
        position = 0
        while position < segment.size:
            fault, chunk, at = await self._judge(window, position)
            if fault is not None:
                left = segment.size - position
                if self._is_torn_tail(chunk[at:], position, left):
                    self._note_tail(segment, position, left)
                    return False
                size = least_bytes(chunk, at) if _has_header(chunk, at) else left
                is_end = size >= left
                rest = f"; the {left} bytes from there on cannot be checked" if is_end and size != left else ""
                self._report_batch(segment, position, fault + rest)
                self.end_offset = None
                if is_end:
                    return False
                position += size
                continue
            header = read_header(chunk, at)
            self._look_into(segment, position, chunk, at, header)
            take(position, header)
            if header.partition_leader_epoch != self._epoch:
                self._epoch, self._epoch_from = header.partition_leader_epoch, f"byte {position} of {segment.log_path}"
            self.end_offset = header.next_offset
            self._report.batches += 1
            self._report.records += header.record_count
            position += header.size_bytes
        return True

    async def _judge(self, window: _Window, position: int) -> tuple[str | None, bytes, int]:
        """Returns what is wrong with the batch at `position`, and where it lies in which bytes."""
        chunk, at = await window.get(position, HEADER_BYTES)
        size, left = least_bytes(chunk, at), window.size - position
        if HEADER_BYTES < size > left:
            chunk, at = await window.get(position, min(left, _MOST_BYTES))
            return f"the batch needs {size} bytes, and the file has {left}", chunk, at
        if size > _MOST_BYTES and await window.crc(position, size) != read_header(chunk, at).crc:
            return f"the CRC-32C of a batch of {size} bytes does not match", chunk, at
        chunk, at = await window.get(position, size)
        expected = self.end_offset
        if expected is None:
            expected = read_header(chunk, at).base_offset if _has_header(chunk, at) else 0
        return batch_fault(chunk, at, expected, self._epoch), chunk, at

    def _is_torn_tail(self, rest: bytes, position: int, left: int) -> bool:
        if self._torn_from is None or self.end_offset is None or self.end_offset < self._torn_from:
            return False
        return is_explained_by_a_crash(rest, position, left)

    def _note_tail(self, segment: Segment, position: int, left: int) -> None:
        self.is_over = True
        self._report.note(
            segment.log_path,
            f"from byte {position} on, {left} bytes are no whole batch yet: the node is writing it, or was killed in "
            "the middle. That is no damage: a start cuts it, and it has not been acknowledged after an fsync",
        )

    def _report_batch(self, segment: Segment, position: int, fault: str) -> None:
        offset = "" if self.end_offset is None else f" of offset {self.end_offset}"
        epoch = "" if self._epoch < 0 else f", leader epoch {self._epoch} (which begins at {self._epoch_from}) or later"
        self._report.fault(
            segment.log_path,
            position,
            fault,
            expected=f"a whole batch{offset}{epoch}, with the right CRC-32C",
            meaning=LOST,
        )

    def _look_into(self, segment: Segment, position: int, chunk: bytes, at: int, header: BatchHeader) -> None:
        try:
            found = _fault_of_records(chunk, at, header)
            if found is None and self._look is not None:
                self._look(chunk, at)
        except (CorruptMessage, CorruptLog, UnsupportedCompressionType, UnsupportedVersion) as error:
            found = error.message
        if found is not None:
            expected = f"{header.record_count} records as the header of the batch of offset {header.base_offset} says"
            self._report.fault(segment.log_path, position, found, expected=expected, meaning=_SENT_SO)


class _Window:
    """A stretch of a file in memory, which follows what is asked for."""

    def __init__(self, file: File, size: int) -> None:
        self.size = size
        self._file = file
        self._chunk = b""
        self._start = 0

    async def get(self, position: int, needed: int) -> tuple[bytes, int]:
        """Returns bytes, and where in them the file's `needed` ones from `position` on are, fewer where it ends."""
        at = position - self._start
        if at + needed > len(self._chunk) and self._start + len(self._chunk) < self.size:
            wanted = min(max(_CHUNK_BYTES, needed), self.size - position)
            self._chunk, self._start, at = await self._file.read_at(position, wanted), position, 0
        return self._chunk, at

    async def crc(self, position: int, size: int) -> int:
        """Returns the CRC-32C of what it covers of the batch at `position`."""
        end, value = position + size, 0
        position += CRC_END
        while position < end:
            data = await self._file.read_at(position, min(_CHUNK_BYTES, end - position))
            if not data:
                break
            value = crc32c(data, value)
            position += len(data)
        return value


def _has_header(chunk: bytes, at: int) -> bool:
    try:
        read_header(chunk, at)
    except CorruptMessage:
        return False
    return True


def _fault_of_records(chunk: bytes, at: int, header: BatchHeader) -> str | None:
    """Raises CorruptMessage or UnsupportedCompressionType where they cannot be decoded."""
    records = list(decode_records(chunk, at))
    border = header.base_offset - 1
    for offset in (*(record.offset for record in records), header.next_offset):  # a batch may lack some, and all
        if offset <= border:
            return f"its records are not those of offsets {header.base_offset} to {header.last_offset}"
        border = offset
    newest = max([record.timestamp_ms for record in records], default=header.max_timestamp)
    if newest != header.max_timestamp:
        return f"its newest record is of {newest}, and the header says {header.max_timestamp}"
    return None
