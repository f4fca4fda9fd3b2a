"""Checkpoints: small files in Kafka's layout that say, for all logs of a folder, how far each had come.

`recovery-point-offset-checkpoint` (everything below is on the device), `replication-offset-checkpoint` (the high
watermark), `log-start-offset-checkpoint`, and, of compacted logs alone, `cleaner-offset-checkpoint` (of each key that
was written below, the last record is left there). Each holds a version, a count, and a line `topic partition offset`
a log. They are written to a temporary file, synced, renamed, and the folder is synced, so a reader sees the old or the
new.

A written recovery point never lies above what is durable in the log, nor above the epochs that are durable beside it;
and before a log is truncated below its written recovery point, a lower one is durable (`lower`). Of a damaged log
everything stays as it was written: with a recovery point before the damage, the next start would take that for a torn
tail and cut off what was durable. Writers queue up behind one another, and those that wait are served by one write.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple, Protocol

from dohle.model.errors import CorruptLog, DataFolderError
from dohle.runtime.clock import Clock
from dohle.runtime.disk import Disk, File
from dohle.runtime.tasks import turn
from dohle.storage.epoch_cache import FILE_NAME as EPOCHS_FILE
from dohle.storage.epoch_cache import EpochCache
from dohle.storage.room import needing_room

RECOVERY_POINTS = "recovery-point-offset-checkpoint"
HIGH_WATERMARKS = "replication-offset-checkpoint"
LOG_STARTS = "log-start-offset-checkpoint"

CLEANED = "cleaner-offset-checkpoint"

FILES = (RECOVERY_POINTS, HIGH_WATERMARKS, LOG_STARTS)
"""That name every log."""
_COLUMNS = (*FILES, CLEANED)

CHECKPOINT_INTERVAL_S = 1.0
STARTS_GATHERED_S = 0.02
"""A log's new beginning is written so soon, together with those of other logs: deletions are answered after that."""

_FILES_AT_ONCE = 128
_FILES_IN_A_TURN = 32  # before the loop does what waits

LogKey = tuple[str, int]
"""Topic and partition."""


logger = logging.getLogger(__name__)


class CheckpointedLog(Protocol):
    """What a log shows to its checkpoints."""

    @property
    def folder(self) -> str: ...
    @property
    def epochs(self) -> EpochCache: ...
    @property
    def has_end(self) -> bool: ...
    @property
    def durable_end(self) -> int: ...
    @property
    def high_watermark(self) -> int: ...
    @property
    def log_start_offset(self) -> int: ...
    @property
    def on_durable(self) -> Callable[[], None] | None: ...
    @property
    def cleaned_to(self) -> int: ...


class Offsets(NamedTuple):
    """What the files say of one log."""

    recovery_point: int
    high_watermark: int
    log_start_offset: int
    cleaned_to: int = 0


class Checkpoints:
    """Writes the checkpoints of the logs that `logs` returns, and their epoch files, which go first."""

    def __init__(self, disk: Disk, folder: str, logs: Callable[[], Mapping[LogKey, CheckpointedLog]]) -> None:
        self.start_moved = asyncio.Event()
        """A log begins at an offset which is not written yet."""
        self.writing = asyncio.Lock()  # held while logs are removed, so that nothing is written into their folders
        self._disk = disk
        self._folder = folder
        self._logs = logs
        self._written: dict[str, dict[LogKey, int]] = {name: {} for name in _COLUMNS}
        self._seen: dict[LogKey, tuple[int, int, int, int]] | None = None  # as in Offsets
        self._epochs_written: dict[LogKey, int] = {}  # by the cache's version, 0 if it is missing

    async def starts_moved(self, clock: Clock) -> None:
        """Returns when logs begin elsewhere than is written, and those that move together have."""
        await clock.wait(self.start_moved, None)
        await clock.sleep(STARTS_GATHERED_S)
        self.start_moved.clear()

    def begin_with(self, found: Mapping[str, Mapping[LogKey, int]]) -> None:
        """Takes over what the files hold at the start."""
        self._written = {name: dict(found[name]) for name in _COLUMNS}

    async def write(self) -> None:
        """Brings the files up to date; writes only those that changed. Raises OSError."""
        async with self.writing:
            await self._write()

    def written_start(self, key: LogKey) -> int:
        """Returns where the log of `key` begins by what is written."""
        return self._written[LOG_STARTS].get(key, 0)

    def sure_end(self, key: LogKey) -> int:
        """Returns the offset below which no start finds anything torn."""
        return self._written[RECOVERY_POINTS].get(key, 0)

    def sure_start(self, key: LogKey) -> int:
        """Returns the offset at which the log of `key` begins whatever happens: no later start needs what is below."""
        return min(self.written_start(key), self._written[RECOVERY_POINTS].get(key, 0))

    async def lower(self, key: LogKey, recovery_point: int, end: int, start: int) -> None:
        """Returns when the written recovery point and start of `key` are not above these. Raises OSError.

        The caller lowers the log's own ends and start at once, before anything is written again. A start after a crash
        takes what lies below the written start for what is not retained, and begins there if it finds no segment.
        """
        async with self.writing:
            # one after the other: a beginning that is missing below a recovery point is damage
            for least in (max(self.written_start(key), start), start):
                if self._written[RECOVERY_POINTS].get(key, 0) > recovery_point or self.written_start(key) > least:
                    await self._write({key: (recovery_point, end, least)})
            assert self._written[RECOVERY_POINTS].get(key, 0) <= recovery_point

    async def forget_former(self, keys: Collection[LogKey]) -> None:
        """Returns when the files hold nothing of `keys`, which are those of no log now.

        A log that is then made under such a name must not be taken for the former one after a crash: a recovery point
        above its end makes a torn tail look like damage, and a watermark promises what nobody else has.
        """
        async with self.writing:
            for key in keys:
                self._epochs_written.pop(key, None)
            if any(key in offsets for offsets in self._written.values() for key in keys):
                self._seen = None
                await self._write()

    async def _write(self, lowered: Mapping[LogKey, tuple[int, int, int]] | None = None) -> None:
        logs = self._logs()
        # captured before the epochs are written: a recovery point must not get ahead of the epoch file
        sound = {key: log for key, log in logs.items() if log.has_end}
        state = {
            key: (log.durable_end, log.high_watermark, log.log_start_offset, log.cleaned_to)
            for key, log in sound.items()
        }
        if len(sound) < len(logs):
            state.update({key: offsets_of(self._written, key) for key in logs if key not in sound})
        for key, (recovery_point, end, start) in (lowered or {}).items():
            log = logs[key]
            durable, cleaned_to = min(log.durable_end, recovery_point), min(log.cleaned_to, recovery_point)
            state[key] = (durable, min(log.high_watermark, end), min(log.log_start_offset, start), cleaned_to)
        await self._write_epochs(logs)
        if state == self._seen:
            return
        columns = {name: {key: offsets[at] for key, offsets in state.items()} for at, name in enumerate(_COLUMNS)}
        columns[CLEANED] = {key: offset for key, offset in columns[CLEANED].items() if offset}
        changed = {name: offsets for name, offsets in columns.items() if offsets != self._written[name]}
        texts = {f"{self._folder}/{name}": encode_offsets(offsets) for name, offsets in changed.items()}
        await write_files(self._disk, texts, [self._folder])
        former = self._written[LOG_STARTS]
        self._written.update(changed)
        self._seen = state
        for key, offset in changed.get(LOG_STARTS, {}).items():
            on_durable = logs[key].on_durable if key in logs else None
            if on_durable is not None and offset != former.get(key):
                on_durable()

    async def _write_epochs(self, logs: Mapping[LogKey, CheckpointedLog]) -> None:
        written = self._epochs_written
        behind = [key for key, log in logs.items() if log.epochs.version != written.get(key, 0)]
        for start in range(0, len(behind), _FILES_AT_ONCE):
            group = behind[start : start + _FILES_AT_ONCE]
            versions = {key: logs[key].epochs.version for key in group}
            texts = {f"{logs[key].folder}/{EPOCHS_FILE}": logs[key].epochs.encode() for key in group}
            await write_files(self._disk, texts, [logs[key].folder for key in group])
            self._epochs_written.update(versions)


async def read_checkpoints(disk: Disk, folder: str) -> dict[str, dict[LogKey, int]]:
    """Returns what the files hold; a missing one holds nothing.

    A damaged one is taken as missing, for what it says is learnt again. Raises DataFolderError for a
    damaged recovery point: without it a torn tail cannot be told from the loss of durable data.
    """
    found: dict[str, dict[LogKey, int]] = {}
    for name in _COLUMNS:
        path = f"{folder}/{name}"
        if not disk.exists(path):
            found[name] = {}
            continue
        try:
            found[name] = decode_offsets(path, (await disk.read_all(path)).decode("utf-8", "replace"))
        except CorruptLog as error:
            if name == RECOVERY_POINTS:
                raise DataFolderError(
                    f"{error}; restore it, or delete it: every log is then read and checked from its start, and a "
                    "batch that looks torn is cut wherever it lies"
                ) from error
            logger.warning("%s; it is begun anew", error)
            found[name] = {}
    return found


def offsets_of(found: Mapping[str, Mapping[LogKey, int]], key: LogKey) -> Offsets:
    """Returns what the checkpoints `found` say of one log."""
    return Offsets(*(found[name].get(key, 0) for name in _COLUMNS))


async def write_files(disk: Disk, texts: Mapping[str, str], folders: Iterable[str]) -> None:
    """Replaces each file by its text, atomically and durably; `folders` are those that the files lie in.

    Raises NoRoom, and has replaced none, where the disk is full; else OSError.
    """
    if not texts:
        return
    files: list[File] = []
    try:
        for number, (path, text) in enumerate(texts.items()):
            await turn(number, every=_FILES_IN_A_TURN)
            with needing_room():
                file = disk.open(path + ".tmp", create=True)
                files.append(file)
                file.truncate(0)  # left over from a crash
                file.append([text.encode()])
        await disk.sync(files)
    finally:
        for file in files:
            file.close()
    await disk.rename_all([(path + ".tmp", path) for path in texts])
    await disk.sync([], list(folders))


def encode_offsets(offsets: Mapping[LogKey, int]) -> str:
    lines = "".join(f"{topic} {partition} {offset}\n" for (topic, partition), offset in offsets.items())
    return f"0\n{len(offsets)}\n{lines}"


def decode_offsets(path: str, text: str) -> dict[LogKey, int]:
    """Raises CorruptLog, naming `path`, where `text` is no such checkpoint."""
    lines = text.splitlines()
    offsets: dict[LogKey, int] = {}
    try:
        version, count = int(lines[0]), int(lines[1])
        for line in lines[2:]:
            topic, partition, offset = line.split(" ")
            offsets[topic, int(partition)] = int(offset)
    except (ValueError, IndexError) as error:
        raise CorruptLog(f"{path} is unreadable: {error}") from error
    if version != 0 or count != len(offsets) or any(offset < 0 for offset in offsets.values()):
        raise CorruptLog(
            f"{path} contradicts itself: version {version}, {count} entries announced, {len(offsets)} found"
        )
    return offsets
