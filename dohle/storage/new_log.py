"""New logs: what is to be made, and the folder of one that is empty."""

from __future__ import annotations

from dataclasses import dataclass

from dohle.model.ids import TopicId
from dohle.model.topic_config import TopicConfig
from dohle.runtime.disk import Disk, File
from dohle.storage.epoch_cache import EpochCache
from dohle.storage.opened import Opened, Recovery
from dohle.storage.partition_metadata import PARTITION_FILE, encode_topic_id
from dohle.storage.producer_snapshots import ProducerSnapshots
from dohle.storage.producer_states import ProducerStates
from dohle.storage.segment import Segment
from dohle.storage.segments import Segments

FILLING_FILE = "filling"


@dataclass(frozen=True, slots=True)
class NewLog:
    """A log to be made."""

    topic: str
    partition: int
    topic_id: TopicId
    config: TopicConfig
    fills: bool = False  # from a leader that has much: what is there at a later start may be no more than a part


def make_files(disk: Disk, folder: str, new: NewLog, offset: int) -> list[File]:
    """Makes the folder of a log that begins at `offset`. Returns its files, to be synced with it and closed."""
    disk.make_folder(folder)
    about = disk.open(f"{folder}/{PARTITION_FILE}", create=True)
    about.append([encode_topic_id(new.topic_id)])
    files = [about, _first_segment(disk, folder, new.config, offset).create()]
    return [*files, disk.open(f"{folder}/{FILLING_FILE}", create=True)] if new.fills else files


def empty(disk: Disk, folder: str, new: NewLog, offset: int) -> Opened:
    """Returns what `make_files` has made, as if it had been opened."""
    return Opened(
        segments=Segments([_first_segment(disk, folder, new.config, offset)]),
        snapshots=ProducerSnapshots(disk, folder, []),
        epochs=EpochCache(),
        producers=ProducerStates(),
        log_start_offset=offset,
        log_end_offset=offset,
        high_watermark=offset,
        cleaned_to=0,
        unsynced_marked=False,
        recovered=Recovery(clean=True, proven=True),
        damage=None,
    )


def _first_segment(disk: Disk, folder: str, config: TopicConfig, offset: int) -> Segment:
    return Segment(disk, folder, offset, index_interval_bytes=config.index_interval_bytes)
