"""A log's producer snapshots, held beside its batches as they come by.

A snapshot must be whole, lie at the border of two batches, and say of producers only what the batches below it do. Who
was forgotten by the node may be missing in it. What it says of batches that are deleted cannot be checked.
"""

from __future__ import annotations

from dohle.model.batch import BatchHeader
from dohle.model.errors import CorruptLog
from dohle.runtime.disk import Disk
from dohle.storage.producer_snapshots import SUFFIX
from dohle.storage.producer_states import ProducerStates
from dohle.storage.segment import segment_name
from dohle.storage.verify.report import Report
from dohle.storage.verify.stop import Stop

_REPLACED = "no record is lost; an earlier snapshot and the batches after it replace it, and the node says so"
_UNNOTICED = (
    "no record is lost, but the node cannot tell, and may take a repeated batch for a new one. Stop the node and "
    "delete the file; an earlier one and the batches after it replace it"
)


class SnapshotCheck:
    """The snapshots at `offsets` of one log, whose batches begin at `first_offset`."""

    def __init__(
        self, disk: Disk, folder: str, offsets: list[int], first_offset: int, stop: Stop, report: Report
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._ahead = offsets[::-1]  # the next one last
        self._loaded: list[tuple[int, ProducerStates]] = []  # likewise
        self._first_offset = first_offset
        self._compacted_to = 0
        self._stop = stop
        self._report = report
        self._gathered = ProducerStates()

    async def load(self, below: int | None) -> None:
        """Reads those below this offset, or all: the batches up to there come next."""
        found: list[tuple[int, ProducerStates]] = []
        while self._ahead and (below is None or self._ahead[-1] < below):
            offset = self._ahead.pop()
            states = await self._read(offset)
            if states is not None and offset >= self._first_offset:
                found.append((offset, states))
        self._loaded = [*reversed(found), *self._loaded]

    async def _read(self, offset: int) -> ProducerStates | None:
        path, states = self._path(offset), ProducerStates()
        with self._report.reading(path):
            try:
                states.load(await self._disk.read_all(path), 0.0)
                return states
            except CorruptLog as error:
                if self._is_sure(offset):
                    expected = "a snapshot of version 1 whose CRC-32C matches"
                    self._report.fault(path, 0, error.message, expected=expected, meaning=_REPLACED)
                else:
                    self._report.note(path, "it was not written to its end when the node stopped: a start replaces it")
        return None

    def _path(self, offset: int) -> str:
        return f"{self._folder}/{segment_name(offset)}{SUFFIX}"

    def _is_sure(self, offset: int) -> bool:
        return self._stop.clean or self._stop.recovery_point is None or offset < self._stop.recovery_point

    def note(self, header: BatchHeader) -> None:
        """Takes the next sound batch."""
        while self._loaded and self._loaded[-1][0] <= header.base_offset:
            self._compare(*self._loaded.pop(), header.base_offset)
        if header.is_compacted:  # of a producer's batches up to here only the last one may be left
            self._compacted_to = header.next_offset
        self._gathered.update(header, 0.0)

    def forget(self) -> None:
        """A batch is missing: what the batches say is no longer all."""
        self._loaded.clear()
        self._ahead = []

    def finish(self, end_offset: int) -> None:
        """All batches came by."""
        while self._loaded and self._loaded[-1][0] <= end_offset:
            self._compare(*self._loaded.pop(), end_offset)
        for offset, _ in reversed(self._loaded):
            if self._is_sure(offset):
                self._misplaced(offset, f"the log's end, {end_offset}, or an offset below")
            else:
                self._report.note(self._path(offset), f"it lies above the log's end, {end_offset}: a start deletes it")

    def _compare(self, offset: int, states: ProducerStates, border: int) -> None:
        start = max(self._first_offset, self._compacted_to)
        if offset != border:
            self._misplaced(offset, f"an offset where a batch begins, as {border}")
        elif (found := states.contradiction(self._gathered, start)) is not None:
            expected = f"what the batches below offset {offset} say"
            self._report.fault(self._path(offset), 0, found, expected=expected, meaning=_UNNOTICED)

    def _misplaced(self, offset: int, expected: str) -> None:
        self._report.fault(
            self._path(offset), 0, f"it is named after offset {offset}", expected=expected, meaning=_UNNOTICED
        )
