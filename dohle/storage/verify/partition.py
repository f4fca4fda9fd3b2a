"""One log's folder: its segments, and whether indexes, epochs, producer snapshots and checkpoints agree with them.

What a node that was killed, or still runs, has not written yet is no fault: indexes from the segment of the recovery
point on, and epochs and snapshots above it, which the next start makes anew. Memory is bounded by a chunk of a segment,
one segment's indexes and the log's producers.
"""

from __future__ import annotations

from dohle.model.batch import BatchHeader
from dohle.model.errors import CorruptLog
from dohle.runtime.disk import Disk
from dohle.storage.checkpoints import HIGH_WATERMARKS, LOG_STARTS, RECOVERY_POINTS, LogKey, Offsets
from dohle.storage.compaction.swap_files import SWAP_SUFFIX, Swapped, swapped_in
from dohle.storage.epoch_cache import FILE_NAME as EPOCHS_FILE
from dohle.storage.epoch_cache import EpochCache
from dohle.storage.producer_snapshots import SUFFIX as SNAPSHOT_SUFFIX
from dohle.storage.recovery import dead_of, unsure_of
from dohle.storage.segment import LOG_SUFFIX, Segment, named_offsets, segment_name
from dohle.storage.verify.batches import BatchWalk, Look
from dohle.storage.verify.indexes import IndexCheck
from dohle.storage.verify.producers import SnapshotCheck
from dohle.storage.verify.report import LOST, Report
from dohle.storage.verify.seals import SegmentSeals
from dohle.storage.verify.stop import Stop, line_position

_REGATHERED = "no record is lost; the next start gathers the epochs from all batches, and says so"
_WRONG_EPOCHS = (
    "no record is lost, but the node cannot tell, and finds by it where two replicas part. If other replicas agree "
    "with the batches, stop the node and delete this file: it is gathered from them again; else set the replica aside"
)
_CHECKED_ANEW = "nothing is lost by it: the next start reads and checks this log from there on, and says so"


async def verify_log(disk: Disk, folder: str, key: LogKey, stop: Stop, *, look: Look | None = None) -> Report:
    """Checks the segments of one log and what belongs to them. `look` looks into each batch besides.

    Raises OSError if the folder cannot be listed.
    """
    check = _LogCheck(disk, folder, key, stop, look)
    await check.find_segments()
    await check.walk_segments()
    await check.compare_epochs()
    await check.compare_checkpoints()
    return check.report


class _LogCheck:
    """One verification. The steps are to be called in their order."""

    def __init__(self, disk: Disk, folder: str, key: LogKey, stop: Stop, look: Look | None) -> None:
        self.report = Report(folder)
        self._disk = disk
        self._folder = folder
        self._key = key
        self._stop = stop
        self._names = disk.list(folder)
        self._segments = [
            Segment(disk, folder, base_offset, index_interval_bytes=0)
            for base_offset in named_offsets(self._names, LOG_SUFFIX)
        ]
        self._swapped: list[Segment] = []
        self._walk = BatchWalk(self.report, recovery_point=stop.recovery_point, clean=stop.clean, look=look)
        self._is_whole = True  # every batch so far is sound, and none is missing
        self._epochs = EpochCache()  # as the batches have them
        self._epoch_starts: dict[int, str] = {}  # where those begin, in words
        self._first_offset = 0

    async def find_segments(self) -> None:
        """Takes those for the log that a start would."""
        for start, end, is_taken in await self._swapped_in():
            segment = Segment(self._disk, self._folder, start, index_interval_bytes=0, ending=SWAP_SUFFIX)
            if not is_taken:
                what = "an unfinished compaction, and damaged: a start deletes it and keeps what it was to replace"
                self.report.note(segment.log_path, what)
                continue
            self.report.note(segment.log_path, "a compaction that is not finished: a start takes it for the segment")
            others = [one for one in self._segments if not start <= one.base_offset < end]
            self._segments = sorted([segment, *others], key=lambda one: one.base_offset)
            self._swapped.append(segment)
        self._leave_out_dead()
        self._first_offset = self._segments[0].base_offset if self._segments else 0

    async def _swapped_in(self) -> list[Swapped]:
        names = [name for name in self._names if name.endswith(LOG_SUFFIX + SWAP_SUFFIX)]
        others = [name for name in self._names if name not in names]
        found: list[Swapped] = []
        for name in names:
            with self.report.reading(f"{self._folder}/{name}"):
                found += await swapped_in(self._disk, self._folder, [*others, name])
        return found

    def _leave_out_dead(self) -> None:
        """What lies below the log's start by whole segments is about to be deleted; some of it may be gone."""
        stop = self._stop
        dead = dead_of(self._segments, Offsets(stop.recovery_point or 0, 0, stop.log_start_offset or 0))
        for segment in dead:
            what = f"it lies below offset {stop.log_start_offset}, where the log begins: it is to be deleted"
            self.report.note(segment.log_path, what)
        del self._segments[: len(dead)]

    # Segments, and what is compared with them batch by batch

    async def walk_segments(self) -> None:
        readable = self._open_segments()
        sealed = self._sealed_and_durable()
        offsets = named_offsets(self._names, SNAPSHOT_SUFFIX)
        snapshots = SnapshotCheck(self._disk, self._folder, offsets, self._first_offset, self._stop, self.report)
        for number, segment in enumerate(self._segments):
            if self._walk.is_over:
                self.report.note(segment.log_path, "it lies behind the unfinished tail, and is not checked")
                continue
            self._check_join(self._segments[number - 1] if number else None, segment)
            if self._walk.is_over:
                continue
            if segment not in readable:
                self._walk.end_offset, self._is_whole = None, False
                continue
            following = self._segments[number + 1] if number + 1 < len(self._segments) else None
            await snapshots.load(None if following is None else following.base_offset)
            index = None
            if segment.size and segment in sealed and segment not in self._swapped:
                index = IndexCheck(self._disk, segment, self.report)
            seals = None
            if segment not in self._swapped:
                seals = SegmentSeals(self._disk, segment, self.report, self._seals_up_to(segment in sealed))
            await self._walk_segment(segment, index, seals, snapshots)
            if not self._is_whole:
                snapshots.forget()
        if self._is_whole and self._walk.end_offset is not None:
            snapshots.finish(self._walk.end_offset)

    def _open_segments(self) -> list[Segment]:
        """Returns those that can be read; their sizes are known now."""
        readable: list[Segment] = []
        for segment in self._segments:
            with self.report.reading(segment.log_path):
                segment.size = segment.file().size()
                segment.close()
                self.report.size_bytes += segment.size
                readable.append(segment)
        self.report.segments = len(readable)
        return readable

    def _sealed_and_durable(self) -> list[Segment]:
        """Returns the segments whose indexes are complete in their files."""
        if self._stop.clean:
            return self._segments
        if self._stop.recovery_point is None:
            return self._segments[:-1]
        unsure = unsure_of(self._segments, self._stop.recovery_point)
        return self._segments[: len(self._segments) - len(unsure)]

    def _seals_up_to(self, is_sealed: bool) -> int | None:
        """Returns up to where seals are believed that may be those of a segment which a crash has cut."""
        return None if is_sealed else self._stop.recovery_point or 0

    def _check_join(self, before: Segment | None, segment: Segment) -> None:
        """A segment begins where the one before it ends."""
        end, recovery_point = self._walk.end_offset, self._stop.recovery_point
        if before is not None and end is not None and end != segment.base_offset:
            if not self._stop.clean and recovery_point is not None and end >= recovery_point:
                what = f"it begins behind a gap at offset {end}: a crash broke a truncation off, and a start deletes it"
                self.report.note(segment.log_path, what)
                self._walk.is_over = True
                return
            self.report.fault(
                before.log_path,
                before.size,
                f"its batches end at offset {end}, and the next segment is {segment.log_path}",
                expected=f"batches up to offset {segment.base_offset}, here or in {segment_name(end)}{LOG_SUFFIX}",
                meaning=LOST,
            )
            self._is_whole = False
        self._walk.end_offset = segment.base_offset

    async def _walk_segment(
        self, segment: Segment, index: IndexCheck | None, seals: SegmentSeals | None, snapshots: SnapshotCheck
    ) -> None:
        """Notes what is sound of it, up to the first fault."""
        if index is not None:
            await index.load()
        if seals is not None:
            await seals.load()
        is_whole = self._is_whole
        next_offset = segment.base_offset

        def take(position: int, header: BatchHeader) -> None:
            nonlocal next_offset, is_whole
            if header.partition_leader_epoch != self._epochs.latest:
                self._epochs.note(header.partition_leader_epoch, header.base_offset)
                self._epoch_starts[header.base_offset] = f"the batch at byte {position} of {segment.log_path}"
            is_whole = is_whole and header.base_offset == next_offset
            next_offset = header.next_offset
            if index is not None:
                index.note(position, header)
            if seals is not None:
                seals.note(position, header)
            if is_whole:
                snapshots.note(header)

        reached = False
        with self.report.reading(segment.log_path):
            try:
                reached = await self._walk.read(segment, take)
            finally:
                segment.close()
        self._is_whole = is_whole and (reached or self._walk.is_over) and self._walk.end_offset == next_offset
        if reached and self._is_whole:
            if index is not None:
                index.finish()
            if seals is not None:
                seals.finish()

    # Epochs

    async def compare_epochs(self) -> None:
        path = f"{self._folder}/{EPOCHS_FILE}"
        if EPOCHS_FILE not in self._names:
            if self._stop.recovery_point and any(segment.size for segment in self._segments):
                expected = "the leader epochs of the batches"
                self.report.fault(path, 0, "it is missing", expected=expected, meaning=_REGATHERED)
            return
        with self.report.reading(path):
            data = await self._disk.read_all(path)
            try:
                noted = EpochCache.decode(data.decode("ascii", "replace"))
            except CorruptLog as error:
                expected = "version 0, the number of epochs, and a line `epoch start-offset` for each, ascending"
                self.report.fault(path, 0, error.message, expected=expected, meaning=_REGATHERED)
                return
            self._compare_epochs(path, data, noted)

    def _compare_epochs(self, path: str, data: bytes, noted: EpochCache) -> None:
        """Below the recovery point, which is written after them, both must say the same; after a clean stop all."""
        end = self._walk.end_offset
        if not self._is_whole or end is None:
            return
        limit = end if self._stop.clean else min(end, self._sure_epochs_end(noted))
        start = max(self._first_offset, self._stop.log_start_offset or 0)
        if noted.entries and noted.entries[0].start_offset > start:
            if self._stop.clean:
                found = f"it begins at offset {noted.entries[0].start_offset}"
                expected = f"an epoch that begins at offset {start}, where the log does, or below"
                self.report.fault(path, 0, found, expected=expected, meaning=_REGATHERED)
            return  # a start gathers them anew: a crash may have come between them and the log's new start
        for epochs in (noted, self._epochs):
            epochs.begin_at(start)
        here = [entry for entry in noted.entries if entry.start_offset < limit]
        there = [entry for entry in self._epochs.entries if entry.start_offset < limit]
        for entry in sorted({*here, *there}):
            if entry not in there:
                at = data.find(f"\n{entry.epoch} {entry.start_offset}\n".encode()) + 1
                found = f"epoch {entry.epoch} begins at offset {entry.start_offset}"
                expected = f"epoch {self._epochs.epoch_at(entry.start_offset)} there, as the batches say"
                self.report.fault(path, at, found, expected=expected, meaning=_WRONG_EPOCHS)
            elif entry not in here:
                found = f"epoch {entry.epoch} is not there"
                where = self._epoch_starts.get(entry.start_offset, "the batch there")
                expected = (
                    f"that it begins at offset {entry.start_offset}, as {where} says, or another epoch in that one"
                )
                self.report.fault(path, 0, found, expected=expected, meaning=_WRONG_EPOCHS)
        if self._stop.clean and noted.entries and noted.entries[-1].start_offset > end:
            found = f"epoch {noted.latest} begins at offset {noted.entries[-1].start_offset}"
            self.report.fault(path, 0, found, expected=f"the log's end, {end}, or below", meaning=_WRONG_EPOCHS)

    def _sure_epochs_end(self, noted: EpochCache) -> int:
        """Returns the offset below which the file had all epochs when it was written."""
        if self._stop.recovery_point is not None:
            return self._stop.recovery_point
        return noted.entries[-1].start_offset if noted.entries else 0

    # Checkpoints

    async def compare_checkpoints(self) -> None:
        end, stop = self._walk.end_offset, self._stop
        name = f"{self._key[0]}-{self._key[1]}"
        if not self._segments:
            if stop.clean or stop.recovery_point:
                found = f"{name} has no segment"
                expected = f"offsets up to {stop.recovery_point}" if stop.recovery_point else "a segment"
                self.report.fault(self._folder, 0, found, expected=expected, meaning=LOST)
            return
        if self._is_whole and end is not None:
            await self._compare_end(name, end)
        start = stop.log_start_offset
        if start is not None and end is not None and self._first_offset < start <= end:
            what = f"{name} begins at offset {start}; those from {self._first_offset} on are there, and are not served"
            self.report.note(f"{stop.folder}/{LOG_STARTS}", what)
        if start is not None and start < self._first_offset:
            if stop.clean or (stop.recovery_point or 0) > start:
                self.report.fault(
                    self._segments[0].log_path,
                    0,
                    f"it is the first segment, and {LOG_STARTS} says that the log begins at offset {start}",
                    expected=f"{segment_name(start)}{LOG_SUFFIX}, or one before it",
                    meaning=f"offsets {start} to {self._first_offset - 1} are missing here, and the node takes the log "
                    "to begin behind them: if other replicas have them, rename the folder so that it ends in -stray "
                    "while the node is stopped",
                )
            else:
                self.report.note(self._folder, f"it was beginning anew at offset {self._first_offset}")

    async def _compare_end(self, name: str, end: int) -> None:
        stop, last = self._stop, self._segments[-1]
        if stop.recovery_point is not None and stop.recovery_point > end:
            self.report.fault(
                last.log_path,
                last.size,
                f"the log ends at offset {end}",
                expected=f"all offsets below {stop.recovery_point}, here or in {segment_name(end)}{LOG_SUFFIX}: they "
                f"were on the device, says {RECOVERY_POINTS}",
                meaning=LOST,
            )
        elif stop.clean and stop.recovery_point is not None and stop.recovery_point < end:
            await self._contradicts(RECOVERY_POINTS, f"{name} was stopped at offset {stop.recovery_point}", end)
        if not stop.clean:
            return
        if stop.high_watermark is not None and stop.high_watermark > end:
            await self._contradicts(HIGH_WATERMARKS, f"{name} has its watermark at {stop.high_watermark}", end)
        if stop.log_start_offset is not None and stop.log_start_offset > end:
            await self._contradicts(LOG_STARTS, f"{name} begins at offset {stop.log_start_offset}", end)

    async def _contradicts(self, file: str, found: str, end: int) -> None:
        path = f"{self._stop.folder}/{file}"
        position = await line_position(self._disk, path, self._key)
        self.report.fault(path, position, found, expected=f"{end}, where the log ends", meaning=_CHECKED_ANEW)
