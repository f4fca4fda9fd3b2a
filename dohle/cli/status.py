"""`dohle status`, and the live view of `dohle up --watch`."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from dohle.cli.as_known import NoMajority, complain, confirmed
from dohle.cli.lags import Lags, lag_words, lags_of
from dohle.cli.output import counted, leader_text, print_json, print_table, reader_is_gone, rich_table
from dohle.cli.session import bootstrap_option, json_option, local_state, run_async, timeout_option
from dohle.cli.shortages import shortage_words, shortages_of
from dohle.listeners.kafka.addresses import SOLE_LISTENER, is_listener
from dohle.model.errors import BrokerNotAvailable, DohleError
from dohle.model.ids import TopicPartition, id_text

if TYPE_CHECKING:
    from dohle.client.admin import Admin
    from dohle.client.values import ClusterDescription, NodeDescription, QuorumDescription, Shortage
    from dohle.cluster.local_state import LocalState

_WATCH_INTERVAL_S = 0.5
_NODE_COLUMNS = ("NODE", "ADDRESS", "RACK", "STATE", "ROLE", "LEADS", "REPLICAS", "KAFKA")
_UNHEALTHY_COLUMNS = ("PARTITION", "LEADER", "IN SYNC", "ASSIGNED", "MISSING", "BEHIND BY")
_MOST_SHOWN = 20
_WATCH_LINES = 12  # of the live view, beside the rows of its tables


@dataclass(frozen=True, slots=True)
class Health:
    """What a cluster's description comes down to."""

    words: str
    good: bool


@click.command()
@bootstrap_option
@timeout_option
@json_option
@click.option("--watch", is_flag=True, help="Stay, and show the state as it changes.")
def status(bootstrap: str, timeout_s: float, as_json: bool, watch: bool) -> int:
    """Show nodes, controller and partitions that lack replicas; exit code 1 unless all is well."""
    if watch and as_json:
        raise click.UsageError("--watch shows the state to people: for scripts, ask with --json as often as needed")
    if watch:
        watch_cluster(bootstrap)
        return 0
    state = local_state()
    is_local = state is not None and state.bootstrap == bootstrap
    try:
        description, lags, quorum, shortages = run_async(_describe(bootstrap, timeout_s))
    except BrokerNotAvailable as error:
        if state is None or not is_local:
            raise
        raise BrokerNotAvailable(f"{running_words(state)} ({error.message})") from error
    health = health_of(description, [node for node, one in shortages.items() if one.directories or one.waiting])
    if quorum is not None:
        complain(quorum, f"what was known up to metadata offset {description.metadata_offset}")
    if state is not None and is_local and not description.cluster_id:
        # the node that answered has not heard of its cluster yet, but whose node it is, is known here
        description = dataclasses.replace(description, cluster_id=state.cluster_id)
    if as_json:
        told = to_json(description, _pids(state, description.cluster_id), lags)
        lacking = {node: shortage_words(shortage) for node, shortage in shortages.items()}
        print_json({"healthy": health.good, **told, "lacking_room": lacking})
    else:
        click.echo(headline(description, health))
        click.echo(f"{counted(description.topics, 'topic')}, {counted(description.partitions, 'partition')}\n")
        print_table(_NODE_COLUMNS, node_rows(description))
        if description.unhealthy:
            click.echo()
            print_table(unhealthy_columns(description), unhealthy_rows(description, lags)[:_MOST_SHOWN])
            click.echo(_not_shown(description, _MOST_SHOWN), nl=False)
            first = min(description.unhealthy, key=lambda partition: partition.leader >= 0)
            click.echo(f"\n`dohle explain partition {first.topic} {first.partition}` says why")
        for node, shortage in shortages.items():
            for words in shortage_words(shortage):
                click.echo(f"\nnode {node}: {words}")
    return 0 if health.good else 1


def _not_shown(description: ClusterDescription, shown: int) -> str:
    """Returns a line that says how many unhealthy partitions there is no room for; nothing if there is."""
    more = len(description.unhealthy) - shown
    return f"and {more} more; `dohle status --json` lists all\n" if more > 0 else ""


async def _describe(
    bootstrap: str, timeout_s: float
) -> tuple[ClusterDescription, Lags, QuorumDescription | None, dict[int, Shortage]]:
    """Returns the controllers, too, where none of them is known to decide."""
    from dohle.client.admin import Admin

    async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-status") as admin:
        try:
            description = await confirmed(admin, admin.describe_cluster())
        except NoMajority as error:
            raise BrokerNotAvailable(
                f"{error.message}; the nodes that answer have started since, and know no topics before that"
            ) from error
        quorum = await admin.describe_quorum(as_known=True) if description.controller_id < 0 else None
        lags = await lags_of(admin, description.unhealthy)
        up = [node.node_id for node in description.nodes if not node.fenced]
        return description, lags, quorum, await shortages_of(admin, up)


def running_words(state: LocalState) -> str:
    """Returns which nodes of the local cluster run, and what to do about the others."""
    running = [str(node.node_id) for node in state.nodes if node.runs()]
    words = f"cluster {state.cluster_id} in {state.folder}: {len(running)} of {counted(len(state.nodes), 'node')} run"
    if len(running) == len(state.nodes):
        return f"{words}; no active controller is known yet"
    named = f" ({', '.join(running)})" if running else ""
    return f"{words}{named}; `dohle up --dir {state.folder}` starts what does not"


def _pids(state: LocalState | None, cluster_id: str) -> dict[int, int]:
    """Returns the processes of the local cluster by node id; none if this is another cluster."""
    if state is None or state.cluster_id != cluster_id:
        return {}
    return {node.node_id: node.process.pid for node in state.nodes if node.process is not None and node.runs()}


def headline(description: ClusterDescription, health: Health | None = None) -> str:
    """Returns which cluster it is, if the node that answered knows that already, and how it is."""
    return f"cluster {description.cluster_id or '(id not known yet)'}: {(health or health_of(description)).words}"


def health_of(description: ClusterDescription, shortages: Collection[int] = ()) -> Health:
    """Returns whether all is well, in words. `shortages`: the nodes that lack room, where they were asked."""
    fenced = [node.node_id for node in description.nodes if node.fenced]
    complaints = []
    if description.controller_id < 0:
        yet = "" if description.voters else " yet"
        complaints.append(f"no active controller is known{yet}")
    if fenced:
        complaints.append(f"node{'s' * (len(fenced) > 1)} {', '.join(map(str, fenced))} down")
    for node in description.nodes:
        if node.offline_log_dirs:
            gone = "1 directory" if node.offline_log_dirs == 1 else f"{node.offline_log_dirs} directories"
            with_them = counted(node.offline_replicas, "replica")
            complaints.append(f"node {node.node_id} without {gone}, with {with_them}")
    complaints += [f"node {node} lacks room" for node in shortages]
    leaderless = sum(partition.leader < 0 for partition in description.unhealthy)
    if leaderless:
        complaints.append(f"{counted(leaderless, 'partition')} without a leader")
    if len(description.unhealthy) > leaderless:
        complaints.append(f"{counted(len(description.unhealthy) - leaderless, 'partition')} under-replicated")
    return Health("; ".join(complaints) or "healthy", not complaints)


def node_rows(description: ClusterDescription) -> list[tuple[object, ...]]:
    """Returns a row for every node, the controllers that are no brokers among them."""
    voters = {voter.node_id for voter in description.voters}
    brokers = {node.node_id for node in description.nodes}
    rows: list[tuple[object, ...]] = [
        (
            node.node_id,
            _address(node),
            node.rack or "-",
            _state(node),
            _role(node.node_id, description.controller_id, voters),
            node.leaders,
            node.replicas,
            _kafka_words(node),
        )
        for node in description.nodes
    ]
    rows += [
        (
            voter.node_id,
            str(voter.address),
            "-",
            "-",
            _role(voter.node_id, description.controller_id, voters),
            "-",
            "-",
            "-",
        )
        for voter in description.voters
        if voter.node_id not in brokers
    ]
    return sorted(rows, key=lambda row: int(str(row[0])))


def _state(node: NodeDescription) -> str:
    state = "fenced" if node.fenced else "stopping" if node.shutting_down else "up"
    if node.draining:
        state += ", draining"
    return f"{state}, {node.offline_log_dirs} offline" if state.startswith("up") and node.offline_log_dirs else state


def _role(node_id: int, controller_id: int, voters: set[int]) -> str:
    return "active controller" if node_id == controller_id else "controller" if node_id in voters else "broker"


def _address(node: NodeDescription) -> str:
    return next((str(endpoint.address) for endpoint in node.endpoints if endpoint.listener == "GRPC"), "-")


def _kafka_addresses(node: NodeDescription) -> dict[str, str]:
    """Returns what Kafka's clients are told of the node, by listener."""
    return {one.listener: str(one.address) for one in node.endpoints if is_listener(one.listener)}


def _kafka_words(node: NodeDescription) -> str:
    told = _kafka_addresses(node)
    if told.keys() <= {SOLE_LISTENER}:
        return told.get(SOLE_LISTENER, "-")
    return ", ".join(f"{listener} {address}" for listener, address in told.items())


def unhealthy_columns(description: ClusterDescription) -> tuple[str, ...]:
    """Returns the columns of `unhealthy_rows`; replicas are hardly ever eligible, so most tables do without them."""
    has_eligible = any(partition.eligible_replicas for partition in description.unhealthy)
    return (*_UNHEALTHY_COLUMNS, "ELIGIBLE") if has_eligible else _UNHEALTHY_COLUMNS


def unhealthy_rows(description: ClusterDescription, lags: Lags) -> list[tuple[object, ...]]:
    """Returns a row for every partition that lacks a replica, leader or enough of both."""
    shows_eligible = len(unhealthy_columns(description)) > len(_UNHEALTHY_COLUMNS)
    return [
        (
            f"{partition.topic}-{partition.partition}",
            leader_text(partition.leader, partition.last_known_leader),
            ",".join(map(str, partition.in_sync_replicas)) or "-",
            ",".join(map(str, partition.assigned_replicas)),
            ",".join(str(node) for node in partition.assigned_replicas if node not in partition.in_sync_replicas),
            lag_words(lags.get(TopicPartition(partition.topic, partition.partition))),
            *((",".join(map(str, partition.eligible_replicas)),) if shows_eligible else ()),
        )
        for partition in description.unhealthy
    ]


def to_json(description: ClusterDescription, pids: Mapping[int, int], lags: Lags) -> dict[str, Any]:
    """Returns the description for scripts; ids as text. `pids` are of the nodes that are known to run here."""
    return {
        "cluster_id": description.cluster_id,
        "controller_id": description.controller_id,
        "topics": description.topics,
        "partitions": description.partitions,
        "metadata_version": description.metadata_version,
        "metadata_offset": description.metadata_offset,
        "nodes": [
            {
                "node_id": node.node_id,
                "address": _address(node),
                "kafka_addresses": _kafka_addresses(node),
                "rack": node.rack,
                "fenced": node.fenced,
                "shutting_down": node.shutting_down,
                "draining": node.draining,
                "broker_epoch": node.broker_epoch,
                "incarnation_id": id_text(node.incarnation_id),
                "leaders": node.leaders,
                "replicas": node.replicas,
                "offline_log_dirs": node.offline_log_dirs,
                "offline_replicas": node.offline_replicas,
                "pid": pids.get(node.node_id),
            }
            for node in description.nodes
        ],
        "voters": [
            {
                "node_id": voter.node_id,
                "address": str(voter.address),
                "directory_id": id_text(voter.directory_id),
            }
            for voter in description.voters
        ],
        "unhealthy": [
            {
                "topic": partition.topic,
                "partition": partition.partition,
                "leader": partition.leader,
                "assigned_replicas": list(partition.assigned_replicas),
                "in_sync_replicas": list(partition.in_sync_replicas),
                "min_insync_replicas": partition.min_insync_replicas,
                "eligible_replicas": list(partition.eligible_replicas),
                "last_known_leader": partition.last_known_leader,
                "behind": [lag.to_json() for lag in lags.get(TopicPartition(partition.topic, partition.partition), ())],
            }
            for partition in description.unhealthy
        ],
    }


def watch_cluster(bootstrap: str) -> None:
    """Shows the cluster's state until Ctrl-C: redrawn on a terminal, a line for each change elsewhere."""
    try:
        run_async(_watch(bootstrap))
    except KeyboardInterrupt:
        click.echo("The cluster keeps running.", err=True)
        raise


async def _watch(bootstrap: str) -> None:
    from dohle.client.admin import Admin

    async with Admin(bootstrap, request_timeout_ms=2000, client_id="dohle-watch") as admin:
        if sys.stdout.isatty():
            await _watch_on_terminal(admin)
        else:
            await _watch_in_lines(admin)


async def _watch_on_terminal(admin: Admin) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False) as live:
        while True:
            try:
                description = await admin.describe_cluster()
                lags = await lags_of(admin, description.unhealthy[:_MOST_SHOWN])
            except DohleError as error:
                live.update(Text(f"no answer: {error.message}", style="red"), refresh=True)
            else:
                nodes = _as_text(node_rows(description))
                parts: list[Any] = [
                    Text(
                        headline(description),
                        style="green" if health_of(description).good else "red",
                    ),
                    rich_table(_NODE_COLUMNS, nodes),
                ]
                if description.unhealthy:
                    # no more than fits: what is too long for the screen would lose its end
                    most = max(1, min(_MOST_SHOWN, live.console.height - len(nodes) - _WATCH_LINES))
                    parts.append(
                        rich_table(unhealthy_columns(description), _as_text(unhealthy_rows(description, lags)[:most]))
                    )
                    parts.append(Text(_not_shown(description, most), end=""))
                live.update(Group(*parts, Text("Ctrl-C leaves the cluster running", style="dim")), refresh=True)
            await asyncio.sleep(_WATCH_INTERVAL_S)


def _as_text(rows: list[tuple[object, ...]]) -> list[list[str]]:
    return [[str(cell) for cell in row] for row in rows]


async def _watch_in_lines(admin: Admin) -> None:
    last = ""
    while not reader_is_gone():
        try:
            description = await admin.describe_cluster()
            active = f"controller {description.controller_id}; " if description.controller_id >= 0 else ""
            line = f"{active}{health_of(description).words}"
        except DohleError as error:
            line = f"no answer: {error.message}"
        if line != last:
            print(line, flush=True)
        last = line
        await asyncio.sleep(_WATCH_INTERVAL_S)
