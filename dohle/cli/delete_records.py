"""`dohle topic delete-records`: deletes the oldest records of a topic, after saying what goes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from dohle.cli.output import about, counted, print_json, print_table, size_text
from dohle.cli.session import bootstrap_option, json_option, parse_time, run_async, timeout_option
from dohle.model.errors import DohleError, UnknownTopicOrPartition
from dohle.model.ids import TopicPartition

if TYPE_CHECKING:
    from dohle.client.admin import Admin
    from dohle.client.values import DeletedRecords

_END = -1


@click.command("delete-records")
@click.argument("topic")
@click.option("-p", "--partition", "partitions", type=int, multiple=True, help="Only these.  [default: all]")
@click.option(
    "--before",
    required=True,
    metavar="WHERE",
    help="An offset, a time like 2030-01-31T12:00:00, an age like 10m, or end for all records that there are now.",
)
@click.option("--yes", is_flag=True, help="Do not ask whether you are sure.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@bootstrap_option
@timeout_option
@json_option
def delete_records(
    topic: str,
    partitions: tuple[int, ...],
    before: str,
    yes: bool,
    dry_run: bool,
    bootstrap: str,
    timeout_s: float,
    as_json: bool,
) -> int:
    """Delete the oldest records of TOPIC: those before an offset or a time, or all.

    Says first what goes. Readers do not find it any more as soon as this ends, after any election as well; files follow
    by whole segments, within log.retention.check.interval.ms on each broker.
    """
    if as_json and not (yes or dry_run):
        raise click.UsageError("--json cannot ask: add --yes to delete, or --dry-run to see what would go")
    since_ms = None if before == "end" or before.isdecimal() else _time(before)

    async def work() -> int:
        from dohle.client.admin import Admin

        async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-topic") as admin:
            names = await partition_names(admin, topic, partitions)
            if before.isdecimal() and len(names) > 1:
                raise click.UsageError(
                    f"{topic} has {len(names)} partitions, and an offset is one's: say which with --partition"
                )
            if since_ms is not None:
                offsets = await _offsets_at(bootstrap, names, since_ms)
            else:
                offsets = dict.fromkeys(names, _END if before == "end" else int(before))
            return await _delete(admin, offsets, asks=not yes, dry_run=dry_run, as_json=as_json)

    return run_async(work())


def _time(text: str) -> int:
    try:
        return parse_time(text, time.time_ns() // 1_000_000)
    except ValueError:
        raise click.UsageError(
            f"--before {text}: write an offset, a time like 2030-01-31T12:00:00, an age like 10m, or end"
        ) from None


async def partition_names(admin: Admin, topic: str, partitions: Sequence[int]) -> list[TopicPartition]:
    """Returns these partitions of the topic, all of them where there are none. Raises UnknownTopicOrPartition."""
    count = len((await admin.describe_topic(topic)).partitions)
    for partition in partitions:
        if not 0 <= partition < count:
            raise UnknownTopicOrPartition(f"{topic} has no partition {partition}: it has 0 to {count - 1}")
    return [TopicPartition(topic, partition) for partition in sorted(set(partitions)) or range(count)]


async def _offsets_at(bootstrap: str, names: Sequence[TopicPartition], since_ms: int) -> dict[TopicPartition, int]:
    """Returns the offset of the first record that is not older; where all are, the end."""
    from dohle.client.consumer import Consumer

    async with Consumer(bootstrap, client_id="dohle-topic") as consumer:
        await consumer.assign(*names)
        await consumer.seek_to_time(since_ms)
        return {name: await consumer.position(name) for name in names}


async def _delete(
    admin: Admin, offsets: Mapping[TopicPartition, int], *, asks: bool, dry_run: bool, as_json: bool
) -> int:
    foreseen = await admin.delete_records(offsets, validate_only=True)
    refused = {name: one for name, one in foreseen.items() if isinstance(one, DohleError)}
    goes = {name: one for name, one in foreseen.items() if not isinstance(one, DohleError)}
    wanted = {name: one.before_offset for name, one in goes.items() if one.before_offset > one.log_start_offset}
    if not as_json:
        _show(goes, wanted)
    if refused or dry_run or not wanted:
        return _told(foreseen, {}, refused, as_json)
    if asks:
        click.confirm("Delete them? Nothing brings them back.", abort=True, err=True)
    outcomes = await admin.delete_records(wanted)
    failed = {name: one for name, one in outcomes.items() if isinstance(one, DohleError)}
    return _told(foreseen, outcomes, failed, as_json)


def _show(goes: Mapping[TopicPartition, DeletedRecords], wanted: Mapping[TopicPartition, int]) -> None:
    rows = [
        (name, one.log_start_offset, one.before_offset, _records(one), size_text(one.size_bytes))
        for name, one in goes.items()
        if name in wanted
    ]
    if rows:
        print_table(("PARTITION", "BEGINS AT", "WILL BEGIN AT", "RECORDS", "FILES THAT GO"), rows)
    for name, one in goes.items():
        if name not in wanted:
            click.echo(f"{name}: nothing to delete, it begins at {one.log_start_offset}")


def _records(one: DeletedRecords) -> int:
    """Returns how many go, of a topic that is compacted as well at most so many."""
    return max(0, one.before_offset - one.log_start_offset)


def _told(
    foreseen: Mapping[TopicPartition, DeletedRecords | DohleError],
    outcomes: Mapping[TopicPartition, DeletedRecords | DohleError],
    failed: Mapping[TopicPartition, DohleError],
    as_json: bool,
) -> int:
    """Says what became of it, and returns the exit code."""
    if as_json:
        print_json([_to_json(name, one, outcomes.get(name)) for name, one in foreseen.items()])
        return 1 if failed else 0
    for name, error in failed.items():
        click.echo(f"dohle: {about(name, error)}", err=True)
    if failed and not outcomes:
        click.echo("nothing was deleted", err=True)
    deleted = [one for name, one in foreseen.items() if name in outcomes and name not in failed]
    if deleted:
        records = sum(_records(one) for one in deleted if not isinstance(one, DohleError))
        click.echo(f"deleted {counted(records, 'record')} of {counted(len(deleted), 'partition')}")
    return 1 if failed else 0


def _to_json(
    name: TopicPartition, foreseen: DeletedRecords | DohleError, outcome: DeletedRecords | DohleError | None
) -> dict[str, Any]:
    found: dict[str, Any] = {"topic": name.topic, "partition": name.partition, "deleted": False}
    if not isinstance(foreseen, DohleError):
        found |= {
            "log_start_offset": foreseen.log_start_offset,
            "before_offset": foreseen.before_offset,
            "records": _records(foreseen),
            "size_bytes": foreseen.size_bytes,
        }
    if outcome is not None and not isinstance(outcome, DohleError):
        found |= {"deleted": True, "log_start_offset": outcome.log_start_offset}
    error = next((one for one in (outcome, foreseen) if isinstance(one, DohleError)), None)
    return {**found, "error": None if error is None else error.message}
