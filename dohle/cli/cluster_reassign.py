"""`dohle cluster reassign`: moves replicas to other brokers, says how far they are, takes moves back."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from dohle.cli.moves import MOVE_COLUMNS, listed_nodes, move_row, moves, until_arrived
from dohle.cli.output import about, counted, print_json, print_table, size_text
from dohle.cli.partition_names import parse_move, parse_partition, parse_rate, read_plan
from dohle.cli.session import bootstrap_option, json_option, run_async, timeout_option
from dohle.client.held_up import hold_ups
from dohle.client.partition_changes import Reassignment
from dohle.model.errors import DohleError, NoReassignmentInProgress
from dohle.model.ids import TopicPartition

if TYPE_CHECKING:
    from dohle.client.admin import Admin
    from dohle.client.values import PartitionDescription

_LOOKS = 10
_LOOK_EVERY_S = 0.2


@click.command()
@click.argument("changes", nargs=-1, metavar="[TOPIC:PARTITION=NODE,NODE,…]…")
@click.option("--plan", type=click.Path(), metavar="FILE", help="Read the moves from a JSON file.")
@click.option("--throttle", callback=parse_rate, metavar="RATE", help="Bytes a second, as 10M; 0: no bound.")
@click.option("--cancel", is_flag=True, help="Take back the moves of these partitions, or all.")
@click.option("--list", "show_list", is_flag=True, help="Show what is on its way.")
@click.option("--dry-run", is_flag=True, help="Check the plan, and change nothing.")
@click.option("--no-wait", is_flag=True, help="Return when the moves have begun.")
@bootstrap_option
@timeout_option
@json_option
def reassign(
    changes: tuple[str, ...],
    plan: str | None,
    throttle: int | None,
    cancel: bool,
    show_list: bool,
    dry_run: bool,
    no_wait: bool,
    bootstrap: str,
    timeout_s: float,
    as_json: bool,
) -> int:
    """Give partitions other replicas, the preferred leader first; a longer list raises the replication factor.

    All of a plan begins or nothing. The old replicas stay until the new ones are in sync. Ctrl-C ends the watching, not
    the moves.
    """
    if cancel and show_list:
        raise click.UsageError("--cancel and --list exclude each other")
    if show_list and (changes or plan is not None or throttle is not None or dry_run or no_wait):
        raise click.UsageError("--list shows all that is on its way: give nothing with it")
    if cancel and (throttle is not None or dry_run or no_wait):
        raise click.UsageError("--cancel takes back at once: leave out --throttle, --dry-run and --no-wait")
    given = read_plan(plan) if plan is not None else []
    if cancel:
        names = [parse_partition(text.partition("=")[0]) for text in changes]
        given = [replace(wanted, replicas=None) for wanted in given]
        given += [Reassignment(topic, partition, None) for topic, partition in names]
    elif not show_list:
        given += [parse_move(text) for text in changes]
        if not given and (throttle is None or dry_run or no_wait):
            raise click.UsageError("say what moves, as in orders:0=1,2,3, or --plan FILE, --list or --cancel")

    async def work() -> int:
        from dohle.client.admin import Admin

        async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-cluster") as admin:
            if show_list:
                return await _list(admin, as_json)
            if cancel:
                return await cancel_moves(admin, given, as_json)
            return await _move(admin, given, throttle, dry_run=dry_run, waits=not no_wait, as_json=as_json)

    return run_async(work())


async def _list(admin: Admin, as_json: bool) -> int:
    throttle = (await admin.list_partition_reassignments()).throttle_bytes_per_s
    ongoing = await moves(admin)
    if as_json:
        print_json({"throttle_bytes_per_s": throttle, "reassignments": [move.to_json() for move in ongoing]})
    elif ongoing:
        bound = f", at most {size_text(throttle)}/s from each broker" if throttle else ""
        click.echo(f"{counted(len(ongoing), 'partition')} on the way{bound}")
        print_table(MOVE_COLUMNS, [move_row(move) for move in ongoing])
        for line in hold_ups([move.held for move in ongoing if move.held is not None]).values():
            click.echo(line)
    else:
        click.echo("Nothing is on its way.")
    return 0


async def cancel_moves(admin: Admin, given: Sequence[Reassignment], as_json: bool) -> int:
    """Takes these moves back; without any, all that are on their way, but for those that arrive meanwhile."""
    if given:
        return told(await admin.alter_partition_reassignments(given), as_json, done="taken back")
    outcomes: dict[TopicPartition, DohleError | None] = {}
    for _ in range(_LOOKS):
        listed = (await admin.list_partition_reassignments()).reassignments
        given = [Reassignment(one.topic, one.partition, None) for one in listed]
        outcomes = await admin.alter_partition_reassignments(given) if given else {}
        if not any(isinstance(error, NoReassignmentInProgress) for error in outcomes.values()):
            break
    return told(outcomes, as_json, done="taken back" if given else "Nothing is on its way.")


async def _move(
    admin: Admin, given: Sequence[Reassignment], throttle: int | None, *, dry_run: bool, waits: bool, as_json: bool
) -> int:
    before = await partitions_of(admin, {wanted.topic for wanted in given})
    plan = [_bound(wanted, before.get(wanted.name)) for wanted in given]
    if not as_json and plan:
        print_plan(plan, before)
    outcomes = await admin.alter_partition_reassignments(plan, throttle_bytes_per_s=throttle, validate_only=dry_run)
    if any(outcomes.values()) or dry_run or not waits:
        return told(outcomes, as_json, done="could begin" if dry_run else "begun")
    if not plan:
        ongoing = len((await admin.list_partition_reassignments()).reassignments)
        if as_json:
            print_json({"throttle_bytes_per_s": throttle, "on_their_way": ongoing})
        elif ongoing:
            bound = f"at most {size_text(throttle)}/s from each broker" if throttle else "without a bound"
            click.echo(f"{counted(ongoing, 'partition')} on the way, {bound}")
        else:
            click.echo("Nothing is on its way, and what is begun next has no bound but its own: give it --throttle.")
        return 0
    await until_arrived(admin, outcomes)
    return told_of_moves(outcomes, await strayed(admin, plan), as_json)


async def strayed(admin: Admin, plan: Sequence[Reassignment]) -> list[Reassignment]:
    """Returns the moves that were taken back; the broker that is asked may be a moment behind."""
    for _ in range(_LOOKS):
        after = await partitions_of(admin, {wanted.topic for wanted in plan})
        astray = [wanted for wanted in plan if wanted.replicas != _replicas(after.get(wanted.name))]
        if not astray:
            break
        await asyncio.sleep(_LOOK_EVERY_S)
    return astray


async def partitions_of(admin: Admin, topics: set[str]) -> dict[TopicPartition, PartitionDescription]:
    """Returns the partitions of these topics; of one that there is not, none."""
    described = await admin.describe_topics(sorted(topics)) if topics else {}
    return {
        TopicPartition(name, partition.partition): partition
        for name, topic in described.items()
        if not isinstance(topic, DohleError)
        for partition in topic.partitions
    }


def _bound(wanted: Reassignment, before: PartitionDescription | None) -> Reassignment:
    """Returns the move, to be done only if the partition is still as it is shown."""
    if before is None or wanted.partition_epoch is not None:
        return wanted
    return replace(wanted, partition_epoch=before.partition_epoch)


def _replicas(partition: PartitionDescription | None) -> tuple[int, ...]:
    return () if partition is None else partition.assigned_replicas


def print_plan(plan: Sequence[Reassignment], before: dict[TopicPartition, PartitionDescription]) -> None:
    rows = []
    for wanted in plan:
        present, targets = _replicas(before.get(wanted.name)), wanted.replicas or ()
        rows.append(
            (
                wanted.name,
                listed_nodes(present),
                listed_nodes(targets),
                listed_nodes([node for node in targets if node not in present]),
                listed_nodes([node for node in present if node not in targets]),
            )
        )
    print_table(("PARTITION", "FROM", "TO", "ADDS", "REMOVES"), rows)


def told_of_moves(names: Collection[TopicPartition], astray: Sequence[Reassignment], as_json: bool) -> int:
    """Says what has arrived and what somebody took back, and returns the exit code."""
    back = {wanted.name for wanted in astray}
    if as_json:
        print_json([_outcome(name, "taken back meanwhile" if name in back else "done") for name in names])
    else:
        for what, count in (("done", len(names) - len(back)), ("taken back meanwhile", len(back))):
            if count:
                click.echo(f"{counted(count, 'partition')}: {what}")
    return 1 if back else 0


def _outcome(name: TopicPartition, what: str, error: DohleError | None = None) -> dict[str, Any]:
    return {
        "topic": name.topic,
        "partition": name.partition,
        "outcome": what,
        "error": None if error is None else error.message,
    }


def told(outcomes: dict[TopicPartition, DohleError | None], as_json: bool, *, done: str) -> int:
    """Says what became of a plan, and returns the exit code."""
    failed = {name: error for name, error in outcomes.items() if error is not None}
    if as_json:
        print_json([_outcome(name, done if error is None else "refused", error) for name, error in outcomes.items()])
    elif failed:
        for name, error in failed.items():
            click.echo(f"dohle: {about(name, error)}", err=True)
        click.echo("nothing was changed", err=True)
    elif outcomes:
        click.echo(f"{counted(len(outcomes), 'partition')}: {done}")
    else:
        click.echo(done)
    return 1 if failed else 0
