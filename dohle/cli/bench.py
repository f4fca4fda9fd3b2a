"""`dohle bench`: how fast a running cluster is, seen from here."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

import click

from dohle.cli.output import print_json, print_table, progress
from dohle.cli.session import bootstrap_option, json_option, run_async

if TYPE_CHECKING:
    from dohle.cli.measure import Latency, Throughput

_ACKS: dict[str, Literal["all", 1, 0]] = {"all": "all", "1": 1, "0": 0}

topic_option = click.option(
    "-t", "--topic", default="bench", show_default=True, help="The topic; made with 6 partitions if it is missing."
)
size_option = click.option("--size", type=click.IntRange(min=1), default=1000, show_default=True, help="Bytes a value.")
acks_option = click.option("--acks", type=click.Choice(list(_ACKS)), default="all", show_default=True)


@click.group()
def bench() -> None:
    """Measure throughput and latency of a running cluster.

    Clients share this machine's cores with whatever else runs here, nodes included.
    """


@bench.command()
@topic_option
@click.option("-n", "--records", type=click.IntRange(min=1), default=200_000, show_default=True, help="How many.")
@size_option
@acks_option
@click.option("--linger-ms", type=float, default=5.0, show_default=True, help="How long a batch waits to fill.")
@click.option("--batch-bytes", type=int, default=1_000_000, show_default=True, help="The largest batch.")
@click.option("--compression", type=click.Choice(["none", "gzip", "snappy", "lz4", "zstd"]), default="none")
@json_option
@bootstrap_option
def produce(
    topic: str,
    records: int,
    size: int,
    acks: str,
    linger_ms: float,
    batch_bytes: int,
    compression: str,
    as_json: bool,
    bootstrap: str,
) -> None:
    """Write RECORDS as fast as the cluster acknowledges them."""

    async def work() -> Throughput:
        from dohle.cli.measure import measure_produce
        from dohle.client.producer import Producer

        await _make_topic(bootstrap, topic)
        async with Producer(
            bootstrap,
            acks=_ACKS[acks],
            linger_ms=linger_ms,
            batch_bytes=batch_bytes,
            compression=compression,
            client_id="dohle-bench",
        ) as producer:
            with progress("written", records) as show:
                return await measure_produce(producer, topic, records, size, show)

    _print_throughput(run_async(work()), as_json)


@bench.command()
@topic_option
@click.option("-n", "--records", type=click.IntRange(min=1), help="At most so many.  [default: all]")
@json_option
@bootstrap_option
def consume(topic: str, records: int | None, as_json: bool, bootstrap: str) -> None:
    """Read a topic from its beginning."""

    async def work() -> Throughput:
        from dohle.cli.measure import measure_consume
        from dohle.client.consumer import Consumer

        async with Consumer(bootstrap, client_id="dohle-bench") as consumer:
            with progress("read", records) as show:
                return await measure_consume(consumer, topic, records, show)

    _print_throughput(run_async(work()), as_json)


@bench.command()
@topic_option
@click.option("--rate", type=click.FloatRange(min=1), default=1000.0, show_default=True, help="Records a second.")
@click.option("--duration", type=click.FloatRange(min=0.1), default=10.0, show_default=True, help="Seconds.")
@size_option
@acks_option
@json_option
@bootstrap_option
def latency(topic: str, rate: float, duration: float, size: int, acks: str, as_json: bool, bootstrap: str) -> None:
    """Write at a fixed rate, and measure from when each record was due to its acknowledgement."""

    async def work() -> Latency:
        from dohle.cli.measure import measure_latency
        from dohle.client.producer import Producer

        await _make_topic(bootstrap, topic)
        async with Producer(bootstrap, acks=_ACKS[acks], client_id="dohle-bench") as producer:
            with progress("written", int(rate * duration)) as show:
                return await measure_latency(producer, topic, rate, duration, size, show)

    found = run_async(work())
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    columns = ("RECORDS", "PER SECOND", "P50 MS", "P99 MS", "P99.9 MS", "MAX MS")
    milliseconds = [f"{value:.2f}" for value in (found.p50_ms, found.p99_ms, found.p999_ms, found.max_ms)]
    print_table(columns, [(found.records, f"{found.rate_per_s:.0f}", *milliseconds)])


async def _make_topic(bootstrap: str, topic: str) -> None:
    from dohle.client.admin import Admin
    from dohle.model.errors import TopicAlreadyExists

    async with Admin(bootstrap, client_id="dohle-bench") as admin:
        try:
            await admin.create_topic(topic, partitions=6, configs={"min.insync.replicas": "2"})
        except TopicAlreadyExists:
            return


def _print_throughput(found: Throughput, as_json: bool) -> None:
    if as_json:
        rates = {"records_per_s": found.records_per_s, "mb_per_s": found.mb_per_s}
        print_json({**dataclasses.asdict(found), **rates})
        return
    print_table(
        ("RECORDS", "MB", "SECONDS", "RECORDS/S", "MB/S"),
        [
            (
                found.records,
                f"{found.value_bytes / 1e6:.1f}",
                f"{found.seconds:.2f}",
                f"{found.records_per_s:.0f}",
                f"{found.mb_per_s:.1f}",
            )
        ],
    )
