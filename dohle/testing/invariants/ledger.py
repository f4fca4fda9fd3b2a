"""Ledger: what all replicas of one log have in common: every batch that any of them wrote, and what is committed.

Kept: (offset, epoch) names one batch, and the one before it; so two logs that have a batch in common are equal up to
it, byte for byte as far as CRCs tell. What is committed stays as it is, and is there once. Batches that a
compaction has written anew differ: they count by offsets and epochs alone here.
"""

from __future__ import annotations

from bisect import bisect_left

from dohle.model.batch import DELETE_HORIZON_BIT, BatchHeader
from dohle.testing.invariants.sure_log import SureLog

_Place = tuple[int, int]  # offset and epoch
_NONE = (-1, -1)
_UNKNOWN = (-2, -2)


class Ledger:
    """One log. What its methods return says what fell, if something did."""

    def __init__(self) -> None:
        self.committed_by = -1  # the epoch of the leader who committed last
        self._committed: list[BatchHeader] = []
        self._written: dict[_Place, tuple[BatchHeader, _Place]] = {}
        self._sequences: dict[tuple[int, int, int], int] = {}

    def forked(self, end: int) -> Ledger | None:
        """Returns that of a fork of this log, cut at `end`: the same below. None where nothing committed ends there."""
        fork = Ledger()
        fork._committed = [batch for batch in self._committed if batch.next_offset <= end]
        if fork.end != end:
            return None
        fork._written = {place: known for place, known in self._written.items() if place[0] < end}
        for batch in fork._committed:
            if batch.producer_id >= 0:
                fork._sequences[batch.producer_id, batch.producer_epoch, batch.base_sequence] = batch.base_offset
        return fork

    @property
    def last_epoch(self) -> int:
        """The epoch of what was committed last, -1 if nothing was."""
        return self._committed[-1].partition_leader_epoch if self._committed else -1

    @property
    def end(self) -> int:
        """Everything below was committed at some time."""
        return self._committed[-1].next_offset if self._committed else 0

    def ending_at(self, offset: int) -> BatchHeader | None:
        """Returns the committed batch whose end `offset` is."""
        at = bisect_left(self._committed, (offset,)) - 1
        return self._committed[at] if at >= 0 and self._committed[at].next_offset == offset else None

    def judge(self, replica: SureLog) -> str | None:
        """Compares what is new in a replica with what was written anywhere."""
        batches = replica.batches
        if replica.judged:
            last = batches[replica.judged - 1]
            before = _UNKNOWN if _was_written_anew(last) else _place(last)
        else:
            before = _NONE if replica.start == 0 else _UNKNOWN  # it begins behind what was cut
        for at in range(replica.judged, len(batches)):
            batch = batches[at]
            if _was_written_anew(batch):
                before = _UNKNOWN  # of what was there every replica leaves what it leaves
                continue
            if batch.base_offset <= replica.let_go:
                before = _UNKNOWN  # a divergence below the leader's start is left until it goes, and shown to nobody
            place = _place(batch)
            known = self._written.setdefault(place, (batch, before))
            if known[1] == _UNKNOWN:
                known = self._written[place] = known[0], before
            if known[0] != batch or before not in (known[1], _UNKNOWN):
                return (
                    f"offset {place[0]} of epoch {place[1]} is not everywhere the same: {known[0]} after {known[1]},"
                    f" and {batch} after {before}"
                )
            before = place
        replica.judged = len(batches)
        return None

    def has_all(self, replica: SureLog) -> bool:
        """Whether everything that is committed is there, but for what was let go."""
        if not self._committed or replica.holds(self._committed[-1]) or self.end <= replica.let_go:
            return True
        return _has_what_stays_of(replica, self._committed[-1])

    def has_all_below(self, replica: SureLog, watermark: int) -> bool:
        """Whether the replica has what is committed below `watermark`, with the batch that it may lie in."""
        at = bisect_left(self._committed, (watermark,)) - 1  # within one it lies where a log begins after a deletion
        last = self._committed[at] if at >= 0 else None
        if last is None or last.next_offset < watermark:
            return False
        return replica.holds(last) or _has_what_stays_of(replica, last)

    def commit(self, replica: SureLog, end: int, epoch: int) -> str | None:
        """Takes what a replica holds below `end` for committed by the leader of `epoch`."""
        if not self.has_all(replica) and replica.start != self.end:
            return f"what epoch {self.committed_by} has committed, up to {self.end}, is not what its leader has"
        if replica.ending_at(end) is None:
            return f"everything below {end} counts as committed, and its leader has {replica.end} on its disk"
        for batch in replica.between(self.end, end):
            self._committed.append(batch)
            if batch.producer_id < 0:
                continue
            sequence = (batch.producer_id, batch.producer_epoch, batch.base_sequence)
            first = self._sequences.setdefault(sequence, batch.base_offset)
            if first != batch.base_offset:
                return f"producer, epoch and sequence {sequence} are at offset {first} and at {batch.base_offset}"
        self.committed_by = epoch
        return None


def _has_what_stays_of(replica: SureLog, committed: BatchHeader) -> bool:
    """Whether a compaction has left there what it left of a batch."""
    batch = replica.holding(committed.last_offset)
    if batch is None or not _was_written_anew(batch):
        return False
    return batch.partition_leader_epoch == committed.partition_leader_epoch


def _was_written_anew(batch: BatchHeader) -> bool:
    return batch.is_compacted or bool(batch.attributes & DELETE_HORIZON_BIT)


def _place(batch: BatchHeader) -> _Place:
    return batch.base_offset, batch.partition_leader_epoch
