"""Verification of what a node keeps: a whole directory, its metadata, or one replica, told apart by what is there."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dohle.controller.verification import verify_metadata
from dohle.controller.vote_file import VOTE_FILE
from dohle.model.errors import DataFolderError
from dohle.runtime.disk import Disk
from dohle.storage.checkpoints import FILES, LogKey
from dohle.storage.data_folder import META_FILE, parent
from dohle.storage.log_folder import parse_folder_name
from dohle.storage.partition_metadata import PARTITION_FILE
from dohle.storage.segment import LOG_SUFFIX, named_offsets
from dohle.storage.single_log import METADATA_LOG
from dohle.storage.verify.directory import verify_directory, verify_listed
from dohle.storage.verify.replica import verify_replica
from dohle.storage.verify.report import Report
from dohle.storage.verify.stop import Stop, read_stop

_SUFFIXED = ("-stray", "-moved", "-future", "-delete", "-new")


async def verify(disk: Disk, path: str) -> AsyncIterator[Report]:
    """Yields a report on each part of what lies in `path`. Raises DataFolderError if that is nothing of a node's."""
    path = path.rstrip("/") or "/"
    try:
        names = disk.list(path)
    except OSError as error:
        raise DataFolderError(f"{path} cannot be looked at: {error.strerror}") from error
    name = path.rpartition("/")[2]
    if VOTE_FILE in names or name == METADATA_LOG:
        yield await verify_metadata(disk, path)
    elif META_FILE in names or METADATA_LOG in names or any(file in names for file in FILES):
        async for report in verify_directory(disk, path):
            yield report
        if METADATA_LOG in names:
            yield await verify_metadata(disk, f"{path}/{METADATA_LOG}")
    elif PARTITION_FILE in names or named_offsets(names, LOG_SUFFIX):
        yield await _verify_replica(disk, path, name)
    else:
        inside = [f"{path}/{one}" for one in names if disk.exists(f"{path}/{one}/{META_FILE}")]
        hint = f"; give one of {', '.join(inside)}" if inside else ""
        raise DataFolderError(f"{path} is neither a node's directory nor a replica's folder in one{hint}")


async def _verify_replica(disk: Disk, path: str, name: str) -> Report:
    """Its directory's checkpoints tell a torn tail from damage, if it is in one and bears a replica's name."""
    key = parse_folder_name(name)
    directory = parent(path)
    if key is not None and disk.exists(f"{directory}/{META_FILE}"):
        stop = await read_stop(disk, directory, Report(directory))
        return await verify_listed(disk, path, key, stop)
    stem = name.partition(".")[0]
    for suffix in _SUFFIXED:
        stem = stem.removesuffix(suffix)
    report = await verify_replica(disk, path, parse_folder_name(stem) or _unnamed(name), Stop(directory, clean=False))
    report.note(path, "no checkpoint speaks of it: a batch that a crash has torn cannot be told from a damaged one")
    return report


def _unnamed(name: str) -> LogKey:
    return name, -1
