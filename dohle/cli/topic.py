"""`dohle topic`: create, list, describe, delete and configure topics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dohle.cli.delete_records import delete_records
from dohle.cli.fork import fork, restore, snapshot, snapshots
from dohle.cli.output import counted, leader_text, print_json, print_table, size_text
from dohle.cli.session import bootstrap_option, json_option, run_async, timeout_option
from dohle.cli.topic_offsets import offsets
from dohle.model.errors import DohleError
from dohle.model.ids import id_text
from dohle.model.snapshot_names import is_snapshot

if TYPE_CHECKING:
    from dohle.client.admin import Admin
    from dohle.client.values import ReplicaDescription, TopicConfigEntry, TopicDescription

T = TypeVar("T")


@click.group()
def topic() -> None:
    """Create, list, describe, delete and configure topics."""


topic.add_command(delete_records)
for command in (offsets, fork, snapshot, restore, snapshots):
    topic.add_command(command)


def _ask(bootstrap: str, timeout_s: float, question: Callable[[Admin], Awaitable[T]]) -> T:
    async def ask() -> T:
        from dohle.client.admin import Admin

        async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-topic") as admin:
            return await question(admin)

    return run_async(ask())


def parse_settings(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    for name, equals, _ in pairs:
        if not equals or not name:
            raise click.BadParameter(f"{name!r} sets nothing: write KEY=VALUE")
    return {name: value for name, _, value in pairs}


def _note_what_has_no_effect(settings: Iterable[str]) -> None:
    from dohle.model.topic_config import NOT_CARRIED_OUT

    for key in settings:
        if key in NOT_CARRIED_OUT:
            click.echo(f"dohle: note: {key} is kept, but has no effect in this version", err=True)


@topic.command()
@click.argument("name")
@click.option("-p", "--partitions", type=int, help="How many.  [default: the cluster's]")
@click.option("-r", "--replication-factor", type=int, help="Replicas of each partition.  [default: the cluster's]")
@click.option("-c", "--config", "configs", multiple=True, callback=parse_settings, metavar="KEY=VALUE")
@bootstrap_option
@timeout_option
@json_option
def create(
    name: str,
    partitions: int | None,
    replication_factor: int | None,
    configs: dict[str, str],
    bootstrap: str,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Create topic NAME."""
    created = _ask(
        bootstrap,
        timeout_s,
        lambda admin: admin.create_topic(
            name, partitions=partitions, replication_factor=replication_factor, configs=configs
        ),
    )
    _note_what_has_no_effect(configs)
    if as_json:
        print_json(
            {
                "name": created.name,
                "topic_id": id_text(created.topic_id),
                "partitions": created.partitions,
                "replication_factor": created.replication_factor,
            }
        )
    else:
        click.echo(
            f"created {created.name}: {counted(created.partitions, 'partition')},"
            f" replication factor {created.replication_factor}"
        )


@topic.command("list")
@bootstrap_option
@timeout_option
@json_option
def list_command(bootstrap: str, timeout_s: float, as_json: bool) -> None:
    """List all topics."""
    topics = [one for one in _ask(bootstrap, timeout_s, lambda admin: admin.list_topics()) if not is_snapshot(one.name)]
    if as_json:
        print_json([topic_json(found) for found in topics])
    elif topics:
        rows = [(found.name, len(found.partitions), found.replication_factor) for found in topics]
        print_table(("TOPIC", "PARTITIONS", "REPLICAS"), rows)
    else:
        click.echo("There are no topics; `dohle topic create NAME` makes one.")


@topic.command()
@click.argument("name")
@bootstrap_option
@timeout_option
@json_option
def describe(name: str, bootstrap: str, timeout_s: float, as_json: bool) -> None:
    """Show the partitions of topic NAME, their replicas, offsets and sizes, and what is configured."""

    async def question(
        admin: Admin,
    ) -> tuple[TopicDescription, list[TopicConfigEntry], dict[int, ReplicaDescription]]:
        found = await admin.describe_topic(name)
        return found, await admin.describe_configs(name), await _leading_replicas(admin, found)

    found, configs, replicas = _ask(bootstrap, timeout_s, question)
    changed = {entry.name: entry.value for entry in configs if not entry.is_default}
    if as_json:
        print_json({**topic_json(found, replicas), "configs": changed})
        return
    click.echo(f"{found.name}  id {id_text(found.topic_id)}, replication factor {found.replication_factor}")
    click.echo("".join(f"{key} = {value}\n" for key, value in changed.items()))
    rows = []
    has_eligible = any(partition.eligible_replicas for partition in found.partitions)
    for partition in found.partitions:
        replica = replicas.get(partition.partition)
        rows.append(
            (
                partition.partition,
                leader_text(partition.leader, partition.last_known_leader),
                ",".join(map(str, partition.assigned_replicas)),
                ",".join(map(str, partition.in_sync_replicas)),
                *((",".join(map(str, partition.eligible_replicas)),) if has_eligible else ()),
                partition.leader_epoch,
                replica.log_start_offset if replica else "?",
                replica.high_watermark if replica else "?",
                size_text(replica.size_bytes) if replica else "?",
            )
        )
    columns = ("PARTITION", "LEADER", "REPLICAS", "IN SYNC", "EPOCH", "START", "END", "SIZE")
    print_table((*columns[:4], "ELIGIBLE", *columns[4:]) if has_eligible else columns, rows)


async def _leading_replicas(admin: Admin, found: TopicDescription) -> dict[int, ReplicaDescription]:
    """Returns what leaders say of their logs; a leader that does not answer is left out."""
    replicas: dict[int, ReplicaDescription] = {}
    for leader in sorted({partition.leader for partition in found.partitions if partition.leader >= 0}):
        try:
            folders = await admin.describe_log_dirs(leader)
        except DohleError:
            continue
        for replica in (replica for folder in folders for replica in folder.replicas):
            if replica.leads and replica.topic_id == found.topic_id:
                replicas[replica.partition] = replica
    return replicas


def topic_json(found: TopicDescription, replicas: dict[int, ReplicaDescription] | None = None) -> dict[str, Any]:
    """Returns a topic for scripts; with what its leaders say, where that is known."""
    partitions: list[dict[str, Any]] = []
    for partition in found.partitions:
        fields: dict[str, Any] = {
            "partition": partition.partition,
            "leader": partition.leader,
            "leader_epoch": partition.leader_epoch,
            "partition_epoch": partition.partition_epoch,
            "assigned_replicas": list(partition.assigned_replicas),
            "in_sync_replicas": list(partition.in_sync_replicas),
            "eligible_replicas": list(partition.eligible_replicas),
            "last_known_leader": partition.last_known_leader,
        }
        replica = (replicas or {}).get(partition.partition)
        if replica is not None:
            fields |= {
                "log_start_offset": replica.log_start_offset,
                "high_watermark": replica.high_watermark,
                "size_bytes": replica.size_bytes,
            }
        partitions.append(fields)
    return {
        "name": found.name,
        "topic_id": id_text(found.topic_id),
        "replication_factor": found.replication_factor,
        "partitions": partitions,
    }


@topic.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask whether you are sure.")
@bootstrap_option
@timeout_option
def delete(names: tuple[str, ...], yes: bool, bootstrap: str, timeout_s: float) -> int:
    """Delete topics NAMES and all that is in them."""
    if not yes:
        click.confirm(f"Delete {', '.join(names)} with all records?", abort=True, err=True)
    failed = 0
    for name, error in _ask(bootstrap, timeout_s, lambda admin: admin.delete_topics(names)).items():
        if error is None:
            click.echo(f"deleted {name}")
        else:
            failed += 1
            click.echo(f"dohle: {name}: {error.message}", err=True)
    return 1 if failed else 0


@topic.command()
@click.argument("name")
@click.option("--set", "settings", multiple=True, callback=parse_settings, metavar="KEY=VALUE", help="Change a key.")
@click.option("--remove", multiple=True, metavar="KEY", help="Put a key back to its default.")
@click.option("--all", "show_all", is_flag=True, help="Show keys that have their default, too.")
@bootstrap_option
@timeout_option
@json_option
def config(
    name: str,
    settings: dict[str, str],
    remove: tuple[str, ...],
    show_all: bool,
    bootstrap: str,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Show or change the configuration of topic NAME."""

    async def question(admin: Admin) -> list[TopicConfigEntry]:
        if settings or remove:
            await admin.alter_configs(name, settings, remove=remove)
        return await admin.describe_configs(name)

    entries = _ask(bootstrap, timeout_s, question)
    _note_what_has_no_effect(settings)
    shown = [entry for entry in entries if show_all or as_json or not entry.is_default]
    if as_json:
        print_json(
            [
                {"name": entry.name, "value": entry.value, "is_default": entry.is_default, "type": entry.type}
                for entry in shown
            ]
        )
    elif shown:
        for entry in shown:
            click.echo(f"{entry.name} = {entry.value}{'  (default)' if entry.is_default else ''}")
            if show_all:
                click.echo(f"    {entry.doc}")
    else:
        click.echo("Everything has its default; --all shows it.")


@topic.command("add-partitions")
@click.argument("name")
@click.argument("total_count", type=int)
@bootstrap_option
@timeout_option
def add_partitions(name: str, total_count: int, bootstrap: str, timeout_s: float) -> None:
    """Give topic NAME more partitions, TOTAL_COUNT in all. Keys may then go to other partitions than before."""
    _ask(bootstrap, timeout_s, lambda admin: admin.create_partitions(name, total_count))
    click.echo(f"{name} has {counted(total_count, 'partition')}")
