"""Formatting: how a data folder becomes a node's, before the node ever runs.

Keeps: a folder is formatted once, and only empty; every controller of a new cluster is given the same voters, each
with the directory id that its own folder then bears. A node never formats anything by itself (raft.md, rule 5).
"""

from __future__ import annotations

from collections.abc import Sequence

from dohle.cluster.config import NodeConfig
from dohle.cluster.config_sources import parse_voter
from dohle.controller.format import check_metadata_version, format_controller, format_joining_controller
from dohle.model.errors import ConfigurationError, DataFolderError
from dohle.model.ids import ClusterId, DirectoryId, NodeId, RandomBytes, id_text, new_id, parse_id
from dohle.model.metadata import NEWEST_METADATA_VERSION, Voter
from dohle.runtime.clock import Clock
from dohle.runtime.disk import Disk
from dohle.storage.data_folder import format_folder


async def format_node(
    disk: Disk,
    clock: Clock,
    config: NodeConfig,
    *,
    cluster_id: str,
    voters: Sequence[Voter],
    random: RandomBytes,
    metadata_version: int = NEWEST_METADATA_VERSION,
) -> DirectoryId:
    """Makes the data folder of `config`, and the first metadata log if the node is a controller; returns its id.

    Without voters the node joins a cluster: as a broker, and as a controller that has no vote yet. Raises
    DataFolderError if the folder holds anything, ConfigurationError if the node and the voters do not match
    or this software does not know the version.
    """
    mine = [voter for voter in voters if voter.node_id == config.node_id]
    joins = not voters and config.is_controller
    if config.is_controller != bool(mine) and not joins:
        raise ConfigurationError(
            f"node {config.node_id} is a controller but none of the voters: name it among them"
            if config.is_controller
            else f"node {config.node_id} is among the voters but no controller: add the role to its configuration"
        )
    if disk.exists(config.data_dir) and disk.list(config.data_dir):
        raise DataFolderError(
            f"{config.data_dir} is not empty ({disk.list(config.data_dir)[0]}), and nothing is ever formatted over:"
            " name another data_dir, or move this one away"
        )
    check_metadata_version(metadata_version)
    directory_id = mine[0].directory_id if mine else DirectoryId(new_id(random))
    await format_folder(disk, config.data_dir, cluster_id=cluster_id, node_id=config.node_id, directory_id=directory_id)
    failures: list[BaseException] = []
    if mine:
        await format_controller(
            disk,
            clock,
            config.data_dir,
            cluster_id=ClusterId(cluster_id),
            voters=voters,
            metadata_version=metadata_version,
            on_failure=failures.append,
        )
    elif joins:
        await format_joining_controller(disk, clock, config.data_dir, on_failure=failures.append)
    if failures:
        raise DataFolderError(f"formatting {config.data_dir} failed: {failures[0]}")
    return directory_id


def check_cluster_id(text: str) -> str:
    """Returns `text` if it is a cluster id. Raises ConfigurationError."""
    try:
        parse_id(text)
    except ValueError as error:
        raise ConfigurationError(f"cluster id {error}; `dohle format --new` makes one") from error
    return text


def parse_voters(text: str) -> tuple[Voter, ...]:
    """Returns voters written as `1@host:7092:<directory id>,…`. Raises ConfigurationError."""
    voters: list[Voter] = []
    for word in text.split(","):
        address, _, directory = word.strip().rpartition(":")
        try:
            node_id, (host, port) = parse_voter(address)
            voters.append(Voter(NodeId(node_id), DirectoryId(parse_id(directory)), host, port))
        except ValueError as error:
            raise ConfigurationError(
                f"voter {word.strip()!r}: {error}; write node@host:port:directory-id, as `dohle format --new` prints it"
            ) from error
    return tuple(voters)


def voters_text(voters: Sequence[Voter]) -> str:
    """Returns what `parse_voters` reads."""
    return ",".join(f"{v.node_id}@{v.host}:{v.port}:{id_text(v.directory_id)}" for v in voters)
