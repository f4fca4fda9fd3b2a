"""Log directories: all partition logs of a node, spread over its folders, of which each is a disk's.

A replica lies in one folder; a new one goes where the fewest are (Kafka's rule) of those that have room. Each folder
has its own group commit, checkpoints and clean-stop mark, so that disks neither wait for one another nor vouch for one
another.

A folder that has failed, or could not be opened, is offline for the life of the process, and what lies there with it:
nothing of it is made anew in another one. The node goes on with the others; it ends with the last of them, or with the
one that holds its metadata.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from dohle.model.errors import StorageFailure
from dohle.model.ids import TopicId
from dohle.runtime.clock import Clock
from dohle.runtime.disk import Disk
from dohle.runtime.tasks import Tasks
from dohle.storage.checkpoints import LogKey
from dohle.storage.clean_stop import NO_EPOCH
from dohle.storage.data_folder import DataFolder
from dohle.storage.group_commit import OnFailure
from dohle.storage.headroom import LEAST_FREE_BYTES
from dohle.storage.log import Log
from dohle.storage.log_folder import LogFolder
from dohle.storage.moved_logs import settle_moves
from dohle.storage.new_log import NewLog
from dohle.storage.room import DiskFull
from dohle.storage.strays import RETENTION_MS

logger = logging.getLogger(__name__)


class LogDirs:
    """A node's folders of logs, in the order of its configuration: those that were opened, failed ones among them."""

    def __init__(self, on_failure: OnFailure, *, offline: Mapping[str, str], essential: str | None) -> None:
        self.folders: list[LogFolder] = []
        self.offline = dict(offline)
        """Why those that cannot be used cannot, by their paths."""
        self.on_offline: Callable[[LogFolder], None] | None = None
        """Hears of each folder that fails while the node goes on."""
        self._on_failure = on_failure
        self._essential = essential
        self._ends = False  # the node does, by a folder's failure

    @classmethod
    async def open(
        cls,
        disk: Disk,
        clock: Clock,
        folders: Sequence[DataFolder],
        tasks: Tasks,
        *,
        on_failure: OnFailure,
        producer_expiration_ms: int,
        stray_retention_ms: int = RETENTION_MS,
        offline: Mapping[str, str] | None = None,
        essential: str | None = None,
    ) -> LogDirs:
        """Opens every log of every folder; `offline` are further ones, and why they cannot be opened.

        Raises DataFolderError for a file that must be read and cannot be, StorageFailure if no folder's disk works, or
        that of `essential`, the path without which the node cannot be. `on_failure` is called once if either happens
        later.
        """
        failing = await settle_moves(disk, folders)
        self = cls(on_failure, offline={**(offline or {}), **failing}, essential=essential)
        failure: StorageFailure | None = None
        for folder in folders:
            try:
                if folder.path in failing:
                    raise StorageFailure(failing[folder.path])
                opened = await LogFolder.open(
                    disk,
                    clock,
                    folder,
                    tasks,
                    on_failure=partial(self._failed, folder.path),
                    producer_expiration_ms=producer_expiration_ms,
                    stray_retention_ms=stray_retention_ms,
                )
            except StorageFailure as error:
                if folder.path == essential:
                    raise
                self.offline[folder.path], failure = error.message, error
            else:
                self.folders.append(opened)
        if not self.folders:
            raise failure or StorageFailure("; ".join(self.offline.values()))
        await self._set_older_copies_aside()
        return self

    async def _set_older_copies_aside(self) -> None:
        """Of a replica that two folders hold the one counts whose folder has seen more.

        The other was away while the broker lost the replica and was given it anew.
        """
        seen: dict[LogKey, LogFolder] = {}
        offsets = await self.metadata_offsets()
        for folder in sorted(offsets, key=lambda folder: offsets[folder], reverse=True):
            for key in list(folder.logs):
                if key in seen:
                    try:
                        name = await folder.mark_stray(*key)
                    except StorageFailure:
                        self._go_on()
                        break
                    logger.warning(
                        "%s-%d is in %s too, which has been in use for longer: set aside as %s/%s",
                        *key,
                        seen[key].path,
                        folder.path,
                        name,
                    )
                else:
                    seen[key] = folder

    def _failed(self, path: str, failure: StorageFailure) -> None:
        folder = next((folder for folder in self.folders if folder.path == path), None)
        if folder is None:
            return  # it is being opened, and its opener hears of it
        self.offline[path] = failure.message
        if path == self._essential or not self.online:
            self._ends = True
            self._on_failure(failure)
            return
        logger.error("%s is offline, and with it %d replicas; this node goes on without it", path, len(folder.logs))
        if self.on_offline is not None:
            self.on_offline(folder)

    @property
    def online(self) -> list[LogFolder]:
        """The folders that work."""
        return [folder for folder in self.folders if not folder.failed]

    def log(self, key: LogKey) -> Log | None:
        """Returns the log of this topic and partition, if there is one in a folder that works."""
        return next((folder.logs[key] for folder in self.online if key in folder.logs), None)

    def log_out_of_service(self, key: LogKey, topic_id: TopicId) -> Log | None:
        """Returns the log of this topic and partition in a folder that has failed since it was opened."""
        found = [folder.logs[key] for folder in self.folders if folder.failed and key in folder.logs]
        return next((log for log in found if log.topic_id == topic_id), None)

    def logs(self) -> list[Log]:
        """Returns all logs of the folders that work, by topic and partition."""
        return sorted((log for folder in self.online for log in folder.logs.values()), key=lambda log: log.key)

    def folder_of(self, log: Log) -> LogFolder:
        """Returns where this log lies."""
        return next(folder for folder in self.folders if log.folder.startswith(f"{folder.path}/"))

    def check_room(self, log: Log) -> None:
        """Raises DiskFull where producers are to write nothing, since there is little room left."""
        if any(folder.headroom.is_low for folder in self.folders):
            self.folder_of(log).headroom.check()

    def number_of(self, log: Log) -> int:
        """Returns which of the folders holds this log."""
        return self.folders.index(self.folder_of(log))

    async def create_logs(self, new: Sequence[NewLog]) -> list[Log]:
        """Makes empty logs, durably, each in the folder that then has the fewest; if one fails or is full, in another.

        Raises DiskFull, and has made none, where no folder has room; StorageFailure where the node ends.
        """
        missing = list(new)
        full: dict[LogFolder, DiskFull] = {}
        while missing:
            self._go_on()
            folders = [folder for folder in self.online if folder not in full]
            if not folders:
                for log in self._found(new):
                    await self.delete_log(log)
                raise DiskFull("; ".join(error.message for error in full.values()))
            for folder, share in zip(folders, _shares(missing, folders), strict=True):
                if share:
                    try:
                        await folder.create_logs(share)
                    except DiskFull as error:
                        full[folder] = error
                    except StorageFailure:
                        self._go_on()
            missing = [one for one in missing if self.log((one.topic, one.partition)) is None]
        return self._found(new)

    def _found(self, new: Sequence[NewLog]) -> list[Log]:
        made = [self.log((one.topic, one.partition)) for one in new]
        return [log for log in made if log is not None]

    async def delete_log(self, log: Log) -> None:
        """Removes a log and its files. Whoever waits for it gets an error.

        In a folder that has failed its files stay; once that works again, nothing asks for them any more.
        """
        folder = self.folder_of(log)
        if not folder.failed:
            try:
                await folder.delete_log(*log.key)
            except StorageFailure:
                self._go_on()
        folder.logs.pop(log.key, None)

    async def adopted(self, forks: Sequence[Log]) -> None:
        """As `LogFolder.adopted`, of forks in several folders. Raises StorageFailure where the node ends."""
        for folder in self.online:
            try:
                await folder.adopted([fork for fork in forks if self.folder_of(fork) is folder])
            except StorageFailure:
                self._go_on()

    async def move(self, log: Log, copy: Log) -> None:
        """Lets `copy`, which has taken `log` over, be the replica; nobody appends to either before this returns.

        Raises StorageFailure where it is not, because one of the two folders has failed.
        """
        source, target = self.folder_of(log), self.folder_of(copy)
        await target.finish_copy(copy, fills=source.fills(log))
        retired = await source.retire(*log.key)  # the moment after which the original is not found again
        had_failed = target.failed
        try:
            await target.take_in(copy)
        except StorageFailure:
            self._go_on()
            if had_failed and self.on_offline is not None:
                self.on_offline(target)  # with one replica more than when it failed
        try:
            source.delete_retired(retired)
        except StorageFailure:
            self._go_on()

    async def mark_stray(self, log: Log) -> str | None:
        """Takes a log out of service and sets its folder aside; returns its new path.

        None where it stays, because its directory has failed. Raises StorageFailure where the node ends.
        """
        folder = self.folder_of(log)
        try:
            return f"{folder.path}/{await folder.mark_stray(*log.key)}"
        except StorageFailure:
            self._go_on()
            return None

    async def findings_reported(self) -> None:
        """Forgets, durably, what recoveries found: the controller knows of it now."""
        for folder in self.online:
            try:
                await folder.findings_reported()
            except StorageFailure:
                self._go_on()

    async def metadata_offsets(self) -> dict[LogFolder, int]:
        """Returns up to which offset of metadata each folder that works has been in use.

        Raises CorruptLog, StorageFailure where the node ends.
        """
        offsets: dict[LogFolder, int] = {}
        for folder in self.online:
            try:
                offsets[folder] = await folder.metadata_offset()
            except StorageFailure:
                self._go_on()
        return offsets

    async def put_metadata_offset(self, offset: int) -> None:
        """Returns once `offset` is durable in every folder that works.

        Raises DiskFull, and it may be durable in some, where one has no room; StorageFailure where the node ends.
        """
        for folder in self.online:
            try:
                await folder.put_metadata_offset(offset)
            except DiskFull:
                raise
            except StorageFailure:
                self._go_on()

    def _go_on(self) -> None:
        """A folder's failure, which is being handled, is that folder's alone, unless the node ends by it."""
        if self._ends:
            raise StorageFailure("; ".join(self.offline.values()))

    @property
    def previous_broker_epoch(self) -> int:
        """The broker epoch that ended in a clean stop of every folder; -1 if one of them was not stopped so."""
        epochs = {folder.previous_broker_epoch for folder in self.folders}
        return max(epochs) if len(epochs) == 1 else NO_EPOCH

    async def close(self, *, clean: bool = True, broker_epoch: int = NO_EPOCH) -> None:
        """As `LogFolder.close`, of all folders side by side."""
        await asyncio.gather(*(folder.close(clean=clean, broker_epoch=broker_epoch) for folder in self.folders))


def _shares(new: Sequence[NewLog], folders: Sequence[LogFolder]) -> list[list[NewLog]]:
    """Returns which of the new logs go into each folder: where the fewest are, of those with room for a segment."""
    shares: list[list[NewLog]] = [[] for _ in folders]
    counts = [len(folder.logs) for folder in folders]
    free = [folder.free_bytes() for folder in folders] if len(folders) > 1 else [0]
    for one in new:
        wanted = one.config.segment_bytes + LEAST_FREE_BYTES
        roomy = [at for at in range(len(folders)) if free[at] >= wanted]
        chosen = min(roomy, key=lambda at: counts[at]) if roomy else free.index(max(free))
        shares[chosen].append(one)
        counts[chosen] += 1
    return shares
