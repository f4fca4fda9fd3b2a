"""`dohle cluster rebalance`: evens what brokers carry, after it has shown what that would move."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from dohle.cli.cluster_reassign import cancel_moves, partitions_of, print_plan, strayed, told, told_of_moves
from dohle.cli.moves import until_arrived
from dohle.cli.output import counted, print_json, print_table, size_text
from dohle.cli.partition_names import parse_rate, parse_size
from dohle.cli.session import bootstrap_option, json_option, run_async, timeout_option
from dohle.model.errors import ConfigurationError, DohleError, ElectionNotNeeded, InvalidUpdateVersion
from dohle.model.errors import OperationNotAttempted as NotAttempted
from dohle.model.ids import TopicPartition

if TYPE_CHECKING:
    from dohle.client.admin import Admin
    from dohle.client.balance import Carried
    from dohle.client.partition_changes import Reassignment
    from dohle.client.rebalance_plan import PlannedMove, RebalancePlan

_AT_ONCE = 100
"""How many partitions are on their way at the same time."""
_ATTEMPTS = 3
_COLUMNS = ("BROKER", "RACK", "LEADERS", "REPLICAS", "BYTES", "LOAD")


@click.command()
@click.option("--plan", "--dry-run", "plan_only", is_flag=True, help="Show the plan, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before it begins.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave these topics alone, as 'logs-*'.")
@click.option("--tolerance", type=click.IntRange(0, 100), default=10, show_default=True, help="Per cent that are even.")
@click.option("--max-bytes", callback=parse_size, metavar="SIZE", help="Copy no more than that, as 50G.")
@click.option("--throttle", callback=parse_rate, metavar="RATE", help="Bytes a second, as 10M; 0: no bound.")
@click.option("--undo-plan", type=click.Path(), metavar="FILE", help="Write the way back to a new file, first.")
@click.option("--cancel", is_flag=True, help="Take back what is on its way.")
@bootstrap_option
@timeout_option
@json_option
def rebalance(
    plan_only: bool,
    yes: bool,
    exclude: tuple[str, ...],
    tolerance: int,
    max_bytes: int | None,
    throttle: int | None,
    undo_plan: str | None,
    cancel: bool,
    bootstrap: str,
    timeout_s: float,
    as_json: bool,
) -> int:
    """Even the brokers' leaders, replicas, bytes and load, by moving as few bytes as that takes.

    Shows the plan and asks. It respects racks and free space, and leaves alone what is not in order. Ctrl-C ends it;
    what is on its way then arrives all the same, and the same command goes on from there.
    """
    if cancel and (plan_only or exclude or max_bytes is not None or throttle is not None or undo_plan is not None):
        raise click.UsageError("--cancel takes back all that is on its way: give neither a plan's options nor --plan")
    if plan_only and undo_plan is not None:
        raise click.UsageError(
            "--plan moves nothing that --undo-plan could take back; what --plan --json prints has it"
        )
    if as_json and not (plan_only or yes or cancel):
        raise click.UsageError("--json cannot ask: add --plan to see the plan, or --yes to run it")

    async def work() -> int:
        from dohle.client.admin import Admin
        from dohle.client.rebalance import RebalanceTerms
        from dohle.client.rebalance_plan import plan_rebalance

        async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-cluster") as admin:
            if cancel:
                return await cancel_moves(admin, [], as_json)
            plan = await plan_rebalance(
                admin,
                RebalanceTerms(tolerance / 100, max_bytes),
                lambda topic: any(fnmatchcase(topic, pattern) for pattern in exclude),
            )
            if not as_json:
                await _show(admin, plan)
            if plan_only or not plan.moves:
                if as_json:
                    print_json(_as_json(plan) if plan_only else [])
                return 0
            if not yes:
                click.confirm("Run it?", abort=True)
            if undo_plan is not None:
                _write_undo(undo_plan, plan)
            return await _run(admin, plan, throttle, as_json)

    return run_async(work())


async def _show(admin: Admin, plan: RebalancePlan) -> None:
    rows = [
        (broker.node_id, broker.rack or "-", *_changes(plan.before[broker.node_id], plan.after[broker.node_id]))
        for broker in plan.brokers
    ]
    print_table(_COLUMNS, rows)
    for reason, count in plan.left.items():
        click.echo(f"{counted(count, 'partition')} {reason}: left alone")
    if not plan.moves:
        click.echo("Nothing would be better elsewhere.")
        return
    click.echo()
    print_plan([move.wanted for move in plan.moves], await partitions_of(admin, {m.name.topic for m in plan.moves}))
    leaders = sum(move.changes_leader for move in plan.moves)
    click.echo(
        f"{counted(len(plan.moves), 'partition')}: {size_text(plan.copied_bytes)} to copy,"
        f" {counted(leaders, 'preferred leader')} to change"
    )


def _changes(before: Carried, after: Carried) -> tuple[str, ...]:
    texts = [
        (f"{before.leaders:.0f}", f"{after.leaders:.0f}"),
        (f"{before.replicas:.0f}", f"{after.replicas:.0f}"),
        (size_text(before.size_bytes), size_text(after.size_bytes)),
        (f"{size_text(before.load)}/s", f"{size_text(after.load)}/s"),
    ]
    return tuple(was if was == becomes else f"{was} -> {becomes}" for was, becomes in texts)


def _as_json(plan: RebalancePlan) -> dict[str, Any]:
    """Returns the plan for scripts; its `partitions`, and those of its `undo`, are what `reassign --plan` reads."""
    return {
        "brokers": [
            {
                "node_id": broker.node_id,
                "rack": broker.rack,
                "before": plan.before[broker.node_id]._asdict(),
                "after": plan.after[broker.node_id]._asdict(),
            }
            for broker in plan.brokers
        ],
        "copied_bytes": plan.copied_bytes,
        "left_alone": dict(plan.left),
        "partitions": [
            {**_part(move.wanted), "partition_epoch": move.partition_epoch, "copied_bytes": move.copied_bytes}
            for move in plan.moves
        ],
        "undo": _undo(plan),
    }


def _undo(plan: RebalancePlan) -> dict[str, Any]:
    return {"partitions": [_part(move.undone) for move in plan.moves]}


def _part(wanted: Reassignment) -> dict[str, Any]:
    return {"topic": wanted.topic, "partition": wanted.partition, "replicas": list(wanted.replicas or ())}


def _write_undo(path: str, plan: RebalancePlan) -> None:
    try:
        with open(path, "x", encoding="utf-8") as file:
            json.dump(_undo(plan), file)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be made ({error.strerror}), and nothing was changed") from None


async def _run(admin: Admin, plan: RebalancePlan, throttle: int | None, as_json: bool) -> int:
    """Runs the moves, some at a time, and stops if somebody takes some back."""
    dropped: dict[TopicPartition, DohleError | None] = {}
    arrived: dict[TopicPartition, DohleError | None] = {}
    copied = 0
    for first in range(0, len(plan.moves), _AT_ONCE):
        wave, refused = await _begin(admin, plan.moves[first : first + _AT_ONCE], throttle)
        dropped.update(refused)
        await until_arrived(admin, [move.name for move in wave])
        if astray := await strayed(admin, [move.wanted for move in wave]):
            return told_of_moves([*arrived, *(move.name for move in wave)], astray, as_json)
        arrived.update(dict.fromkeys([move.name for move in wave]))
        copied += sum(move.copied_bytes for move in wave)
        if not as_json:
            click.echo(
                f"{len(arrived)} of {counted(len(plan.moves), 'partition')} in place,"
                f" {size_text(copied)} of {size_text(plan.copied_bytes)} copied"
            )
    await _elect(admin, [move for move in plan.moves if move.changes_leader and move.name in arrived])
    if as_json:
        told({**arrived, **dropped}, as_json, done="done")
    for name, error in dropped.items() if not as_json else ():
        click.echo(f"dohle: {name} was left as it is: {error.message if error else ''}", err=True)
    return 1 if dropped else 0


async def _begin(
    admin: Admin, wave: Sequence[PlannedMove], throttle: int | None
) -> tuple[list[PlannedMove], dict[TopicPartition, DohleError | None]]:
    """Returns what has begun, and what could not and why: a plan is shown on one day and done on the next."""
    from dohle.client.rebalance_plan import bound_anew

    left, refused = list(wave), dict[TopicPartition, DohleError | None]()
    for _ in range(_ATTEMPTS):
        if not left:
            break
        outcomes = await admin.alter_partition_reassignments(
            [move.wanted for move in left], throttle_bytes_per_s=throttle
        )
        failed = {name: error for name, error in outcomes.items() if error is not None}
        if not failed:
            return left, refused
        now = await partitions_of(admin, {move.name.topic for move in left})
        for name, error in failed.items():
            if not isinstance(error, NotAttempted | InvalidUpdateVersion):
                refused[name] = error
        again = bound_anew([move for move in left if move.name not in refused], now)
        names = {move.name for move in again} | set(refused)
        refused |= {move.name: failed[move.name] for move in left if move.name not in names}
        left = again
    refused |= {move.name: failed[move.name] for move in left}
    return [], refused


async def _elect(admin: Admin, moves: Sequence[PlannedMove]) -> None:
    """Has the new preferred leaders lead; one that cannot just now does so within minutes, by itself."""
    wanted: dict[str, list[int]] = {}
    for move in moves:
        wanted.setdefault(move.name.topic, []).append(move.name.partition)
    outcomes = await admin.elect_leaders(wanted) if wanted else {}
    for name, outcome in sorted(outcomes.items()):
        if isinstance(outcome, DohleError) and not isinstance(outcome, ElectionNotNeeded):
            click.echo(f"dohle: {name} keeps its leader for now: {outcome.message}", err=True)
