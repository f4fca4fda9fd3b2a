"""`dohle up` and `dohle down`: a cluster of real processes on this machine."""

from __future__ import annotations

import os
import random
import time

import click

from dohle.cli.output import counted, print_json
from dohle.cluster.local import BASE_PORT, LocalCluster
from dohle.cluster.local_state import DEFAULT_FOLDER
from dohle.model.errors import ConfigurationError
from dohle.model.ids import id_text, new_id

folder_option = click.option(
    "--dir",
    "folder",
    envvar="DOHLE_DIR",
    default=DEFAULT_FOLDER,
    show_default=True,
    metavar="FOLDER",
    help="The cluster's folder.",
)


@click.command()
@folder_option
@click.option(
    "--nodes", type=int, help="How many nodes a new cluster gets, or one that is there grows to.  [default: 3]"
)
@click.option("--base-port", type=int, help=f"gRPC port of its first node; HTTP is 1000 above.  [default: {BASE_PORT}]")
@click.option("--racks", metavar="A,B,…", help="A rack for each of its nodes.")
@click.option("--watch", is_flag=True, help="Stay, and show the cluster's state; Ctrl-C leaves the cluster running.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def up(folder: str, nodes: int | None, base_port: int | None, racks: str | None, watch: bool, as_json: bool) -> None:
    """Start the local cluster.

    Where FOLDER holds no cluster, a new one of three nodes is made. Otherwise those of its nodes that do not run are
    started; with more --nodes than it has it grows by new ones, which join as brokers and, from three and five nodes
    on, as controllers. Returns once every node is ready.
    """
    began = time.monotonic()
    joining: list[int] = []
    cluster = LocalCluster.open(folder)
    if cluster is None:
        cluster = LocalCluster.create(
            folder,
            3 if nodes is None else nodes,
            base_port=base_port if base_port is not None else BASE_PORT,
            racks=[rack.strip() for rack in racks.split(",")] if racks else [],
            new_cluster_id=id_text(new_id(random.SystemRandom())),
        )
    elif nodes is not None and nodes > len(cluster.state.nodes) and base_port is None and racks is None:
        cluster.start()  # those that are there: the new ones join them
        joining = cluster.grow(nodes)
    elif nodes not in (None, len(cluster.state.nodes)) or base_port is not None or racks is not None:
        raise ConfigurationError(
            f"{folder} holds a cluster of {counted(len(cluster.state.nodes), 'node')}, which is started as it is: leave"
            " out --base-port and --racks, and name no fewer --nodes; or name another folder with --dir"
        )
    started = cluster.start()
    if joining:
        _give_votes(cluster.state.bootstrap, joining)
    _report(cluster, started, time.monotonic() - began, as_json)
    if watch:
        from dohle.cli.status import watch_cluster

        watch_cluster(cluster.state.bootstrap)


def _give_votes(bootstrap: str, node_ids: list[int]) -> None:
    from dohle.cli.session import run_async
    from dohle.client.admin import Admin

    async def add() -> None:
        async with Admin(bootstrap, client_id="dohle-up") as admin:
            for node_id in node_ids:
                await admin.add_voter(node_id)

    run_async(add())


def _report(cluster: LocalCluster, started: list[int], seconds: float, as_json: bool) -> None:
    state = cluster.state
    if as_json:
        print_json(
            {
                "cluster_id": state.cluster_id,
                "folder": state.folder,
                "bootstrap": state.bootstrap,
                "started": started,
                "seconds": round(seconds, 3),
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
        ports = f"gRPC localhost:{node.grpc_port}, http://localhost:{node.http_port}/metrics"
        click.echo(f"node {node.node_id}  {ports}, pid {node.process.pid}{began}")
    if started:
        click.echo(f"Ready after {seconds:.1f} s; data and logs in {_path(state.folder)}")


def _path(folder: str) -> str:
    """Returns the shorter way to write it: from here on where it lies below, else from the root on."""
    relative = os.path.relpath(folder)
    return folder if relative.startswith(os.pardir) else relative


@click.command()
@folder_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def down(folder: str, as_json: bool) -> None:
    """Stop the local cluster: every node shuts down in order, and its data stays."""
    cluster = LocalCluster.open(folder)
    if cluster is None:
        raise ConfigurationError(f"there is no cluster in {folder}: name its folder with --dir")
    stopped = cluster.stop()
    if as_json:
        print_json({"stopped": [{"node_id": s.node_id, "seconds": s.seconds, "killed": s.killed} for s in stopped]})
        return
    if not stopped:
        click.echo("No node runs.")
    for node in sorted(stopped, key=lambda stopped: stopped.node_id):
        how = "did not stop in time and was killed" if node.killed else "stopped"
        click.echo(f"node {node.node_id}  {how} after {node.seconds:.1f} s")
