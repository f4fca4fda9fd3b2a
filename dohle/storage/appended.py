"""What an append to a log wrote."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Appended:
    """Whole batches, one or more. `batch` is the very bytes that are in the log now."""

    base_offset: int
    next_offset: int
    log_append_time_ms: int  # -1 unless the topic stamps it
    batch: bytes
