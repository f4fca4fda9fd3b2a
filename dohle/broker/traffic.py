"""What has gone through a broker since its start, for metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Traffic:
    """Counts that only grow."""

    produced_batches: int = 0
    produced_bytes: int = 0
    refused_batches: int = 0
    fetches: int = 0
    fetched_bytes: int = 0
    followed_bytes: int = 0  # of them, those of partitions that this broker follows
    scrubbed_bytes: int = 0
    scrubs: int = 0  # passes over all replicas
