"""Forked logs: a log that begins as the start of another one in the same folder, with which it shares the old files.

The cut is a batch border below which everything is committed. Sealed segments that lie wholly below it are shared, with
their indexes (a second name each), and so are producer snapshots; of the segment that holds the cut what lies below is
copied, for that one will grow. Epochs are those below the cut. So what a fork costs depends on the number of segments,
and on the size of one, and not on the log's. Neither log ever changes what the other has: see `shared_files`.

    1  all of the source is durable
    2  <log>.<topic id>-new holds what a clean stop would leave of a log that ends at the cut, durably
    3  the checkpoints say how far it goes, durably
    4  it gets its name, durably, and is one of the folder's logs

A start deletes what came no further than step 3. From step 4 on the log is opened at a start like any other. A file
FORKED_FILE lies in it until somebody relies on it (`adopted`): while that is there, and the cluster does not know of
the log, it is a fork that came to nothing.
"""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Callable, Sequence

from crc32c import crc32c

from dohle.model.batch import HEADER_BYTES, BatchHeader, split_batches
from dohle.model.errors import DamagedReplica, DohleError, ReplicaNotAvailable
from dohle.model.ids import TopicId, id_text
from dohle.model.topic_config import TopicConfig
from dohle.runtime.clock import Clock
from dohle.runtime.disk import Disk, File
from dohle.runtime.tasks import turn
from dohle.storage.checkpoints import LogKey, Offsets
from dohle.storage.data_folder import is_there
from dohle.storage.epoch_cache import FILE_NAME as EPOCHS_FILE
from dohle.storage.epoch_cache import EpochCache
from dohle.storage.group_commit import GroupCommit
from dohle.storage.log import Log
from dohle.storage.new_log import NewLog
from dohle.storage.opened import Opened
from dohle.storage.partition_metadata import PARTITION_FILE, encode_topic_id
from dohle.storage.recovery import LogFiles
from dohle.storage.seals import SEALS_SUFFIX
from dohle.storage.segment import INDEX_SUFFIXES, LOG_SUFFIX, DamagedFile, Segment, segment_name
from dohle.storage.shared_files import Shortened, copy_start

FORKED_FILE = "forked"

_CANNOT_SHARE = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS)
_IN_A_TURN = 16  # segments that are shared before the loop does what waits
_CHECKED_BYTES = 1 << 20
_TRIES = 5  # a log may be compacted, retained or cut while it is forked

OpenLog = Callable[[LogKey, str, TopicId, TopicConfig, Opened], Log]

logger = logging.getLogger(__name__)


class _Changed(Exception):
    """The source is not what it was when the fork began."""


class Forking:
    """Makes forks of the logs of one folder. `open_log` makes a Log of what was opened."""

    def __init__(self, disk: Disk, clock: Clock, commit: GroupCommit, path: str, open_log: OpenLog) -> None:
        self._disk = disk
        self._clock = clock
        self._commit = commit
        self._path = path
        self._open_log = open_log

    async def make(self, source: Log, new: NewLog, cut: int) -> Log:
        """Returns a log that has what `source` has below `cut`, all of it durable; steps 1 and 2.

        Raises ReplicaNotAvailable where `source` has no batch border at `cut`, or the file system cannot share files;
        DamagedReplica, StorageFailure, DiskFull. Then nothing is left of it.
        """
        for _ in range(_TRIES):
            await source.flush()
            _check(source, cut)
            folder = f"{self._path}/{new.topic}-{new.partition}.{id_text(new.topic_id)}-new"
            try:
                return await self._try(source, new, cut, folder)
            except _Changed:
                self.discard(folder)
                await turn(0, every=1)
            except BaseException:
                self.discard(folder)
                raise
        raise ReplicaNotAvailable(f"{source.name} is being changed all the time, and cannot be forked at this moment")

    def discard(self, folder: str) -> None:
        """Deletes what was being made, if that works; else the next start does."""
        if self._commit.failure is None and self._disk.exists(folder):
            with contextlib.suppress(DohleError), self._commit.using():
                self._disk.delete(folder)

    async def _try(self, source: Log, new: NewLog, cut: int, folder: str) -> Log:
        generation, cleaned_to = source.generation, source.cleaned_to
        start = min(source.log_start_offset, cut)
        epochs = EpochCache(source.epochs.entries)
        epochs.truncate_to(cut)
        found = await source.checked(source.sealed.border(cut), source.version)
        if found is None:
            raise _Changed
        holder, position, border = found
        if border != cut:
            raise ReplicaNotAvailable(f"{source.name} has no border between batches at {cut}, but at {border}")
        whole = source.sealed.between(start, holder)
        snapshots = source.sealed.snapshots_up_to(cut)
        with self._commit.using():
            self.discard(folder)
            files = self._begin(folder, new, epochs)
            await self._share(whole, snapshots, folder)
            files += await self._copy_holder(source, holder, position, folder)
            if generation != source.generation or whole != source.sealed.between(start, holder):
                raise _Changed  # one segment was shared as it was before a compaction, the next as it is after it
            _check(source, cut)
            await self._sync(files, [folder])
            for file in files:
                file.close()
            written = Offsets(cut, cut, start, min(cleaned_to, cut))
            opened = await LogFiles(self._disk, folder, written).open(clean=True, now=self._clock.now())
        if opened.damage is not None or opened.log_end_offset != cut or not opened.recovered.clean:
            raise DamagedReplica(f"{source.name} cannot be forked at {cut}: {opened.damage or 'its files do not fit'}")
        made = self._open_log((new.topic, new.partition), folder, new.topic_id, new.config, opened)
        try:
            await _check_copy(made, holder.base_offset, cut)
        except DohleError:
            await made.close()
            raise
        return made

    def _begin(self, folder: str, new: NewLog, epochs: EpochCache) -> list[File]:
        if not is_there(self._disk, self._path):  # what is made where it was mounted would be lost from sight
            raise FileNotFoundError(errno.ENOENT, "its disk is not mounted any more", self._path)
        self._disk.make_folder(folder)
        texts = {PARTITION_FILE: encode_topic_id(new.topic_id), EPOCHS_FILE: epochs.encode().encode()}
        files: list[File] = []
        for name, content in {**texts, FORKED_FILE: b""}.items():
            files.append(self._disk.open(f"{folder}/{name}", create=True))
            files[-1].append([content])
        return files

    async def _sync(self, files: Sequence[File], folders: Sequence[str] = ()) -> None:
        with self._commit.syncing():
            await self._disk.sync(files, folders)

    async def _share(self, segments: Sequence[Segment], snapshots: Sequence[str], folder: str) -> None:
        for number, segment in enumerate(segments):
            await turn(number, every=_IN_A_TURN)
            for suffix in (LOG_SUFFIX, *INDEX_SUFFIXES):
                path = segment.file_path(suffix)
                if suffix != SEALS_SUFFIX or self._disk.exists(path):  # older segments have none
                    self._link(path, f"{folder}/{segment_name(segment.base_offset)}{suffix}")
        for path in snapshots:
            self._link(path, f"{folder}/{path.rpartition('/')[2]}")

    def _link(self, path: str, new: str) -> None:
        try:
            self._disk.link(path, new)
        except FileNotFoundError as error:
            raise _Changed from error
        except OSError as error:
            if error.errno not in _CANNOT_SHARE:
                raise
            raise ReplicaNotAvailable(
                f"{path} cannot be shared, so that nothing can be forked here: {error}"
            ) from error

    async def _copy_holder(self, source: Log, holder: Segment, size: int, folder: str) -> list[File]:
        copy = Segment(self._disk, folder, holder.base_offset, index_interval_bytes=source.config.index_interval_bytes)
        try:
            await copy_start(self._disk, holder.file, copy.log_path, size, self._sync)
            copy.size = size
            copy.begin_indexes()

            def note(position: int, header: BatchHeader) -> bool:
                copy.note(header, position)
                return False

            await copy.walk(0, size, note)
        except (Shortened, FileNotFoundError, DamagedFile) as error:
            raise _Changed from error  # if it is damaged, whoever reads it says so
        finally:
            copy.close()
        return copy.write_indexes(seal=True) if size else []


def _check(source: Log, cut: int) -> None:
    if source.damage is not None:
        raise DamagedReplica(f"{source.name} is damaged ({source.damage})")
    if not source.is_settled:
        raise ReplicaNotAvailable(f"{source.name} is being cut, or removed")
    if not source.first_offset <= cut <= source.durable_end:
        raise ReplicaNotAvailable(
            f"{source.name} has offsets {source.first_offset} to {source.durable_end}, and not all below {cut}"
        )
    replaced_below = max(source.cleaned_to, source.sealed.replaced_below)
    if cut < replaced_below:
        # a key's last record below the cut may be gone here, and at another replica not
        raise ReplicaNotAvailable(
            f"a compaction has taken from {source.name} what records below {replaced_below} have replaced, and nobody"
            f" knows any more what it was like at {cut}"
        )


async def _check_copy(log: Log, start: int, end: int) -> None:
    """Raises DamagedReplica where a batch in [start, end) is bad: what is copied must not hand damage on."""
    while start < end:
        data = await log.read(start, _CHECKED_BYTES, up_to=end, for_replica=True)
        if not data:
            break
        for _, header in split_batches(data):
            start = header.next_offset


async def headers_checksum(log: Log, start: int, end: int) -> int:
    """Returns a checksum over the headers of the batches in [start, end), all of them sound, and the last one's epoch.

    Raises DamagedReplica, StorageFailure, OffsetOutOfRange.
    """
    checksum = crc32c(b"%d %d" % (end, log.epochs.epoch_at(end - 1)))
    while start < end:
        data = await log.read(start, _CHECKED_BYTES, up_to=end, for_replica=True)
        if not data:
            break
        for position, header in split_batches(data):
            checksum = crc32c(data[position : position + HEADER_BYTES], checksum)
            start = header.next_offset
    return checksum
