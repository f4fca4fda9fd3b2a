"""`dohle produce`: standard input into a topic."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Literal

import click

from dohle.cli.output import counted
from dohle.cli.record_text import Headers, Input, headers_of, parse_json, parse_line
from dohle.cli.session import bootstrap_option, run_async
from dohle.cli.standard_input import input_lines
from dohle.model.errors import DohleError, InvalidRecord

if TYPE_CHECKING:
    from dohle.client.producer import Producer, Receipt

_ACKS: dict[str, Literal["all", 1, 0]] = {"all": "all", "1": 1, "0": 0}


def _parse_headers(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> Headers:
    try:
        return headers_of(given)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.argument("topic")
@click.option("--json", "as_json", is_flag=True, help="Lines are JSON objects, as `dohle consume --json` prints them.")
@click.option("-k", "--key-separator", metavar="TEXT", help="What stands between key and value in a line.")
@click.option("-H", "--header", "headers", multiple=True, callback=_parse_headers, metavar="NAME=VALUE")
@click.option("-p", "--partition", type=int, help="Where records go that name none.  [default: by key]")
@click.option("--acks", type=click.Choice(list(_ACKS)), default="all", show_default=True, help="Who must have them.")
@click.option(
    "--compression",
    type=click.Choice(["none", "gzip", "snappy", "lz4", "zstd"]),
    default="none",
    show_default=True,
)
@click.option("--linger-ms", type=float, default=5.0, show_default=True, help="How long a batch waits to fill.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing if all goes well.")
@bootstrap_option
def produce(
    topic: str,
    as_json: bool,
    key_separator: str | None,
    headers: Headers,
    partition: int | None,
    acks: str,
    compression: str,
    linger_ms: float,
    quiet: bool,
    bootstrap: str,
) -> None:
    """Write each line of standard input to TOPIC as a record."""
    if as_json and key_separator is not None:
        raise click.UsageError("--json and --key-separator exclude each other")
    separator = key_separator.encode() if key_separator is not None else None

    def parse(line: bytes) -> Input:
        return parse_json(line, headers) if as_json else parse_line(line, separator, headers)

    async def work() -> int:
        from dohle.client.producer import Producer

        async with Producer(
            bootstrap,
            acks=_ACKS[acks],
            compression=compression,
            linger_ms=linger_ms,
            client_id="dohle-produce",
        ) as producer:
            sending = _Sending(producer, topic, partition)
            if sys.stdin.isatty() and not quiet:
                click.echo("One record a line; Ctrl-D ends.", err=True)
            number = 0
            async for lines in input_lines():
                for line in lines:
                    number += 1
                    try:
                        record = parse(line)
                    except InvalidRecord as error:
                        await producer.flush()  # what came before is sound
                        raise InvalidRecord(f"line {number}: {error.message}") from error
                    await sending.send(record)
            await producer.flush()
            sending.check()
        return sending.acknowledged

    began = time.monotonic()
    count = run_async(work())
    if not quiet:
        seconds = time.monotonic() - began
        click.echo(f"{counted(count, 'record')} written in {seconds:.1f} s", err=True)


class _Sending:
    """Sends records one after another, and stops at the first that fails."""

    def __init__(self, producer: Producer, topic: str, partition: int | None) -> None:
        self.acknowledged = 0
        self._producer = producer
        self._topic = topic
        self._partition = partition
        self._failure: BaseException | None = None

    async def send(self, record: Input) -> None:
        self.check()
        receipt = await self._producer.send(
            self._topic,
            record.value,
            key=record.key,
            headers=record.headers,
            partition=record.partition if record.partition is not None else self._partition,
            timestamp_ms=record.timestamp_ms,
        )
        receipt.add_done_callback(self._done)

    def _done(self, receipt: Receipt) -> None:
        failure = receipt.exception()
        if failure is None:
            self.acknowledged += 1
        elif self._failure is None:
            self._failure = failure

    def check(self) -> None:
        """Raises if a record failed, saying how many were written before."""
        if isinstance(self._failure, DohleError):
            doubt = "" if self._failure.definite else " (that record may have been written all the same)"
            raise type(self._failure)(
                f"{self._failure.message}{doubt}; acknowledged before: {counted(self.acknowledged, 'record')}"
            )
        if self._failure is not None:
            raise self._failure
