"""What happened to a partition, in words: a step of its history beside the one before."""

from __future__ import annotations

from collections.abc import Sequence

from dohle.client.partition_changes import PartitionStep


def what_happened(before: PartitionStep | None, step: PartitionStep) -> str:
    """Returns what the step changed, and what it came with: that is mostly why."""
    if before is None:
        return "the partition was made" if step.partition_epoch == 0 else "the first change that is known"
    words = [*_moves(before, step), *_members(before, step), *_eligible(before, step)]
    if step.leader != before.leader or step.leader_epoch != before.leader_epoch:
        words.append(_leader(before, step))
    if step.doubtful_brokers:
        words.append(f"{_brokers(step.doubtful_brokers)} may have lost data, and cannot lead like any other")
    came_with = _came_with(step)
    if came_with and words:
        return f"{came_with}: {'; '.join(words)}"
    return came_with or "; ".join(words) or "nothing that shows"


def _came_with(step: PartitionStep) -> str:
    parts = []
    if step.registered_brokers:
        parts.append(f"{_brokers(step.registered_brokers)} started anew")
    if step.fenced_brokers:
        parts.append(f"{_brokers(step.fenced_brokers)} {_was(step.fenced_brokers)} fenced")
    if step.shutting_down_brokers:
        parts.append(f"{_brokers(step.shutting_down_brokers)} shutting down")
    if step.offline_brokers:
        parts.append(f"{_brokers(step.offline_brokers)} lost the directory where the replica lies")
    if step.unfenced_brokers:
        parts.append(f"{_brokers(step.unfenced_brokers)} back")
    return ", ".join(parts)


def _moves(before: PartitionStep, step: PartitionStep) -> list[str]:
    if not before.assigned_replicas or (
        before.assigned_replicas == step.assigned_replicas and _runs(before) == _runs(step)
    ):
        return []
    targets = [node for node in step.assigned_replicas if node not in step.removing_replicas]
    if _runs(step) and not _runs(before):
        return [f"a move to {_listed(targets)} began"]
    if _runs(before) and not _runs(step):
        taken_back = set(step.assigned_replicas) == set(before.assigned_replicas) - set(before.adding_replicas)
        ended = not taken_back or not before.adding_replicas
        return [f"the move to {_listed(targets)} ended" if ended else "the move was taken back"]
    return [f"its replicas are {_listed(targets)} now"]


def _runs(step: PartitionStep) -> bool:
    return bool(step.adding_replicas or step.removing_replicas)


def _members(before: PartitionStep, step: PartitionStep) -> list[str]:
    if is_unclean(before, step):  # what is said of the leader says it all
        return []
    joined = [node for node in step.in_sync_replicas if node not in before.in_sync_replicas]
    left = [node for node in before.in_sync_replicas if node not in step.in_sync_replicas]
    gone = [node for node in left if step.assigned_replicas and node not in step.assigned_replicas]
    lagged = [node for node in left if node not in gone]
    words = []
    if joined:
        words.append(f"{_brokers(joined)} came in sync")
    if lagged:
        words.append(f"{_brokers(lagged)} left the in-sync set{_why_they_left(before, step, lagged)}")
    return words


def _why_they_left(before: PartitionStep, step: PartitionStep, lagged: Sequence[int]) -> str:
    """Returns why, if the step does not say what it came with: a broker with many partitions is fenced in several
    steps, of which only the last one names it."""
    if _came_with(step):
        return ""
    if before.leader in lagged:  # which nobody leaves behind
        return ": its broker was gone"
    return ": behind for too long, or gone"


def _eligible(before: PartitionStep, step: PartitionStep) -> list[str]:
    became = [node for node in step.eligible_replicas if node not in before.eligible_replicas]
    assigned = step.assigned_replicas or before.eligible_replicas
    stopped = [
        node
        for node in before.eligible_replicas
        if node in assigned and node not in (*step.eligible_replicas, *step.in_sync_replicas)
    ]
    words = []
    if became:
        words.append(f"{_brokers(became)} may lead all the same: eligible, with all below the high watermark")
    if stopped:
        words.append(f"{_brokers(stopped)} {_is(stopped)} eligible no longer")
    return words


def is_unclean(before: PartitionStep, step: PartitionStep) -> bool:
    """Whether the step's leader was elected though it may lack acknowledged records: neither in sync nor eligible, or
    with a doubt about it while members without one were missing."""
    if step.leader in (-1, before.leader) or step.leader in before.eligible_replicas:
        return False
    if step.leader not in before.in_sync_replicas:
        ends_a_move = _runs(before) and not _runs(step)
        return step.in_sync_replicas == (step.leader,) and not ends_a_move
    left_out = [
        node
        for node in before.in_sync_replicas
        if node not in (*step.in_sync_replicas, *before.doubtful_brokers, *step.registered_brokers)
    ]
    return step.leader in before.doubtful_brokers and bool(left_out)


def _leader(before: PartitionStep, step: PartitionStep) -> str:
    if step.leader < 0:
        return "nobody can lead"
    if step.leader == before.leader:
        return f"broker {step.leader} leads on in a new epoch"
    joins = step.leader not in before.in_sync_replicas
    how = ""
    if is_unclean(before, step):
        last = ", who led last," if step.leader == before.last_known_leader else ""
        return (
            f"an unclean election, since none of the in-sync ones, {_listed(before.in_sync_replicas)}, could lead: "
            f"broker {step.leader}{last} leads alone, and acknowledged records may be lost"
        )
    if step.leader in before.eligible_replicas:
        how = (
            f", as an eligible replica, since none of the in-sync ones, {_listed(before.in_sync_replicas)}, could lead"
        )
    elif joins:
        how = ", which came in sync just then"
    preferred = step.assigned_replicas[:1] == (step.leader,) and before.leader in step.in_sync_replicas
    why = " by an election, as the preferred leader" if preferred and not joins and not _came_with(step) else ""
    return f"broker {step.leader} took over from {before.leader if before.leader >= 0 else 'nobody'}{why}{how}"


def _brokers(nodes: Sequence[int]) -> str:
    return f"broker {nodes[0]}" if len(nodes) == 1 else f"brokers {_listed(nodes)}"


def _was(nodes: Sequence[int]) -> str:
    return "was" if len(nodes) == 1 else "were"


def _is(nodes: Sequence[int]) -> str:
    return "is" if len(nodes) == 1 else "are"


def _listed(nodes: Sequence[int]) -> str:
    return ",".join(map(str, nodes))
