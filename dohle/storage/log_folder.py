"""Log folder: all partition logs of a node, in its data folder, opened, made, removed and closed together.

A log lies in `<topic>-<partition>`, with `partition.metadata` (Kafka's: version, topic id) beside its segments. A new
one is made under the name `…-new` and renamed when it is whole; one to be deleted is renamed `…-delete` first; one that
belongs to no topic any more is set aside (`strays`). Copies of replicas that another folder has are none of
the logs before they take those replicas' place (`moved_logs`). The quorum's log lies here too and is not this module's.

The logs share one group commit and one set of checkpoints. A clean stop syncs everything, writes what makes the next
start cheap, and leaves a mark; without it the logs are recovered. What a recovery found (`Log.recovered`) is kept in a
file until the owner says that the controller knows, for a crash in between must not hide it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from dohle.model.errors import CorruptLog, StorageFailure
from dohle.model.ids import DirectoryId, TopicId, id_text
from dohle.model.topic_config import TopicConfig
from dohle.runtime.clock import Clock
from dohle.runtime.disk import Disk, File, Room
from dohle.runtime.progress import Progress
from dohle.runtime.tasks import Tasks, cancel, turn
from dohle.storage.checkpoints import (
    CHECKPOINT_INTERVAL_S,
    LOG_STARTS,
    RECOVERY_POINTS,
    Checkpoints,
    LogKey,
    Offsets,
    offsets_of,
    read_checkpoints,
    write_files,
)
from dohle.storage.clean_stop import NO_EPOCH, leave_mark, take_mark
from dohle.storage.compaction.compactor import Compactor
from dohle.storage.compaction.swaps import Swaps
from dohle.storage.data_folder import DataFolder, is_there
from dohle.storage.findings import FINDINGS_FILE, decode_findings, encode_findings, merge
from dohle.storage.forked_logs import FORKED_FILE, Forking
from dohle.storage.group_commit import GroupCommit, OnFailure
from dohle.storage.log import Log
from dohle.storage.moved_logs import FUTURE_SUFFIX, MOVED_SUFFIX, SOURCE_FILE
from dohle.storage.new_log import FILLING_FILE, NewLog, empty, make_files
from dohle.storage.opened import Opened
from dohle.storage.partition_metadata import read_topic_id
from dohle.storage.recovery import LogFiles
from dohle.storage.repair import Repairer
from dohle.storage.retiring import Retiring
from dohle.storage.room import NoRoom, needing_room
from dohle.storage.single_log import METADATA_LOG
from dohle.storage.strays import RETENTION_MS, Strays

METADATA_OFFSET_FILE = "durable-metadata-offset"
"""Its owner's: replicas that were assigned below this offset of the metadata have their folder."""

_FOLDER_NAME = re.compile(r"(.+)-(0|[1-9][0-9]*)")
_AT_ONCE = 8  # logs opened side by side, before the loop does what waits
_GROUP = 128  # logs made, or synced at a stop, together: bounds the files that are open for it
_OPENED_GROUP = 512  # logs synced together before they are opened, which can take as long as opening some hundred
_IN_A_TURN = 16  # logs whose files are made before the loop does what waits
_EXPIRY_ROUNDS = 60  # checkpoints between two looks for producers that were not seen for long
_PROGRESS_ROUNDS = 60  # until a later start is spared what was written, however little it is
_STRAY_ROUNDS = 3600  # and for strays that were kept for long enough

logger = logging.getLogger(__name__)


class LogFolder:
    """The logs of one data folder, by topic and partition. After a failed disk all of them refuse to work."""

    def __init__(
        self,
        disk: Disk,
        clock: Clock,
        folder: DataFolder,
        tasks: Tasks,
        *,
        on_failure: OnFailure,
        producer_expiration_ms: int,
        stray_retention_ms: int,
    ) -> None:
        self.path = folder.path
        self.headroom = folder.headroom
        self.directory_id: DirectoryId = folder.directory_id
        self.logs: dict[LogKey, Log] = {}
        self.previous_broker_epoch = NO_EPOCH
        self._disk = disk
        self._clock = clock
        self._tasks = tasks
        self._producer_expiration_ms = producer_expiration_ms
        self._commit = GroupCommit(disk, tasks, name=folder.path, on_failure=on_failure)
        self.strays = Strays(disk, clock, folder.path, stray_retention_ms)
        self._copies: dict[LogKey, Log] = {}  # whole ones, of replicas that another folder still has
        self._checkpoints = Checkpoints(disk, folder.path, lambda: {**self.logs, **self._copies})
        self.retiring = Retiring(disk, clock, self._commit, self._checkpoints)
        swaps = Swaps(disk, clock, self._commit, self._checkpoints)
        self.compactor = Compactor(disk, self._commit, self._checkpoints, swaps)
        self.repairer = Repairer(disk, self._commit, self._checkpoints, swaps)
        self.forking = Forking(disk, clock, self._commit, folder.path, self._log)
        self._unreported = False
        self._lacks_room = False
        self._upkeep: list[asyncio.Task[None]] = []

    @classmethod
    async def open(
        cls,
        disk: Disk,
        clock: Clock,
        folder: DataFolder,
        tasks: Tasks,
        *,
        on_failure: OnFailure,
        producer_expiration_ms: int = 86_400_000,
        stray_retention_ms: int = RETENTION_MS,
    ) -> LogFolder:
        """Opens every log. Damaged ones are among them, and say so.

        Raises DataFolderError for a file that must be read and cannot be, StorageFailure for a failed disk.
        `on_failure` is called once if the disk fails later.
        """
        logs = cls(
            disk,
            clock,
            folder,
            tasks,
            on_failure=on_failure,
            producer_expiration_ms=producer_expiration_ms,
            stray_retention_ms=stray_retention_ms,
        )
        with logs._commit.syncing():
            await logs._open()
        logs._upkeep = [tasks.spawn(logs._tend(), "checkpoints"), tasks.spawn(logs._note_starts(), "log starts")]
        return logs

    @property
    def failed(self) -> bool:
        return self._commit.failure is not None

    def free_bytes(self) -> int:
        """Returns how much can still be written here; none where the disk does not answer, or is away."""
        with contextlib.suppress(OSError):
            return self._disk.free_bytes(self.path) if is_there(self._disk, self.path) else 0
        return 0

    async def room(self) -> Room:
        """Returns how large the disk is, and how much can still be written. Raises OSError where it is away."""
        if not is_there(self._disk, self.path):
            raise FileNotFoundError(errno.ENOENT, "No such folder", self.path)
        return await self._disk.find_room(self.path)

    # Opening

    async def _open(self) -> None:
        broker_epoch = await take_mark(self._disk, self.path)
        clean = broker_epoch is not None
        self.previous_broker_epoch = broker_epoch if broker_epoch is not None else NO_EPOCH
        self.strays.find()
        self.strays.delete_old()
        keys = self._find_logs()
        found = await read_checkpoints(self._disk, self.path)
        if keys and not clean:
            logger.warning("%s was not stopped cleanly: %d logs are checked", self.path, len(keys))
        if keys and not found[RECOVERY_POINTS]:
            logger.warning("%s/%s is missing: every log is read and checked from its start", self.path, RECOVERY_POINTS)
        self._checkpoints.begin_with(found)
        opened: dict[LogKey, Log] = {}
        files: dict[LogKey, LogFiles] = {}  # of those that are being opened
        progress = Progress(self._clock, f"{self.path}: %d of {len(keys)} logs are open")

        async def open_one(key: LogKey) -> None:
            parts = await files[key].open(
                clean=clean,
                now=self._clock.now(),
                begins_at=found[LOG_STARTS].get(key),
            )
            folder = self._folder_of(key)
            opened[key] = self._log(key, folder, await read_topic_id(self._disk, folder), TopicConfig(), parts)
            progress.is_at(len(opened))

        for start in range(0, len(keys), _OPENED_GROUP):
            group = keys[start : start + _OPENED_GROUP]
            files.clear()
            for number, key in enumerate(group):
                await turn(number, every=_IN_A_TURN)
                files[key] = self._files(key, offsets_of(found, key))
            if not clean:
                unsure = [file for key in group for file in files[key].unsure_files()]
                await self._disk.sync(unsure, [self.path, *(self._folder_of(key) for key in group)])
            await _side_by_side(open_one, group)
        self.logs.update((key, opened[key]) for key in keys)  # in the order of the names
        for log in self.logs.values():
            if log.damage is not None:
                logger.error(
                    "%s: %s; once another replica is in sync without it, it is repaired or filled anew",
                    log.folder,
                    log.damage,
                )
        await self._keep_findings()

    def _files(self, key: LogKey, written: Offsets) -> LogFiles:
        return LogFiles(self._disk, self._folder_of(key), written)

    def _find_logs(self) -> list[LogKey]:
        keys: list[LogKey] = []
        for name in self._disk.list(self.path):
            if name.endswith(("-new", "-delete", FUTURE_SUFFIX)):
                logger.info("%s/%s was left by a stop in the middle: it is deleted", self.path, name)
                self._disk.delete(f"{self.path}/{name}")
            elif name != METADATA_LOG and (key := parse_folder_name(name)) is not None:
                keys.append(key)
        return keys

    async def _keep_findings(self) -> None:
        """Adds what was found to what an earlier start found and could not report, and keeps both."""
        path = f"{self.path}/{FINDINGS_FILE}"
        if self._disk.exists(path):
            self._unreported = True
            for key, earlier in decode_findings(path, await self._disk.read_all(path)).items():
                if key in self.logs:
                    self.logs[key].recovered = merge(earlier, self.logs[key].recovered)
        found = {key: log.recovered for key, log in self.logs.items()}
        bad = {key: one for key, one in found.items() if one.cut_bytes or not one.proven}
        if bad:
            self._unreported = True
            await write_files(self._disk, {path: encode_findings(bad)}, [self.path])

    async def findings_reported(self) -> None:
        """Forgets, durably, what recoveries found: the controller knows of it now."""
        if self._unreported:
            self._unreported = False
            with self._commit.syncing():
                self._disk.delete(f"{self.path}/{FINDINGS_FILE}")
                await self._disk.sync([], [self.path])

    async def metadata_offset(self) -> int:
        """Returns the offset (exclusive); 0 for a folder that has never held a replica.

        Raises CorruptLog, StorageFailure.
        """
        path = f"{self.path}/{METADATA_OFFSET_FILE}"
        with self._commit.syncing():  # one that cannot tell is none that may go on
            return decode_metadata_offset(path, await self._disk.read_all(path)) if self._disk.exists(path) else 0

    async def put_metadata_offset(self, offset: int) -> None:
        """Returns once the offset is durable. Raises StorageFailure; DiskFull where nothing has changed."""
        path = f"{self.path}/{METADATA_OFFSET_FILE}"
        with self._commit.replacing():
            try:
                await write_files(self._disk, {path: f"{offset}\n"}, [self.path])
            except NoRoom:
                await self._add_metadata_offset(path, offset)

    async def _add_metadata_offset(self, path: str, offset: int) -> None:
        """Adds a line, which counts once it is whole: the last block of a file has room where the disk has none.

        For replicas are made in other folders, which are not full, and this one must know of it.
        """
        with needing_room():
            file = self._disk.open(path, create=True)
        try:
            with needing_room():
                file.append([f"{offset}\n".encode()])
            await self._disk.sync([file], [self.path])
        finally:
            file.close()

    def _log(self, key: LogKey, folder: str, topic_id: TopicId, config: TopicConfig, opened: Opened) -> Log:
        return Log(
            self._disk,
            self._clock,
            self._commit,
            self._checkpoints,
            folder=folder,
            key=key,
            topic_id=topic_id,
            config=config,
            opened=opened,
        )

    def _folder_of(self, key: LogKey) -> str:
        return f"{self.path}/{key[0]}-{key[1]}"

    # Making and removing

    async def create_log(self, topic: str, topic_id: TopicId, partition: int, config: TopicConfig) -> Log:
        """Makes an empty log, durably. Raises StorageFailure."""
        return (await self.create_logs([NewLog(topic, partition, topic_id, config)]))[0]

    async def create_logs(self, new: Sequence[NewLog]) -> list[Log]:
        """Makes empty logs, durably, with few syncs for all. None of them is there yet.

        Raises StorageFailure, DiskFull where some were made and others could not be.
        """
        made: list[Log] = []
        for start in range(0, len(new), _GROUP):
            with self._commit.replacing():
                made += await self._create_group(new[start : start + _GROUP])
        return made

    async def _create_group(self, new: Sequence[NewLog]) -> list[Log]:
        keys = [(one.topic, one.partition) for one in new]
        folders = [f"{self._folder_of(key)}-new" for key in keys]
        files: list[File] = []
        with contextlib.ExitStack() as undo:
            for folder in folders:
                undo.callback(self._discard, folder)
            for number, (one, key, folder) in enumerate(zip(new, keys, folders, strict=True)):
                assert key not in self.logs, f"{folder}: the log is there"
                await turn(number, every=_IN_A_TURN)
                with needing_room():
                    files += self._make(folder, one, 0)
            await self._disk.sync(files, folders)
            for file in files:
                file.close()
            await self._checkpoints.forget_former(keys)
            for key, folder in zip(keys, folders, strict=True):
                self._disk.rename(folder, self._folder_of(key))
            undo.pop_all()
        await self._disk.sync([], [self.path])
        made = [self._empty(self._folder_of(key), one, 0) for key, one in zip(keys, new, strict=True)]
        self.logs.update(zip(keys, made, strict=True))
        return made

    def _make(self, folder: str, new: NewLog, offset: int) -> list[File]:
        """Makes the folder of a log that begins at `offset`. Returns its files, to be synced with it and closed."""
        if not is_there(self._disk, self.path):  # what is made where it was mounted would be lost from sight
            raise FileNotFoundError(errno.ENOENT, "its disk is not mounted any more", self.path)
        return make_files(self._disk, folder, new, offset)

    def _empty(self, folder: str, new: NewLog, offset: int) -> Log:
        opened = empty(self._disk, folder, new, offset)
        return self._log((new.topic, new.partition), folder, new.topic_id, new.config, opened)

    def fills(self, log: Log) -> bool:
        """Whether the log was made to be filled, and `filled` has not been called since."""
        return self._disk.exists(f"{log.folder}/{FILLING_FILE}")

    def filled(self, log: Log) -> None:
        """The log has all that its leader has. Raises StorageFailure."""
        with self._commit.using():
            if self.fills(log):
                self._disk.delete(f"{log.folder}/{FILLING_FILE}")

    async def delete_log(self, topic: str, partition: int) -> None:
        """Removes a log and its files. Whoever waits for it gets an error. Raises StorageFailure."""
        self.delete_retired(await self.retire(topic, partition))

    async def retire(self, topic: str, partition: int) -> str:
        """Removes a log, durably, whose files stay until `delete_retired`. Returns what they lie in."""
        log = self.logs[topic, partition]
        assert log.topic_id is not None
        return await self._rename(log, f"{log.name}.{id_text(log.topic_id)}-delete")

    def delete_retired(self, name: str) -> None:
        with self._commit.syncing():
            self._disk.delete(f"{self.path}/{name}")

    async def mark_stray(self, topic: str, partition: int) -> str:
        """Takes a log out of service and sets its folder aside. Returns the folder's new name."""
        log = self.logs[topic, partition]
        assert log.topic_id is not None
        name = await self._rename(log, self.strays.name_for(f"{log.name}.{id_text(log.topic_id)}"))
        self.strays.sizes[name] = log.size_bytes
        return name

    async def _rename(self, log: Log, name: str) -> str:
        await log.close()
        async with self._checkpoints.writing:
            with self._commit.syncing():
                self._disk.rename(log.folder, f"{self.path}/{name}")
                await self._disk.sync([], [self.path])
            del self.logs[log.key]
        return name

    # Copies of replicas that another folder has

    async def begin_copy(self, source: Log, source_id: DirectoryId, offset: int) -> Log:
        """Makes an empty log, to become a copy of `source`, which lies in the folder `source_id`, from `offset` on.

        It is none of `logs`. Raises StorageFailure, also where there is no room.
        """
        assert source.topic_id is not None
        assert source.key not in self.logs, f"{source.name} lies in {self.path}"
        folder, (topic, partition) = f"{self._folder_of(source.key)}{FUTURE_SUFFIX}", source.key
        new = NewLog(topic, partition, TopicId(source.topic_id), source.config)
        with contextlib.ExitStack() as undo:
            undo.callback(self._discard, folder)
            with self._commit.using():
                for former in (folder, self._whole_folder_of(source.key)):
                    if self._disk.exists(former):
                        self._disk.delete(former)
                files = self._make(folder, new, offset)
                files.append(self._disk.open(f"{folder}/{SOURCE_FILE}", create=True))
                files[-1].append([id_text(source_id).encode()])
            with self._commit.syncing():
                await self._disk.sync(files, [folder])
            for file in files:
                file.close()
            copy = self._empty(folder, new, offset)
            undo.pop_all()
        return copy

    def _discard(self, folder: str) -> None:
        """Deletes what was being made, if that works; else the next start does."""
        if not self.failed and self._disk.exists(folder):
            with contextlib.suppress(StorageFailure), self._commit.using():
                self._disk.delete(folder)

    def _whole_folder_of(self, key: LogKey) -> str:
        return f"{self._folder_of(key)}{MOVED_SUFFIX}"

    async def finish_copy(self, copy: Log, *, fills: bool) -> None:
        """Notes durably that `copy`, all of which is durable, is whole. The replica is still the other one, and `fills`
        says what it does."""
        assert copy.durable_end == copy.log_end_offset
        with self._commit.replacing():
            if fills:
                with needing_room():
                    self._disk.open(f"{copy.folder}/{FILLING_FILE}", create=True).close()
            await self._checkpoints.forget_former([copy.key])
            self._copies[copy.key] = copy
            await self._checkpoints.write()
            await self._disk.sync([], [copy.folder])
        await self._rename_copy(copy, self._whole_folder_of(copy.key))

    async def take_in_fork(self, fork: Log) -> None:
        """`fork`, which `forking` has made, is one of the logs from now on. Raises StorageFailure, DiskFull."""
        with self._commit.replacing():
            await self._checkpoints.forget_former([fork.key])
            self._copies[fork.key] = fork
            await self._checkpoints.write()
        await self.take_in(fork)

    def is_fork(self, log: Log) -> bool:
        """Whether the log was forked, and `adopted` has not been called since."""
        return self._disk.exists(f"{log.folder}/{FORKED_FILE}")

    async def adopted(self, forks: Sequence[Log]) -> None:
        """The cluster relies on these forks from now on; durable on return. Raises StorageFailure."""
        if not forks:
            return
        with self._commit.syncing():
            for fork in forks:
                self._disk.delete(f"{fork.folder}/{FORKED_FILE}")
            await self._disk.sync([], [fork.folder for fork in forks])

    async def take_in(self, copy: Log) -> None:
        """`copy` is the replica from now on, even if StorageFailure is raised: then this folder has failed."""
        del self._copies[copy.key]
        self.logs[copy.key] = copy
        await self._rename_copy(copy, self._folder_of(copy.key))

    async def _rename_copy(self, copy: Log, folder: str) -> None:
        async with self._checkpoints.writing:
            with self._commit.syncing():
                self._disk.rename(copy.folder, folder)
                copy.lies_in(folder)
                await self._disk.sync([], [self.path])

    async def drop_copy(self, copy: Log) -> None:
        """Lets go of a copy; its files are deleted unless it is whole, and may be the replica at the next start."""
        self._copies.pop(copy.key, None)
        await copy.close()
        if not copy.folder.endswith(MOVED_SUFFIX):
            self._discard(copy.folder)

    # Upkeep and the end

    async def retire_segments(self) -> None:
        """Takes what lies below the logs' starts out of service. Raises StorageFailure, DiskFull."""
        await self.retiring.run(list(self.logs.values()))

    async def _tend(self) -> None:
        """Keeps the checkpoints at most a second old, and sees to what has no other moment."""
        rounds = 0
        while True:
            await self._clock.sleep(CHECKPOINT_INTERVAL_S)
            with contextlib.suppress(OSError):  # who writes there hears of it
                await self._look_for_room()
            now = self._clock.now()
            rounds += 1
            for number, log in enumerate(self.logs.values()):
                log.flush_if_due(now)
                with contextlib.suppress(StorageFailure):  # a start will read more, if there is one
                    log.note_progress(is_late=(rounds + number) % _PROGRESS_ROUNDS == 0)
                if rounds % _EXPIRY_ROUNDS == 0:
                    log.producers.expire(now, self._producer_expiration_ms)
            try:
                with self._commit.syncing():
                    if rounds % _STRAY_ROUNDS == 0:
                        self.strays.delete_old()
                    for log in self.logs.values():
                        log.retired.delete_due(now)
                    await self._write_checkpoints()
            except StorageFailure:
                return  # the owner was told by the group commit

    async def _note_starts(self) -> None:
        """Writes soon where logs begin now."""
        while True:
            await self._checkpoints.starts_moved(self._clock)
            try:
                with self._commit.syncing():
                    await self._write_checkpoints()
            except StorageFailure:
                return  # the owner was told by the group commit

    async def _look_for_room(self) -> None:
        if is_there(self._disk, self.path):  # else it would be that of another disk
            await self.headroom.look()

    async def _write_checkpoints(self) -> None:
        """Full disks hold older ones, from which a start has more to check, until there is room again."""
        try:
            await self._checkpoints.write()
        except NoRoom as error:
            if not self._lacks_room:
                logger.error("%s: appends are refused until there is room: %s", self.path, error)
            self._lacks_room = True
        else:
            self._lacks_room = False

    async def close(self, *, clean: bool = True, broker_epoch: int = NO_EPOCH) -> None:
        """Lets go of all logs; nothing is appended any more.

        A clean stop makes everything durable and leaves the mark, with the epoch that the broker had; it becomes an
        unclean one if the disk fails or is full. The data folder stays locked until its owner closes it.
        """
        for task in self._upkeep:
            await cancel(task)
        if clean:
            try:
                with self._commit.replacing():
                    await self._stop_cleanly(broker_epoch)
            except StorageFailure as failure:
                logger.error("%s was not stopped cleanly: %s", self.path, failure)
        for log in self.logs.values():
            await log.close()
        await self._commit.close()

    async def _stop_cleanly(self, broker_epoch: int) -> None:
        logs = list(self.logs.values())
        await asyncio.gather(*(log.flush() for log in logs))
        sound = [log for log in logs if log.has_end]
        for start in range(0, len(sound), _GROUP):
            written: list[tuple[str, list[File]]] = []
            for number, log in enumerate(sound[start : start + _GROUP]):
                await turn(number, every=_IN_A_TURN)
                with needing_room():
                    files = log.write_state(clear_mark=not self._unreported)
                if files:
                    written.append((log.folder, files))
            state = [file for _, group in written for file in group]
            await self._disk.sync(state, [folder for folder, _ in written])
            for file in state:
                file.close()
        await self._checkpoints.write()
        if len(sound) == len(logs):  # else the next start must look again, or a damaged log would pass for sound
            await leave_mark(self._disk, self.path, broker_epoch)


def parse_folder_name(name: str) -> LogKey | None:
    """Returns topic and partition of the log whose folder has this name, None where it is none's."""
    parts = _FOLDER_NAME.fullmatch(name)
    return (parts[1], int(parts[2])) if parts is not None else None


def decode_metadata_offset(path: str, content: bytes) -> int:
    """Returns what the last whole line of METADATA_OFFSET_FILE says. Raises CorruptLog, naming `path`."""
    try:
        return int(content.decode().rpartition("\n")[0].rpartition("\n")[2])
    except ValueError as error:
        raise CorruptLog(
            f"{path} does not hold a number: set this node's data folder aside and let it fill from its peers"
        ) from error


async def _side_by_side(open_one: Callable[[LogKey], Coroutine[Any, Any, None]], keys: Sequence[LogKey]) -> None:
    """Opens a bounded number of logs at a time; raises the first failure once none is being opened any more.

    In between the loop does what else waits: this node's quorum is at work already, and its metadata is followed.
    """
    left = iter(keys)

    async def run() -> None:
        for key in left:
            await open_one(key)
            await turn(0, every=1)

    for outcome in await asyncio.gather(*(run() for _ in range(_AT_ONCE)), return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
