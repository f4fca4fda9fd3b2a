"""`dohle up` and `dohle down`: a cluster of real processes on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from dohle.cli.output import counted, print_json
from dohle.cluster.config_sources import settings_in
from dohle.cluster.local import BASE_PORT, Growth, LocalCluster, Stopped
from dohle.cluster.local_state import DEFAULT_FOLDER
from dohle.model.errors import BrokerIdNotRegistered, ConfigurationError, InvalidRequest, VoterNotFound
from dohle.model.ids import id_text, new_id

if TYPE_CHECKING:
    from dohle.client.admin import Admin

_FENCED_PATIENCE_S = 15.0  # a session's time-out, and more
_LEARNER_PATIENCE_S = 10.0
_POLL_S = 0.1

folder_option = click.option(
    "--dir",
    "folder",
    envvar="DOHLE_DIR",
    default=DEFAULT_FOLDER,
    show_default=True,
    metavar="FOLDER",
    help="The cluster's folder.",
)


_BASE_PORT_HELP = f"gRPC port of its first node; HTTP is 1000 above, Kafka 2000.  [default: {BASE_PORT}]"


@click.command()
@folder_option
@click.option(
    "--nodes", type=int, help="How many nodes a new cluster gets, or one that is there grows to.  [default: 3]"
)
@click.option("--base-port", type=int, help=_BASE_PORT_HELP)
@click.option("--racks", metavar="A,B,…", help="A rack for each of its nodes.")
@click.option("--watch", is_flag=True, help="Stay, and show the cluster's state; Ctrl-C leaves the cluster running.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def up(folder: str, nodes: int | None, base_port: int | None, racks: str | None, watch: bool, as_json: bool) -> None:
    """Start the local cluster.

    Where FOLDER holds no cluster, a new one of three nodes is made. Otherwise those of its nodes that do not run are
    started; with more --nodes than it has it grows by new ones. From three nodes on three are controllers, from five on
    five, however the cluster came to its size. Returns once every node is ready. The next start finishes a growth that
    was cut short.
    """
    began = time.monotonic()
    _tell_of_settings(folder)
    growth: Growth | None = None
    cluster = LocalCluster.open(folder)
    if cluster is None:
        cluster = LocalCluster.create(
            folder,
            3 if nodes is None else nodes,
            base_port=base_port if base_port is not None else BASE_PORT,
            racks=[rack.strip() for rack in racks.split(",")] if racks else [],
            new_cluster_id=id_text(new_id(random.SystemRandom())),
        )
    else:
        grows = nodes is not None and nodes > len(cluster.state.nodes) and base_port is None and racks is None
        if not grows and (nodes not in (None, len(cluster.state.nodes)) or base_port is not None or racks is not None):
            raise ConfigurationError(
                f"{folder} holds a cluster of {counted(len(cluster.state.nodes), 'node')}, which is started as it is:"
                " leave out --base-port and --racks, and name no fewer --nodes; or name another folder with --dir"
            )
        growth = _finish_growth(cluster, as_json)
        if grows:
            assert nodes is not None
            cluster.start()  # those that are there: the new ones join them
            growth = cluster.grow(nodes)
    started = cluster.start()
    voters = [] if growth is None else _give_votes(cluster)
    _report(cluster, started, time.monotonic() - began, voters, as_json)
    if growth is not None and not as_json:
        _report_growth(growth, voters)
    if watch:
        from dohle.cli.status import watch_cluster

        watch_cluster(cluster.state.bootstrap)


def _tell_of_settings(folder: str) -> None:
    """Nodes of one machine cannot share an environment: each would get the same ports."""
    if unused := settings_in(os.environ):
        click.echo(
            f"note: {', '.join(unused)} {'is' if len(unused) == 1 else 'are'} not for the nodes of a local cluster:"
            f" write settings into {_path(folder)}/node-N.toml, and start that node again",
            err=True,
        )


def _finish_growth(cluster: LocalCluster, as_json: bool) -> Growth | None:
    """Lays out what an earlier `dohle up --nodes` was to add; None if that was not cut short."""
    state = cluster.state
    if not (state.unformatted or state.joining):
        return None
    if not as_json:
        unmade = [f"{_named(state.unformatted)} {_is(state.unformatted)} made anew"] if state.unformatted else []
        unvoted = [f"{_named(state.joining)} {_gets(state.joining)} a vote"] if state.joining else []
        click.echo(f"Finishing what an earlier `dohle up --nodes` has begun: {', '.join([*unmade, *unvoted])}.")
    return cluster.lay_out()


def _give_votes(cluster: LocalCluster) -> list[int]:
    """Returns who votes then."""
    voters: list[int] = []

    async def add(admin: Admin) -> None:
        for node_id in cluster.state.joining:
            await _add_voter(admin, node_id)
            cluster.has_vote(node_id)
        voters.extend(sorted(voter.node_id for voter in (await admin.describe_quorum()).voters))

    try:
        _with_admin(cluster.state.bootstrap, add)
    finally:
        if left := cluster.state.joining:
            click.echo(f"{_named(left)} {_is(left)} without a vote yet: `dohle up` finishes that", err=True)
    return voters


async def _add_voter(admin: Admin, node_id: int) -> None:
    """Gives a node that has just started a vote, as soon as the active controller has heard of it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _LEARNER_PATIENCE_S
    while True:
        try:
            await admin.add_voter(node_id)
        except VoterNotFound:
            if loop.time() > deadline:
                raise
            await asyncio.sleep(_POLL_S)
        else:
            return


def _named(nodes: Sequence[int]) -> str:
    return f"node{'s' * (len(nodes) > 1)} {', '.join(map(str, nodes))}"


def _is(nodes: Sequence[int]) -> str:
    return "is" if len(nodes) == 1 else "are"


def _gets(nodes: Sequence[int]) -> str:
    return "gets" if len(nodes) == 1 else "get"


def _report_growth(growth: Growth, voters: Sequence[int]) -> None:
    for node_id in growth.promoted:
        click.echo(f"Node {node_id}, a broker alone before, has become a controller, for which it was started again.")
    added = f"; new among them: {', '.join(map(str, growth.joining))}" if growth.joining else ", as before"
    click.echo(f"Controllers that vote: {', '.join(map(str, voters))}{added}.")


def _report(cluster: LocalCluster, started: list[int], seconds: float, voters: Sequence[int], as_json: bool) -> None:
    state = cluster.state
    if as_json:
        print_json(
            {
                "cluster_id": state.cluster_id,
                "folder": state.folder,
                "bootstrap": state.bootstrap,
                "started": started,
                "seconds": round(seconds, 3),
                **({"voters": list(voters)} if voters else {}),
                "nodes": [
                    {
                        "node_id": node.node_id,
                        "grpc_port": node.grpc_port,
                        "http_port": node.http_port,
                        "rack": node.rack,
                        "pid": node.process.pid if node.process else None,
                    }
                    for node in state.nodes
                ],
            }
        )
        return
    if not started:
        click.echo("All nodes run already.")
    for node in state.nodes:
        assert node.process is not None, "a cluster that started has a process for each node"
        began = " (started)" if node.node_id in started else ""
        ports = f"gRPC localhost:{node.grpc_port}, Kafka localhost:{node.kafka_port}, http://localhost:{node.http_port}/metrics"
        click.echo(f"node {node.node_id}  {ports}, pid {node.process.pid}{began}")
    if started:
        click.echo(f"Ready after {seconds:.1f} s; data and logs in {_path(state.folder)}")


def _path(folder: str) -> str:
    """Returns the shorter way to write it: from here on where it lies below, else from the root on."""
    relative = os.path.relpath(folder)
    return folder if relative.startswith(os.pardir) else relative


@click.command()
@click.argument("nodes", type=int, nargs=-1, metavar="[NODE]...")
@folder_option
@click.option(
    "--remove",
    is_flag=True,
    help="Take them out of the cluster for good; they must hold no replica and have no vote.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def down(nodes: tuple[int, ...], folder: str, remove: bool, as_json: bool) -> None:
    """Stop the local cluster, or the named nodes of it: they shut down in order, and their data stays."""
    cluster = LocalCluster.open(folder)
    if cluster is None:
        raise ConfigurationError(f"there is no cluster in {folder}: name its folder with --dir")
    if remove and not nodes:
        raise ConfigurationError("--remove takes nodes out of the cluster for good: name them")
    for node_id in nodes:
        cluster.state.node(node_id)
    if remove:
        _check_removable(cluster.state.bootstrap, nodes)
    stopped = cluster.stop(nodes or None)
    aside: dict[int, str] = {}
    if remove:
        _unregister(cluster.state.bootstrap, nodes)
        aside = {node_id: cluster.remove(node_id) for node_id in nodes}
    _report_stopped(stopped, aside, as_json)


def _check_removable(bootstrap: str, node_ids: Sequence[int]) -> None:
    """Raises InvalidRequest while the cluster needs one of these nodes, before any of them is stopped."""

    async def check(admin: Admin) -> None:
        described = await admin.describe_cluster()
        for node in described.nodes:
            if node.node_id in node_ids and node.replicas:
                raise InvalidRequest(
                    f"broker {node.node_id} holds {counted(node.replicas, 'replica')}: move them away first, with"
                    f" `dohle cluster drain {node.node_id}`"
                )
        for voter in described.voters:
            if voter.node_id in node_ids:
                raise InvalidRequest(
                    f"node {voter.node_id} votes among the controllers: take its vote away first, with"
                    f" `dohle cluster voters remove {voter.node_id}`"
                )

    _with_admin(bootstrap, check)


def _unregister(bootstrap: str, node_ids: Sequence[int]) -> None:
    """Has the cluster forget these nodes as soon as it knows that they are down."""

    async def forget(admin: Admin) -> None:
        for node_id in node_ids:
            await _until_fenced(admin, node_id)
            with contextlib.suppress(BrokerIdNotRegistered):  # an earlier attempt was cut short after this
                await admin.unregister_broker(node_id)

    _with_admin(bootstrap, forget)


async def _until_fenced(admin: Admin, node_id: int) -> None:
    async with asyncio.timeout(_FENCED_PATIENCE_S):
        while True:
            nodes = (await admin.describe_cluster()).nodes
            if all(node.fenced for node in nodes if node.node_id == node_id):
                return
            await asyncio.sleep(_POLL_S)


def _with_admin(bootstrap: str, work: Callable[[Admin], Coroutine[Any, Any, None]]) -> None:
    from dohle.cli.session import run_async
    from dohle.client.admin import Admin

    async def run() -> None:
        async with Admin(bootstrap, client_id="dohle-local") as admin:
            await work(admin)

    run_async(run())


def _report_stopped(stopped: Sequence[Stopped], aside: Mapping[int, str], as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "stopped": [{"node_id": s.node_id, "seconds": s.seconds, "killed": s.killed} for s in stopped],
                "removed": [{"node_id": node_id, "folder": path} for node_id, path in sorted(aside.items())],
            }
        )
        return
    if not stopped and not aside:
        click.echo("No node runs.")
    for node in sorted(stopped, key=lambda stopped: stopped.node_id):
        how = "did not stop in time and was killed" if node.killed else "stopped"
        click.echo(f"node {node.node_id}  {how} after {node.seconds:.1f} s")
    for node_id, path in sorted(aside.items()):
        click.echo(f"node {node_id}  is no member of the cluster any more; its data lies in {_path(path)}")
