"""Epochs: that a replica's epoch cache says of its log what the batches say themselves (rule 1 of replication).

Where two logs part is found out by their epoch caches alone: an epoch that is missing there, or begins at another
offset than in the log, lets a follower keep what its leader never had. An epoch without data is its leader's only, and
begins where the log ends.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from dohle.broker.following import Following
from dohle.broker.leading import Leading
from dohle.model.batch import BatchHeader
from dohle.storage.log import Log


def wrong_epochs(log: Log, role: Leading | Following | None, batches: Sequence[BatchHeader]) -> str | None:
    """Returns what is wrong with the epochs of `log`, of which `batches` are on the disk; None if nothing is."""
    entries, end = log.epochs.entries, log.log_end_offset
    if isinstance(role, Leading) and log.epochs.latest != role.leader_epoch:
        return f"its newest epoch is {log.epochs.latest}, and it leads in {role.leader_epoch}"
    for number, (epoch, start) in enumerate(entries):
        is_last = number + 1 == len(entries)
        if start >= end and start != log.log_start_offset:
            if start > end or not is_last or isinstance(role, Following):
                return f"epoch {epoch} begins at {start}, and there is nothing: the log ends at {end}"
            continue
        limit = end if is_last else entries[number + 1].start_offset
        first, beyond = bisect_left(batches, (start,)), bisect_left(batches, (limit,))
        found = sorted({batch.partition_leader_epoch for batch in (*batches[first:beyond][:1], *batches[:beyond][-1:])})
        # what comes before the first batch was let go, and may still be there; its epoch is that of the last of it
        is_first = first == 0 or (number == 0 and start < log.log_start_offset)
        if first < beyond and (found != [epoch] or (not is_first and batches[first].base_offset != start)):
            return (
                f"epoch {epoch} is said to reach from {start} to {limit}, and the batches there, from"
                f" {batches[first].base_offset} on, are of {found}"
            )
    is_held = bool(batches) and batches[0].base_offset < end  # else a truncation is about to cut them off
    if is_held and (not entries or entries[0].start_offset > max(batches[0].base_offset, log.log_start_offset)):
        return f"it knows no epoch of the batches from {batches[0].base_offset} on: {entries}"
    return None
