"""`dohle consume`: a topic's records onto standard output."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import click

from dohle.cli.record_text import record_json, record_line
from dohle.cli.session import bootstrap_option, parse_time, run_async
from dohle.model.errors import LeaderNotAvailable, OffsetOutOfRange, UnknownTopicOrPartition
from dohle.model.ids import TopicPartition
from dohle.model.records import Record

if TYPE_CHECKING:
    from dohle.client.consumer import Consumer
    from dohle.client.values import ConsumerRecord

_LEADER_PATIENCE_S = 5.0
_ANSWER_PATIENCE_S = 3.0
_MOST_NAMED = 10

Format = Callable[["ConsumerRecord"], bytes]


@click.command()
@click.argument("topic")
@click.option("-p", "--partition", "partitions", type=int, multiple=True, help="Only these.  [default: all]")
@click.option(
    "--from",
    "start",
    default="beginning",
    show_default=True,
    metavar="WHERE",
    help="beginning, end, or an offset.",
)
@click.option("--since", metavar="TIME", help="From this time on: 2030-01-31T12:00:00, an age like 10m, ms since 1970.")
@click.option("-f", "--follow", is_flag=True, help="Wait for more at the end, until Ctrl-C.")
@click.option("-n", "--max-count", type=click.IntRange(min=1), help="End after so many records.")
@click.option("--json", "as_json", is_flag=True, help="Print each record, with all that belongs to it, as JSON.")
@click.option("-k", "--keys", is_flag=True, help="Print each record's key before its value.")
@click.option("--headers", is_flag=True, help="Print each record's headers before its value.")
@click.option(
    "--rack", default="", metavar="RACK", help="Where this runs: replicas there are read, if they are in sync."
)
@click.option("--key-separator", default="\t", metavar="TEXT", help="What to print between them.  [default: a tab]")
@bootstrap_option
def consume(
    topic: str,
    partitions: tuple[int, ...],
    start: str,
    since: str | None,
    follow: bool,
    max_count: int | None,
    as_json: bool,
    keys: bool,
    headers: bool,
    rack: str,
    key_separator: str,
    bootstrap: str,
) -> None:
    """Print the records of TOPIC: the value of each on a line, up to where the topic ends now."""
    if start not in ("beginning", "end") and not start.isdecimal():
        raise click.UsageError(f"--from {start}: write beginning, end, or an offset")
    if since is not None and start != "beginning":
        raise click.UsageError("--since and --from exclude each other")
    try:
        since_ms = parse_time(since, time.time_ns() // 1_000_000) if since is not None else None
    except ValueError as error:
        raise click.UsageError(f"--since: {error}") from error
    show = _json if as_json else _lines(key_separator.encode(), keys, headers)

    async def work() -> None:
        from dohle.client.consumer import Consumer

        # an offset that was asked for and is not there is an error; a beginning that moved on meanwhile is not
        reset: Literal["none", "earliest"] = "none" if start.isdecimal() else "earliest"
        async with Consumer(bootstrap, auto_offset_reset=reset, rack=rack, client_id="dohle-consume") as consumer:
            await _assign(consumer, topic, partitions)
            ends, failures = await _ends(consumer)
            if failures and follow and start == "beginning" and since_ms is None:
                click.echo(f"dohle: {_words(failures)}; what they hold is printed once they have one", err=True)
            elif failures and (follow or not ends):
                raise LeaderNotAvailable(_words(failures))
            else:
                await consumer.assign(*ends)
                await _seek(consumer, start, since_ms, ends)
            wanted_more = await _print(consumer, show, follow, max_count, ends)
            if failures and wanted_more:
                raise LeaderNotAvailable(f"{_words(failures)}; all others were read")

    run_async(work())


async def _assign(consumer: Consumer, topic: str, partitions: Sequence[int]) -> None:
    await consumer.assign(topic)
    if not partitions:
        return
    wanted = [TopicPartition(topic, partition) for partition in sorted(set(partitions))]
    present = consumer.assignment()
    for partition in wanted:
        if partition not in present:
            raise UnknownTopicOrPartition(
                f"{topic} has no partition {partition.partition}: it has 0 to {len(present) - 1}"
            )
    await consumer.assign(*wanted)


async def _ends(consumer: Consumer) -> tuple[Mapping[TopicPartition, int], list[TopicPartition]]:
    """Returns where partitions end now, and those whose leader does not say so in time."""
    partitions = consumer.assignment()
    try:
        async with asyncio.timeout(_LEADER_PATIENCE_S):  # elections end sooner
            return await consumer.end_offsets(*partitions), []
    except TimeoutError:
        pass  # one is enough for that: now each by itself
    ends = dict.fromkeys(partitions, -1)

    async def ask(partition: TopicPartition) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ANSWER_PATIENCE_S):
                ends.update(await consumer.end_offsets(partition))

    await asyncio.gather(*map(ask, partitions))
    known = {partition: end for partition, end in ends.items() if end >= 0}
    return known, [partition for partition in partitions if partition not in known]


def _words(leaderless: Sequence[TopicPartition]) -> str:
    names = ", ".join(map(str, leaderless[:_MOST_NAMED]))
    more = f" and {len(leaderless) - _MOST_NAMED} more" if len(leaderless) > _MOST_NAMED else ""
    have = "has" if len(leaderless) == 1 else "have"
    return f"{names}{more} {have} no leader that can be reached"


async def _seek(consumer: Consumer, start: str, since_ms: int | None, ends: Mapping[TopicPartition, int]) -> None:
    if since_ms is not None:
        await consumer.seek_to_time(since_ms)
    elif start == "end":
        await consumer.seek_to_end()
    elif start == "beginning":
        await consumer.seek_to_beginning()
    else:
        if int(start) > max(ends.values()):
            raise OffsetOutOfRange(f"no partition has an offset {start}: the last one ends at {max(ends.values())}")
        for partition in consumer.assignment():
            consumer.seek(partition, int(start))


async def _print(
    consumer: Consumer, show: Format, follow: bool, max_count: int | None, ends: Mapping[TopicPartition, int]
) -> bool:
    """Prints records up to `ends`, or for ever, or until there were `max_count`; returns False if there were."""
    unfinished = set()
    for partition in consumer.assignment():
        if follow or await consumer.position(partition) < ends[partition]:
            unfinished.add(partition)
        else:
            consumer.pause(partition)
    left = max_count
    if not unfinished:
        return True
    async for batch in consumer.batches():
        partition = TopicPartition(batch.topic, batch.partition)
        records = [record for record in batch.records() if follow or record.offset < ends[partition]]
        if left is not None:
            records = records[:left]
            left -= len(records)
        sys.stdout.buffer.write(b"".join([show(record) for record in records]))
        sys.stdout.buffer.flush()
        if not follow and batch.next_offset >= ends[partition]:
            consumer.pause(partition)
            unfinished.discard(partition)
        if left == 0 or not unfinished:
            break
    return left != 0


def _json(record: ConsumerRecord) -> bytes:
    return record_json(record.topic, record.partition, _plain(record)).encode() + b"\n"


def _plain(record: ConsumerRecord) -> Record:
    return Record(record.key, record.value, record.headers, record.timestamp_ms, record.offset)


def _lines(separator: bytes, keys: bool, headers: bool) -> Format:
    def show(record: ConsumerRecord) -> bytes:
        line = record_line(_plain(record), key_separator=separator if keys else None)
        if headers:
            words = [name.encode() + b"=" + (value or b"") for name, value in record.headers]
            line = b",".join(words) + separator + line
        return line + b"\n"

    return show
