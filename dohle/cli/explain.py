"""`dohle explain`: answers to what one asks first when something is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dohle.cli.as_known import complain
from dohle.cli.lags import Lag, lags_in
from dohle.cli.moves import listed_nodes
from dohle.cli.output import age, counted, print_json, print_table, time_text
from dohle.cli.partition_told import PartitionTold, ask_of_partition
from dohle.cli.session import bootstrap_option, json_option, run_async, timeout_option
from dohle.cli.step_words import is_unclean, what_happened
from dohle.model.ids import TopicPartition

if TYPE_CHECKING:
    from dohle.client.partition_changes import PartitionHistory, PartitionStep
    from dohle.client.values import ClusterDescription, PartitionDescription, ReplicaDescription

_Replicas = dict[int, "ReplicaDescription"]


@click.group()
def explain() -> None:
    """Explain a cluster's state."""


@explain.command("partition")
@click.argument("topic")
@click.argument("partition", type=int)
@click.option(
    "-n",
    "--changes",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    metavar="COUNT",
    help="How many changes to show.",
)
@bootstrap_option
@timeout_option
@json_option
def partition_command(topic: str, partition: int, changes: int, bootstrap: str, timeout_s: float, as_json: bool) -> int:
    """Say who leads partition PARTITION of TOPIC since when and why, who was in sync, who lags, and why.

    While no majority of the controllers answers, what the nodes that do know of it; exit code 1 then.
    """
    # a step more than is shown tells what the first one has changed; the leader may be there for longer than that
    told = run_async(ask_of_partition(bootstrap, timeout_s, topic, partition, max(changes + 1, 1000)))
    if told.quorum is not None:
        complain(told.quorum, told.as_of())
    if as_json:
        print_json(_to_json(topic, told))
    else:
        _show(TopicPartition(topic, partition), told, changes)
    return 0 if told.quorum is None else 1


def _show(name: TopicPartition, told: PartitionTold, changes: int) -> None:
    history, described = told.history, told.described
    if history.steps:
        click.echo(f"{name}: {leader_words(history)}")
    click.echo(f"{_in_sync_words(described)}\n")
    print_table(("REPLICA", "STATE", "END", "RECORDS BEHIND", "BEHIND FOR", "WHY"), _rows(told))
    click.echo()
    steps = history.steps
    if steps:
        print_table(("TIME", "LEADER", "EPOCH", "IN SYNC", "WHAT HAPPENED"), _step_rows(history)[-changes:])
    elif told.quorum is not None:
        click.echo("No controller that answers knows what has happened to it.")
    if history.read_from_offset > 0 and len(steps) <= changes and not (steps and steps[0].partition_epoch == 0):
        click.echo(f"What was before metadata offset {history.read_from_offset} is not known any more.")


def leader_words(history: PartitionHistory) -> str:
    """Returns who leads since when and why; nothing is said of steps that have not changed it."""
    newest = history.steps[-1]
    first = len(history.steps) - 1
    while first > 0 and history.steps[first - 1].leader == newest.leader:
        first -= 1
    step = history.steps[first]
    before = history.steps[first - 1] if first else None
    since = f"since {time_text(step.time_ms)} ({age((history.now_ms - step.time_ms) / 1000)} ago)"
    who = f"broker {newest.leader} leads" if newest.leader >= 0 else "nobody leads"
    return f"{who} {since}, in epoch {newest.leader_epoch}: {what_happened(before, step)}"


def _step_rows(history: PartitionHistory) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    before: PartitionStep | None = None
    for step in history.steps:
        leader = step.leader if step.leader >= 0 else "none"
        in_sync = listed_nodes(step.in_sync_replicas)
        rows.append((time_text(step.time_ms), leader, step.leader_epoch, in_sync, what_happened(before, step)))
        before = step
    return rows


def _rows(told: PartitionTold) -> list[tuple[object, ...]]:
    described, replicas = told.described, told.replicas
    leading = replicas.get(described.leader)
    rows: list[tuple[object, ...]] = []
    for node in described.assigned_replicas:
        state = _state(node, described)
        held = replicas.get(node)
        end = _known_end(node, leading, held)
        if node == described.leader:
            rows.append((node, state, "?" if end is None else end, "-", "-", _why(node, told)))
            continue
        lag = _lag(leading, node)
        rows.append(
            (
                node,
                state,
                "?" if end is None else end,
                "?" if lag is None or lag.records is None else lag.records,
                "?" if lag is None else age(lag.lag_ms / 1000),
                _why(node, told),
            )
        )
    return rows


def _in_sync_words(described: PartitionDescription) -> str:
    words = f"in sync {listed_nodes(described.in_sync_replicas)} of {listed_nodes(described.assigned_replicas)}"
    if described.eligible_replicas:
        words += f"; {listed_nodes(described.eligible_replicas)} may lead all the same: eligible, with all below"
        words += " the high watermark"
    if described.last_known_leader >= 0:
        words += f"; broker {described.last_known_leader} led last"
    return words


def _state(node: int, described: PartitionDescription) -> str:
    if node == described.leader:
        return "leader"
    if node in described.in_sync_replicas:
        return "in sync"
    return "eligible" if node in described.eligible_replicas else "behind"


def _lag(leading: ReplicaDescription | None, node: int) -> Lag | None:
    return next((lag for lag in lags_in(leading) if lag.node_id == node), None) if leading is not None else None


def _known_end(node: int, leading: ReplicaDescription | None, held: ReplicaDescription | None) -> int | None:
    """Returns where a replica ends, by its broker or, if that does not answer, as it last told its leader."""
    if held is not None:
        return held.durable_end
    told = next((one.durable_end for one in leading.followers if one.node_id == node), -1) if leading else -1
    return told if told >= 0 else None


def _why(node: int, told: PartitionTold) -> str:
    """Returns the nearest reason for which a replica may lack records, or is not there; empty if there is none."""
    if node in told.waiting:
        return f"it waits for room, and is made once there is some: {told.waiting[node]}"
    if node == told.described.leader:
        return _why_silent(told.replicas.get(node))
    return _why_behind(node, told.described, told.replicas, told.cluster)


def _why_silent(held: ReplicaDescription | None) -> str:
    if held is None:
        return "its broker does not answer"
    return "" if held.failure is None else held.failure.message


def _why_behind(
    node: int, described: PartitionDescription, replicas: _Replicas, cluster: ClusterDescription | None
) -> str:
    """Returns the nearest reason for which a follower may lack records; empty if there is none."""
    leading, held = replicas.get(described.leader), replicas.get(node)
    if cluster is None:
        return "its broker does not run, or waits for a majority of the controllers"
    broker = next((one for one in cluster.nodes if one.node_id == node), None)
    if broker is None:
        return "its broker is not registered"
    if broker.fenced:
        return "its broker is fenced: it does not run, or reaches no controller"
    if broker.shutting_down:
        return "its broker shuts down"
    if held is None and broker.offline_log_dirs:
        return f"its broker is without a directory, where it may lie: `dohle cluster dirs {node}` says why"
    if held is None:
        return "its broker does not answer, or has no such replica yet"
    if held.failure is not None:
        return held.failure.message
    if held.refusal is not None:
        return f"it does not take what its leader sends: {held.refusal.message}"
    if leading is None:
        return "there is no leader to follow, or it does not answer"
    follower = next((one for one in leading.followers if one.node_id == node), None)
    if follower is None or not follower.subscribed:
        return "it is not connected to the leader"
    behind = leading.log_end_offset - held.durable_end
    lags = follower.lag_ms > 1000 or node not in described.in_sync_replicas
    return f"it catches up, {counted(behind, 'record')} to go" if behind > 0 and lags else ""


def _to_json(topic: str, told: PartitionTold) -> dict[str, Any]:
    history, described = told.history, told.described
    steps: list[dict[str, Any]] = []
    before: PartitionStep | None = None
    for step in history.steps:
        steps.append(
            {
                "metadata_offset": step.metadata_offset,
                "time_ms": step.time_ms,
                "leader": step.leader,
                "leader_epoch": step.leader_epoch,
                "partition_epoch": step.partition_epoch,
                "in_sync_replicas": list(step.in_sync_replicas),
                "assigned_replicas": list(step.assigned_replicas),
                "eligible_replicas": list(step.eligible_replicas),
                "last_known_leader": step.last_known_leader,
                "unclean": before is not None and is_unclean(before, step),
                "what_happened": what_happened(before, step),
            }
        )
        before = step
    return {
        "confirmed": told.quorum is None,
        "topic": topic,
        "partition": described.partition,
        "leader": described.leader,
        "leader_epoch": described.leader_epoch,
        "in_sync_replicas": list(described.in_sync_replicas),
        "eligible_replicas": list(described.eligible_replicas),
        "last_known_leader": described.last_known_leader,
        "replicas": [_replica_json(node, told) for node in described.assigned_replicas],
        "history": steps,
        "history_from_metadata_offset": history.read_from_offset,
        "metadata_offset": history.known_end,
    }


def _replica_json(node: int, told: PartitionTold) -> dict[str, Any]:
    described, replicas = told.described, told.replicas
    leading, held = replicas.get(described.leader), replicas.get(node)
    leads, lag = node == described.leader, _lag(leading, node)
    return {
        "node_id": node,
        "in_sync": node in described.in_sync_replicas,
        "durable_end": _known_end(node, leading, held),
        "records_behind": 0 if leads else None if lag is None else lag.records,
        "lag_ms": 0 if leads else None if lag is None else lag.lag_ms,
        "why": _why(node, told),
    }
