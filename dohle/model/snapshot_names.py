"""Snapshots of topics: forks with a name of their own kind, of which nothing changes or goes until they are deleted.

A snapshot keeps its source's overrides, for what is restored from it, and is kept by others itself: nothing of it is
let go or compacted, whatever the overrides say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dohle.model.errors import PolicyViolation
from dohle.model.topic_config import DEFAULTS, TopicConfig

PREFIX = "__snapshot."


def is_snapshot(topic: str) -> bool:
    return topic.startswith(PREFIX)


def check_writable(topic: str) -> None:
    """Raises PolicyViolation for a snapshot."""
    if is_snapshot(topic):
        raise PolicyViolation(
            f"{topic} is a snapshot, which stays as it is: restore it, by `dohle topic restore"
            f" {topic.removeprefix(PREFIX)} NAME`, and change what comes of that"
        )


def config_of(topic: str, overrides: Mapping[str, str]) -> TopicConfig:
    """Returns by what configuration a topic with these overrides is kept. Raises InvalidConfig."""
    config = TopicConfig.from_overrides(overrides) if overrides else DEFAULTS
    if is_snapshot(topic):
        return replace(config, cleanup_policy=("delete",), retention_ms=-1, retention_bytes=-1)
    return config
