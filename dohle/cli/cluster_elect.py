"""`dohle cluster elect`: leaders by an operator's word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dohle.cli.moves import listed_nodes
from dohle.cli.output import about, leader_text, print_json, print_table
from dohle.cli.partition_names import parse_partition
from dohle.cli.session import bootstrap_option, json_option, run_async, timeout_option
from dohle.model.errors import DohleError, ElectionNotNeeded
from dohle.model.ids import TopicPartition

if TYPE_CHECKING:
    from dohle.client.admin import Admin
    from dohle.client.partition_changes import ElectedLeader


@click.command()
@click.argument("kind", type=click.Choice(["preferred", "unclean"]))
@click.argument("partitions", nargs=-1, metavar="[TOPIC[:PARTITION]]…")
@click.option("--yes", is_flag=True, help="Do not ask before an unclean election.")
@bootstrap_option
@timeout_option
@json_option
def elect(kind: str, partitions: tuple[str, ...], yes: bool, bootstrap: str, timeout_s: float, as_json: bool) -> int:
    """Elect the preferred leaders of partitions, or unclean ones.

    Without partitions: of all that others lead than the first of their replicas. An unclean leader is a replica that is
    not in sync, where nobody in sync is left; it loses acknowledged records, and the topic has to allow it by
    unclean.leader.election.enable.
    """
    wanted, unclean = _wanted(partitions), kind == "unclean"
    if unclean and as_json and not yes:
        raise click.UsageError("--json cannot ask: add --yes to accept that acknowledged records are lost")

    async def work() -> dict[TopicPartition, ElectedLeader | DohleError]:
        from dohle.client.admin import Admin

        async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-cluster") as admin:
            if not as_json:
                whose = ", ".join(partitions) or ("all that nobody leads" if unclean else "all that others lead")
                click.echo(f"electing {'unclean' if unclean else 'the preferred'} leaders of {whose}")
            if unclean and not as_json:
                await _show_leaderless(admin, wanted)
            if unclean and not yes:
                click.confirm(
                    "Replicas that are not in sync would lead, and acknowledged records be lost. Go on?", abort=True
                )
            return await admin.elect_leaders(wanted, unclean=unclean)

    return _told(run_async(work()), as_json)


def _wanted(partitions: tuple[str, ...]) -> dict[str, list[int]]:
    """Returns the partitions by topic; none of a topic that is named as a whole."""
    names = [parse_partition(text) if ":" in text else TopicPartition(text, -1) for text in partitions]
    whole = {name.topic for name in names if name.partition < 0}
    wanted: dict[str, list[int]] = {}
    for name in names:
        wanted.setdefault(name.topic, []).extend([] if name.topic in whole else [name.partition])
    return wanted


async def _show_leaderless(admin: Admin, wanted: dict[str, list[int]]) -> None:
    """Shows those of the wanted partitions that nobody leads, as far as the broker that answers knows."""
    rows = [
        (
            TopicPartition(one.topic, one.partition),
            leader_text(one.leader, one.last_known_leader),
            listed_nodes(one.assigned_replicas),
        )
        for one in (await admin.describe_cluster()).unhealthy
        if one.leader < 0
        and (not wanted or one.topic in wanted)
        and (not wanted.get(one.topic) or one.partition in wanted[one.topic])
    ]
    if rows:
        print_table(("PARTITION", "LEADER", "ASSIGNED"), rows)


def _told(outcomes: dict[TopicPartition, ElectedLeader | DohleError], as_json: bool) -> int:
    elected = {name: one for name, one in outcomes.items() if not isinstance(one, DohleError)}
    failed = {name: one for name, one in outcomes.items() if isinstance(one, DohleError)}
    refused = {name: one for name, one in failed.items() if not isinstance(one, ElectionNotNeeded)}
    if as_json:
        print_json([_to_json(name, outcome) for name, outcome in sorted(outcomes.items())])
        return 1 if refused else 0
    if elected:
        rows = [(name, one.leader, one.leader_epoch) for name, one in sorted(elected.items())]
        print_table(("PARTITION", "LEADER", "EPOCH"), rows)
    elif not refused:
        click.echo("no election was needed")
    for name, error in sorted(refused.items()):
        click.echo(f"dohle: {about(name, error)}", err=True)
    return 1 if refused else 0


def _to_json(name: TopicPartition, outcome: ElectedLeader | DohleError) -> dict[str, object]:
    if isinstance(outcome, DohleError):
        return {"topic": name.topic, "partition": name.partition, "elected": False, "error": outcome.message}
    return {
        "topic": name.topic,
        "partition": name.partition,
        "elected": True,
        "leader": outcome.leader,
        "leader_epoch": outcome.leader_epoch,
    }
