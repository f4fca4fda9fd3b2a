"""A segment's seals, held beside its batches as they come by: whether these are those that were written."""

from __future__ import annotations

from dohle.model.batch import BatchHeader
from dohle.runtime.disk import Disk
from dohle.storage.seals import SEAL_BYTES, SEALS_SUFFIX, Seal, SealCheck, decode_seals
from dohle.storage.segment import Segment
from dohle.storage.verify.report import LOST, Report

_UNKNOWN = "no record is lost; without it a start after a kill reads more, and another partition's segment may pass"


class SegmentSeals:
    """Of one segment. Those above `up_to`, if it is given, may speak of what a crash has taken."""

    def __init__(self, disk: Disk, segment: Segment, report: Report, up_to: int | None) -> None:
        self._disk = disk
        self._segment = segment
        self._report = report
        self._up_to = up_to
        self._path = segment.path + SEALS_SUFFIX
        self._seals: list[Seal] | None = None
        self._check: SealCheck | None = None

    async def load(self) -> None:
        path = self._path
        with self._report.reading(path):
            if not self._disk.exists(path):
                return  # of an older version, or of Kafka's
            data = await self._disk.read_all(path)
            seals = decode_seals(data)
            if self._up_to is not None:
                seals = [seal for seal in seals if seal.end_offset <= self._up_to]
            elif len(seals) * SEAL_BYTES != len(data):
                at = len(seals) * SEAL_BYTES
                found = f"entry {len(seals)} is cut, or its CRC-32C does not match, or it does not ascend"
                self._report.fault(path, at, found, expected=f"entries of {SEAL_BYTES} bytes", meaning=_UNKNOWN)
            self._seals, self._check = seals, SealCheck(seals, path.rpartition("/")[2])

    def note(self, position: int, header: BatchHeader) -> None:
        """Takes the next sound batch of the segment."""
        self._tell(position, None if self._check is None else self._check.fault(header))

    def finish(self) -> None:
        """All batches came by, and each is sound."""
        size = self._segment.size
        self._tell(size, None if self._check is None else self._check.fault_at_end())
        if self._check is not None and self._up_to is None and size:
            last = self._seals[-1].size if self._seals else 0
            if last < size:
                found = f"it tells of the first {last} bytes"
                self._report.fault(self._path, 0, found, expected=f"all {size} of the segment", meaning=_UNKNOWN)

    def _tell(self, position: int, fault: str | None) -> None:
        if fault is not None:
            expected = f"the batches that {self._path} tells of"
            self._report.fault(self._segment.log_path, position, fault, expected=expected, meaning=LOST)
            self._check = None
