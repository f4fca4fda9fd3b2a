"""Formatting: how folders become a node's, before the node ever runs.

Keeps: a folder is formatted once, and only empty, and has a directory id of its own; every controller of a new cluster
is given the same voters, each with the id that its metadata directory then bears. A node never formats anything by
itself (raft.md, rule 5).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dohle.cluster.config import NodeConfig
from dohle.cluster.config import Voter as ControllerAddress
from dohle.cluster.config_sources import parse_voter
from dohle.controller.format import (
    check_metadata_version,
    check_voters,
    format_controller,
    format_joining_controller,
)
from dohle.controller.quorum import metadata_folder
from dohle.model.errors import ConfigurationError, DataFolderError
from dohle.model.ids import ClusterId, DirectoryId, NodeId, RandomBytes, id_text, new_id, parse_id
from dohle.model.metadata import NEWEST_METADATA_VERSION, Voter
from dohle.runtime.clock import Clock
from dohle.runtime.disk import Disk
from dohle.storage.data_folder import FolderIdentity, check_identity, format_folder, read_identity

_OF_A_NEW_DISK = "lost+found"  # made with the file system, where it is mounted


async def format_node(
    disk: Disk,
    clock: Clock,
    config: NodeConfig,
    *,
    cluster_id: str,
    voters: Sequence[Voter],
    random: RandomBytes,
    metadata_version: int = NEWEST_METADATA_VERSION,
) -> dict[str, DirectoryId]:
    """Makes the directories of `config`, and the first metadata log if the node is a controller; returns their ids.

    Without voters the node joins a cluster: as a broker, and as a controller that has no vote yet. Raises
    DataFolderError if a directory holds anything, ConfigurationError if the node and the voters do not match
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
    check_metadata_version(metadata_version)
    for path in config.directories:
        await _check_empty(disk, path, config)
    ids = {path: DirectoryId(new_id(random)) for path in config.directories if path != config.metadata_directory}
    own = mine[0].directory_id if mine else DirectoryId(new_id(random))
    ids = {config.metadata_directory: own, **ids}  # first: what a stop in between leaves, format_further completes
    failures: list[BaseException] = []
    path = config.metadata_directory
    await format_folder(disk, path, cluster_id=cluster_id, node_id=config.node_id, directory_id=own)
    if mine:
        await format_controller(
            disk,
            clock,
            path,
            cluster_id=ClusterId(cluster_id),
            voters=voters,
            metadata_version=metadata_version,
            on_failure=failures.append,
        )
    elif joins:
        await format_joining_controller(disk, clock, path, on_failure=failures.append)
    if failures:
        raise DataFolderError(f"formatting {path} failed: {failures[0]}")
    for path in list(ids)[1:]:
        await format_folder(disk, path, cluster_id=cluster_id, node_id=config.node_id, directory_id=ids[path])
    return ids


async def format_as_controller(disk: Disk, clock: Clock, config: NodeConfig) -> None:
    """Makes of a formatted node, which is a broker alone and does not run, a controller that has no vote yet.

    Raises DataFolderError if it is one already.
    """
    await _format_joining(disk, clock, config.metadata_directory)


async def _format_joining(disk: Disk, clock: Clock, path: str) -> None:
    failures: list[BaseException] = []
    await format_joining_controller(disk, clock, path, on_failure=failures.append)
    if failures:
        raise DataFolderError(f"formatting {path} failed: {failures[0]}")


async def format_further(
    disk: Disk, clock: Clock, config: NodeConfig, *, cluster_id: str | None, joins: bool, random: RandomBytes
) -> dict[str, DirectoryId]:
    """Formats those directories of a formatted node that are not: a disk more, or one that was replaced.

    Returns the ids of the new ones, possibly none. Raises DataFolderError, with nothing changed, if what is formatted
    is not this node's or what is not is not empty; and if a controller's metadata would be begun anew, unless it joins:
    then it is a new controller, without a vote, which takes a directory that has never been one's, and so a new id.
    """
    known: dict[str, FolderIdentity] = {}
    for path in config.directories:
        identity = await read_identity(disk, path)
        if identity is not None:
            known[path] = identity
    if not known:
        raise DataFolderError(
            f"none of {', '.join(config.directories)} is formatted: format the node as a whole, without"
            " --ignore-formatted"
        )
    path, first = next(iter(known.items()))
    for path, identity in known.items():
        check_identity(path, identity, cluster_id or first.cluster_id, config.node_id)
    begins_metadata = config.is_controller and config.metadata_directory not in known
    if begins_metadata and not joins:
        raise DataFolderError(
            f"{config.metadata_directory} is not formatted, and holds the metadata and the vote of this controller: if"
            f" they are in {path}, name that as metadata_log_dir; if they are lost, or the node is to become a"
            " controller, --join as well makes it one without a vote (docs/production.md, 'More controllers, or"
            " others')"
        )
    if joins:
        _check_joins(disk, config, known)
    new = [path for path in config.directories if path not in known]
    for path in new:
        await _check_empty(disk, path, config)
    ids = {path: DirectoryId(new_id(random)) for path in new}
    for path, directory_id in ids.items():
        await format_folder(disk, path, cluster_id=first.cluster_id, node_id=config.node_id, directory_id=directory_id)
        if begins_metadata and path == config.metadata_directory:
            await _format_joining(disk, clock, path)
    return ids


def _check_joins(disk: Disk, config: NodeConfig, known: Collection[str]) -> None:
    """Raises unless the node gets a controller's metadata in a directory that nobody has voted by."""
    if not config.is_controller:
        raise ConfigurationError(
            f"node {config.node_id} is in its cluster already, and no controller by its configuration: add the role to"
            " make it one, or leave out --join"
        )
    if (holder := next((path for path in known if disk.exists(metadata_folder(path))), None)) is not None:
        raise DataFolderError(
            f"{holder} has a controller's metadata already: leave out --join, and see that metadata_log_dir names it"
        )
    if config.metadata_directory in known:
        raise DataFolderError(
            f"{config.metadata_directory} is formatted, and has no controller's metadata. Whether it has lost them, and"
            " a vote with them, does not show; so the new controller needs a folder that bears another id: name a new"
            " one as metadata_log_dir"
        )


async def _check_empty(disk: Disk, path: str, config: NodeConfig) -> None:
    if not disk.exists(path) or not (names := [name for name in disk.list(path) if name != _OF_A_NEW_DISK]):
        return
    identity = await read_identity(disk, path)
    if identity is None:
        raise DataFolderError(
            f"{path} is not empty ({names[0]}), and nothing is ever formatted over: name another folder, or move this"
            " one away"
        )
    others = [other for other in config.directories if other != path]
    further = f", or with --ignore-formatted only what is not formatted yet of {', '.join(others)}" if others else ""
    raise DataFolderError(
        f"{path} is formatted already, for node {identity.node_id} of cluster {identity.cluster_id}: nothing is ever"
        f" formatted over; format another folder{further}, or move this one away"
    )


def new_voters(controllers: Sequence[ControllerAddress], random: RandomBytes) -> tuple[Voter, ...]:
    """Returns the voters that controllers become in a new cluster. Raises ConfigurationError if they cannot be that."""
    voters = tuple(
        Voter(NodeId(one.node_id), DirectoryId(new_id(random)), one.address.host, one.address.port)
        for one in controllers
    )
    check_voters(voters)
    return voters


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
