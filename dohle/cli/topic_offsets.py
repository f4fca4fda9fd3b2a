"""`dohle topic offsets`: where partitions begin and end, and which record came when."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click

from dohle.cli.delete_records import partition_names
from dohle.cli.output import print_json, print_table, time_text
from dohle.cli.session import bootstrap_option, json_option, parse_time, run_async, timeout_option
from dohle.model.errors import DohleError
from dohle.model.ids import TopicPartition

if TYPE_CHECKING:
    from dohle.client.values import OffsetAndTimestamp

_SPECS: Final = {"latest": "LATEST", "earliest": "EARLIEST", "max-timestamp": "MAX_TIMESTAMP"}


@click.command("offsets")
@click.argument("topic")
@click.option("-p", "--partition", "partitions", type=int, multiple=True, help="Only these.  [default: all]")
@click.option(
    "--at",
    default="latest",
    show_default=True,
    metavar="WHERE",
    help="latest, earliest, max-timestamp, a time like 2030-01-31T12:00:00, or an age like 10m.",
)
@bootstrap_option
@timeout_option
@json_option
def offsets(topic: str, partitions: tuple[int, ...], at: str, bootstrap: str, timeout_s: float, as_json: bool) -> int:
    """Say where the partitions of TOPIC end, begin, or have the record of a time.

    Of a time it is the first record that is not older; max-timestamp is the record with the newest time.
    """
    timestamp_ms = None if at in _SPECS else _time(at)

    async def work() -> int:
        from dohle.client.admin import Admin
        from dohle.client.values import OffsetSpec

        async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-topic") as admin:
            wanted = OffsetSpec[_SPECS[at]] if timestamp_ms is None else timestamp_ms
            names = await partition_names(admin, topic, partitions)
            return _show(await admin.list_offsets(dict.fromkeys(names, wanted)), as_json)

    return run_async(work())


def _time(text: str) -> int:
    try:
        return parse_time(text, time.time_ns() // 1_000_000)
    except ValueError:
        raise click.UsageError(
            f"--at {text}: write latest, earliest, max-timestamp, a time like 2030-01-31T12:00:00, or an age like 10m"
        ) from None


def _show(found: dict[TopicPartition, OffsetAndTimestamp | DohleError], as_json: bool) -> int:
    """Returns the exit code: 1 where something was not found out."""
    if as_json:
        print_json([_json(name, one) for name, one in found.items()])
    else:
        print_table(("PARTITION", "OFFSET", "TIME"), [_row(name, one) for name, one in found.items()])
    return int(any(isinstance(one, DohleError) for one in found.values()))


def _row(name: TopicPartition, one: OffsetAndTimestamp | DohleError) -> tuple[str, str, str]:
    if isinstance(one, DohleError):
        return str(name), "?", one.message
    is_there, has_time = one.offset >= 0, one.timestamp_ms >= 0
    return str(name), str(one.offset) if is_there else "none", time_text(one.timestamp_ms) if has_time else "-"


def _json(name: TopicPartition, one: OffsetAndTimestamp | DohleError) -> dict[str, object]:
    about: dict[str, object] = {"topic": name.topic, "partition": name.partition}
    if isinstance(one, DohleError):
        return {**about, "error": one.message}
    has_time = one.timestamp_ms >= 0
    return {
        **about,
        "offset": one.offset if one.offset >= 0 else None,
        "timestamp_ms": one.timestamp_ms if has_time else None,
    }
