"""`dohle cluster features`: at which metadata.version the cluster works, and how it is raised after an upgrade."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from dohle.cli.output import print_json, print_table
from dohle.cli.session import bootstrap_option, json_option, run_async, timeout_option

if TYPE_CHECKING:
    from dohle.client.admin import Admin
    from dohle.client.values import FeatureDescription

T = TypeVar("T")


@click.group()
def features() -> None:
    """See and raise the metadata.version that all nodes work at."""


def _ask(bootstrap: str, timeout_s: float, question: Callable[[Admin], Awaitable[T]]) -> T:
    async def ask() -> T:
        from dohle.client.admin import Admin

        async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-features") as admin:
            return await question(admin)

    return run_async(ask())


@features.command()
@bootstrap_option
@timeout_option
@json_option
def describe(bootstrap: str, timeout_s: float, as_json: bool) -> None:
    """Show the finalised metadata.version, what each node supports, and whether a newer one can be finalised."""
    described = _ask(bootstrap, timeout_s, lambda admin: admin.describe_features())
    if as_json:
        print_json(_as_json(described))
        return
    before, newest = described.metadata_version, described.newest_metadata_version
    click.echo(f"the cluster works at metadata.version {before}; its active controller knows up to {newest}\n")
    rows = [
        (
            node.node_id,
            node.role,
            "?" if node.metadata_versions is None else "{} to {}".format(*node.metadata_versions),
            "up" if node.up else "down",
        )
        for node in described.nodes
    ]
    print_table(("NODE", "ROLE", "SUPPORTS", "STATE"), rows)
    if described.obstacle:
        click.echo(f"\n{newest} cannot be finalised yet: {described.obstacle}.")
    elif newest > before:
        click.echo(f"\nAll support {newest}: `dohle cluster features upgrade` finalises it.")


@features.command()
@click.option("--metadata-version", type=click.IntRange(min=1), metavar="N", help="Not the newest, but this one.")
@click.option("--dry-run", is_flag=True, help="Only check whether it could be finalised.")
@bootstrap_option
@timeout_option
@json_option
def upgrade(metadata_version: int | None, dry_run: bool, bootstrap: str, timeout_s: float, as_json: bool) -> None:
    """Finalise the newest metadata.version that the active controller knows, once all nodes run software that knows it.

    There is no way back: software that does not know it can be part of this cluster no more.
    """

    async def do(admin: Admin) -> tuple[int, int]:
        before, wanted = await admin.update_features(metadata_version, validate_only=True)
        if not as_json and not dry_run and wanted > before:
            click.echo(
                f"finalising metadata.version {wanted} in place of {before}, for good: older software can be part of "
                "this cluster no more"
            )
        if dry_run or wanted == before:
            return before, wanted
        return await admin.update_features(wanted)

    before, wanted = _ask(bootstrap, timeout_s, do)
    if as_json:
        changed = wanted > before and not dry_run
        print_json({"changed": changed, "previous_metadata_version": before, "metadata_version": wanted})
    elif wanted == before:
        click.echo(f"the cluster works at metadata.version {wanted} already")
    elif dry_run:
        click.echo(f"metadata.version {wanted} can be finalised in place of {before}")
    else:
        click.echo(f"the cluster works at metadata.version {wanted}")


def _as_json(described: FeatureDescription) -> dict[str, object]:
    return {
        "metadata_version": described.metadata_version,
        "newest_metadata_version": described.newest_metadata_version,
        "obstacle": described.obstacle or None,
        "nodes": [
            {
                "node_id": node.node_id,
                "role": node.role,
                "up": node.up,
                "metadata_versions": node.metadata_versions,
            }
            for node in described.nodes
        ],
    }
