"""Roll: when a log begins a new segment (Kafka's rules), and when one that grows gets another seal."""

from __future__ import annotations

import zlib

from dohle.model.batch import BatchHeader
from dohle.model.topic_config import TopicConfig
from dohle.storage.segment import MOST_BYTES, Segment

MOST_RELATIVE_OFFSET = 2**31 - 1
"""Relative offsets are int32 in the index."""


_UNSEALED_BYTES = 4 << 20
"""As much as a recovery reads at once, and some hundred times what is written with a seal."""


def wants_seal(segment: Segment, config: TopicConfig, *, is_late: bool) -> bool:
    """Whether a start after a kill is to be spared what came since the last seal: much, or anything that `is_late`."""
    least = 1 if is_late else max(1, min(_UNSEALED_BYTES, config.segment_bytes // 16))
    return segment.unsealed_bytes >= least


def must_roll(segment: Segment, size: int, header: BatchHeader, config: TopicConfig, log_name: str) -> bool:
    """Whether the batch of `header` must not go into `segment`, which holds `size` bytes.

    segment.ms counts from the first batch of the segment in the batches' own time; batches without a time roll nothing.
    """
    if not size:
        return False
    if size + header.batch_length + 12 > min(config.segment_bytes, MOST_BYTES):
        return True
    if header.base_offset + header.last_offset_delta - segment.base_offset > MOST_RELATIVE_OFFSET:
        return True
    if (len(segment.index) + 1) * segment.index.ENTRY_BYTES > config.segment_index_bytes:
        return True
    if segment.first_timestamp < 0 or header.max_timestamp < 0:
        return False
    age_ms = header.max_timestamp - segment.first_timestamp
    if config.is_compacted and age_ms > config.max_compaction_lag_ms:  # only what is sealed is compacted
        return True
    return age_ms > config.segment_ms - config.segment_jitter_ms and age_ms > _segment_ms(segment, config, log_name)


def _segment_ms(segment: Segment, config: TopicConfig, log_name: str) -> int:
    """Returns segment.ms less the jitter: the same in every run, and another for every segment of every log."""
    most = min(config.segment_jitter_ms, config.segment_ms)
    return config.segment_ms - (zlib.crc32(f"{log_name}/{segment.base_offset}".encode()) % most if most else 0)
