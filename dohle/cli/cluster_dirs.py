"""`dohle cluster dirs`: the log directories of brokers, and what lies in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dohle.cli.output import print_json, print_table, size_text
from dohle.cli.session import bootstrap_option, json_option, run_async, timeout_option
from dohle.model.errors import DohleError
from dohle.model.ids import id_text

if TYPE_CHECKING:
    from dohle.client.values import LogDirDescription

_COLUMNS = ("NODE", "DIRECTORY", "STATE", "REPLICAS", "SIZE", "FREE", "ID")


@click.command()
@click.argument("nodes", type=int, nargs=-1)
@bootstrap_option
@timeout_option
@json_option
def dirs(nodes: tuple[int, ...], bootstrap: str, timeout_s: float, as_json: bool) -> int:
    """Show the log directories of brokers NODES, or of all: replicas, sizes, free space, and why one is offline.

    Exit code 1 if a directory is offline, or a broker does not answer.
    """
    found = run_async(_ask(nodes, bootstrap, timeout_s))
    sound = all(not isinstance(dirs, DohleError) and not any(one.failure for one in dirs) for dirs in found.values())
    if as_json:
        print_json({"sound": sound, "nodes": [_as_json(node, dirs) for node, dirs in found.items()]})
        return 0 if sound else 1
    print_table(_COLUMNS, [row for node, dirs in found.items() for row in _rows(node, dirs)])
    for node, dirs in found.items():
        complaints = [dirs] if isinstance(dirs, DohleError) else [one.failure for one in dirs if one.failure]
        for complaint in complaints:
            click.echo(f"node {node}: {complaint.message}", err=True)
    return 0 if sound else 1


async def _ask(
    nodes: tuple[int, ...], bootstrap: str, timeout_s: float
) -> dict[int, list[LogDirDescription] | DohleError]:
    from dohle.client.admin import Admin

    found: dict[int, list[LogDirDescription] | DohleError] = {}
    async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-cluster") as admin:
        known = [node.node_id for node in (await admin.describe_cluster()).nodes]
        for node in sorted(set(nodes)) or known:
            try:
                found[node] = await admin.describe_log_dirs(node)
            except DohleError as error:
                found[node] = error
    return found


def _rows(node: int, dirs: list[LogDirDescription] | DohleError) -> list[tuple[object, ...]]:
    if isinstance(dirs, DohleError):
        return [(node, "-", "no answer", "-", "-", "-", "-")]
    return [
        (
            node,
            one.path,
            "offline" if one.failure else "online",
            len(one.replicas) if one.directory_id else "-",
            size_text(one.size_bytes) if one.directory_id else "-",
            "-" if one.failure else size_text(one.free_bytes),
            id_text(one.directory_id) if one.directory_id else "-",
        )
        for one in dirs
    ]


def _as_json(node: int, dirs: list[LogDirDescription] | DohleError) -> dict[str, Any]:
    if isinstance(dirs, DohleError):
        return {"node_id": node, "failure": dirs.message, "log_dirs": []}
    return {
        "node_id": node,
        "failure": None,
        "log_dirs": [
            {
                "path": one.path,
                "directory_id": id_text(one.directory_id) if one.directory_id else None,
                "failure": one.failure.message if one.failure else None,
                "size_bytes": one.size_bytes,
                "free_bytes": one.free_bytes,
                "replicas": [
                    {"topic": replica.topic, "partition": replica.partition, "size_bytes": replica.size_bytes}
                    for replica in one.replicas
                ],
            }
            for one in dirs
        ],
    }
