"""How a world's cluster is laid out: who votes, what nodes' configuration files say, and their folders, formatted."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dohle.cluster.config_sources import to_toml
from dohle.model.errors import ConfigurationError

_PATIENCE_S = 120.0


@dataclass(frozen=True)
class Place:
    """Where a node is: `reached_at` is host:port, by which others reach its gRPC services.

    `settings` are what it has for itself, folder, addresses and ports, as configuration files have them.
    """

    config_file: Path
    reached_at: str
    settings: Mapping[str, object]


def lay_out(program: Sequence[str], places: Mapping[int, Place], settings: Mapping[str, object]) -> None:
    """Writes all configuration files, with `settings` besides, and formats all folders by `program`, the command dohle.

    The first three nodes, or five, are controllers, all are brokers. Raises ConfigurationError with what it printed.
    """
    voters = list(places)[: 5 if len(places) >= 5 else 3 if len(places) >= 3 else 1]
    listed = ",".join(f"{node}@{places[node].reached_at}" for node in voters)
    new = json.loads(_run(*program, "format", "--new", "--json", "--voters", listed))
    for node, place in places.items():
        own = {
            "node_id": node,
            "roles": ("controller", "broker") if node in voters else ("broker",),
            "voters": listed,
            "default_replication_factor": min(3, len(places)),
            "group_initial_rebalance_delay_ms": 0,
        }
        place.config_file.write_text(to_toml({**own, **place.settings, **settings}), encoding="utf-8")
        known = ("--cluster-id", new["cluster_id"], "--voters", new["voters"])
        _run(*program, "format", "--config", str(place.config_file), *known)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE_S)
    if done.returncode:
        raise ConfigurationError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return done.stdout
