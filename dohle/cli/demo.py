"""`dohle demo`: a year of flights through a cluster of three nodes that loses a leader on the way.

Everything happens in a folder and on ports of its own. The verdict rests on four checks: every flight came back
exactly once; each carrier's came in their order; a group that lost a member has counted each once; the files of the
three replicas hold the same bytes.
"""

from __future__ import annotations

import dataclasses
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

import click

from dohle.cli.flights import Flight, read_flights
from dohle.cli.output import print_json, print_table, size_text
from dohle.cli.session import run_async
from dohle.cluster.local import LocalCluster, free_base_port
from dohle.model.ids import id_text, new_id

if TYPE_CHECKING:
    from dohle.cli.demo_group import GroupReport
    from dohle.cli.demo_run import DemoReport

_NODES = 3


@click.command()
@click.option("--limit", type=click.IntRange(min=2), help="Load only so many flights.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--keep", is_flag=True, help="Keep the nodes' folder.")
@click.option(
    "--history",
    "history_file",
    type=click.File("w", lazy=False),
    metavar="FILE",
    help="Write what was sent and read to FILE, a line of JSON an event, and look for anomalies in it too.",
)
@click.option(
    "--client",
    type=click.Choice(["dohle", "kafka"]),
    default="dohle",
    show_default=True,
    help="Who writes and reads: Dohle's own client, or one of Kafka's, which needs confluent-kafka.",
)
def demo(limit: int | None, as_json: bool, keep: bool, history_file: TextIO | None, client: str) -> int:
    """Load a year of flights into three nodes, kill a leader on the way, and check every record.

    At the end three consumers of one group count the flights by carrier, while one of them is killed and another one
    joins. Exit code 1 if a single record was lost, doubled, out of order or counted wrong, or if replicas differ.
    """
    if history_file is not None and client != "dohle":
        raise click.UsageError("--history notes what Dohle's own client does: leave --client out")
    flights = read_flights()[:limit]
    folder = tempfile.mkdtemp(prefix="dohle-demo-")
    good = False
    try:
        report, counted = _run(folder, flights, _say_nothing if as_json else click.echo, history_file, client)
        good = not report.complaints
        _print(report, counted, as_json)
    finally:
        if good and not keep:
            shutil.rmtree(folder)
        else:
            click.echo(f"the nodes' folders and logs are in {folder}", err=True)
    return 0 if good else 1


def _run(
    folder: str, flights: Sequence[Flight], say: Callable[[str], object], history_file: TextIO | None, client: str
) -> tuple[DemoReport, GroupReport]:
    from dohle.cli.demo_group import QUICK_SESSIONS, count_by_group

    say(f"{len(flights):,} flights into three nodes in {folder}")
    began = time.monotonic()
    cluster = LocalCluster.create(
        folder,
        _NODES,
        base_port=free_base_port(_NODES),
        new_cluster_id=id_text(new_id(random.SystemRandom())),
        settings=QUICK_SESSIONS,
    )
    from dohle.cli.demo_clients import PARTITIONS, TOPIC, DemoClient, OwnClient
    from dohle.cli.demo_history import DemoHistory
    from dohle.cli.demo_kafka import KafkaClient
    from dohle.cli.demo_run import compare_replicas, run_demo

    notes = DemoHistory(TOPIC, PARTITIONS) if history_file is not None else None
    speaks: DemoClient = OwnClient(cluster.state.bootstrap, notes)
    if client == "kafka":
        speaks = KafkaClient(",".join(f"127.0.0.1:{node.kafka_port}" for node in cluster.state.nodes))

    async def story() -> tuple[DemoReport, GroupReport]:
        report = await run_demo(cluster, flights, say, speaks)
        return report, await count_by_group(cluster, flights, say)

    try:
        cluster.start()
        say(f"ready after {time.monotonic() - began:.1f} s")
        report, counted = run_async(story())
        cluster.stop()
        compare_replicas(cluster, report)
        if notes is not None and history_file is not None:
            history_file.writelines(f"{line}\n" for line in notes.lines())
            report.complaints += map(str, notes.anomalies())
        report.complaints += counted.complaints
    finally:
        for node in cluster.state.nodes:  # only those that an error or Ctrl-C left behind still run
            if node.runs():
                cluster.kill(node.node_id)
    return report, counted


def _say_nothing(_line: str) -> None:
    """Takes the place of `click.echo` where only the report is wanted."""


def _print(report: DemoReport, counted: GroupReport, as_json: bool) -> None:
    if as_json:
        group = {name: value for name, value in dataclasses.asdict(counted).items() if name != "complaints"}
        print_json({**dataclasses.asdict(report), "group": group, "good": not report.complaints})
        return
    rows = [(p, f"{gap:.3f}", report.watermarks.get(p, 0)) for p, gap in report.longest_gaps_s.items()]
    print_table(("PARTITION", "LONGEST GAP S", "RECORDS"), rows)
    click.echo(f"catch-up of node {report.killed_node}: {report.catch_up_s:.2f} s from its restart")
    memory = ", ".join(f"node {node} {size_text(size)}" for node, size in report.memory_bytes.items())
    click.echo(f"memory: {memory}")
    print_table(("CARRIER", "FLIGHTS"), list(counted.totals.items()))
    click.echo(
        f"counted by a group in {counted.seconds:.1f} s, while {counted.killed or 'nobody'} was killed and"
        f" {counted.joined or 'nobody'} joined. It rebalanced {len(counted.rebalances)} times, because"
    )
    for why in counted.rebalances:
        click.echo(f"  {why}")
    for complaint in report.complaints:
        click.echo(f"WRONG: {complaint}")
    if not report.complaints:
        click.echo(
            f"GOOD: all {report.flights:,} flights are there exactly once and in their carriers' order, a group counted"
            " each once, and the replicas are the same byte for byte"
        )
