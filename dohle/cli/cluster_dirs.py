"""`dohle cluster dirs`: the log directories of brokers, what lies in them, and how replicas go from one to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dohle.cli.cluster_dirs_move import move
from dohle.cli.output import print_json, print_table, size_text
from dohle.cli.session import bootstrap_option, json_option, run_async, timeout_option
from dohle.cli.shortages import shortage_words
from dohle.model.errors import DohleError
from dohle.model.ids import id_text

if TYPE_CHECKING:
    from dohle.client.values import LogDirDescription, Shortage

_COLUMNS = ("NODE", "DIRECTORY", "STATE", "REPLICAS", "SIZE", "FREE", "STRAYS", "ID")


class _ShowsUnlessTold(click.Group):
    """A group whose `show` needs no name: `dohle cluster dirs 3` shows node 3's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = bool(args) and (args[0] in self.commands or args[0] in ("-h", "--help"))
        return super().parse_args(ctx, args if named else ["show", *args])


@click.group(cls=_ShowsUnlessTold)
def dirs() -> None:
    """Show the log directories of brokers, or move replicas between those of one broker.

    Without a command's name, as in `dohle cluster dirs 3`, it shows them.
    """


dirs.add_command(move)


@dirs.command()
@click.argument("nodes", type=int, nargs=-1)
@bootstrap_option
@timeout_option
@json_option
def show(nodes: tuple[int, ...], bootstrap: str, timeout_s: float, as_json: bool) -> int:
    """Show the log directories of brokers NODES, or of all: replicas, sizes, free space, and why one is offline.

    STRAYS are replicas that were set aside there: damaged ones, and what was not the broker's any more after a start.

    Exit code 1 if a directory is offline or has so little room that producers are refused, if a new replica waits for
    room, one is damaged, or a broker does not answer.
    """
    found, shortages = run_async(_ask(nodes, bootstrap, timeout_s))
    sound = all(not isinstance(dirs, DohleError) and not any(one.failure for one in dirs) for dirs in found.values())
    sound = sound and not any(one.directories or one.waiting or one.damaged for one in shortages.values())
    if as_json:
        print_json(
            {"sound": sound, "nodes": [_as_json(node, dirs, shortages.get(node)) for node, dirs in found.items()]}
        )
        return 0 if sound else 1
    print_table(_COLUMNS, [row for node, dirs in found.items() for row in _rows(node, dirs)])
    for node, dirs in found.items():
        complaints = [dirs] if isinstance(dirs, DohleError) else [one.failure for one in dirs if one.failure]
        for complaint in complaints:
            click.echo(f"node {node}: {complaint.message}", err=True)
    for node, shortage in shortages.items():
        for words in shortage_words(shortage):
            click.echo(f"node {node}: {words}", err=True)
    return 0 if sound else 1


async def _ask(
    nodes: tuple[int, ...], bootstrap: str, timeout_s: float
) -> tuple[dict[int, list[LogDirDescription] | DohleError], dict[int, Shortage]]:
    from dohle.client.admin import Admin

    found: dict[int, list[LogDirDescription] | DohleError] = {}
    shortages: dict[int, Shortage] = {}
    async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-cluster") as admin:
        known = [node.node_id for node in (await admin.describe_cluster()).nodes]
        for node in sorted(set(nodes)) or known:
            try:
                found[node] = await admin.describe_log_dirs(node)
                shortages[node] = await admin.describe_shortage(node)
            except DohleError as error:
                found[node] = error
    return found, shortages


def _rows(node: int, dirs: list[LogDirDescription] | DohleError) -> list[tuple[object, ...]]:
    if isinstance(dirs, DohleError):
        return [(node, "-", "no answer", "-", "-", "-", "-", "-")]
    return [
        (
            node,
            one.path,
            "offline" if one.failure else "low on space" if one.lacks_room else "online",
            len(one.replicas) if one.directory_id else "-",
            size_text(one.size_bytes) if one.directory_id else "-",
            "-" if one.failure else size_text(one.free_bytes),
            f"{one.strays}, {size_text(one.stray_bytes)}" if one.strays else "-",
            id_text(one.directory_id) if one.directory_id else "-",
        )
        for one in dirs
    ]


def _as_json(node: int, dirs: list[LogDirDescription] | DohleError, shortage: Shortage | None) -> dict[str, Any]:
    if isinstance(dirs, DohleError):
        return {"node_id": node, "failure": dirs.message, "log_dirs": [], "waiting_for_room": []}
    waiting = {} if shortage is None else shortage.waiting
    return {
        "node_id": node,
        "failure": None,
        "waiting_for_room": [
            {"topic": name.topic, "partition": name.partition, "reason": reason} for name, reason in waiting.items()
        ],
        "log_dirs": [
            {
                "path": one.path,
                "directory_id": id_text(one.directory_id) if one.directory_id else None,
                "failure": one.failure.message if one.failure else None,
                "size_bytes": one.size_bytes,
                "free_bytes": one.free_bytes,
                "lacks_room": one.lacks_room or None,
                "strays": one.strays,
                "stray_bytes": one.stray_bytes,
                "replicas": [
                    {
                        "topic": replica.topic,
                        "partition": replica.partition,
                        "size_bytes": replica.size_bytes,
                        "damage": replica.failure.message if replica.failure else None,
                    }
                    for replica in one.replicas
                ],
            }
            for one in dirs
        ],
    }
