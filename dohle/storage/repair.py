"""Repair in place: what has rotted of a log is replaced by what another replica has there, by whole segments.

Each segment that the damage touches is written anew. Where nothing was ever compacted, sound batches are copied, and of
the others the other replica's are taken, which are the same byte for byte. If that is not the segment that was sealed,
what is here is not its own, and all of it is taken from the other one. Replicas of a compacted log have not the
same records; there all is taken from the other replica, from the first segment to the last that either the damage or a
compaction reaches: among one replica's records there is then no older value of which the tombstone is gone.

What is taken is checked: its CRC, that it follows what is there, and that it is of the leader epoch that this log notes
at its offset, so that a log of another history gives nothing. The new segments come by a crash-safe swap, and the
damage is forgotten once all are durable. Until then the replica is as damaged as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from dohle.model.batch import BatchHeader, read_header
from dohle.runtime.disk import Disk, File
from dohle.runtime.tasks import turn
from dohle.storage.checkpoints import Checkpoints
from dohle.storage.compaction.batches import gone
from dohle.storage.compaction.sealed_indexes import IndexBuilder
from dohle.storage.compaction.swap_files import CleanedFiles
from dohle.storage.compaction.swaps import Swaps
from dohle.storage.damage_note import delete_damage
from dohle.storage.group_commit import GroupCommit
from dohle.storage.headroom import LEAST_FREE_BYTES
from dohle.storage.log import Log
from dohle.storage.opened import Damage
from dohle.storage.recovery import batch_fault, least_bytes
from dohle.storage.room import DiskFull
from dohle.storage.seals import SEALS_SUFFIX, decode_seals, head_of, read_seals
from dohle.storage.segment import MOST_BYTES, Segment

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 128 << 10
_HARDLY_CLEANED = 1
"""What `cleaned_to` is from the first try on: true of any log, as its first record is the only one below. Not 0: if its
topic is not compacted any more, the next try would copy what compactions have left of its own."""

Fetch = Callable[[int, int], Awaitable[bytes]]
"""Returns whole batches of another replica that are committed, from an offset on, of about so many bytes."""
Pace = Callable[[int], Awaitable[None]]
"""Is awaited whenever so many bytes have been read or fetched."""


class CannotRepair(Exception):
    """Says why. What is damaged still is, and is noted."""


class _IsCompacted(Exception):
    """The other replica lacks records there."""


@dataclass(slots=True)
class Repaired:
    """What a repair has done."""

    copied_bytes: int = 0
    fetched_bytes: int = 0
    segments: int = 0


class Repairer:
    """Of one folder's logs."""

    def __init__(self, disk: Disk, commit: GroupCommit, checkpoints: Checkpoints, swaps: Swaps) -> None:
        self._disk = disk
        self._commit = commit
        self._checkpoints = checkpoints
        self._swaps = swaps

    async def repair(self, log: Log, fetch: Fetch, pace: Pace) -> Repaired | None:
        """Returns when nothing of the damage that is noted is left; None where the log is cut or goes meanwhile.

        Nobody appends to the log meanwhile. Raises CannotRepair, StorageFailure, and whatever `fetch` raises.
        """
        damage = log.damage
        assert damage is not None, f"{log.name} is not damaged"
        first, beyond = self._range(log, damage)
        is_compacted = log.config.is_compacted or log.cleaned_to > 0
        done = Repaired()
        try:
            by_batches = partial(_Rewriting, fetch, pace, done, True)
            if not is_compacted and not await self._replace(log, damage, first, beyond, by_batches):
                return None
        except _IsCompacted:
            is_compacted, done = True, Repaired()
        if is_compacted and not await self._replace_compacted(log, damage, beyond, fetch, pace, done):
            return None
        async with self._checkpoints.writing:
            if not log.is_its_own or log.damage is not damage:
                return None
            with self._commit.syncing():
                delete_damage(self._disk, log.folder)
                await self._disk.sync([], [log.folder])
            log.damage = None
        return done

    def _range(self, log: Log, damage: Damage) -> tuple[int, int]:
        if damage.offsets is None:
            raise CannotRepair("of what comes behind the damage nothing is known")
        first, beyond = damage.offsets
        if not log.first_offset <= first < beyond <= log.log_end_offset:
            raise CannotRepair(
                f"offsets {first} to {beyond} are damaged, and the log spans {log.first_offset} to {log.log_end_offset}"
            )
        return first, beyond

    async def _replace_compacted(
        self, log: Log, damage: Damage, beyond: int, fetch: Fetch, pace: Pace, done: Repaired
    ) -> bool:
        is_known = log.cleaned_to > _HARDLY_CLEANED
        reached = max(beyond, log.cleaned_to if is_known else log.log_end_offset)
        with self._commit.replacing():
            log.cleaned_to = _HARDLY_CLEANED  # of what is not compacted at the other replica nothing is left out here
            await self._checkpoints.write()
        return await self._replace(log, damage, 0, reached, partial(_Rewriting, fetch, pace, done, False))

    async def _replace(
        self, log: Log, damage: Damage, first: int, beyond: int, begin: Callable[[Log, CleanedFiles], _Rewriting]
    ) -> bool:
        """Writes all segments anew that have offsets in [first, beyond). Returns whether that is done."""
        version = log.version

        def is_wanted() -> bool:
            return log.is_its_own and log.version == version and log.damage is damage

        if not is_wanted():
            return False
        if beyond > log.sealed.end:
            log.seal()
        await log.flush()
        for segment in list(log.sealed.all):
            if segment.base_offset >= beyond or log.sealed.end_of(segment) <= first:
                continue
            if self._disk.free_bytes(log.folder) < segment.size + LEAST_FREE_BYTES:
                raise DiskFull(f"{log.name}: a repair needs {segment.size + LEAST_FREE_BYTES >> 20} MiB of room")
            if not is_wanted():
                return False
            if not await self._rewrite(log, segment, begin, is_wanted):
                return False
        return True

    async def _rewrite(
        self,
        log: Log,
        segment: Segment,
        begin: Callable[[Log, CleanedFiles], _Rewriting],
        is_wanted: Callable[[], bool],
    ) -> bool:
        """Returns whether the segment stands written anew."""
        for copies in (True, False):
            with self._commit.using():
                files = CleanedFiles(self._disk, log.folder, segment.base_offset)
            try:
                rewriting = begin(log, files)
                rewriting.copies = rewriting.copies and copies
                with self._commit.using():
                    if not await rewriting.run(self._disk, segment, log.sealed.end_of(segment), is_wanted):
                        return False
                if rewriting.copies and not rewriting.is_as_sealed:
                    logger.warning("%s: its batches are another log's: all are replaced", segment.log_path)
                    continue
                return await self._swaps.run(log, [segment], files, is_wanted) is not None
            finally:
                if not files.are_taken:
                    self._swaps.discard(log, files)
        raise AssertionError("the second time nothing is copied")


class _Rewriting:
    """One segment's. `trusts_own`: sound batches of this log are copied."""

    def __init__(
        self, fetch: Fetch, pace: Pace, done: Repaired, trusts_own: bool, log: Log, files: CleanedFiles
    ) -> None:
        self._fetch = fetch
        self._pace = pace
        self._done = done
        self._trusts_own = trusts_own
        self._log = log
        self._files = files
        self.copies = trusts_own
        self.is_as_sealed = True
        self._epoch = -1  # of the batch before
        self._offset = -1  # of the next batch
        self._indexes: IndexBuilder

    async def run(self, disk: Disk, segment: Segment, end: int, is_wanted: Callable[[], bool]) -> bool:
        """Writes all of `segment`, which ends at the offset `end`. Returns whether that is still wanted."""
        self._offset = segment.base_offset
        self._indexes = IndexBuilder(segment.base_offset, self._log.config.index_interval_bytes)
        position, seals = 0, await read_seals(disk, segment.file_path(SEALS_SUFFIX))
        file = disk.open(segment.log_path)
        try:
            await file.drop_cache()
            while self._offset < end:
                if self.copies:
                    position = await self._copy(file, position, segment.size, end)
                if self._offset < end:
                    position += await self._take(end)
                if not is_wanted():
                    return False
        finally:
            file.close()
        indexes = self._indexes.seal()
        self._files.add_indexes(indexes)
        written = decode_seals(indexes.seals)
        if seals and written and seals[-1].end_offset == written[-1].end_offset:
            self.is_as_sealed = seals[-1][:4] == written[-1][:4]
        self._done.segments += 1
        return True

    async def _copy(self, file: File, position: int, size: int, end: int) -> int:
        """Copies the sound batches from `position` on. Returns where the first is that is not, or the file ends."""
        needed = 0
        while self._offset < end and position + needed <= size and position < size:
            wanted = min(max(_CHUNK_BYTES, needed), size - position)
            chunk = await file.read_at(position, wanted)
            await self._pace(len(chunk))
            at, is_sound = 0, True
            while is_sound and at < len(chunk) and self._offset < end:
                needed = least_bytes(chunk, at)
                if at + needed > len(chunk):
                    break
                is_sound = self._fault(chunk, at) is None
                if is_sound:
                    header = read_header(chunk, at)
                    self._note(header, self._files.size + at)
                    at, needed = at + header.size_bytes, 0
            self._files.append(chunk[:at])
            self._done.copied_bytes += at
            position += at
            if not is_sound or (not at and needed <= wanted):  # the file is shorter than it was
                break
            await turn(0, every=1)
        return position

    async def _take(self, end: int) -> int:
        """Appends what the other replica has next. Returns how many bytes that is."""
        batches = await self._fetch(self._offset, 1 if self.copies else _CHUNK_BYTES)
        await self._pace(len(batches))
        if not batches:
            raise CannotRepair(f"the leader has nothing committed at offset {self._offset}")
        at = 0
        while at < len(batches) and self._offset < end:
            fault = self._fault(batches, at)
            if fault is not None:
                raise CannotRepair(f"what the leader has at offset {self._offset} does not fit: {fault}")
            header = read_header(batches, at)
            batch = batches[at : at + header.size_bytes]
            if self._trusts_own and header.record_count != header.last_offset_delta + 1:
                raise _IsCompacted
            if header.next_offset > end:
                header, batch = _cut(header, end)
            self._note(header, self._files.size)
            self._files.append(batch)
            at += len(batch)
            if self._files.size > MOST_BYTES:
                raise CannotRepair("the leader has more there than one segment holds")
            if self.copies:
                break
        self._done.fetched_bytes += at
        return at

    def _fault(self, chunk: bytes, at: int) -> str | None:
        fault = batch_fault(chunk, at, self._offset, self._epoch)
        if fault is None:
            epoch, noted = read_header(chunk, at).partition_leader_epoch, self._log.epochs.epoch_at(self._offset)
            if epoch != noted:
                fault = f"a batch of leader epoch {epoch}, and this log has {noted} there"
        return fault

    def _note(self, header: BatchHeader, position: int) -> None:
        self._indexes.note(head_of(header), header.last_offset, header.max_timestamp, position, header.size_bytes)
        self._offset, self._epoch = header.next_offset, header.partition_leader_epoch


def _cut(header: BatchHeader, end: int) -> tuple[BatchHeader, bytes]:
    """Returns the beginning of a batch in the place of others that are gone, which go on in the next segment here."""
    if header.record_count or header.is_idempotent:
        raise CannotRepair(f"a batch reaches from offset {header.base_offset} to {header.last_offset}, past {end}")
    rest = gone(header)
    rest.next_offset = end
    batch = rest.encode()
    return read_header(batch), batch
