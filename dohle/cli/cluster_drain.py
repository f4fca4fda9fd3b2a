"""`dohle cluster drain`: moves everything away from one broker, so that its node can be switched off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dohle.cli.cluster_reassign import partitions_of, print_plan, told
from dohle.cli.moves import until_arrived
from dohle.cli.output import counted, print_json
from dohle.cli.partition_names import parse_rate
from dohle.cli.session import bootstrap_option, json_option, run_async, timeout_option
from dohle.model.errors import InvalidReplicaAssignment

if TYPE_CHECKING:
    from dohle.client.admin import Admin
    from dohle.client.partition_changes import Reassignment
    from dohle.client.values import NodeDescription

_AT_ONCE = 100
"""How many partitions are on their way at the same time."""
_ROUNDS = 5
"""How often what was placed there meanwhile is moved as well."""


@click.command()
@click.argument("node", type=int)
@click.option("--throttle", callback=parse_rate, metavar="RATE", help="Bytes a second, as 10M; 0: no bound.")
@click.option("--dry-run", is_flag=True, help="Show where everything would go, and change nothing.")
@bootstrap_option
@timeout_option
@json_option
def drain(node: int, throttle: int | None, dry_run: bool, bootstrap: str, timeout_s: float, as_json: bool) -> int:
    """Move all replicas away from broker NODE, and say when it can be switched off.

    Ctrl-C ends it; what is on its way then arrives all the same, and the same command goes on from there.
    """

    async def work() -> int:
        from dohle.client.admin import Admin

        async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-cluster") as admin:
            return await _drain(admin, node, throttle, dry_run=dry_run, as_json=as_json)

    return run_async(work())


async def _drain(admin: Admin, node: int, throttle: int | None, *, dry_run: bool, as_json: bool) -> int:
    moved = 0
    for _ in range(_ROUNDS):
        under_way = [
            one.name for one in (await admin.list_partition_reassignments()).reassignments if node in one.replicas
        ]
        await until_arrived(admin, under_way)
        plan = await _plan(admin, node)
        if not as_json and plan:
            print_plan(plan, await partitions_of(admin, {wanted.topic for wanted in plan}))
        if dry_run:
            return _told(node, plan, moved, as_json)
        if not plan:
            return await _drained(admin, node, moved, as_json)
        for first in range(0, len(plan), _AT_ONCE):
            wave = plan[first : first + _AT_ONCE]
            outcomes = await admin.alter_partition_reassignments(wave, throttle_bytes_per_s=throttle)
            if any(outcomes.values()):
                return told(outcomes, as_json, done="begun")
            await until_arrived(admin, outcomes)
            moved += len(wave)
            if not as_json:
                click.echo(f"{moved} moved away from broker {node}, {len(plan) - first - len(wave)} to go")
    raise InvalidReplicaAssignment(
        f"partitions are placed on broker {node} as fast as they are moved away: make no topics until it is drained"
    )


async def _plan(admin: Admin, node: int) -> list[Reassignment]:
    from dohle.client.drain import plan_drain

    cluster = await admin.describe_cluster()
    topics = await admin.list_topics()
    concerned = [topic for topic in topics if any(node in one.assigned_replicas for one in topic.partitions)]
    min_insync = {}
    for topic in concerned:
        entries = {entry.name: entry.value for entry in await admin.describe_configs(topic.name)}
        min_insync[topic.name] = int(entries["min.insync.replicas"])
    return plan_drain(node, cluster.nodes, concerned, min_insync)


def _told(node: int, plan: list[Reassignment], moved: int, as_json: bool) -> int:
    if as_json:
        parts = [{"topic": one.topic, "partition": one.partition, "replicas": one.replicas} for one in plan]
        print_json({"node": node, "moved": moved, "plan": parts})
    else:
        click.echo(f"{counted(len(plan), 'partition')} would move; nothing was changed")
    return 0


async def _drained(admin: Admin, node: int, moved: int, as_json: bool) -> int:
    cluster = await admin.describe_cluster()
    description: NodeDescription = next(one for one in cluster.nodes if one.node_id == node)
    votes = any(voter.node_id == node for voter in cluster.voters)
    if as_json:
        print_json({"node": node, "moved": moved, "replicas": description.replicas, "is_controller": votes})
        return 0
    click.echo(f"broker {node} holds no replicas: it can be switched off")
    if votes:
        click.echo(
            f"Node {node} is a controller too: switch it off only while a majority of the"
            f" {len(cluster.voters)} controllers stays, or take its vote away first:"
            f" dohle cluster voters remove {node}"
        )
    click.echo(f"Once it is down for good, have the cluster forget it: dohle cluster unregister {node}")
    return 0
