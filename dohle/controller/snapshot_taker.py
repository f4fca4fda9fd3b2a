"""Snapshot taker: has this controller write a snapshot when enough was applied since the last one (KIP-630).

Every controller does so for itself, active or not. The image is a value, so it is written in slices while newer ones
come about. After it the log is cut below the snapshot before, which stays: one may rot, and a peer that is a little
behind needs no snapshot.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from dohle.controller.quorum import Quorum
from dohle.controller.snapshot_files import is_full
from dohle.model.errors import StorageFailure
from dohle.model.image import ClusterImage
from dohle.runtime.clock import Clock

_LOOK_EVERY_S = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SnapshotConfig:
    """When a snapshot is due; whichever comes first."""

    max_bytes_between: int = 1 << 20
    """So much was applied since the last one (Kafka's metadata.log.max.record.bytes.between.snapshots): about 25,000
    changes, which a start reads and applies in half a second of CPU time; a snapshot of 10,000 partitions takes a tenth
    of a second. Kafka's default is 20 MB, for a start in Java."""

    max_interval_ms: int = 3_600_000
    """The last one is so old, and anything was applied since (Kafka's metadata.log.max.snapshot.interval.ms)."""

    segment_bytes: int = 8 << 20
    """The log is cut by whole segments, so that is how large they may get (Kafka's metadata.log.segment.bytes)."""


class SnapshotTaker:
    """`run` it while the quorum works. `image` returns what is applied at the moment."""

    def __init__(self, quorum: Quorum, image: Callable[[], ClusterImage], clock: Clock, config: SnapshotConfig) -> None:
        self.last_taken_at = clock.now()  # or found at the start
        self._quorum = quorum
        self._image = image
        self._clock = clock
        self._config = config
        self._bytes_at_last = 0
        self._wanted_end = 0
        self._said = ""

    @property
    def age_s(self) -> float:
        """How long ago the newest snapshot was taken here, or this process began."""
        return self._clock.now() - self.last_taken_at

    def want(self, least_end_offset: int) -> None:
        """Somebody needs a snapshot that reaches so far: takes one at the next look, if it would."""
        self._wanted_end = max(self._wanted_end, least_end_offset)

    async def run(self) -> None:
        """Looks once a second whether one is due, and takes it."""
        while True:
            await self._clock.sleep(_LOOK_EVERY_S)
            if self._is_due():
                await self.take()

    def _is_due(self) -> bool:
        newest_end, applied_end = self._quorum.snapshots.files.newest.end_offset, self._image().next_offset
        if applied_end <= newest_end:
            return False
        if newest_end < self._wanted_end <= applied_end:
            return True
        config, since_bytes = self._config, self._quorum.applied_bytes - self._bytes_at_last
        return since_bytes >= config.max_bytes_between or self.age_s * 1000 >= config.max_interval_ms

    async def take(self) -> None:
        """Writes a snapshot of what is applied, if there is room; the log is cut after it. Raises StorageFailure."""
        image, term, applied_bytes = self._image(), self._quorum.applied_term, self._quorum.applied_bytes
        began = self._clock.now()
        try:
            snapshot = await self._quorum.snapshots.files.write(image, term, self._quorum.first_batch_crc)
        except OSError as error:
            if not is_full(error):
                raise StorageFailure(f"no snapshot can be written ({error}): this controller stops") from error
            self._say(f"no snapshot of the metadata is written: {error}; free space")
            return
        self._say("")
        self.last_taken_at, self._bytes_at_last = self._clock.now(), applied_bytes
        size = self._quorum.snapshots.files.newest_size_bytes
        log.info(
            "wrote a snapshot of the metadata up to offset %d, %d bytes, in %.3f s",
            *(snapshot.end_offset, size, self._clock.now() - began),
        )
        self._quorum.snapshots.written(snapshot)

    def _say(self, what: str) -> None:
        if what and what != self._said:
            log.error("%s", what)
        self._said = what
