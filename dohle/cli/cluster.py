"""`dohle cluster`: the cluster as a whole, and what an operator changes about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dohle.cli.as_known import cluster_as_known, complain, describe_quorum
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
def describe(bootstrap: str, timeout_s: float, as_json: bool) -> int:
    """Show the cluster's nodes and controllers, and how far each controller is.

    The controllers are as the active one knows them at this moment; the nodes as the node that answers does. While no
    majority of the controllers answers, those that do say how far they are themselves; exit code 1 then.
    """

    async def ask() -> tuple[ClusterDescription | None, QuorumDescription, bool]:
        from dohle.client.admin import Admin

        async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-cluster") as admin:
            quorum, confirmed = await describe_quorum(admin)
            return await (admin.describe_cluster() if confirmed else cluster_as_known(admin)), quorum, confirmed

    described, quorum, confirmed = run_async(ask())
    if not confirmed:
        up_to = quorum.committed_end if described is None else described.metadata_offset
        complain(quorum, f"what was known up to metadata offset {up_to}")
    if as_json:
        print_json(_as_json(described, quorum, confirmed))
    else:
        if described is None:
            click.echo("The nodes that answer have started since, and know no brokers and topics yet.")
        else:
            _show_brokers(described, quorum)
        click.echo(_decides(described, quorum))
        click.echo()
        print_table(*quorum_rows(quorum))
    return 0 if confirmed else 1


def _decides(described: ClusterDescription | None, quorum: QuorumDescription) -> str:
    who = f"node {quorum.leader_id} decides" if quorum.leader_id >= 0 else "nobody decides"
    version = "" if described is None else f"; metadata.version {described.metadata_version}"
    return f"{who} in term {quorum.term}{version}, committed up to {quorum.committed_end}"


def _show_brokers(described: ClusterDescription, quorum: QuorumDescription) -> None:
    down = [node.node_id for node in described.nodes if node.fenced]
    click.echo(
        f"cluster {described.cluster_id}: {counted(len(described.nodes), 'broker')}"
        f"{' (down: ' + ', '.join(map(str, down)) + ')' if down else ''}, "
        f"{counted(len(quorum.voters), 'voter')}, {counted(described.topics, 'topic')}, "
        f"{counted(described.partitions, 'partition')}"
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


def _as_json(described: ClusterDescription | None, quorum: QuorumDescription, confirmed: bool) -> dict[str, Any]:
    told = {"confirmed": confirmed, "quorum": quorum_json(quorum)}
    if described is None:
        return told
    return {
        **told,
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
    }
