"""`dohle format`: the one step before a node's first start, in two parts.

`--new` invents a cluster: its id, and a directory id for each controller. What it prints is then given to
`dohle format` on each machine, so that all of them agree on who votes.
"""

from __future__ import annotations

import os
import random
import shlex
from collections.abc import Mapping

import click

from dohle.cli.output import print_json
from dohle.cluster.config import NodeConfig
from dohle.cluster.config_sources import load_config, parse_flags, parse_voter
from dohle.model.errors import ConfigurationError
from dohle.model.ids import DirectoryId, id_text, new_id


@click.command("format", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True})
@click.option("--new", is_flag=True, help="Invent ids for a new cluster and print them; touches no folder.")
@click.option("--cluster-id", help="The cluster's id, as printed by --new.")
@click.option(
    "--voters",
    metavar="LIST",
    help="Its controllers: with --new 1@host:7092,…; else with directory ids, as printed by --new.",
)
@click.option("--join", is_flag=True, help="The node joins a cluster that runs; a controller has no vote at first.")
@click.option(
    "--metadata-version",
    type=int,
    metavar="N",
    help="With --voters: the level that the cluster works at first, the same for all of them. Default: the newest.",
)
@click.option(
    "--ignore-formatted",
    is_flag=True,
    help="Format only what is not yet, of a node that is: a disk more, or a new one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("settings", nargs=-1, type=click.UNPROCESSED)
def format_command(
    new: bool,
    cluster_id: str | None,
    voters: str | None,
    join: bool,
    metadata_version: int | None,
    ignore_formatted: bool,
    as_json: bool,
    settings: tuple[str, ...],
) -> None:
    """Prepare the directories of the node that --config FILE (or other SETTINGS) describes.

    \b
      dohle format --new --voters 1@a:7092,2@b:7092,3@c:7092       once
      dohle format --config node.toml --cluster-id … --voters …    on each machine
      dohle format --config node.toml --cluster-id … --join        for a node that comes later, or a wiped disk
      dohle format --config node.toml --ignore-formatted           for a directory more in log_dirs
      dohle format --config node.toml --ignore-formatted --join    for a broker that becomes a controller
    """
    if new:
        if cluster_id or settings or join or ignore_formatted:
            raise click.UsageError("--new takes --voters and --metadata-version alone: it only prints what to run")
        _print_new(voters or "1@127.0.0.1:7092", metadata_version, as_json)
        return
    if join and voters:
        raise click.UsageError("--join takes no --voters: who votes, the cluster knows")
    if join and metadata_version is not None:
        raise click.UsageError("--join takes no --metadata-version: the cluster has one")
    if ignore_formatted and (voters or metadata_version is not None):
        raise click.UsageError("--ignore-formatted takes no --voters: the node is in its cluster already")
    if ignore_formatted:
        _format_further(cluster_id, settings, join=join, as_json=as_json)
        return
    if not (voters or join):
        raise click.UsageError(
            "a new cluster needs --voters, which `dohle format --new --voters …` prints; one that runs needs --join"
        )
    _format(cluster_id, voters, metadata_version, settings, as_json)


def _print_new(voters: str, metadata_version: int | None, as_json: bool) -> None:
    from dohle.cluster.formatting import new_voters, voters_text
    from dohle.controller.format import check_metadata_version

    source = random.SystemRandom()
    try:
        addresses = [parse_voter(word) for word in voters.split(",")]
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    members = new_voters(addresses, source)
    if metadata_version is not None:
        check_metadata_version(metadata_version)
    cluster_id = id_text(new_id(source))
    text = voters_text(members)
    if as_json:
        print_json({"cluster_id": cluster_id, "voters": text})
        return
    click.echo(f"cluster id  {cluster_id}")
    for member in members:
        click.echo(f"voter       {voters_text([member])}")
    level = "" if metadata_version is None else f" --metadata-version {metadata_version}"
    command = f"dohle format --config FILE --cluster-id {cluster_id} --voters {shlex.quote(text)}{level}"
    click.echo(f"\nNow, on the machine of each node, brokers that are no controllers included:\n\n  {command}")


def _format(
    cluster_id: str | None, voters: str | None, metadata_version: int | None, settings: tuple[str, ...], as_json: bool
) -> None:
    import asyncio

    from dohle.cluster.formatting import check_cluster_id, format_node, parse_voters
    from dohle.model.metadata import NEWEST_METADATA_VERSION
    from dohle.runtime.clock import LoopClock
    from dohle.runtime.files import RealDisk

    config = _config(settings, cluster_id)
    cluster_id = cluster_id or config.cluster_id
    if not cluster_id:
        raise click.UsageError("--cluster-id is needed, as the configuration names no cluster_id")
    disk = RealDisk(threads=2)
    try:
        ids = asyncio.run(
            format_node(
                disk,
                LoopClock(),
                config,
                cluster_id=check_cluster_id(cluster_id),
                voters=parse_voters(voters) if voters else (),
                random=random.SystemRandom(),
                metadata_version=NEWEST_METADATA_VERSION if metadata_version is None else metadata_version,
            )
        )
    finally:
        disk.close()
    _print_formatted(config, ids, as_json)


def _format_further(cluster_id: str | None, settings: tuple[str, ...], *, join: bool, as_json: bool) -> None:
    import asyncio

    from dohle.cluster.formatting import format_further
    from dohle.runtime.clock import LoopClock
    from dohle.runtime.files import RealDisk

    config = _config(settings, cluster_id)
    disk = RealDisk(threads=2)
    try:
        ids = asyncio.run(
            format_further(
                disk,
                LoopClock(),
                config,
                cluster_id=config.cluster_id or cluster_id,
                joins=join,
                random=random.SystemRandom(),
            )
        )
    finally:
        disk.close()
    _print_formatted(config, ids, as_json)


def _config(settings: tuple[str, ...], cluster_id: str | None) -> NodeConfig:
    flags = parse_flags(settings)
    config = load_config(flags.pop("config", os.environ.get("DOHLE_CONFIG")), os.environ, flags).config
    if cluster_id and config.cluster_id not in ("", cluster_id):
        raise ConfigurationError(f"the configuration names cluster {config.cluster_id}, --cluster-id {cluster_id}")
    return config


def _print_formatted(config: NodeConfig, ids: Mapping[str, DirectoryId], as_json: bool) -> None:
    if as_json:
        metadata_id = ids.get(config.metadata_directory)
        print_json(
            {
                "data_dir": config.metadata_directory,
                "node_id": config.node_id,
                "directory_id": None if metadata_id is None else id_text(metadata_id),
                "formatted": [{"path": path, "directory_id": id_text(one)} for path, one in ids.items()],
            }
        )
        return
    for path, directory_id in ids.items():
        click.echo(f"formatted {path} for node {config.node_id} (directory id {id_text(directory_id)})")
    if not ids:
        click.echo(f"nothing to do: {', '.join(config.directories)} are formatted for node {config.node_id} already")
