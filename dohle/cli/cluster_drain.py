"""`dohle cluster drain`: moves everything away from one broker, so that its node can be switched off."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from dohle.cli.cluster_reassign import partitions_of, print_plan, told
from dohle.cli.moves import listed_nodes, until_arrived
from dohle.cli.output import about, counted, print_json
from dohle.cli.partition_names import parse_rate
from dohle.cli.session import bootstrap_option, check_seconds, json_option, run_async, timeout_option
from dohle.client.held_up import HeldUp, hold_ups
from dohle.client.partition_changes import Reassignment
from dohle.model.errors import (
    BrokerNotAvailable,
    DohleError,
    InvalidReplicaAssignment,
    InvalidRequest,
    InvalidUpdateVersion,
    NoReassignmentInProgress,
    OperationNotAttempted,
    ReassignmentInProgress,
    RequestTimedOut,
    UnknownTopicOrPartition,
    UnsupportedVersion,
)

if TYPE_CHECKING:
    from dohle.client.admin import Admin
    from dohle.client.values import NodeDescription

_AT_ONCE = 100
"""How many partitions are on their way at the same time."""
_MOST_IN_VAIN = 20
_LOOK_AGAIN_S = 0.5
_CHANGED_MEANWHILE = (
    InvalidReplicaAssignment,  # a target went down, or is being drained itself
    InvalidUpdateVersion,
    NoReassignmentInProgress,
    OperationNotAttempted,
    ReassignmentInProgress,
    UnknownTopicOrPartition,
)


@click.command()
@click.argument("node", type=int)
@click.option("--throttle", callback=parse_rate, metavar="RATE", help="Bytes a second, as 10M; 0: no bound.")
@click.option(
    "--patience",
    "patience_s",
    type=float,
    default=30.0,
    show_default=True,
    callback=check_seconds,
    metavar="SECONDS",
    help="How long a broker may be down before what goes there is sent elsewhere.",
)
@click.option("--dry-run", is_flag=True, help="Show where everything would go, and change nothing.")
@click.option("--cancel", is_flag=True, help="Let it take replicas again; what was moved away stays away.")
@bootstrap_option
@timeout_option
@json_option
def drain(
    node: int,
    throttle: int | None,
    patience_s: float,
    dry_run: bool,
    cancel: bool,
    bootstrap: str,
    timeout_s: float,
    as_json: bool,
) -> int:
    """Move all replicas away from broker NODE, and say when it can be switched off.

    From now on it gets no new ones, restarted or not, until it is unregistered or this is taken back with --cancel.
    Ctrl-C ends the command alone: what is on its way arrives all the same, and the same command goes on from there.
    """
    if cancel and (dry_run or throttle is not None):
        raise click.UsageError("--cancel goes with neither --dry-run nor --throttle")

    async def work() -> int:
        from dohle.client.admin import Admin

        async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-cluster") as admin:
            if cancel:
                return await _cancel(admin, node, as_json)
            is_marked = await _mark(admin, node, dry_run=dry_run, as_json=as_json)
            if dry_run:
                return await _show_plan(admin, node, as_json)
            try:
                return await _drain(admin, node, throttle, patience_s=patience_s, is_marked=is_marked, as_json=as_json)
            except DohleError:
                if is_marked:
                    click.echo(
                        f"broker {node} still gets no new replicas: the same command goes on, --cancel takes it back",
                        err=True,
                    )
                raise

    return run_async(work())


async def _cancel(admin: Admin, node: int, as_json: bool) -> int:
    changed = (await admin.drain_broker(node, cancel=True)).changed
    under_way = [one for one in (await admin.list_partition_reassignments()).reassignments if node in one.replicas]
    if as_json:
        print_json({"node": node, "draining": False, "changed": changed, "on_their_way": len(under_way)})
        return 0
    click.echo(f"broker {node} takes replicas again" if changed else f"broker {node} is not being drained")
    if under_way:
        click.echo(
            f"{counted(len(under_way), 'partition')} of it still on the way: `dohle cluster reassign --cancel` takes"
            " such moves back"
        )
    return 0


async def _mark(admin: Admin, node: int, *, dry_run: bool, as_json: bool) -> bool:
    """Has the broker get no new replicas; returns whether this cluster knows of such a thing."""
    try:
        changed = (await admin.drain_broker(node, validate_only=dry_run)).changed
    except UnsupportedVersion:
        click.echo(
            "This cluster's metadata.version knows no draining brokers: topics that are made meanwhile may be placed on"
            f" broker {node}, and are moved as well. `dohle cluster features upgrade` mends that.",
            err=True,
        )
        return False
    if not (as_json or dry_run):
        already = "" if changed else ", as before"
        click.echo(f"broker {node} gets no new replicas from now on{already}; --cancel takes that back")
    return True


async def _show_plan(admin: Admin, node: int, as_json: bool) -> int:
    from dohle.client.drain import moves_away

    ongoing = (await admin.list_partition_reassignments()).reassignments
    if before := sorted(one.name for one in ongoing if node in one.replicas):
        raise ReassignmentInProgress(
            f"{counted(len(before), 'partition')} of broker {node} on the way, {before[0]} first: a drain waits for it,"
            " and where all would go can be said after it"
        )
    plan = await moves_away(admin, node)
    if as_json:
        parts = [{"topic": one.topic, "partition": one.partition, "replicas": one.replicas} for one in plan]
        print_json({"node": node, "moved": 0, "plan": parts})
        return 0
    if plan:
        print_plan(plan, await partitions_of(admin, {wanted.topic for wanted in plan}))
    click.echo(f"{counted(len(plan), 'partition')} would move; nothing was changed")
    return 0


async def _drain(
    admin: Admin, node: int, throttle: int | None, *, patience_s: float, is_marked: bool, as_json: bool
) -> int:
    from dohle.client.drain import moves_away

    moved = in_vain = 0
    shown: set[Reassignment] = set()
    while in_vain <= _MOST_IN_VAIN:
        ongoing = (await admin.list_partition_reassignments()).reassignments
        before = [one.name for one in ongoing if node in one.replicas]
        if before and not as_json:
            click.echo(f"{counted(len(before), 'partition')} of it on the way already, waited for first")
        await _take_back(admin, node, await until_arrived(admin, before, patience_s=patience_s), as_json=as_json)
        plan = await moves_away(admin, node)
        if not plan and (not is_marked or await _is_empty(admin, node)):
            return await _drained(admin, node, moved, as_json)
        await _tell_new(admin, plan, shown, as_json=as_json)
        in_vain += 1
        for first in range(0, len(plan), _AT_ONCE):
            wave = plan[first : first + _AT_ONCE]
            outcomes = await admin.alter_partition_reassignments(wave, throttle_bytes_per_s=throttle)
            if failures := [failure for failure in outcomes.values() if failure is not None]:
                if in_vain > _MOST_IN_VAIN or not all(isinstance(one, _CHANGED_MEANWHILE) for one in failures):
                    return told(outcomes, as_json, done="begun")
                break  # nothing has begun, and what is to move is looked at again
            held = await until_arrived(admin, outcomes, patience_s=patience_s)
            in_vain = in_vain if len(held) == len(wave) else 0
            moved += len(wave) - len(held)
            if not as_json:
                left = len(plan) - first - len(wave) + len(held)
                click.echo(f"{moved} moved away from broker {node}, {left} to go")
            if held:
                await _take_back(admin, node, held, as_json=as_json)
                break
        if in_vain:
            await asyncio.sleep(_LOOK_AGAIN_S)
    raise RequestTimedOut(f"the node that answers has not heard for long of all that broker {node} holds: ask again")


async def _take_back(admin: Admin, node: int, held: Sequence[HeldUp], *, as_json: bool) -> None:
    """Takes back what waits for brokers that are down, so that it is planned anew; not where that would not help.

    Raises BrokerNotAvailable where it helps none of them, and InvalidReplicaAssignment where there is no other place.
    """
    from dohle.client.drain import moves_away

    if not held:
        return
    moves = [one.move for one in held if one.ends_elsewhere(node)]
    if not moves:
        downs = sorted({down for one in held for down in one.down if one.has_leader})
        instead = f", or drain broker {downs[0]} first" if downs else ""
        raise BrokerNotAvailable(
            f"{'; '.join(hold_ups(held).values())}. Nothing else would do: start it again{instead}"
        )
    try:
        await moves_away(admin, node, without=moves)
    except InvalidReplicaAssignment as error:
        raise InvalidReplicaAssignment(
            f"{'; '.join(hold_ups(held).values())}, and there is no other place: {error.message}. Nothing was taken"
            " back: what is down may also be started again"
        ) from error
    outcomes = await admin.alter_partition_reassignments(
        [Reassignment(one.topic, one.partition, None, one.partition_epoch) for one in moves]
    )
    for name, failure in outcomes.items():
        if failure is not None and not isinstance(failure, _CHANGED_MEANWHILE):
            raise type(failure)(about(name, failure))
    if not as_json and not any(outcomes.values()):
        click.echo(f"{counted(len(moves), 'partition')}: taken back, to go elsewhere")


async def _is_empty(admin: Admin, node: int) -> bool:
    """Returns whether the active controller says so too: the broker that was asked may not have heard of a topic."""
    found = await admin.drain_broker(node, validate_only=True)
    if found.changed:
        raise InvalidRequest(f"meanwhile somebody let broker {node} take replicas again, by --cancel")
    return not found.replicas


async def _tell_new(admin: Admin, plan: list[Reassignment], shown: set[Reassignment], *, as_json: bool) -> None:
    """Shows what of the plan has not been shown before, and whom it will wait for."""
    new = [one for one in plan if replace(one, partition_epoch=None) not in shown]
    if not new:
        return
    shown.update(replace(one, partition_epoch=None) for one in new)
    if not as_json:
        print_plan(new, await partitions_of(admin, {wanted.topic for wanted in new}))
    down = [one.node_id for one in (await admin.describe_cluster()).nodes if one.fenced]
    waiting = [one for one in new if any(node in down for node in one.replicas or ())]
    if waiting:
        click.echo(
            f"{counted(len(waiting), 'partition')} with replicas on brokers that are down ({listed_nodes(down)}): such"
            " moves end once those are back; or take them back (`dohle cluster reassign --cancel`), and drain what is"
            " down first",
            err=True,
        )


async def _drained(admin: Admin, node: int, moved: int, as_json: bool) -> int:
    cluster = await admin.describe_cluster()
    description: NodeDescription = next(one for one in cluster.nodes if one.node_id == node)
    votes = any(voter.node_id == node for voter in cluster.voters)
    if as_json:
        print_json(
            {
                "node": node,
                "draining": description.draining,
                "moved": moved,
                "replicas": description.replicas,
                "is_controller": votes,
            }
        )
        return 0
    click.echo(f"broker {node} holds no replicas: it can be switched off")
    if votes and len(cluster.voters) == 1:
        click.echo(
            f"Node {node} is the only controller too, and without it there is no cluster: give another a vote first,"
            " with `dohle cluster voters add`"
        )
    elif votes:
        click.echo(
            f"Node {node} is a controller too: switch it off only while a majority of the"
            f" {len(cluster.voters)} controllers stays, or take its vote away first:"
            f" dohle cluster voters remove {node}"
        )
    click.echo(f"Once it is down for good, have the cluster forget it: dohle cluster unregister {node}")
    return 0
