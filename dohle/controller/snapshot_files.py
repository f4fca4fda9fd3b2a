"""Snapshot files: the snapshots of the metadata that lie beside the log of one controller.

Named as Kafka names them, `<end offset>-<term>.checkpoint`, and made as all that is replaced whole here: under a
temporary name, synced, renamed, and the folder synced. A file under its final name was whole once; what the disk has
made of it since is found out whenever it is read, and one that is damaged counts as none.

Files are written and read in slices, so that the event loop turns meanwhile. Leaves out when, and what is cut then.
"""

from __future__ import annotations

import errno
import logging
import posixpath

from dohle.model.batch import PartialBatch, check_crc, read_header, split_batches
from dohle.model.errors import CorruptLog, CorruptMessage, StorageFailure
from dohle.model.ids import NO_SNAPSHOT, SnapshotId
from dohle.model.image import ClusterImage
from dohle.model.snapshot import SnapshotReader, encode_snapshot, file_name_of, parse_file_name
from dohle.runtime.clock import Clock
from dohle.runtime.disk import Disk, File

PART_SUFFIX = ".part"
CHUNK_BYTES = 256 * 1024

log = logging.getLogger(__name__)


class SnapshotFiles:
    """The snapshots in one folder. `sound` are those that were read or written by this process, oldest first."""

    def __init__(self, disk: Disk, clock: Clock, folder: str) -> None:
        self.sound: list[SnapshotId] = []
        self.newest_size_bytes = 0
        self.first_batch_crc = 0  # of the log, as far as one that was read says; 0: not known
        self._disk = disk
        self._clock = clock
        self._folder = folder

    @property
    def newest(self) -> SnapshotId:
        """The newest sound one; NO_SNAPSHOT without any."""
        return self.sound[-1] if self.sound else NO_SNAPSHOT

    def found(self) -> list[SnapshotId]:
        """Returns all that have a file, sound or not, oldest first."""
        names = self._disk.list(self._folder)
        return sorted(snapshot for name in names if (snapshot := parse_file_name(name)) is not None)

    def path(self, snapshot: SnapshotId) -> str:
        return posixpath.join(self._folder, file_name_of(snapshot))

    def delete_leftovers(self) -> None:
        """Deletes what an earlier process had not finished."""
        for name in self._disk.list(self._folder):
            if name.endswith(PART_SUFFIX):
                self._disk.delete(posixpath.join(self._folder, name))

    async def read(self, snapshot: SnapshotId) -> ClusterImage:
        """Returns the image in a snapshot, which is sound then. Raises CorruptLog, naming file and byte."""
        path = self.path(snapshot)
        reader = SnapshotReader(snapshot, path)
        try:
            file = self._disk.open(path)
        except FileNotFoundError:
            raise CorruptLog(f"the snapshot {path} is missing") from None
        try:
            size, position = file.size(), 0
            while position < size:
                data = await file.read_at(position, CHUNK_BYTES)
                position += len(data)
                for _ in reader.feed(data):
                    await self._clock.sleep(0)
        finally:
            file.close()
        image = reader.finish()
        self.first_batch_crc = self.first_batch_crc or reader.first_batch_crc
        self._is_sound(snapshot, size)
        return image

    async def write(self, image: ClusterImage, term: int, first_batch_crc: int = 0) -> SnapshotId:
        """Writes the snapshot of `image`, whose last change is of `term`; durable and in place on return.

        Raises OSError where there is no room, StorageFailure.
        """
        snapshot = SnapshotId(image.next_offset, term)
        part = self.begin(snapshot)
        try:
            for batch in encode_snapshot(image, term, first_batch_crc):
                part.append([batch])
                await self._clock.sleep(0)
            await self.finish(snapshot, part)
        finally:
            part.close()
        await self.put_in_place(snapshot)
        return snapshot

    def begin(self, snapshot: SnapshotId) -> File:
        """Opens an empty file for a snapshot, under its temporary name."""
        part = self._disk.open(self.path(snapshot) + PART_SUFFIX, create=True)
        part.truncate(0)
        return part

    async def finish(self, snapshot: SnapshotId, part: File) -> None:
        """Makes what was written durable, still under its temporary name. Raises StorageFailure."""
        try:
            await self._disk.sync([part])
        except OSError as error:
            raise _failed(self.path(snapshot), error) from error

    async def put_in_place(self, snapshot: SnapshotId) -> None:
        """Gives a finished snapshot its name; durable on return. Raises StorageFailure."""
        path = self.path(snapshot)
        try:
            self._disk.rename(path + PART_SUFFIX, path)
            await self._disk.sync([], [self._folder])
        except OSError as error:
            raise _failed(path, error) from error
        file = self._disk.open(path)
        self._is_sound(snapshot, file.size())
        file.close()

    def discard(self, snapshot: SnapshotId) -> None:
        """Deletes a snapshot that was begun and is not wanted."""
        if self._disk.exists(part := self.path(snapshot) + PART_SUFFIX):
            self._disk.delete(part)

    def delete_below(self, end_offset: int) -> None:
        """Deletes what ends below `end_offset`."""
        for snapshot in self.found():
            if snapshot.end_offset < end_offset:
                self._disk.delete(self.path(snapshot))
        self.sound = [snapshot for snapshot in self.sound if snapshot.end_offset >= end_offset]

    def open(self, snapshot: SnapshotId) -> File:
        """Opens a sound snapshot to read; what is open can be read to its end whatever becomes of the name."""
        return self._disk.open(self.path(snapshot))

    async def whole_batches(self, snapshot: SnapshotId, file: File, position: int) -> bytes:
        """Returns the batches of an open snapshot from `position` on, one at least; none at its end.

        Each was checked. Raises CorruptLog where one is damaged: the snapshot is then none that is sound.
        """
        data = await file.read_at(position, CHUNK_BYTES)
        if not data:
            return b""
        end = 0
        try:
            header = read_header(data)
            if header.size_bytes > len(data):
                data = await file.read_at(position, header.size_bytes)
            for at, header in split_batches(data):
                if not check_crc(data, at, header):
                    raise CorruptMessage("the CRC-32C does not match")
                end = at + header.size_bytes
        except CorruptMessage as error:
            if isinstance(error, PartialBatch) and end:
                return data[:end]  # the chunk ends inside the next one
            self.sound = [one for one in self.sound if one != snapshot]
            raise CorruptLog(
                f"the snapshot {file.path} is damaged at byte {position + end}: {error.message}"
            ) from error
        return data

    def _is_sound(self, snapshot: SnapshotId, size_bytes: int) -> None:
        self.sound = sorted({*self.sound, snapshot})
        if snapshot == self.newest:
            self.newest_size_bytes = size_bytes


def is_full(error: OSError) -> bool:
    """Whether there was no room; nothing was kept, and it may be tried again."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _failed(path: str, error: OSError) -> StorageFailure:
    return StorageFailure(f"the snapshot {path} cannot be written ({error}): this controller stops")
