"""`dohle topic fork`: a topic that begins with what another one has."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from dohle.cli.output import counted, print_json, print_table
from dohle.cli.session import bootstrap_option, json_option, parse_time, run_async, timeout_option
from dohle.model.ids import TopicPartition, id_text

if TYPE_CHECKING:
    from dohle.client.values import ForkedTopic


@click.command()
@click.argument("source")
@click.argument("name")
@click.option(
    "--at",
    metavar="WHERE",
    help="An offset, a time like 2030-01-31T12:00:00, or an age like 10m.  [default: as late as can be]",
)
@bootstrap_option
@timeout_option
@json_option
def fork(source: str, name: str, at: str | None, bootstrap: str, timeout_s: float, as_json: bool) -> None:
    """Make topic NAME, which begins with what SOURCE has.

    On every replica it shares the files that SOURCE has already: so it costs little, whatever the size. It is cut at
    the border between batches at or below WHERE, and has committed records alone. From then on each goes its own way.
    """
    offset = int(at) if at is not None and at.isdecimal() else None
    timestamp_ms = None if at is None or offset is not None else _time(at)

    async def work() -> ForkedTopic:
        from dohle.client.admin import Admin

        async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-topic") as admin:
            return await admin.fork_topic(source, name, offset=offset, timestamp_ms=timestamp_ms)

    made = run_async(work())
    if as_json:
        print_json(
            {
                "name": made.name,
                "topic_id": id_text(made.topic_id),
                "replication_factor": made.replication_factor,
                "ends": {str(partition): end for partition, end in made.ends.items()},
            }
        )
        return
    click.echo(
        f"forked {source} as {name}: {counted(len(made.ends), 'partition')}, replication factor"
        f" {made.replication_factor}"
    )
    print_table(("PARTITION", "END"), [(TopicPartition(name, one), end) for one, end in made.ends.items()])


def _time(text: str) -> int:
    try:
        return parse_time(text, time.time_ns() // 1_000_000)
    except ValueError:
        raise click.UsageError(
            f"--at {text}: write an offset, a time like 2030-01-31T12:00:00, or an age like 10m"
        ) from None
