"""`dohle topic fork`, `snapshot`, `restore` and `snapshots`: topics that begin with what others have."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from dohle.cli.output import counted, print_json, print_table
from dohle.cli.session import bootstrap_option, json_option, parse_time, run_async, timeout_option
from dohle.model.ids import id_text

if TYPE_CHECKING:
    from dohle.client.admin import Admin
    from dohle.client.values import ForkedTopic

T = TypeVar("T")

at_option = click.option(
    "--at",
    metavar="WHERE",
    help="An offset, a time like 2030-01-31T12:00:00, or an age like 10m.  [default: as late as can be]",
)


def _ask(bootstrap: str, timeout_s: float, question: Callable[[Admin], Awaitable[T]]) -> T:
    async def ask() -> T:
        from dohle.client.admin import Admin

        async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-topic") as admin:
            return await question(admin)

    return run_async(ask())


@click.command()
@click.argument("source")
@click.argument("name")
@at_option
@bootstrap_option
@timeout_option
@json_option
def fork(source: str, name: str, at: str | None, bootstrap: str, timeout_s: float, as_json: bool) -> None:
    """Make topic NAME, which begins with what SOURCE has.

    On every replica it shares the files that SOURCE has already: so it costs little, whatever the size. It is cut at
    the border between batches at or below WHERE, and has committed records alone. From then on each goes its own way.
    """
    offset, timestamp_ms = _where(at)
    made = _ask(
        bootstrap,
        timeout_s,
        lambda admin: admin.fork_topic(source, name, offset=offset, timestamp_ms=timestamp_ms),
    )
    _tell(f"forked {source} as {name}", name, made, as_json)


@click.command()
@click.argument("source")
@click.argument("name")
@at_option
@bootstrap_option
@timeout_option
@json_option
def snapshot(source: str, name: str, at: str | None, bootstrap: str, timeout_s: float, as_json: bool) -> None:
    """Keep what topic SOURCE has as snapshot NAME, until that is deleted. It costs what a fork does."""
    offset, timestamp_ms = _where(at)
    made = _ask(
        bootstrap,
        timeout_s,
        lambda admin: admin.snapshot_topic(source, name, offset=offset, timestamp_ms=timestamp_ms),
    )
    _tell(f"snapshot {name} of {source}", name, made, as_json)


@click.command()
@click.argument("snapshot")
@click.argument("name")
@bootstrap_option
@timeout_option
@json_option
def restore(snapshot: str, name: str, bootstrap: str, timeout_s: float, as_json: bool) -> None:
    """Make topic NAME, which begins with all that SNAPSHOT has. The snapshot stays."""
    made = _ask(bootstrap, timeout_s, lambda admin: admin.restore_topic(snapshot, name))
    _tell(f"restored {snapshot} as {name}", name, made, as_json)


@click.command()
@click.option("--delete", metavar="NAME", help="Delete this one.")
@bootstrap_option
@timeout_option
@json_option
def snapshots(delete: str | None, bootstrap: str, timeout_s: float, as_json: bool) -> None:
    """List all snapshots of topics, or delete one."""
    if delete is not None:
        _ask(bootstrap, timeout_s, lambda admin: admin.delete_snapshot(delete))
        click.echo(f"deleted snapshot {delete}")
        return
    found = _ask(bootstrap, timeout_s, lambda admin: admin.list_snapshots())
    if as_json:
        print_json(
            [{"name": one.name, "topic_id": id_text(one.topic_id), "partitions": len(one.partitions)} for one in found]
        )
    elif found:
        rows = [(one.name, len(one.partitions), one.replication_factor) for one in found]
        print_table(("SNAPSHOT", "PARTITIONS", "REPLICAS"), rows)
    else:
        click.echo("There are no snapshots; `dohle topic snapshot TOPIC NAME` makes one.")


def _tell(what: str, name: str, made: ForkedTopic, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "name": name,
                "topic_id": id_text(made.topic_id),
                "replication_factor": made.replication_factor,
                "ends": {str(partition): end for partition, end in made.ends.items()},
            }
        )
        return
    if not made.ends:
        click.echo(f"{what}; another controller took over on the way, and does not know where it was cut")
        return
    click.echo(f"{what}: {counted(len(made.ends), 'partition')}, replication factor {made.replication_factor}")
    print_table(("PARTITION", "END"), list(made.ends.items()))


def _where(at: str | None) -> tuple[int | None, int | None]:
    """Returns an offset, a time in ms, or neither."""
    if at is None:
        return None, None
    if at.isdecimal():
        return int(at), None
    try:
        return None, parse_time(at, time.time_ns() // 1_000_000)
    except ValueError:
        raise click.UsageError(
            f"--at {at}: write an offset, a time like 2030-01-31T12:00:00, or an age like 10m"
        ) from None
