"""Deletions: what clients ask to be deleted, which is the beginning of a log up to an offset (Kafka's DeleteRecords).

Nothing that the watermark has not passed is deleted. The log begins at that offset at once, within a batch too; an
answer comes when the start is durable on every replica that is alive or may lead (`Leading.delete_records`). Files go
with the next look of `retention`, by whole segments.
"""

from __future__ import annotations

from dataclasses import dataclass

from dohle.broker.leading import Leading
from dohle.broker.replicas import Replicas, check_leader_epoch
from dohle.model.errors import OffsetNotAvailable, OffsetOutOfRange, PolicyViolation
from dohle.model.ids import PartitionKey
from dohle.model.snapshot_names import check_writable
from dohle.runtime.clock import Clock

WATERMARK = -1


@dataclass(frozen=True, slots=True)
class Deletion:
    """`log_start_offset`: where the log begins now, or as long as nothing is deleted. `size_bytes`: of the leader's
    files, by whole segments."""

    log_start_offset: int
    before_offset: int
    size_bytes: int


class Deletions:
    """Of this broker's partitions."""

    def __init__(self, replicas: Replicas, clock: Clock) -> None:
        self._replicas = replicas
        self._clock = clock

    async def delete(self, key: PartitionKey, before_offset: int, leader_epoch: int, timeout_s: float) -> Deletion:
        """Deletes the records below `before_offset`; WATERMARK: all that are committed. `leader_epoch` -1: any.

        Raises what `foreseen` raises, and RequestTimedOut or NotLeaderOrFollower where it may happen yet.
        """
        partition = self._replicas.partition(key)
        if partition.exchanged is not None:  # where the log begins is being told to another one
            await partition.may_append()
            partition = self._replicas.partition(key)
        leading = partition.leading()
        found = _foreseen(leading, before_offset, leader_epoch)
        start = await leading.delete_records(found.before_offset, self._clock.now() + timeout_s)
        return Deletion(start, found.before_offset, found.size_bytes)

    def foreseen(self, key: PartitionKey, before_offset: int, leader_epoch: int) -> Deletion:
        """Returns what `delete` would do. Raises OffsetOutOfRange above the watermark, PolicyViolation where the topic
        is compacted alone, OffsetNotAvailable where the watermark is not known yet, and NotLeaderOrFollower."""
        return _foreseen(self._replicas.partition(key).leading(), before_offset, leader_epoch)


def _foreseen(leading: Leading, before_offset: int, leader_epoch: int) -> Deletion:
    check_leader_epoch(leader_epoch, leading)
    log = leading.log
    check_writable(log.key[0])
    policy = log.config.cleanup_policy
    if "delete" not in policy:
        raise PolicyViolation(
            f"{log.name}: nothing is deleted from a topic whose cleanup.policy is {','.join(policy)}; with"
            " cleanup.policy=compact,delete it would be"
        )
    if not leading.watermark_is_current:
        raise OffsetNotAvailable(
            f"{log.name}: the leader of epoch {leading.leader_epoch} does not know yet what is committed; ask again"
        )
    watermark = log.high_watermark
    before = watermark if before_offset == WATERMARK else before_offset
    if not 0 <= before <= watermark:
        raise OffsetOutOfRange(
            f"{log.name}: offset {before_offset} is outside of what is committed, which spans {log.log_start_offset}"
            f" to {watermark}: give at most {watermark}, or {WATERMARK} for all of it"
        )
    return Deletion(log.log_start_offset, before, log.size_below(before))
