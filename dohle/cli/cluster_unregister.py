"""`dohle cluster unregister`: forgets a broker that is switched off for good."""

from __future__ import annotations

import click

from dohle.cli.output import counted, print_json
from dohle.cli.session import bootstrap_option, json_option, run_async, timeout_option


@click.command()
@click.argument("node", type=int)
@bootstrap_option
@timeout_option
@json_option
def unregister(node: int, bootstrap: str, timeout_s: float, as_json: bool) -> None:
    """Forget broker NODE, which is switched off for good.

    It has to be down, to hold no replica (`dohle cluster drain`), and to have no vote (`dohle cluster voters remove`).
    Its data folder stays; started again it joins as an empty broker.
    """

    async def work() -> None:
        from dohle.client.admin import Admin

        async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-cluster") as admin:
            nodes = (await admin.describe_cluster()).nodes
            found = next((one for one in nodes if one.node_id == node), None)
            if not as_json and found is not None and found.fenced and not found.replicas:
                left = counted(len(nodes) - 1, "broker")
                click.echo(f"forgetting broker {node}, which is down and holds no replicas: then there are {left}")
            await admin.unregister_broker(node)

    run_async(work())
    if as_json:
        print_json({"node": node, "registered": False})
    else:
        click.echo(f"broker {node} is no member of the cluster any more")
