"""What one change may make of a partition's replicas (replication.md, rule 14)."""

from __future__ import annotations

from dohle.model.image import PartitionImage


def reassigned_wrongly(before: PartitionImage, now: PartitionImage) -> str:
    """Returns what is wrong with the step from one state of a partition's replicas to the next; empty if nothing is."""
    was, has = set(before.assigned_replicas), set(now.assigned_replicas)
    gone = was - has
    if gone and now.leader_epoch == before.leader_epoch:
        return f"nodes {sorted(gone)} are no replicas any more, in the same leader epoch"
    if before.is_reassigning and not now.is_reassigning:
        if has == was - set(before.adding_replicas):
            return ""
        if now.assigned_replicas != before.target_replicas:
            return f"on its way to {before.target_replicas}, and ended at {now.assigned_replicas}"
        return _ended_early(now)
    if before.is_reassigning and now.assigned_replicas != before.assigned_replicas:
        return f"on its way from {before.assigned_replicas}, and now at {now.assigned_replicas}"
    if now.is_reassigning and not before.is_reassigning and (gone or has - was != set(now.adding_replicas)):
        return f"it goes from {before.assigned_replicas} and says that it adds {now.adding_replicas}"
    if not now.is_reassigning and has - was:
        return f"nodes {sorted(has - was)} are replicas at once"
    return _ended_early(now) if gone else ""


def _ended_early(now: PartitionImage) -> str:
    late = [node for node in now.assigned_replicas if node not in now.in_sync_replicas]
    return f"a reassignment has ended, and nodes {late} are not in sync" if late else ""
