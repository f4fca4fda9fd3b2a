"""Opened: a log as it was found on the disk or made, and what was found out about it on the way."""

from __future__ import annotations

from dataclasses import dataclass

from dohle.storage.epoch_cache import EpochCache
from dohle.storage.producer_snapshots import ProducerSnapshots
from dohle.storage.producer_states import ProducerStates
from dohle.storage.segments import Segments

UNSYNCED_FILE = "unsynced-appends"
"""Lies in the folder while appends count before they are synced: after an unclean stop the log is not proven."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A place where a batch is bad and no crash explains it."""

    file: str
    position: int
    reason: str
    offsets: tuple[int, int] | None = None
    """From the first to before the second they cannot be read. None: of all that comes behind nothing is known."""

    def __str__(self) -> str:
        return f"{self.file} is damaged at byte {self.position}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Recovery:
    """What opening the log found."""

    clean: bool  # the last stop was clean
    proven: bool  # every append was fsynced since the last clean stop, before it counted
    cut_bytes: int = 0  # of a torn tail
    cut_offset: int = -1  # where it was cut, -1 if nothing was
    lost: bool = False  # what was durable was cut too, by an operator's word: it is no member before it has caught up


@dataclass(frozen=True, slots=True)
class Opened:
    """A log as it was found on the disk, or made: what `Log` begins with. Everything in it is durable."""

    segments: Segments
    snapshots: ProducerSnapshots
    epochs: EpochCache
    producers: ProducerStates
    log_start_offset: int
    log_end_offset: int
    high_watermark: int
    cleaned_to: int
    unsynced_marked: bool  # UNSYNCED_FILE is there
    recovered: Recovery
    damage: Damage | None
