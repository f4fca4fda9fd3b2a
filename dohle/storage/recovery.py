"""Recovery: from a partition's folder to a log whose every byte is known to be durable and whole.

After a clean stop the recovery point is the log's end; indexes and producer state are in their files, and opening takes
a few small reads for the last segment, whatever the log's size. What does not fit together is treated as unclean.

After an unclean stop a log to which nothing came since the last clean one is opened as after that: it ends at its
recovery point, where a producer snapshot says that it had stopped. All others are read from the device, batch by batch,
from the last seal at or below the recovery point on: what lies before it is as it was after the last sync, indexes
included. Without a seal it is from the beginning of that segment on. A bad batch above the recovery point that a crash
explains is a torn tail: it is cut, with all behind it, and reported. Any other is damage: nothing is cut, the log ends
before it, and is neither served nor appended to. Below the recovery point everything was durable, so that what is bad
or missing there is always damage. Indexes, epochs and producer state are brought up to date, and what was kept is
synced before anybody learns where the log ends. Seals above the recovery point may speak of what a crash has taken:
they are gone, durably, before anything is appended.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from dohle.model.batch import HEADER_BYTES, NO_TIMESTAMP, BatchHeader, check_crc, is_torn, read_header
from dohle.model.errors import CorruptLog, CorruptMessage
from dohle.model.topic_config import DEFAULTS
from dohle.runtime.disk import Disk, File
from dohle.storage.checkpoints import Offsets
from dohle.storage.compaction.swap_files import CLEANED_SUFFIX, SWAP_SUFFIX, finish_swaps
from dohle.storage.damage_note import DAMAGE_FILE, read_damage, write_damage
from dohle.storage.epoch_cache import FILE_NAME as EPOCHS_FILE
from dohle.storage.epoch_cache import EpochCache
from dohle.storage.opened import UNSYNCED_FILE, Damage, Opened, Recovery
from dohle.storage.producer_snapshots import SUFFIX as SNAPSHOT_SUFFIX
from dohle.storage.producer_snapshots import ProducerSnapshots
from dohle.storage.producer_states import ProducerStates
from dohle.storage.seals import SEALS_SUFFIX, Seal, SealCheck, Seals, cut_seals, read_seals
from dohle.storage.segment import (
    INDEX_SUFFIX,
    INDEX_SUFFIXES,
    LOG_SUFFIX,
    REBUILT_SUFFIX,
    RETIRED_SUFFIX,
    TIME_INDEX_SUFFIX,
    DamagedFile,
    Segment,
    named_offsets,
    segment_name,
)
from dohle.storage.segment_index import OffsetIndex, TimeIndex
from dohle.storage.segments import Segments
from dohle.storage.shared_files import COPY_SUFFIX, own

_CHUNK_BYTES = 4 << 20
_REBUILT = (INDEX_SUFFIX + REBUILT_SUFFIX, TIME_INDEX_SUFFIX + REBUILT_SUFFIX)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Findings:
    """What the walk over the unsure part of a log came to."""

    end_offset: int
    cut_bytes: int = 0
    damage: Damage | None = None
    epochs_are_wrong: bool = False  # those that were read; nothing was cut


class LogFiles:
    """One partition's folder, as it is found. `written` is what the checkpoints say."""

    def __init__(self, disk: Disk, folder: str, written: Offsets) -> None:
        self._disk = disk
        self._folder = folder
        self._written = written
        self._names: list[str] = []
        self._segments: list[Segment] = []
        self._dead: list[Segment] = []  # a crash came before they were retired: nothing needs them
        self._seals: dict[Segment, tuple[Sequence[Seal], int]] = {}  # and how many of them the file has
        self._find_segments()

    def _find_segments(self) -> None:
        self._names = self._disk.list(self._folder)
        for base_offset in named_offsets(self._names, LOG_SUFFIX):
            segment = self._segment(base_offset)
            segment.size = self._disk.size(segment.log_path)
            self._segments.append(segment)
        self._dead = dead_of(self._segments, self._written)
        del self._segments[: len(self._dead)]

    def _segment(self, base_offset: int) -> Segment:
        return Segment(self._disk, self._folder, base_offset, index_interval_bytes=DEFAULTS.index_interval_bytes)

    def unsure_files(self) -> list[File]:
        """Returns the files that hold what is not known to be durable: to be synced, with the folder, before `open`."""
        return [segment.file() for segment in self._unsure() if segment.size]

    def _unsure(self) -> list[Segment]:
        return unsure_of(self._segments, self._written.recovery_point)

    async def open(self, *, clean: bool, now: float, begins_at: int | None = None) -> Opened:
        """Returns the log. `clean`: the last stop was. Raises OSError.

        Unless it was, `unsure_files` and the folder have been synced. `begins_at` is where it certainly began.
        """
        if any(name.endswith(LOG_SUFFIX + SWAP_SUFFIX) for name in self._names):
            await self._finish_swaps()
        if not self._segments:  # the crash of a replica that was starting over; it may have all but what was let go
            self._segments.append(self._segment(self._written.log_start_offset))
            await self._disk.sync([self._segments[0].create()], [self._folder])
        self._delete_dead()
        written = self._written
        for segment in self._segments[:-1]:
            self._use_stored_indexes(segment)
        snapshots = ProducerSnapshots(self._disk, self._folder, named_offsets(self._names, SNAPSHOT_SUFFIX))
        marked = UNSYNCED_FILE in self._names
        begin = max(self._segments[0].base_offset, written.log_start_offset)
        await self._read_seals()
        epochs = await self._read_epochs(begin)
        as_left = clean or segment_name(written.recovery_point) + SNAPSHOT_SUFFIX in self._names
        if as_left and epochs is not None and await self._ends_at(written.recovery_point, epochs, begin, clean):
            found = _Findings(written.recovery_point)
            recovered = Recovery(clean=clean, proven=clean or not marked)
            if not clean:
                epochs.truncate_to(written.recovery_point)
        else:
            found, epochs = await self._recover(written.recovery_point, epochs, begin)
            cut_offset = found.end_offset if found.cut_bytes else -1
            recovered = Recovery(False, not marked, found.cut_bytes, cut_offset)
            if snapshots.latest > found.end_offset:
                snapshots.truncate_to(found.end_offset)
                await self._disk.sync([], [self._folder])  # or one is there again when another history has that offset
        growing = self._segments[-1]
        await own(self._disk, growing.log_path, growing.size, growing.close)
        segments = Segments(self._segments)
        start = max(self._segments[0].base_offset, min(written.log_start_offset, found.end_offset))
        producers = ProducerStates()
        damage = found.damage
        if damage is None and DAMAGE_FILE in self._names:
            damage = await read_damage(self._disk, self._folder)
        if damage is None and begins_at is not None and begins_at < min(start, written.recovery_point):
            damage = await self._lacks_its_beginning(begins_at)
        if found.damage is None:
            await snapshots.restore(producers, segments, found.end_offset, now)
        for segment in self._segments:
            segment.close()
        return Opened(
            segments=segments,
            snapshots=snapshots,
            epochs=epochs,
            producers=producers,
            log_start_offset=start,
            log_end_offset=found.end_offset,
            high_watermark=max(start, min(written.high_watermark, found.end_offset)),
            cleaned_to=min(written.cleaned_to, written.recovery_point),
            unsynced_marked=marked,
            recovered=recovered,
            damage=damage,
        )

    async def _finish_swaps(self) -> None:
        """A crash came in the middle of one: what was compacted is there, and whole."""
        for segment in (*self._segments, *self._dead):
            segment.close()
        await finish_swaps(self._disk, self._folder, self._names)
        self._segments.clear()
        self._find_segments()

    def _delete_dead(self) -> None:
        """Deletes what was retired, or was about to be, and compactions and indexes that came to nothing."""
        for segment in self._dead:
            segment.delete()
        for name in self._names:
            if name.endswith((RETIRED_SUFFIX, CLEANED_SUFFIX, COPY_SUFFIX, *_REBUILT)):
                self._disk.delete(f"{self._folder}/{name}")

    async def _lacks_its_beginning(self, begins_at: int) -> Damage:
        """The first segments are gone. Later starts would take the log to begin behind them, so that it is noted."""
        first = self._segments[0]
        reason = f"it is the first segment, and the log began at offset {begins_at}"
        damage = Damage(first.log_path, 0, reason, (begins_at, first.base_offset))
        await write_damage(self._disk, self._folder, damage)
        return damage

    async def _read_seals(self) -> None:
        """Reads those that can be believed of the segments that may grow, and takes away the others, durably."""
        changed: list[File] = []
        for segment in self._unsure():
            path = segment.path + SEALS_SUFFIX
            if path.rpartition("/")[2] in self._names:
                there = await read_seals(self._disk, path)
                kept = [seal for seal in there if seal.end_offset <= self._written.recovery_point]
                stored, files = cut_seals(self._disk, path, len(kept))
                self._seals[segment] = kept, stored
                changed += files
        if changed:
            await self._disk.sync(changed, [self._folder])
            for file in changed:
                file.close()

    async def _read_epochs(self, log_start_offset: int) -> EpochCache | None:
        """Returns None where they must be gathered from the batches."""
        if EPOCHS_FILE not in self._names:
            if not any(segment.size for segment in self._segments):
                return EpochCache()
            log.warning("%s/%s is missing; the epochs are gathered from the batches", self._folder, EPOCHS_FILE)
            return None
        path = f"{self._folder}/{EPOCHS_FILE}"
        try:
            epochs = EpochCache.decode((await self._disk.read_all(path)).decode("ascii", "replace"))
        except CorruptLog as error:
            log.warning("%s: %s; the epochs are gathered from the batches", path, error)
            return None
        if epochs.entries and epochs.entries[0].start_offset > log_start_offset:
            return None  # a crash came between them and the log's new start, which is written after them
        return epochs

    def _use_stored_indexes(self, segment: Segment) -> None:
        """Takes the index files as they are; they are checked when they are first used."""
        stored = []
        for suffix, entry_bytes in (
            (INDEX_SUFFIX, OffsetIndex.ENTRY_BYTES),
            (TIME_INDEX_SUFFIX, TimeIndex.ENTRY_BYTES),
        ):
            path = segment.path + suffix
            size = min(segment.size, 1)  # a missing file fails the check as a damaged one does
            if path.rpartition("/")[2] in self._names:
                size = self._disk.size(path)
            stored.append(-(-size // entry_bytes))  # a size that is no multiple fails the check
        if segment_name(segment.base_offset) + SEALS_SUFFIX in self._names:
            self._disk.size(segment.path + SEALS_SUFFIX)  # one that may not be read is to be known of at the start
        segment.has_stored(*stored)
        segment.close()

    def _has_epoch_of(self, header: BatchHeader, epochs: EpochCache, begin: int) -> bool:
        """Whether `epochs`, which have no checksum and go back to `begin`, say the same as a batch that they cover."""
        noted = epochs.epoch_at(header.base_offset)
        if header.base_offset < begin or noted == header.partition_leader_epoch:
            return True
        log.warning(
            "%s/%s says that offset %d is of epoch %d, and the batch there is of %d: the epochs are gathered from the "
            "batches",
            *(self._folder, EPOCHS_FILE, header.base_offset, noted, header.partition_leader_epoch),
        )
        return False

    async def _ends_at(self, end_offset: int, epochs: EpochCache, begin: int, clean: bool) -> bool:
        """Whether the last segment's files and `epochs` fit together and say that the log ends at `end_offset`.

        After a clean stop it is worth a warning if they do not.
        """
        level = logging.WARNING if clean else logging.DEBUG
        if epochs.entries and epochs.entries[-1].start_offset > end_offset:
            log.log(level, "%s/%s goes beyond offset %d, where the log ends", self._folder, EPOCHS_FILE, end_offset)
            return False
        segment = self._segments[-1]
        if not segment.size:
            return segment.base_offset == end_offset
        kept, stored = self._seals.get(segment, ((), 0))
        if segment in self._seals and (not kept or kept[-1].size != segment.size):
            log.log(level, "%s%s lacks its end: the segment is read from where it ends", segment.path, SEALS_SUFFIX)
            return False
        self._use_stored_indexes(segment)
        if not await self._is_as_left(segment, segment.size, end_offset, kept, epochs, begin, level):
            return False
        segment.goes_on_with(Seals.going_on(kept, stored, is_known=len(kept) > 0))
        return True

    async def _is_as_left(
        self,
        segment: Segment,
        size: int,
        end_offset: int,
        kept: Sequence[Seal],
        epochs: EpochCache,
        begin: int,
        level: int,
    ) -> bool:
        """Whether the first batch, the end of the indexes, and what follows up to `size` agree that it ends there."""
        reached, newest, is_right = segment.base_offset, NO_TIMESTAMP, True

        def note(_: int, header: BatchHeader) -> bool:
            nonlocal reached, newest, is_right
            reached, newest = header.next_offset, max(newest, header.max_timestamp)
            is_right = self._has_epoch_of(header, epochs, begin)
            return not is_right or reached > end_offset

        try:
            if kept:
                first = await segment.holds(kept[-1])
            else:
                first = segment.header_in(await segment.file().read_at(0, HEADER_BYTES), 0, 0)
            await segment.walk(await segment.resume(size), size, note)
        except CorruptLog as error:
            log.log(level, "%s: %s", self._folder, error)
            return False
        segment.first_timestamp = first.max_timestamp
        if not is_right or not self._has_epoch_of(first, epochs, begin):
            return False
        if segment.newest is None or newest > segment.newest[0] or (kept and segment.newest != kept[-1].newest):
            log.log(level, "%s%s lacks its end: the segment is read", segment.path, TIME_INDEX_SUFFIX)
            return False
        if reached != end_offset:
            log.log(level, "%s goes up to offset %d, but %d was noted", self._folder, reached, end_offset)
        return reached == end_offset

    async def _recover(
        self, recovery_point: int, epochs: EpochCache | None, begin: int
    ) -> tuple[_Findings, EpochCache]:
        if epochs is None:
            epochs = EpochCache()
            unsure = list(self._segments)
            gather_from = 0
        else:
            epochs.truncate_to(recovery_point)
            unsure = self._unsure()
            gather_from = recovery_point
        found = _Findings(unsure[0].base_offset)
        for segment in unsure:
            if segment.base_offset != found.end_offset:
                self._judge_gap(segment, found, recovery_point)
            if found.cut_bytes or found.damage is not None:
                break
            await self._check_segment(segment, found, recovery_point, epochs, gather_from, begin)
            if found.epochs_are_wrong:
                return await self._recover_by_batches(recovery_point, epochs, begin)
        last = next(segment for segment in reversed(self._segments) if segment.base_offset <= found.end_offset)
        if found.end_offset < recovery_point and found.damage is None:
            reason = f"it ends at offset {found.end_offset}, but everything below {recovery_point} was durable"
            found.damage = Damage(last.log_path, last.size, reason)
        if found.damage is not None:
            log.error("%s; the replica is neither served nor led from", found.damage)
            return found, epochs
        while self._segments[-1] is not last:
            found.cut_bytes += self._segments[-1].size
            self._segments.pop().delete()
        kept = [segment for segment in unsure if segment in self._segments]
        changed = [file for segment in kept[:-1] for file in segment.store_indexes()]
        without = any(segment.indexes_changed for segment in kept[:-1])
        if found.cut_bytes:
            log.warning("%s: a torn tail of %d bytes was cut at %d", last.log_path, found.cut_bytes, found.end_offset)
            changed.append(self._disk.open(last.log_path))
        if changed or without:
            await self._disk.sync(changed, [self._folder])
        for file in changed:
            file.close()
        return found, epochs

    async def _recover_by_batches(
        self, recovery_point: int, noted: EpochCache, begin: int
    ) -> tuple[_Findings, EpochCache]:
        """Gathers the epochs, which are not what was `noted`.

        Unless that makes the last one below the recovery point a newer one: then the number in the batch may be the
        wrong one, for no CRC covers it either, and a replica that claims a newer epoch than it has would be led from.
        """
        found, epochs = await self._recover(recovery_point, None, begin)
        there, said = epochs.epoch_at(recovery_point - 1), noted.epoch_at(recovery_point - 1)
        if found.damage is None and there > said:
            reason = f"its batches are of epochs up to {there}, but {EPOCHS_FILE} says up to {said}, and one is wrong"
            found.damage = Damage(self._segments[-1].log_path, 0, reason)
            log.error("%s; the replica is neither served nor led from", found.damage)
        return found, epochs if found.damage is None else noted

    def _judge_gap(self, segment: Segment, found: _Findings, recovery_point: int) -> None:
        """Something between two segments is missing: a truncation or a roll that a crash broke off, or damage."""
        if found.end_offset >= recovery_point:
            found.cut_bytes = max(segment.size, 1)
        else:
            reason = f"it begins at offset {segment.base_offset}, but the batches before it end at {found.end_offset}"
            found.damage = Damage(segment.log_path, 0, reason)

    async def _check_segment(
        self, segment: Segment, found: _Findings, recovery_point: int, epochs: EpochCache, gather_from: int, begin: int
    ) -> None:
        """Reads the segment from the device, and indexes its good batches; cuts it at a torn one.

        What lies before a seal that counts is not read, if the epochs of its batches are known.
        """
        segment.begin_indexes()
        if not segment.size:
            return
        file = segment.file()
        await file.drop_cache()
        kept, _ = self._seals.get(segment, ((), 0))
        position, epoch = 0, -1
        check = SealCheck(kept, segment_name(segment.base_offset) + SEALS_SUFFIX)
        if kept and kept[-1].end_offset <= gather_from:
            try:
                await segment.holds(kept[-1])
            except DamagedFile as error:
                found.damage = Damage(error.file, error.position, error.reason)
                return
            if await self._goes_on_from_seal(segment, epochs, begin):
                position, found.end_offset = kept[-1].size, kept[-1].end_offset
                epoch, check = epochs.epoch_at(found.end_offset - 1), SealCheck((), "")
        chunk, chunk_start = b"", position
        while position < segment.size:
            offset = position - chunk_start
            needed = least_bytes(chunk, offset)
            if offset + needed > len(chunk) and chunk_start + len(chunk) < segment.size:
                wanted = min(max(_CHUNK_BYTES, needed), segment.size - position)
                chunk, chunk_start = await file.read_at(position, wanted), position
                continue
            fault = batch_fault(chunk, offset, found.end_offset, epoch)
            if fault is not None:
                await self._judge_batch(segment, position, chunk[offset:], fault, found, recovery_point)
                return
            header = read_header(chunk, offset)
            fault = check.fault(header)
            if fault is not None:
                found.damage = Damage(segment.log_path, position, fault)
                return
            segment.note(header, position)
            epoch = header.partition_leader_epoch
            if header.base_offset >= gather_from:
                epochs.note(epoch, header.base_offset)
            elif not self._has_epoch_of(header, epochs, begin):
                found.epochs_are_wrong = True
                return
            found.end_offset = header.next_offset
            position += header.size_bytes

    async def _goes_on_from_seal(self, segment: Segment, epochs: EpochCache, begin: int) -> bool:
        """Takes the segment up from the last seal; False, and begins its indexes anew, where they do not fit it."""
        kept, stored = self._seals[segment]
        seal = kept[-1]
        paths = [segment.path + suffix for suffix in INDEX_SUFFIXES]
        is_its_own = not any(self._disk.exists(path) and self._disk.is_shared(path) for path in paths)
        segment.has_stored(seal.indexed, seal.timed)
        if is_its_own and await self._is_as_left(
            segment, seal.size, seal.end_offset, kept, epochs, begin, logging.WARNING
        ):
            segment.goes_on_with(Seals.going_on(kept, stored, is_known=True))
            return True
        segment.begin_indexes()
        return False

    async def _judge_batch(
        self, segment: Segment, position: int, rest: bytes, fault: str, found: _Findings, recovery_point: int
    ) -> None:
        """`rest` begins with the bad batch."""
        if found.end_offset >= recovery_point and is_explained_by_a_crash(rest, position, segment.size - position):
            found.cut_bytes = segment.size - position
            await own(self._disk, segment.log_path, position, segment.close)
            segment.file().truncate(position)
            segment.size = position
        else:
            found.damage = Damage(segment.log_path, position, fault)


def dead_of(segments: Sequence[Segment], written: Offsets) -> list[Segment]:
    """Returns the first segments, all of which lie below where the log begins durably; with gaps, it may be."""
    start = min(written.log_start_offset, written.recovery_point)
    return [segment for segment, following in pairwise(segments) if following.base_offset <= start]


def unsure_of(segments: Sequence[Segment], recovery_point: int) -> list[Segment]:
    """Returns the segments from the one on that has the last offset below the recovery point, which must be read after
    a crash: what a roll at the recovery point wrote of that segment's indexes is durable once something above it is."""
    below = [segment for segment in segments if segment.base_offset < recovery_point]
    return list(segments[max(len(below) - 1, 0) :])


def least_bytes(chunk: bytes, offset: int) -> int:
    """Returns how many bytes from `offset` on are needed to judge the batch there."""
    try:
        return read_header(chunk, offset).size_bytes
    except CorruptMessage:
        return HEADER_BYTES


def batch_fault(chunk: bytes, offset: int, expected_offset: int, epoch: int) -> str | None:
    """Returns what is wrong with the batch at `offset`, None if nothing is."""
    try:
        header = read_header(chunk, offset)
    except CorruptMessage as error:
        return error.message
    if offset + header.size_bytes > len(chunk):
        return f"the batch needs {header.size_bytes} bytes, and the file has {len(chunk) - offset}"
    if not check_crc(chunk, offset, header):
        return f"the CRC-32C of the batch of offset {header.base_offset} does not match"
    # the CRC does not cover the base offset, so that only the batch before tells whether it is right
    if header.base_offset != expected_offset or header.last_offset_delta < 0:
        return f"a batch of offset {header.base_offset} where {expected_offset} comes next"
    if header.partition_leader_epoch < epoch:
        return f"a batch of leader epoch {header.partition_leader_epoch} follows one of {epoch}"
    return None


def is_explained_by_a_crash(rest: bytes, position: int, bytes_left: int) -> bool:
    """Whether the bad batch at file position `position` runs past the file's end, or a sector of it was not written.

    `rest` is what was read of the file from there on; `bytes_left` is how much the file has.
    """
    try:
        size = read_header(rest).size_bytes
    except CorruptMessage:
        # no header to be believed: its first sectors tell
        return bytes_left < HEADER_BYTES or is_torn(rest[:HEADER_BYTES], position)
    return size > bytes_left or is_torn(rest[:size], position)
