"""`dohle group reset`: sets where a group goes on, after saying what that changes."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from dohle.cli.output import counted, print_json, print_table
from dohle.cli.partition_names import parse_partition
from dohle.cli.session import bootstrap_option, json_option, parse_time, run_async, timeout_option
from dohle.model.errors import ConfigurationError, DohleError, UnknownTopicOrPartition
from dohle.model.group_errors import GroupIdNotFound
from dohle.model.ids import TopicPartition

if TYPE_CHECKING:
    from dohle.client.admin import Admin
    from dohle.client.values import OffsetAndTimestamp, OffsetSpec

_FORMS: Final = (
    "earliest, latest, current, an offset, +N or -N from the current one, a time like 2030-01-31T12:00:00, or an age"
    " like 10m"
)
_CURRENT: Final = "current"
_ENDS: Final = {"earliest": "EARLIEST", "latest": "LATEST"}
Offsets = dict[TopicPartition, int]


@click.command()
@click.argument("name", metavar="GROUP")
@click.option(
    "-t",
    "--topic",
    "topics",
    multiple=True,
    metavar="TOPIC[:PARTITION]",
    help="Only of these.  [default: all that the group has committed offsets of]",
)
@click.option("--to", "where", metavar="WHERE", help=f"Where to go on: {_FORMS}.")
@click.option(
    "--from-file",
    "path",
    type=click.Path(dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Offsets from lines of topic,partition,offset; - for standard input.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--csv", "as_csv", is_flag=True, help="With --dry-run: print lines as --from-file reads them.")
@click.option("--yes", is_flag=True, help="Do not ask whether you are sure.")
@bootstrap_option
@timeout_option
@json_option
def reset(
    name: str,
    topics: tuple[str, ...],
    where: str | None,
    path: str | None,
    dry_run: bool,
    as_csv: bool,
    yes: bool,
    bootstrap: str,
    timeout_s: float,
    as_json: bool,
) -> int:
    """Set where GROUP goes on reading: all partitions, or none.

    Says first what changes. Refused while the group has members, who are named: they would commit over it. An offset
    outside of a partition's log is taken to the end that is nearer, and a time behind all records to the latest.
    """
    if (where is None) == (path is None):
        raise click.UsageError(f"say where to go on, by --to or --from-file: {_FORMS}")
    if as_csv and not dry_run:
        raise click.UsageError("--csv goes with --dry-run")
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    if as_json and not (yes or dry_run):
        raise click.UsageError("--json cannot ask: add --yes to reset, or --dry-run to see what would change")
    if where is not None:
        _check(where)

    async def work() -> int:
        from dohle.client.admin import Admin

        async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-group") as admin:
            current = await _current(admin, name)
            names = await _names(admin, topics, current)
            if path is not None:
                wanted = {one: offset for one, offset in _read(path).items() if not topics or one in names}
            else:
                assert where is not None
                wanted = await _wanted(admin, where, names, current)
            offsets = await _within(admin, wanted)
            return await _reset(admin, name, current, offsets, wanted, asks=not yes, dry_run=dry_run, form=form)

    form = "csv" if as_csv else "json" if as_json else "table"
    return run_async(work())


def _check(where: str) -> None:
    """Raises UsageError for what says nowhere."""
    if where in (*_ENDS, _CURRENT) or where.isdecimal() or _is_shift(where):
        return
    try:
        parse_time(where, 0)
    except ValueError:
        raise click.UsageError(f"--to {where}: write {_FORMS}") from None


def _is_shift(where: str) -> bool:
    return where[:1] in ("+", "-") and where[1:].isdecimal()


async def _current(admin: Admin, name: str) -> Offsets:
    """Returns what the group has committed; nothing of one that is not there."""
    found = (await admin.describe_groups([name]))[name]
    if isinstance(found, GroupIdNotFound):
        return {}
    if isinstance(found, DohleError):
        raise found
    return {one.name: one.committed_offset for one in found.partitions if one.committed_offset is not None}


async def _names(admin: Admin, topics: Sequence[str], current: Offsets) -> list[TopicPartition]:
    """Returns the partitions that are asked for. Raises UnknownTopicOrPartition, UsageError."""
    if not topics:
        return sorted(current)
    names: list[TopicPartition] = []
    for text in topics:
        one = parse_partition(text) if ":" in text else TopicPartition(text, -1)
        count = len((await admin.describe_topic(one.topic)).partitions)
        if one.partition >= count:
            raise UnknownTopicOrPartition(f"{one.topic} has no partition {one.partition}: it has 0 to {count - 1}")
        numbers = range(count) if one.partition < 0 else [one.partition]
        names += [TopicPartition(one.topic, number) for number in numbers]
    return sorted(set(names))


def _read(path: str) -> Offsets:
    """Returns the offsets in a file. Raises ConfigurationError, saying which line is wrong."""
    try:
        if path == "-":
            lines = sys.stdin.read().splitlines()
        else:
            with open(path, encoding="utf-8") as file:
                lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    offsets: Offsets = {}
    for number, row in enumerate(csv.reader(lines, skipinitialspace=True), start=1):
        if not row:
            continue
        if len(row) != 3 or not row[0] or not row[1].strip().isdecimal() or not row[2].strip().isdecimal():
            raise ConfigurationError(
                f"{path}, line {number}: {','.join(row)!r} is not of the form topic,partition,offset"
            )
        one = TopicPartition(row[0], int(row[1]))
        if one in offsets:
            raise ConfigurationError(f"{path}, line {number}: {one} is there twice")
        offsets[one] = int(row[2])
    return offsets


async def _wanted(admin: Admin, where: str, names: Sequence[TopicPartition], current: Offsets) -> Offsets:
    """Returns where each partition is to go on."""
    if where == _CURRENT:
        return {name: current[name] for name in names if name in current}
    if where.isdecimal():
        return dict.fromkeys(names, int(where))
    if _is_shift(where):
        return {name: current[name] + int(where) for name in names if name in current}
    if where in _ENDS:
        return await _listed(admin, names, _spec(_ENDS[where]))
    found = await _listed(admin, names, parse_time(where, time.time_ns() // 1_000_000))
    late = [name for name in names if found[name] < 0]
    return found | (await _listed(admin, late, _spec("LATEST")) if late else {})


def _spec(name: str) -> OffsetSpec:
    from dohle.client.values import OffsetSpec

    return OffsetSpec[name]


async def _listed(admin: Admin, names: Sequence[TopicPartition], spec: OffsetSpec | int) -> Offsets:
    """Returns the offset that `spec` means in each partition. Raises what keeps one of them from being told."""
    found: Mapping[TopicPartition, OffsetAndTimestamp | DohleError] = (
        await admin.list_offsets(dict.fromkeys(names, spec)) if names else {}
    )
    for name, one in found.items():
        if isinstance(one, DohleError):
            raise type(one)(f"{name}: {one.message}")
    return {name: one.offset for name, one in found.items() if not isinstance(one, DohleError)}


async def _within(admin: Admin, wanted: Offsets) -> Offsets:
    """Returns the offsets, those outside of their logs at the nearer end."""
    names = list(wanted)
    starts = await _listed(admin, names, _spec("EARLIEST"))
    ends = await _listed(admin, names, _spec("LATEST"))
    return {name: min(max(offset, starts[name]), ends[name]) for name, offset in wanted.items()}


async def _reset(
    admin: Admin,
    name: str,
    current: Offsets,
    offsets: Offsets,
    wanted: Offsets,
    *,
    asks: bool,
    dry_run: bool,
    form: str,
) -> int:
    await admin.alter_group_offsets(name, offsets, validate_only=True)  # whatever refuses it does so before anything
    if form == "table":
        _show(name, current, offsets, wanted)
    if dry_run or not offsets:
        _tell(current, offsets, form, done=False)
        return 0
    if asks:
        click.confirm(f"Reset group {name}?", abort=True, err=True)
    await admin.alter_group_offsets(name, offsets)
    _tell(current, offsets, form, done=True)
    if form == "table":
        click.echo(f"reset {counted(len(offsets), 'partition')} of group {name}")
    return 0


def _show(name: str, current: Offsets, offsets: Offsets, wanted: Offsets) -> None:
    if not offsets:
        click.echo(
            f"Nothing to reset: group {name} has committed nothing there. --topic says which topics it is to have."
        )
        return
    if not current:
        click.echo(f"Group {name} has committed nothing yet.")
    rows = [
        (
            one,
            current.get(one, "-"),
            f"{offset} (not {wanted[one]}: the log ends there)" if offset != wanted[one] else offset,
            f"{offset - current[one]:+d}" if one in current else "-",
        )
        for one, offset in sorted(offsets.items())
    ]
    print_table(("PARTITION", "COMMITTED", "WILL BE", "CHANGE"), rows)


def _tell(current: Offsets, offsets: Offsets, form: str, *, done: bool) -> None:
    if form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows((one.topic, one.partition, offset) for one, offset in sorted(offsets.items()))
    elif form == "json":
        print_json([_to_json(one, current.get(one), offset, done=done) for one, offset in sorted(offsets.items())])


def _to_json(name: TopicPartition, current: int | None, offset: int, *, done: bool) -> dict[str, Any]:
    return {
        "topic": name.topic,
        "partition": name.partition,
        "previous_offset": current,
        "offset": offset,
        "reset": done,
    }
