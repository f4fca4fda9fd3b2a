"""`dohle cluster`: the cluster as a whole, and what an operator changes about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dohle.cli.cluster_dirs import dirs
from dohle.cli.cluster_drain import drain
from dohle.cli.cluster_elect import elect
from dohle.cli.cluster_features import features
from dohle.cli.cluster_reassign import reassign
from dohle.cli.cluster_rebalance import rebalance
from dohle.cli.cluster_unregister import unregister
from dohle.cli.output import counted, print_json, print_table
from dohle.cli.session import bootstrap_option, json_option, run_async, timeout_option
from dohle.cli.voters import quorum_json, quorum_rows, voters
from dohle.model.ids import id_text

if TYPE_CHECKING:
    from dohle.client.values import ClusterDescription, QuorumDescription


@click.group()
def cluster() -> None:
    """See and change the cluster as a whole."""


for command in (dirs, drain, elect, features, reassign, rebalance, unregister, voters):
    cluster.add_command(command)


@cluster.command()
@bootstrap_option
@timeout_option
@json_option
def describe(bootstrap: str, timeout_s: float, as_json: bool) -> None:
    """Show the cluster's nodes and controllers, and how far each controller is.

    The controllers are as the active one knows them at this moment; the nodes as the node that answers does.
    """

    async def ask() -> tuple[ClusterDescription, QuorumDescription]:
        from dohle.client.admin import Admin

        async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-cluster") as admin:
            return await admin.describe_cluster(), await admin.describe_quorum()

    described, quorum = run_async(ask())
    if as_json:
        print_json(_as_json(described, quorum))
        return
    down = [node.node_id for node in described.nodes if node.fenced]
    click.echo(
        f"cluster {described.cluster_id}: {counted(len(described.nodes), 'broker')}"
        f"{' (down: ' + ', '.join(map(str, down)) + ')' if down else ''}, "
        f"{counted(len(quorum.voters), 'voter')}, {counted(described.topics, 'topic')}, "
        f"{counted(described.partitions, 'partition')}"
    )
    click.echo(
        f"node {quorum.leader_id} decides in term {quorum.term}; metadata.version {described.metadata_version}, "
        f"committed up to {quorum.committed_end}"
    )
    for node in described.nodes:
        if node.draining:
            left = f"{counted(node.replicas, 'replica')} left" if node.replicas else "it holds no replicas any more"
            click.echo(f"node {node.node_id} is being drained: {left}")
        if node.offline_log_dirs:
            click.echo(
                f"node {node.node_id} goes on without {node.offline_log_dirs} of its log directories, where"
                f" {counted(node.offline_replicas, 'replica')} lie: `dohle cluster dirs {node.node_id}` says why"
            )
    click.echo()
    print_table(*quorum_rows(quorum))


def _as_json(described: ClusterDescription, quorum: QuorumDescription) -> dict[str, Any]:
    return {
        "cluster_id": described.cluster_id,
        "metadata_version": described.metadata_version,
        "brokers": [
            {
                "node_id": node.node_id,
                "rack": node.rack,
                "fenced": node.fenced,
                "draining": node.draining,
                "leaders": node.leaders,
                "replicas": node.replicas,
                "offline_log_dirs": node.offline_log_dirs,
                "offline_replicas": node.offline_replicas,
                "incarnation_id": id_text(node.incarnation_id),
            }
            for node in described.nodes
        ],
        "quorum": quorum_json(quorum),
    }
