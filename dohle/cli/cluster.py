"""`dohle cluster`: what an operator changes about a cluster while it runs."""

from __future__ import annotations

import click

from dohle.cli.cluster_drain import drain
from dohle.cli.cluster_elect import elect
from dohle.cli.cluster_reassign import reassign


@click.group()
def cluster() -> None:
    """Move replicas and leaders about while the cluster runs."""


for command in (drain, elect, reassign):
    cluster.add_command(command)
