"""Log directories: all partition logs of a node, spread over its folders, of which each is a disk's.

A replica lies in one folder; a new one goes where the fewest are (Kafka's rule). Each folder has its own group commit,
checkpoints and clean-stop mark, so that disks neither wait for one another nor vouch for one another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dohle.model.errors import DataFolderError
from dohle.runtime.clock import Clock
from dohle.runtime.disk import Disk
from dohle.runtime.tasks import Tasks
from dohle.storage.checkpoints import LogKey
from dohle.storage.clean_stop import NO_EPOCH
from dohle.storage.data_folder import DataFolder
from dohle.storage.group_commit import OnFailure
from dohle.storage.log import Log
from dohle.storage.log_folder import LogFolder, NewLog


class LogDirs:
    """A node's folders of logs, in the order of its configuration."""

    def __init__(self, folders: Sequence[LogFolder]) -> None:
        """Raises DataFolderError if two folders hold the same replica."""
        self.folders = tuple(folders)
        found: dict[LogKey, LogFolder] = {}
        for folder in self.folders:
            for key in folder.logs:
                if key in found:
                    raise DataFolderError(
                        f"{key[0]}-{key[1]} is in {found[key].path} and in {folder.path}: rename the older of the two"
                        " so that it ends in -stray"
                    )
                found[key] = folder

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
    ) -> LogDirs:
        """Opens every log of every folder. Raises as `LogFolder.open` does, for the first folder that cannot be."""
        opened = [
            await LogFolder.open(
                disk, clock, folder, tasks, on_failure=on_failure, producer_expiration_ms=producer_expiration_ms
            )
            for folder in folders
        ]
        return cls(opened)

    def log(self, key: LogKey) -> Log | None:
        """Returns the log of this topic and partition, if there is one."""
        return next((folder.logs[key] for folder in self.folders if key in folder.logs), None)

    def logs(self) -> list[Log]:
        """Returns all logs, by topic and partition."""
        return sorted((log for folder in self.folders for log in folder.logs.values()), key=lambda log: log.key)

    def folder_of(self, key: LogKey) -> LogFolder:
        """Returns where this replica lies, which is somewhere."""
        return next(folder for folder in self.folders if key in folder.logs)

    def number_of(self, key: LogKey) -> int:
        """Returns which of the folders holds this log."""
        return self.folders.index(self.folder_of(key))

    async def create_logs(self, new: Sequence[NewLog]) -> list[Log]:
        """Makes empty logs, durably, each in the folder that then has the fewest. Raises StorageFailure."""
        counts = [len(folder.logs) for folder in self.folders]
        shares: list[list[NewLog]] = [[] for _ in self.folders]
        for one in new:
            fewest = counts.index(min(counts))
            shares[fewest].append(one)
            counts[fewest] += 1
        for folder, share in zip(self.folders, shares, strict=True):
            if share:
                await folder.create_logs(share)
        return [self.folder_of((one.topic, one.partition)).logs[one.topic, one.partition] for one in new]

    async def delete_log(self, topic: str, partition: int) -> None:
        """Removes a log and its files. Whoever waits for it gets an error. Raises StorageFailure."""
        await self.folder_of((topic, partition)).delete_log(topic, partition)

    async def mark_stray(self, topic: str, partition: int) -> str:
        """Takes a log out of service and sets its folder aside. Returns the folder's new path."""
        folder = self.folder_of((topic, partition))
        return f"{folder.path}/{await folder.mark_stray(topic, partition)}"

    async def findings_reported(self) -> None:
        """Forgets, durably, what recoveries found: the controller knows of it now."""
        for folder in self.folders:
            await folder.findings_reported()

    @property
    def previous_broker_epoch(self) -> int:
        """The broker epoch that ended in a clean stop of every folder; -1 if one of them was not stopped so."""
        epochs = {folder.previous_broker_epoch for folder in self.folders}
        return epochs.pop() if len(epochs) == 1 else NO_EPOCH

    async def close(self, *, clean: bool = True, broker_epoch: int = NO_EPOCH) -> None:
        """As `LogFolder.close`, of all folders side by side."""
        await asyncio.gather(*(folder.close(clean=clean, broker_epoch=broker_epoch) for folder in self.folders))
