"""`dohle cluster dirs move`: moves a replica to another log directory of its broker, and says how far it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from dohle.cli.output import about, print_json, print_table, progress, size_text
from dohle.cli.session import bootstrap_option, json_option, run_async, timeout_option
from dohle.model.errors import DohleError, NetworkException
from dohle.model.ids import TopicPartition

if TYPE_CHECKING:
    from dohle.client.admin import Admin
    from dohle.client.values import LogDirMove

_COLUMNS = ("NODE", "PARTITION", "FROM", "TO", "STATE", "COPIED", "OF")
_LOOK_EVERY_S = 0.5


@click.command()
@click.argument("topic", required=False)
@click.argument("partition", type=int, required=False)
@click.option("--node", type=int, help="The broker whose replica moves; with --list, the one that is asked.")
@click.option("--to", "path", metavar="DIR", help="One of its log directories, as `dohle cluster dirs` shows it.")
@click.option("--cancel", is_flag=True, help="Take the move back; the replica stays where it is.")
@click.option("--list", "show_list", is_flag=True, help="Show what is on its way, and how the last moves ended.")
@click.option("--dry-run", is_flag=True, help="Check whether it could move, and change nothing.")
@click.option("--no-wait", is_flag=True, help="Return when the move has begun.")
@click.option("--yes", is_flag=True, help="Do not ask before it begins.")
@bootstrap_option
@timeout_option
@json_option
def move(
    topic: str | None,
    partition: int | None,
    node: int | None,
    path: str | None,
    cancel: bool,
    show_list: bool,
    dry_run: bool,
    no_wait: bool,
    yes: bool,
    bootstrap: str,
    timeout_s: float,
    as_json: bool,
) -> int:
    """Move a broker's replica of TOPIC's PARTITION to another log directory of that broker.

    It leads or follows meanwhile, and clients read and write; the last moment holds producers up for milliseconds.
    Ctrl-C ends the watching, not the move; a move ends with its broker's process, and is asked for anew then.
    """
    name = None if topic is None or partition is None else TopicPartition(topic, partition)
    if show_list:
        if topic is not None or path is not None or cancel or dry_run or no_wait or yes:
            raise click.UsageError("--list shows all of a node: give no more than --node")
    elif name is None or node is None or cancel == (path is not None):
        raise click.UsageError("say which replica, where and where to: TOPIC PARTITION --node N --to DIR, or --cancel")
    elif cancel and (dry_run or no_wait):
        raise click.UsageError("--cancel takes back at once: leave out --dry-run and --no-wait")
    elif as_json and not (yes or dry_run or cancel):
        raise click.UsageError("--json cannot ask: add --dry-run to see the plan, or --yes to begin")

    async def work() -> int:
        from dohle.client.admin import Admin

        async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-cluster") as admin:
            if show_list:
                return await _list(admin, node, as_json)
            assert name is not None
            assert node is not None
            if path is None:
                return _told(
                    name, (await admin.alter_replica_log_dirs(node, {name: None}))[name], "taken back", as_json
                )
            refusal = (await admin.alter_replica_log_dirs(node, {name: path}, validate_only=True))[name]
            if refusal is not None:
                return _told(name, refusal, "", as_json)
            if not as_json:
                await _show_plan(admin, node, name, path)
            if dry_run:
                return _told(name, None, "could begin", as_json)
            if not yes:
                click.confirm("Move it?", abort=True)
            refusal = (await admin.alter_replica_log_dirs(node, {name: path}))[name]
            if refusal is not None or no_wait:
                return _told(name, refusal, "begun", as_json)
            return await _watch(admin, node, name, path, as_json)

    return run_async(work())


async def _show_plan(admin: Admin, node: int, name: TopicPartition, path: str) -> None:
    dirs = await admin.describe_log_dirs(node)
    free = next(one.free_bytes for one in dirs if one.path == path)
    rows = [
        (node, name, one.path, path, size_text(replica.size_bytes), size_text(free), "yes" if replica.leads else "no")
        for one in dirs
        for replica in one.replicas
        if (replica.topic, replica.partition) == name
    ]
    print_table(("NODE", "PARTITION", "FROM", "TO", "SIZE", "FREE THERE", "LEADS"), rows)


async def _watch(admin: Admin, node: int, name: TopicPartition, path: str, as_json: bool) -> int:
    """Returns once the move has ended; shows on a terminal how far it is."""
    with progress(f"bytes of {name} that are copied", None) as show:
        while True:
            found = next((one for one in await admin.describe_log_dir_moves(node) if one.name == name), None)
            if found is None:
                lost = NetworkException(
                    f"node {node} was started again meanwhile, and {name} may not have moved to {path}"
                )
                return _told(name, lost, "", as_json)
            show(found.copied_bytes)
            if found.is_over:
                break
            await asyncio.sleep(_LOOK_EVERY_S)
    if found.state == "done":
        return _told(name, None, f"moved to {found.target}", as_json)
    failure = found.failure or NetworkException("the move was taken back meanwhile")
    return _told(name, failure, "", as_json)


async def _list(admin: Admin, node: int | None, as_json: bool) -> int:
    nodes = [node] if node is not None else [one.node_id for one in (await admin.describe_cluster()).nodes]
    found: list[tuple[int, LogDirMove]] = []
    silent: dict[int, DohleError] = {}
    for one in nodes:
        try:
            found += [(one, moving) for moving in await admin.describe_log_dir_moves(one)]
        except DohleError as error:
            silent[one] = error
    if as_json:
        print_json({"moves": [_as_json(one, moving) for one, moving in found], "silent_nodes": sorted(silent)})
    elif found:
        print_table(_COLUMNS, [_row(one, moving) for one, moving in found])
    elif len(silent) < len(nodes):
        click.echo("Nothing is on its way.")
    for one, failure in silent.items():
        click.echo(f"node {one}: {failure.message}", err=True)
    for one, moving in found if not as_json else ():
        if moving.failure is not None:
            click.echo(f"node {one}: {about(moving.name, moving.failure)}", err=True)
    return 1 if silent else 0


def _row(node: int, one: LogDirMove) -> tuple[object, ...]:
    return (
        node,
        one.name,
        one.source,
        one.target,
        one.state,
        size_text(one.copied_bytes),
        size_text(one.size_bytes),
    )


def _as_json(node: int, one: LogDirMove) -> dict[str, Any]:
    return {
        "node_id": node,
        "topic": one.topic,
        "partition": one.partition,
        "source": one.source,
        "target": one.target,
        "state": one.state,
        "copied_bytes": one.copied_bytes,
        "size_bytes": one.size_bytes,
        "failure": None if one.failure is None else one.failure.message,
    }


def _told(name: TopicPartition, failure: DohleError | None, done: str, as_json: bool) -> int:
    if as_json:
        outcome = done if failure is None else "failed"
        error = None if failure is None else failure.message
        print_json({"topic": name.topic, "partition": name.partition, "outcome": outcome, "error": error})
    elif failure is not None:
        click.echo(f"dohle: {about(name, failure)}", err=True)
    else:
        click.echo(f"{name}: {done}")
    return 0 if failure is None else 1
