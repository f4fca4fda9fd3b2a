"""Segment: one file of batches with its indexes and seals; the last segment of a log is the one that grows.

The files are opened when they are needed and the indexes read when something is looked up, so that a segment that
nobody uses costs a small object. A sealed segment's indexes are complete in their files. The segment knows nothing of
durability: the log collects what is to be synced.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable, Iterable

from crc32c import crc32c

from dohle.model.batch import HEADER_BYTES, LENGTH_END, NO_TIMESTAMP, BatchHeader, read_header
from dohle.model.errors import CorruptLog, CorruptMessage
from dohle.runtime.disk import Buffer, Disk, File
from dohle.runtime.tasks import turn
from dohle.storage.room import NoRoom, needing_room
from dohle.storage.seals import SEALS_SUFFIX, Seal, SealCheck, Seals, cut_seals, head_of, read_seals
from dohle.storage.segment_index import IndexEntry, OffsetIndex, TimeIndex
from dohle.storage.shared_files import own

LOG_SUFFIX = ".log"
INDEX_SUFFIX = ".index"
TIME_INDEX_SUFFIX = ".timeindex"
RETIRED_SUFFIX = ".deleted"
"""Behind the names of files that are part of no log any more; they go later, for they may be being read."""

REBUILT_SUFFIX = ".tmp"
"""Behind the names of indexes that are being built again; what a crash leaves of them goes at the next start."""

INDEX_SUFFIXES = (SEALS_SUFFIX, TIME_INDEX_SUFFIX, INDEX_SUFFIX)
"""Of the files that a segment has beside its batches."""

MOST_BYTES = 2**31 - 1
"""Positions are int32 in the index."""

_WALK_BYTES = 64 * 1024
_READS_IN_A_TURN = 8  # of a walk, before the loop does what waits: what lies in the page cache is read at once

log = logging.getLogger(__name__)


class DamagedFile(CorruptLog):
    """A place in a file where no batch is, though one must be there."""

    def __init__(self, file: str, position: int, reason: str, offsets: tuple[int, int] | None = None) -> None:
        super().__init__(f"{file} is damaged at byte {position}: {reason}")
        self.file = file
        self.position = position
        self.reason = reason
        self.offsets = offsets  # which cannot be read for it, as far as whoever raises this knows


def segment_name(base_offset: int) -> str:
    """Returns the name, without suffix, of a segment's files, as Kafka writes it."""
    return f"{base_offset:020d}"


def named_offsets(names: Iterable[str], suffix: str) -> list[int]:
    """Returns the offsets, ascending, by which files with this suffix are named."""
    stems = [name[: -len(suffix)] for name in names if name.endswith(suffix)]
    return sorted(int(stem) for stem in stems if stem.isdecimal() and segment_name(int(stem)) == stem)


def _chain(path: str, base_offset: int, offset: int) -> Callable[[int, BatchHeader], bool]:
    """Returns what stops a walk, from the batch of `base_offset` on, at the one that ends above `offset`.

    The CRC does not cover a batch's offset, so that only the batch before tells whether it is right: the walk raises
    DamagedFile where one does not follow the other.
    """
    expected = base_offset

    def stop(position: int, header: BatchHeader) -> bool:
        nonlocal expected
        if header.base_offset != expected or header.last_offset_delta < 0:
            reason = f"a batch of offset {header.base_offset} where {expected} comes next"
            raise DamagedFile(path, position, reason)
        expected = header.next_offset
        return expected > offset

    return stop


class Segment:
    """The batches from `base_offset` on, up to the next segment's."""

    __slots__ = (
        "_building",
        "_disk",
        "_ending",
        "_file",
        "_grows",
        "_indexed_timestamp",
        "_indexes_changed",
        "_is_believed",
        "_since_entry",
        "base_offset",
        "first_timestamp",
        "index",
        "index_interval_bytes",
        "newest",
        "path",
        "seals",
        "size",
        "times",
    )

    def __init__(
        self, disk: Disk, folder: str, base_offset: int, *, index_interval_bytes: int, ending: str = ""
    ) -> None:
        self._disk = disk
        self._file: File | None = None
        self.path = f"{folder}/{segment_name(base_offset)}"  # without suffix
        self._ending = ending  # of the names, behind their suffixes
        self.base_offset = base_offset
        self.size = 0
        self.index = OffsetIndex()
        self.times = TimeIndex()
        self.index_interval_bytes = index_interval_bytes
        self.first_timestamp = NO_TIMESTAMP  # of the first batch: what segment.ms counts from
        self.newest: tuple[int, int] | None = (NO_TIMESTAMP, 0)  # timestamp and relative offset; None: not read yet
        self._indexed_timestamp = NO_TIMESTAMP
        self._since_entry = 0
        self.seals: Seals | None = Seals()  # None: not read
        self._is_believed = True  # to be the one that was sealed
        self._indexes_changed = False  # since they were written
        self._grows = False  # since it was sealed, if it was
        self._building: asyncio.Lock | None = None  # held while the indexes are built again

    @property
    def log_path(self) -> str:
        return self.file_path(LOG_SUFFIX)

    def file_path(self, suffix: str) -> str:
        """Returns where the file with this suffix lies now."""
        return self.path + suffix + self._ending

    def file(self) -> File:
        """Returns the file of batches, opened if it was not."""
        if self._file is None:
            self._file = self._disk.open(self.log_path)
        return self._file

    def create(self) -> File:
        """Makes the file of a new segment; its name is durable once the folder is synced."""
        if self._disk.exists(self.file_path(SEALS_SUFFIX)):  # of one whose batches a crash has taken
            self._disk.delete(self.file_path(SEALS_SUFFIX))
        self._file = self._disk.open(self.log_path, create=True)
        return self._file

    def append(self, buffer: Buffer) -> int:
        """Adds whole batches, which `note` must then be told of one by one. Returns where they begin."""
        position = self.size
        self._grows = True
        self.file().append([buffer])
        self.size += len(buffer)
        return position

    def note(self, header: BatchHeader, position: int) -> None:
        """Indexes the batch at `position`."""
        last = header.base_offset + header.last_offset_delta - self.base_offset
        timestamp = header.max_timestamp
        if position == 0:
            self.first_timestamp = timestamp
        assert self.newest is not None
        assert self.seals is not None
        self.seals.note(header)
        if timestamp > self.newest[0]:
            self.newest = (timestamp, last)
        if self._since_entry > self.index_interval_bytes:
            self.index.add(last, position)
            self._index_time()
            self._since_entry = 0
        self._since_entry += header.batch_length + LENGTH_END
        self._indexes_changed = True

    def _index_time(self) -> None:
        assert self.newest is not None
        self._indexes_changed = True
        if self.newest[0] > self._indexed_timestamp:
            self.times.add(*self.newest)
            self._indexed_timestamp = self.newest[0]

    def write_indexes(self, *, seal: bool) -> list[File]:
        """Brings the index files up to date, and returns them, open, to be synced; none if nothing changed.

        The time index ends with the newest timestamp, and the seals with one of what is there. `seal`: nothing more
        will come.
        """
        self._index_time()
        if seal:
            self._grows = False
        if not self._indexes_changed:
            return []
        indexes = self._index_files()
        for suffix, index in indexes.items():
            path = self.file_path(suffix)
            if self._disk.exists(path) and self._disk.is_shared(path):
                self._disk.delete(path)  # another log goes on with that file
                index.stored = 0
        files = [self._disk.open(self.file_path(suffix), create=True) for suffix in indexes]
        try:
            for file, index in zip(files, indexes.values(), strict=True):
                stored = index.stored * index.ENTRY_BYTES
                if file.size() != stored:  # behind the entries that count lies what a truncation or a crash left
                    file.truncate(stored)
                file.append([index.unwritten()])
                index.stored = len(index)
        except OSError:
            for file in files:
                file.close()
            raise
        self._indexes_changed = False
        return files

    def _index_files(self) -> dict[str, OffsetIndex | TimeIndex | Seals]:
        indexes: dict[str, OffsetIndex | TimeIndex | Seals] = {INDEX_SUFFIX: self.index, TIME_INDEX_SUFFIX: self.times}
        if self.seals is not None and self.newest is not None:
            self.seals.add(len(self.index), len(self.times), self.newest)
            if len(self.seals):
                indexes[SEALS_SUFFIX] = self.seals
        return indexes

    def store_indexes(self) -> list[File]:
        """As `write_indexes` of a sealed segment. On a full disk there are no files, and the indexes stay in memory.

        For a part of one would pass for a whole one, and what is missing is built again by whoever needs it.
        """
        try:
            with needing_room():
                return self.write_indexes(seal=True)
        except NoRoom as error:
            log.warning("%s: its indexes stay in memory, for there is no room for them: %s", self.log_path, error)
            self.index.stored = self.times.stored = 0
            if self.seals is not None:
                self.seals.stored = 0
            for suffix in INDEX_SUFFIXES:
                if self._disk.exists(self.file_path(suffix)):
                    self._disk.delete(self.file_path(suffix))
            return []

    def is_sealed_with(self, size: int, offsets: int, times: int) -> None:
        """Its files are there, of that size and with so many entries in the indexes."""
        self.size = size
        self.has_stored(offsets, times)

    def has_stored(self, offsets: int, times: int) -> None:
        """The files of its indexes have so many entries; these, and its seals, are read once they are used."""
        self.newest, self.seals, self._is_believed = None, None, False
        self.index, self.times = OffsetIndex(offsets), TimeIndex(times)

    async def resume(self, size: int) -> int:
        """Takes up where an earlier process left it at `size`: reads the last entry of either index file.

        Returns the position of the last batch that is indexed. Raises DamagedFile where an entry cannot be.
        """
        entry = await self._last_entry(INDEX_SUFFIX, self.index)
        position = int.from_bytes(entry[4:], "big", signed=True)
        if not 0 <= position <= size:
            raise DamagedFile(self.path + INDEX_SUFFIX, 0, f"its last entry points to {position} of {size}")
        entry = await self._last_entry(TIME_INDEX_SUFFIX, self.times)
        if entry:
            self.newest = (int.from_bytes(entry[:8], "big", signed=True), int.from_bytes(entry[8:], "big", signed=True))
        else:
            self.newest = (NO_TIMESTAMP, 0)
        self._indexed_timestamp = self.newest[0]
        self._since_entry = size - position
        return position

    # Seals

    @property
    def unsealed_bytes(self) -> int:
        """How much came since the last seal, of a segment that grows; 0 if there will be none."""
        seals = self.seals
        return self.size - seals.size if seals is not None and seals.is_known else 0

    async def check_seal(self) -> None:
        """Looks whether the first batch is the one that was sealed, and whether the segment is as long as it was.

        Cheap enough for whoever reads from it first. Raises DamagedFile where they are not.
        """
        if seals := await read_seals(self._disk, self.file_path(SEALS_SUFFIX)):
            await self.holds(seals[-1])
        self._is_believed = True

    async def seal_check(self) -> SealCheck:
        """Returns what all batches, from the first on, can be held against."""
        path = self.file_path(SEALS_SUFFIX)
        return SealCheck(await read_seals(self._disk, path), path.rpartition("/")[2])

    async def holds(self, seal: Seal) -> BatchHeader:
        """Returns the first batch's header. Raises DamagedFile where it, or the size, is not what the seal says."""
        name = segment_name(self.base_offset) + SEALS_SUFFIX
        if self.size < seal.size:
            raise DamagedFile(self.log_path, self.size, f"it ends here, and had {seal.size} bytes, says {name}")
        first = self.header_in(await self.file().read_at(0, HEADER_BYTES), 0, 0)
        if crc32c(head_of(first)) != seal.first:
            raise DamagedFile(self.log_path, 0, f"its first batch is not the one that {name} tells of")
        return first

    async def _last_entry(self, suffix: str, index: OffsetIndex | TimeIndex) -> bytes:
        """Returns no bytes where the file has no entry."""
        if not index.stored:
            return b""
        try:
            file = self._disk.open(self.file_path(suffix))
        except FileNotFoundError as error:
            raise DamagedFile(self.path + suffix, 0, "it is missing") from error
        data = await file.read_at((index.stored - 1) * index.ENTRY_BYTES, index.ENTRY_BYTES)
        file.close()
        if len(data) < index.ENTRY_BYTES:
            raise DamagedFile(self.path + suffix, file.size(), "its size is no multiple of an entry's")
        return data

    @property
    def indexes_changed(self) -> bool:
        return self._indexes_changed

    async def load_indexes(self) -> None:
        """Puts both indexes into memory; builds them again, and says so, where the files are damaged."""
        if not self._is_believed:
            await self.check_seal()
        while self.index.missing or self.times.missing:  # others' reads may let go of the segment meanwhile
            for suffix, index in ((INDEX_SUFFIX, self.index), (TIME_INDEX_SUFFIX, self.times)):
                if index.missing and not await self._supply(suffix, index):
                    log.warning("%s%s is damaged or missing: it is built again from the segment", self.path, suffix)
                    await self._build_again()
                    break

    async def _build_again(self) -> None:
        """Builds both indexes from the batches, and their files too unless the segment grows: a roll writes those.

        A start after a crash finds the old file or the new one, never a part.
        """
        former = self.index
        if self._building is None:
            self._building = asyncio.Lock()
        async with self._building:
            if self.index is not former:
                return  # another has built them meanwhile
            built = Segment(self._disk, "", self.base_offset, index_interval_bytes=self.index_interval_bytes)
            end = 0
            follow = _chain(self.log_path, self.base_offset, sys.maxsize)
            while True:
                end = await self._gather(built, end, follow)
                if self._grows:
                    break
                built._index_time()
                if await self._replace_index_files(built, end):
                    break
            if self.index is former:
                self._take_indexes(built)

    async def _replace_index_files(self, built: Segment, end: int) -> bool:
        """Returns False where the segment is not the one that `built` was gathered from, up to `end`, any more."""
        paths = [self.file_path(suffix) for suffix in (INDEX_SUFFIX, TIME_INDEX_SUFFIX)]
        new_paths = [path + REBUILT_SUFFIX for path in paths]
        indexes: tuple[OffsetIndex | TimeIndex, ...] = (built.index, built.times)
        files: list[File] = []
        try:
            with needing_room():
                for path, index in zip(new_paths, indexes, strict=True):
                    files.append(self._disk.open(path, create=True))
                    files[-1].truncate(0)  # left over from a crash
                    files[-1].append([index.unwritten()])
            await self._disk.sync(files)
            if self.size != end or self._grows:
                return False
            is_mine = paths[0] == self.file_path(INDEX_SUFFIX)  # the segment was not retired meanwhile, nor deleted
            if is_mine and self._disk.exists(self.log_path):
                for new, path in zip(new_paths, paths, strict=True):
                    self._disk.rename(new, path)
        except NoRoom as error:  # which keeps nobody from reading
            log.warning("%s is not written, and will be built again: %s", paths[0], error)
        finally:
            for file in files:
                file.close()
            for path in new_paths:
                if self._disk.exists(path):
                    self._disk.delete(path)
        for index in indexes:
            index.stored = len(index)  # or the file is found to be damaged again
        return True

    async def _supply(self, suffix: str, index: OffsetIndex | TimeIndex) -> bool:
        try:
            data = await self._disk.read_all(self.file_path(suffix))
        except FileNotFoundError:
            return False
        return not index.missing or index.supply(data)

    async def _gather(self, built: Segment, position: int, follow: Callable[[int, BatchHeader], bool]) -> int:
        """Notes in `built` the batches from `position` on; returns where they end. The segment may grow meanwhile.

        Raises DamagedFile where no batch begins, or one does not follow the other.
        """

        def note(at: int, header: BatchHeader) -> bool:
            follow(at, header)  # an index cannot hold any offset
            built.note(header, at)
            return False

        while position < self.size:
            position = await self.walk(position, self.size, note)
        return position

    def _take_indexes(self, built: Segment) -> None:
        self.index, self.times, self.newest = built.index, built.times, built.newest
        self._indexed_timestamp, self._since_entry = built._indexed_timestamp, built._since_entry
        self._indexes_changed = self._grows

    def begin_indexes(self) -> None:
        """Forgets both indexes, for the caller to `note` every batch anew."""
        self.index, self.times = OffsetIndex(), TimeIndex()
        self.newest = (NO_TIMESTAMP, 0)
        self._indexed_timestamp = NO_TIMESTAMP
        self._since_entry = 0
        self._indexes_changed = True
        self.seals, self._is_believed = Seals(), True

    def goes_on_with(self, seals: Seals) -> None:
        """Was checked up to where they end; what lies behind is to be noted."""
        self.seals, self._is_believed = seals, True

    async def walk(self, position: int, end: int, stop: Callable[[int, BatchHeader], bool]) -> int:
        """Calls `stop` with position and header of each batch in [position, end) until it returns true.

        Returns the position of the batch where it stopped, or `end`. Raises DamagedFile where no batch begins.
        """
        chunk, chunk_start, reads = b"", position, 0
        while position < end:
            offset = position - chunk_start
            if offset + HEADER_BYTES > len(chunk):
                reads += 1
                await turn(reads, every=_READS_IN_A_TURN)
                chunk = await self.file().read_at(position, min(_WALK_BYTES, end - position))
                chunk_start, offset = position, 0
            header = self.header_in(chunk, offset, position)
            if stop(position, header):
                return position
            position += header.size_bytes
        return end

    def header_in(self, buffer: bytes, offset: int, position: int) -> BatchHeader:
        """Returns the header at `offset` of `buffer`, which is at `position` of the file. Raises DamagedFile."""
        try:
            return read_header(buffer, offset)
        except CorruptMessage as error:
            raise DamagedFile(self.log_path, position, error.message) from error

    async def locate(self, offset: int) -> int:
        """Returns the position of the first batch that ends above `offset`, or the size if there is none."""
        relative = offset - self.base_offset
        if not self._is_believed:
            await self.check_seal()
        if not self.index.covers(relative):
            with contextlib.suppress(DamagedFile):  # what lies before the damage can be read
                await self.load_indexes()
        entry = self.index.floor(relative) if self.index.covers(relative) else None
        if entry is not None:
            found = await self._locate_from(entry, offset)
            if found is not None:
                return found
            log.warning("%s%s does not fit the segment, which is walked without it", self.path, INDEX_SUFFIX)
        return await self.walk(0, self.size, _chain(self.log_path, self.base_offset, offset))

    async def _locate_from(self, entry: IndexEntry, offset: int) -> int | None:
        """Returns None where the entry is not that of a batch."""
        follow: Callable[[int, BatchHeader], bool] | None = None

        def is_it(position: int, header: BatchHeader) -> bool:
            nonlocal follow
            if follow is None:
                if header.last_offset != self.base_offset + entry.relative_offset:
                    return True
                follow = _chain(self.log_path, header.base_offset, offset)
            return follow(position, header)

        try:
            found = await self.walk(entry.position, self.size, is_it)
        except DamagedFile:
            if follow is not None:
                raise
            return None
        return found if follow is not None else None

    async def newest_timestamp(self) -> int:
        """Returns the newest timestamp in the segment, -1 if it has none."""
        if self.newest is None:
            await self.load_indexes()
            newest = self.times.newest()
            last = self.index.floor(MOST_BYTES)
            start = last.position if last is not None else 0
            if await self.walk(start, self.size, lambda _, header: header.max_timestamp > newest[0]) < self.size:
                log.warning("%s%s lacks its end: it is built again from the segment", self.path, TIME_INDEX_SUFFIX)
                await self._build_again()
                await self.load_indexes()
                newest = self.times.newest()
            self.newest = newest
        return self.newest[0]

    async def truncate_to(self, position: int, end_offset: int) -> list[File]:
        """Cuts the batches from `position` on, whose first offset is `end_offset`. Nothing appends meanwhile.

        Returns what is to be synced besides, open, and with the folder.
        """
        await self.load_indexes()
        self._indexes_changed = True
        await own(self._disk, self.log_path, position, self.close)
        self.file().truncate(position)
        self.size = position
        self.index.truncate_to(position)
        self.times.truncate_to(end_offset - self.base_offset)
        self.newest = self.times.newest()
        self._indexed_timestamp = self.newest[0]
        self._since_entry = 0
        changed = await self._unseal(position)
        seals, last = self.seals, self.index.floor(MOST_BYTES)
        assert seals is not None
        indexed, sealed = last.position if last is not None else 0, seals.size

        def weigh(at: int, header: BatchHeader) -> bool:
            assert self.newest is not None
            if at >= indexed:
                if header.max_timestamp > self.newest[0]:
                    self.newest = (header.max_timestamp, header.last_offset - self.base_offset)
                self._since_entry += header.size_bytes
            if at >= sealed:
                seals.note(header)
            return False

        await self.walk(min(indexed, sealed) if seals.is_known else indexed, position, weigh)
        self.first_timestamp = NO_TIMESTAMP
        if position:
            first = await self.file().read_at(0, HEADER_BYTES)
            self.first_timestamp = self.header_in(first, 0, 0).max_timestamp
        return changed

    async def _unseal(self, position: int) -> list[File]:
        """Forgets the seals above `position`: what comes there will be another."""
        former, path = self.seals, self.file_path(SEALS_SUFFIX)
        there = await read_seals(self._disk, path) if former is None else former.all
        is_known = former.is_known if former is not None else len(there) > 0
        kept = [seal for seal in there if seal.size <= position]
        stored, changed = cut_seals(self._disk, path, len(kept) if former is None else min(len(kept), former.stored))
        self.seals = Seals.going_on(kept, stored, is_known=is_known or not position)
        return changed

    def let_go(self) -> None:
        """Closes the file and frees the indexes of a sealed segment that nothing is to be synced of."""
        self.close()
        if not self._indexes_changed:  # else they found no room
            self.index.unload()
            self.times.unload()
            self.seals = None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def retire(self) -> None:
        """Renames the files, whose batches are part of the log no more; who is reading them goes on.

        The batches come last: a crash on the way leaves a segment that a start knows and deletes.
        """
        if self._ending:
            return
        self.close()
        ending, number = RETIRED_SUFFIX, 0
        while self._disk.exists(self.path + LOG_SUFFIX + ending):  # of one that was compacted a moment before
            number += 1
            ending = f".{number}{RETIRED_SUFFIX}"
        for suffix in (*INDEX_SUFFIXES, LOG_SUFFIX):
            if self._disk.exists(self.path + suffix):
                self._disk.rename(self.path + suffix, self.path + suffix + ending)
        self._ending = ending

    def delete(self) -> None:
        """Deletes the segment's files; durable once the folder is synced."""
        self.close()
        for suffix in (LOG_SUFFIX, *INDEX_SUFFIXES):
            if self._disk.exists(self.file_path(suffix)):
                self._disk.delete(self.file_path(suffix))
