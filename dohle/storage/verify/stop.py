"""How the last process left a directory: what its checkpoints and its clean-stop mark say, where they can be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dohle.model.errors import CorruptLog
from dohle.runtime.disk import Disk
from dohle.storage.checkpoints import FILES, HIGH_WATERMARKS, LOG_STARTS, RECOVERY_POINTS, LogKey, decode_offsets
from dohle.storage.clean_stop import FILE_NAME as CLEAN_STOP_FILE
from dohle.storage.clean_stop import decode_mark
from dohle.storage.verify.report import Report

CHECKPOINT_LINES = "version 0, the number of logs, and a line `topic partition offset` for each"

_MEANINGS = {
    RECOVERY_POINTS: "the node does not start: without it a torn tail cannot be told from a loss. Restore it, or "
    "delete it: every log is then read from its start, and a batch that looks torn is cut wherever it lies",
    HIGH_WATERMARKS: "the node begins it anew, says so, and learns the watermarks from the leaders again",
    LOG_STARTS: "the node begins it anew, says so, and takes each log to begin with its first segment",
}


@dataclass(frozen=True, slots=True)
class Stop:
    """Of one log. None: no file says it."""

    folder: str  # that the checkpoints lie in
    clean: bool
    recovery_point: int | None = None
    high_watermark: int | None = None
    log_start_offset: int | None = None


@dataclass(frozen=True, slots=True)
class DirectoryStop:
    """Of all logs of a directory. None stands for a file that is missing or damaged."""

    folder: str
    clean: bool
    offsets: Mapping[str, Mapping[LogKey, int] | None]

    def of(self, key: LogKey) -> Stop:
        recovery_points, watermarks, starts = (self.offsets[name] for name in FILES)
        return Stop(
            self.folder,
            self.clean,
            None if recovery_points is None else recovery_points.get(key, 0),  # as a start has it
            None if watermarks is None else watermarks.get(key),
            None if starts is None else starts.get(key),
        )

    def missing_lines(self) -> list[tuple[str, LogKey]]:
        """Returns what one of the files says nothing of, and another does."""
        readable = {name: offsets for name, offsets in self.offsets.items() if offsets is not None}
        return [(name, key) for name, offsets in readable.items() for key in self.logs() if key not in offsets]

    def logs(self) -> list[LogKey]:
        """Returns all logs that some file names."""
        return sorted({key for offsets in self.offsets.values() if offsets is not None for key in offsets})


async def read_stop(disk: Disk, folder: str, report: Report) -> DirectoryStop:
    """Reads the files of `folder`, and reports what is wrong with them."""
    mark = f"{folder}/{CLEAN_STOP_FILE}"
    clean = disk.exists(mark)
    if clean:
        clean = False
        with report.reading(mark):
            try:
                decode_mark(await disk.read_all(mark))
                clean = True
            except ValueError as error:
                meaning = "the node takes its last stop for a crash, says so, and checks all logs; nothing is lost"
                report.fault(mark, 0, str(error), expected="the mark of a clean stop", meaning=meaning)
    offsets: dict[str, Mapping[LogKey, int] | None] = {}
    for name in FILES:
        path = f"{folder}/{name}"
        offsets[name] = None
        with report.reading(path):
            if not disk.exists(path):
                if clean:
                    expected = "a checkpoint, which every clean stop leaves"
                    report.fault(path, 0, "it is missing", expected=expected, meaning=_MISSING[name])
                continue
            try:
                offsets[name] = decode_offsets(path, (await disk.read_all(path)).decode("utf-8", "replace"))
            except CorruptLog as error:
                report.fault(path, 0, error.message, expected=CHECKPOINT_LINES, meaning=_MEANINGS[name])
    return DirectoryStop(folder, clean, offsets)


_MISSING = {
    **_MEANINGS,
    RECOVERY_POINTS: "the next start reads and checks every log from its start, and a batch that looks torn is cut "
    "wherever it lies",
}


async def line_position(disk: Disk, path: str, key: LogKey) -> int:
    """Returns the byte where the line of this log begins in a checkpoint; 0 if there is none."""
    content = await disk.read_all(path)
    return max(content.find(f"\n{key[0]} {key[1]} ".encode()) + 1, 0)
