"""Formats the folders of a new cluster's nodes, all at once, when none of them has ever been formatted.

The service `format` of compose.yaml: it sees the folders of all nodes, and so can tell a cluster that is new from one
that has lost a folder. Keeps: what a cluster was formed of is noted in a folder of its own before any folder is
formatted; whatever is missing afterwards is lost, and nothing here ever formats it again. Who has lost a folder says so
at its own start, while the others go on.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from dohle.cluster.config import NodeConfig
from dohle.cluster.config_sources import load_config
from dohle.cluster.formatting import format_node, new_voters, voters_text
from dohle.model.errors import ConfigurationError, DohleError
from dohle.model.ids import id_text, new_id
from dohle.runtime.clock import LoopClock
from dohle.runtime.files import RealDisk
from dohle.storage.data_folder import META_FILE

_WHAT_TO_DO = "docs/deploy/compose.md, 'A lost volume', says what to do"


def form(config: NodeConfig, nodes: Path, note: Path) -> None:
    """Formats `nodes`/N/node of each voter N of `config` if there is no `note` and no such folder; else says what it
    finds. Raises DataFolderError, ConfigurationError, with nothing formatted."""
    if not config.voters:
        raise ConfigurationError("DOHLE_VOTERS is empty: name the nodes of the cluster, as 1@dohle-1:7092,…")
    folders = {voter.node_id: nodes / str(voter.node_id) / "node" for voter in config.voters}
    lost = [node for node, folder in folders.items() if not (folder / META_FILE).exists()]
    if len(lost) == len(folders):
        if note.exists():
            raise ConfigurationError(
                f"this cluster was formed, as {note} says, and no node has its folder any more, or forming it was cut"
                " short: bring the volumes back; or, if what they held may go, `docker compose down --volumes` makes"
                " room for a new cluster"
            )
        if taken := next((folder for folder in folders.values() if folder.exists() and any(folder.iterdir())), None):
            raise ConfigurationError(f"{taken} is not formatted, and not empty: move away what is in it")
        asyncio.run(_form(config, folders, note))
        return
    if not note.exists():  # lost, or folders that were formatted by hand: from now on they count as formed
        there = next(folder for node, folder in folders.items() if node not in lost)
        _write(note, json.dumps({"found": (there / META_FILE).read_text(encoding="utf-8")}, indent=2) + "\n")
    if lost:
        missing = ", ".join(map(str, lost))
        print(f"the folder of node {missing} is not there, and those of others are: it is not made anew; {_WHAT_TO_DO}")
    else:
        print("the folders of all nodes are there")


async def _form(config: NodeConfig, folders: dict[int, Path], note: Path) -> None:
    source = random.SystemRandom()
    cluster_id = id_text(new_id(source))
    voters = new_voters(config.voters, source)
    _write(note, json.dumps({"cluster_id": cluster_id, "voters": voters_text(voters)}, indent=2) + "\n")
    disk = RealDisk(threads=2)
    try:
        for node, folder in folders.items():
            await format_node(
                disk,
                LoopClock(),
                NodeConfig(node_id=node, voters=config.voters, data_dir=str(folder)),
                cluster_id=cluster_id,
                voters=voters,
                random=source,
            )
    finally:
        disk.close()
    print(f"formed cluster {cluster_id} of nodes {', '.join(map(str, folders))}")


def _write(path: Path, text: str) -> None:
    """Makes a file, durably. Raises FileExistsError if there is one."""
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def main(arguments: Sequence[str]) -> int:
    """Takes the folder that has one for each node, and the file to note the cluster in."""
    nodes, note = map(Path, arguments)
    try:
        form(load_config(None, os.environ, {}).config, nodes, note)
    except (DohleError, OSError) as error:
        print(f"format: {error.message if isinstance(error, DohleError) else error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
