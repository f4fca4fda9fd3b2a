"""Moved logs: replicas on their way from one folder of a node to another, as a crash may leave them.

A copy grows in `<topic>-<partition>-future`, beside the logs of the folder that it is to lie in. Once it is whole, and
all of it durable, the folder is renamed `…-moved`. The replica moves at one moment, and durably: when the original is
renamed away. Only then the copy takes the replica's name, before anything is appended to it.

So whoever starts finds a `-future`, which is not whole and is deleted, or a `-moved`. While the original is anywhere,
that is the replica and the copy is deleted; if the folder that it came from is here and has it no more, the copy is the
replica. If that folder is not here, nobody can tell: the copy waits, and the replica counts as one that is in the
folder that is away.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from dohle.model.errors import CorruptLog
from dohle.model.ids import id_text, parse_id
from dohle.runtime.disk import Disk
from dohle.storage.data_folder import DataFolder

FUTURE_SUFFIX = "-future"
MOVED_SUFFIX = "-moved"
SOURCE_FILE = "moved-from"
"""Lies in a copy's folder: the id of the directory that has the original."""

log = logging.getLogger(__name__)


async def settle_moves(disk: Disk, folders: Sequence[DataFolder]) -> dict[str, str]:
    """Brings the moves to an end that a crash broke off; nothing is open yet. Returns which folders fail, and why."""
    names: dict[str, list[str]] = {}
    failing: dict[str, str] = {}
    for folder in folders:
        try:
            names[folder.path] = disk.list(folder.path)
        except OSError as error:
            failing[folder.path] = f"{folder.path} cannot be used: {error}"
    held = {name for found in names.values() for name in found}
    for target in [folder for folder in folders if folder.path in names]:
        for copy in [name for name in names[target.path] if name.endswith(MOVED_SUFFIX)]:
            path, name = f"{target.path}/{copy}", copy.removesuffix(MOVED_SUFFIX)
            at = target.path
            try:
                if name in held:
                    log.info("%s was left by a stop before %s had moved there: it is deleted", path, name)
                    disk.delete(path)
                    continue
                source_id = await read_source(disk, path)
                source = next((one for one in folders if one.directory_id == source_id), None)
                if source is None or source.path in failing:
                    log.warning("%s waits for the directory %s, which may have the original", path, id_text(source_id))
                    continue
                at = source.path
                await disk.sync([], [source.path])  # the original must not come back with a loss of power
                at = target.path
                disk.rename(path, f"{target.path}/{name}")
                await disk.sync([], [target.path])
                log.info("%s has moved from %s to %s", name, source.path, target.path)
            except CorruptLog as error:
                log.error("%s", error.message)
            except OSError as error:
                failing[at] = f"{at} cannot be used: {error}"
    return failing


async def read_source(disk: Disk, path: str) -> bytes:
    """Returns the id of the directory that the copy in `path` came from. Raises CorruptLog where nobody can tell."""
    note = f"{path}/{SOURCE_FILE}"
    try:
        return parse_id((await disk.read_all(note)).decode("ascii", "replace").strip())
    except (FileNotFoundError, ValueError) as error:
        raise CorruptLog(
            f"{note} is missing or damaged ({error}): the copy beside it stays as it is, and is not served, since "
            f"another directory may have the original; if none has, rename {path} to {path.removesuffix(MOVED_SUFFIX)}"
        ) from error
