"""A node's settings under the names that Kafka's brokers have for them, where the meaning is the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from dohle.cluster.config import NodeConfig
from dohle.cluster.kafka_addresses import NamedAddress
from dohle.listeners.kafka.broker_configs import BrokerConfig
from dohle.model.topic_config import ConfigType
from dohle.runtime.network import Address

_INT_MAX: Final = 2**31 - 1
_RACK_SELECTOR: Final = "org.apache.kafka.common.replica.RackAwareReplicaSelector"


def _text(value: Any) -> str | None:
    match value:
        case bool():
            return "true" if value else "false"
        case tuple():
            return ",".join(map(str, value))
        case _:
            return str(value)


def _unless_empty(value: str) -> str | None:
    return value or None


class _Name(NamedTuple):
    """One of Kafka's names for a setting. `text` is what Kafka would write for the setting's value."""

    kafka: str
    type: ConfigType
    setting: str
    text: Callable[[Any], str | None] = _text


_NAMES: Final = (
    _Name("auto.create.topics.enable", ConfigType.BOOLEAN, "auto_create_topics_enable"),
    _Name(
        "auto.leader.rebalance.enable",
        ConfigType.BOOLEAN,
        "leader_imbalance_check_interval_ms",
        lambda ms: _text(ms > 0),
    ),
    _Name("broker.heartbeat.interval.ms", ConfigType.INT, "heartbeat_interval_ms"),
    _Name("broker.id", ConfigType.INT, "node_id"),
    _Name("broker.rack", ConfigType.STRING, "rack", _unless_empty),
    _Name("broker.session.timeout.ms", ConfigType.INT, "session_timeout_ms"),
    _Name("connections.max.idle.ms", ConfigType.LONG, "connections_max_idle_ms"),
    _Name("controller.quorum.election.timeout.ms", ConfigType.INT, "raft_election_timeout_min_ms"),
    _Name("default.replication.factor", ConfigType.INT, "default_replication_factor"),
    _Name("group.consumer.assignors", ConfigType.LIST, "group_consumer_assignors"),
    _Name("group.consumer.heartbeat.interval.ms", ConfigType.INT, "group_consumer_heartbeat_interval_ms"),
    _Name("group.consumer.max.heartbeat.interval.ms", ConfigType.INT, "group_consumer_max_heartbeat_interval_ms"),
    _Name("group.consumer.max.session.timeout.ms", ConfigType.INT, "group_consumer_max_session_timeout_ms"),
    _Name("group.consumer.max.size", ConfigType.INT, "group_consumer_max_size"),
    _Name("group.consumer.migration.policy", ConfigType.STRING, "group_consumer_migration_policy"),
    _Name("group.consumer.min.heartbeat.interval.ms", ConfigType.INT, "group_consumer_min_heartbeat_interval_ms"),
    _Name("group.consumer.min.session.timeout.ms", ConfigType.INT, "group_consumer_min_session_timeout_ms"),
    _Name("group.consumer.regex.refresh.interval.ms", ConfigType.INT, "group_consumer_regex_refresh_interval_ms"),
    _Name("group.consumer.session.timeout.ms", ConfigType.INT, "group_consumer_session_timeout_ms"),
    _Name("group.initial.rebalance.delay.ms", ConfigType.INT, "group_initial_rebalance_delay_ms"),
    _Name("group.max.session.timeout.ms", ConfigType.INT, "group_max_session_timeout_ms"),
    _Name("group.max.size", ConfigType.INT, "group_max_size"),
    _Name("group.min.session.timeout.ms", ConfigType.INT, "group_min_session_timeout_ms"),
    _Name(
        "leader.imbalance.check.interval.seconds",
        ConfigType.LONG,
        "leader_imbalance_check_interval_ms",
        lambda ms: str(-(-ms // 1000)),
    ),
    _Name("leader.imbalance.per.broker.percentage", ConfigType.INT, "leader_imbalance_per_broker_percentage"),
    _Name("log.cleaner.backoff.ms", ConfigType.LONG, "log_cleaner_backoff_ms"),
    _Name("log.cleaner.dedupe.buffer.size", ConfigType.LONG, "log_cleaner_dedupe_buffer_size"),
    _Name(
        "log.cleaner.io.max.bytes.per.second",
        ConfigType.DOUBLE,
        "log_cleaner_io_max_bytes_per_second",
        lambda rate: str(float(rate)),
    ),
    _Name("log.retention.check.interval.ms", ConfigType.LONG, "log_retention_check_interval_ms"),
    _Name("max.connections", ConfigType.INT, "max_connections"),
    _Name("max.connections.per.ip", ConfigType.INT, "max_connections_per_ip", lambda most: str(most or _INT_MAX)),
    _Name(
        "metadata.log.max.record.bytes.between.snapshots",
        ConfigType.LONG,
        "metadata_log_max_record_bytes_between_snapshots",
    ),
    _Name("metadata.log.max.snapshot.interval.ms", ConfigType.LONG, "metadata_log_max_snapshot_interval_ms"),
    _Name("metadata.log.segment.bytes", ConfigType.INT, "metadata_log_segment_bytes"),
    _Name("node.id", ConfigType.INT, "node_id"),
    _Name("num.partitions", ConfigType.INT, "default_partitions"),
    _Name("offset.metadata.max.bytes", ConfigType.INT, "offset_metadata_max_bytes"),
    _Name("offsets.commit.timeout.ms", ConfigType.INT, "offsets_commit_timeout_ms"),
    _Name("offsets.retention.check.interval.ms", ConfigType.LONG, "offsets_retention_check_interval_ms"),
    _Name("offsets.retention.minutes", ConfigType.INT, "offsets_retention_minutes"),
    _Name("offsets.topic.compression.codec", ConfigType.INT, "offsets_topic_compression_codec"),
    _Name("offsets.topic.num.partitions", ConfigType.INT, "offsets_topic_num_partitions"),
    _Name("offsets.topic.replication.factor", ConfigType.SHORT, "offsets_topic_replication_factor"),
    _Name("offsets.topic.segment.bytes", ConfigType.INT, "offsets_topic_segment_bytes"),
    _Name("process.roles", ConfigType.LIST, "roles"),
    _Name("producer.id.expiration.ms", ConfigType.INT, "producer_id_expiration_ms"),
    _Name("queued.max.request.bytes", ConfigType.LONG, "queued_max_request_bytes"),
    _Name("replica.lag.time.max.ms", ConfigType.LONG, "replica_lag_time_max_ms"),
    _Name(
        "replica.selector.class",
        ConfigType.STRING,
        "replica_selector",
        lambda name: _RACK_SELECTOR if name == "rack" else None,
    ),
    _Name("socket.request.max.bytes", ConfigType.INT, "socket_request_max_bytes"),
)

_DERIVED: Final[dict[str, tuple[ConfigType, str, Callable[[NodeConfig], str | None]]]] = {
    "advertised.listeners": (
        ConfigType.LIST,
        "What Kafka's clients are told to connect to.",
        lambda config: _text(
            tuple(
                NamedAddress(plan.name, plan.advertised or Address(config.reachable_host, plan.bind.port))
                for plan in config.kafka
            )
        ),
    ),
    "controller.quorum.voters": (
        ConfigType.LIST,
        "Where the controllers are, by the configuration of this node.",
        lambda config: _text(config.controllers),
    ),
    "listeners": (
        ConfigType.LIST,
        "Where this node listens for Kafka's clients.",
        lambda config: _text(tuple(NamedAddress(plan.name, plan.bind) for plan in config.kafka)),
    ),
    "log.dirs": (
        ConfigType.LIST,
        "The folders that hold replicas.",
        lambda config: _text(config.log_directories),
    ),
    "metadata.log.dir": (
        ConfigType.STRING,
        "The folder that holds a controller's metadata log and its vote.",
        lambda config: config.metadata_directory,
    ),
}
"""What several settings come to."""

_ALWAYS: Final = {
    "delete.topic.enable": "Topics can be deleted.",
    "log.cleaner.enable": "Topics are compacted whose cleanup.policy says so.",
}
"""Switches of Kafka's that are always on."""


def kafka_configs(config: NodeConfig) -> tuple[BrokerConfig, ...]:
    """Returns the configuration of the broker that runs by these settings, but for the defaults of topics."""
    settings = {field.name: field for field in dataclasses.fields(NodeConfig)}
    plain = NodeConfig()
    found = [
        BrokerConfig(
            name.kafka,
            name.type,
            name.text(getattr(config, name.setting)),
            name.text(settings[name.setting].default),
            f"{settings[name.setting].metadata['doc']}. Dohle's {name.setting}.",
        )
        for name in _NAMES
    ]
    found += [BrokerConfig(name, kind, text(config), text(plain), doc) for name, (kind, doc, text) in _DERIVED.items()]
    found += [BrokerConfig(name, ConfigType.BOOLEAN, "true", "true", doc) for name, doc in _ALWAYS.items()]
    return tuple(found)
