"""What of a node's configuration is about consumer groups: what is wrong with it, and what a coordinator works by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dohle.broker.groups.coordinator import CoordinatorSettings
from dohle.broker.groups.offsets_topic import OffsetsTopicSettings
from dohle.groups.settings import GroupSettings
from dohle.model.codecs import Codec
from dohle.model.errors import ConfigurationError

if TYPE_CHECKING:
    from dohle.cluster.config import NodeConfig

_ASSIGNORS: Final = ("uniform", "range")
_POLICIES: Final = ("bidirectional", "upgrade", "downgrade", "disabled")

_AT_MOST: Final = (
    ("group_min_session_timeout_ms", "group_max_session_timeout_ms"),
    ("group_consumer_min_session_timeout_ms", "group_consumer_session_timeout_ms"),
    ("group_consumer_session_timeout_ms", "group_consumer_max_session_timeout_ms"),
    ("group_consumer_min_heartbeat_interval_ms", "group_consumer_heartbeat_interval_ms"),
    ("group_consumer_heartbeat_interval_ms", "group_consumer_max_heartbeat_interval_ms"),
)
"""Pairs of settings of which the first is no more than the second."""


def check_groups(config: NodeConfig) -> None:
    """Raises ConfigurationError."""
    for smaller, larger in _AT_MOST:
        if getattr(config, smaller) > getattr(config, larger):
            raise ConfigurationError(
                f"{smaller} = {getattr(config, smaller)} is more than {larger}, which is {getattr(config, larger)}"
            )
    if config.group_consumer_heartbeat_interval_ms >= config.group_consumer_session_timeout_ms:
        raise ConfigurationError(
            f"group_consumer_heartbeat_interval_ms = {config.group_consumer_heartbeat_interval_ms} must be less than"
            f" group_consumer_session_timeout_ms, which is {config.group_consumer_session_timeout_ms}"
        )
    unknown = [name for name in config.group_consumer_assignors if name not in _ASSIGNORS]
    if unknown or not config.group_consumer_assignors:
        raise ConfigurationError(
            f"group_consumer_assignors = {','.join(config.group_consumer_assignors)!r}: expected uniform, range or both"
        )
    if config.group_consumer_migration_policy not in _POLICIES:
        raise ConfigurationError(
            f"group_consumer_migration_policy = {config.group_consumer_migration_policy!r}: expected"
            f" {', '.join(_POLICIES[:-1])} or {_POLICIES[-1]}"
        )


def coordinator_settings(config: NodeConfig) -> CoordinatorSettings:
    """Returns what the broker's coordinator works by."""
    return CoordinatorSettings(
        lag_interval_ms=config.group_lag_interval_ms,
        groups=GroupSettings(
            initial_rebalance_delay_ms=config.group_initial_rebalance_delay_ms,
            min_session_timeout_ms=config.group_min_session_timeout_ms,
            max_session_timeout_ms=config.group_max_session_timeout_ms,
            max_size=config.group_max_size,
            offset_metadata_max_bytes=config.offset_metadata_max_bytes,
            offsets_retention_ms=config.offsets_retention_minutes * 60_000,
            offsets_retention_check_interval_ms=config.offsets_retention_check_interval_ms,
            consumer_session_timeout_ms=config.group_consumer_session_timeout_ms,
            consumer_min_session_timeout_ms=config.group_consumer_min_session_timeout_ms,
            consumer_max_session_timeout_ms=config.group_consumer_max_session_timeout_ms,
            consumer_heartbeat_interval_ms=config.group_consumer_heartbeat_interval_ms,
            consumer_min_heartbeat_interval_ms=config.group_consumer_min_heartbeat_interval_ms,
            consumer_max_heartbeat_interval_ms=config.group_consumer_max_heartbeat_interval_ms,
            consumer_max_size=config.group_consumer_max_size,
            consumer_assignors=config.group_consumer_assignors,
            consumer_migration_policy=config.group_consumer_migration_policy,
            consumer_regex_refresh_interval_ms=config.group_consumer_regex_refresh_interval_ms,
        ),
        topic=OffsetsTopicSettings(
            partitions=config.offsets_topic_num_partitions,
            replication_factor=config.offsets_topic_replication_factor,
            segment_bytes=config.offsets_topic_segment_bytes,
        ),
        commit_timeout_s=config.offsets_commit_timeout_ms / 1000,
        codec=Codec(config.offsets_topic_compression_codec),
    )
