"""NodeConfig: everything that an operator may choose about one node.

Keeps: a NodeConfig that exists is valid; a setting has one name, which is its key in a TOML file, `DOHLE_<NAME>` in
the environment and `--<name>` (dashes for underscores) as a flag. Where a value comes from, `config_sources` says.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

from dohle.cluster.group_config import check_groups
from dohle.cluster.kafka_addresses import (
    DEFAULT_KAFKA_PORT,
    WILDCARD_HOSTS,
    ListenerPlan,
    NamedAddress,
    check_kafka_addresses,
    check_ports,
    listener_plans,
)
from dohle.groups.settings import GroupSettings
from dohle.model.errors import ConfigurationError
from dohle.runtime.network import Address
from dohle.storage.headroom import LEAST_FREE_BYTES
from dohle.storage.strays import DAY_MS, RETENTION_MS

CONTROLLER = "controller"
BROKER = "broker"

_GROUPS = GroupSettings()
_LONGEST_MS = 86_400_000 * 365


class Voter(NamedTuple):
    """A controller by its number, and where it listens; written `1@host:7092`."""

    node_id: int
    address: Address

    def __str__(self) -> str:
        return f"{self.node_id}@{self.address}"


def _setting(default: Any, doc: str, unit: str = "", *, least: int | None = None, most: int | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"doc": doc, "unit": unit, "least": least, "most": most})


def _port(default: int, doc: str) -> Any:
    return _setting(default, doc, "port", least=1, most=65_535)


def _duration(default: int, doc: str) -> Any:
    return _setting(default, doc, "ms", least=1, most=_LONGEST_MS)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """One node's configuration. Raises ConfigurationError if a value is out of bounds or contradicts another."""

    node_id: int = _setting(1, "This node's number, unique in its cluster", least=0, most=2**31 - 1)
    cluster_id: str = _setting("", "The cluster this node belongs to; empty: whatever its data folder says")
    data_dir: str = _setting("dohle-data", "Where logs, votes and checkpoints are kept; made by `dohle format`")
    log_dirs: tuple[str, ...] = _setting((), "Where replicas are kept, a folder a disk: /disk1,/disk2; empty: data_dir")
    metadata_log_dir: str = _setting("", "Where a controller keeps metadata and its vote; empty: the first of log_dirs")
    roles: tuple[str, ...] = _setting((CONTROLLER, BROKER), "What this node is: controller, broker, or both")
    voters: tuple[Voter, ...] = _setting((), "Where the controllers are: 1@host:7092,2@host:7092,…; empty: here alone")
    rack: str = _setting("", "What this node would fail together with; replicas are spread over racks")
    replica_selector: str = _setting(
        "rack", "What consumers read that name a rack: rack: an in-sync replica there; leader: the leader"
    )

    host: str = _setting("127.0.0.1", "The address to listen on; 0.0.0.0 for all")
    advertised_host: str = _setting("", "The name by which clients and nodes reach this one; empty: host")
    grpc_port: int = _port(7092, "Port of the gRPC services")
    advertised_grpc_port: int = _setting(
        0,
        "The port by which clients and nodes reach them; 0: grpc_port",
        "port",
        least=0,
        most=65_535,
    )
    external_grpc_port: int = _setting(
        0,
        "A second one, whose clients are told external_host and this port, of each node its own; 0: none",
        "port",
        least=0,
        most=65_535,
    )
    kafka_port: int = _port(DEFAULT_KAFKA_PORT, "Port for Kafka's clients, where kafka_listeners names none")
    kafka_advertised_address: str = _setting(
        "", "Where Kafka's clients are told to reach this node, host:port; empty: advertised_host and kafka_port"
    )
    kafka_listeners: tuple[NamedAddress, ...] = _setting(
        (), "Several ports for Kafka's clients: INTERNAL://host:9092,EXTERNAL://host:19092; no host: that of the node"
    )
    kafka_advertised_listeners: tuple[NamedAddress, ...] = _setting(
        (), "Where clients of each of them are told to reach this node, NAME://host:port; one left out: advertised_host"
    )
    external_host: str = _setting(
        "localhost",
        "The host that clients of external_grpc_port are told, and those of a listener EXTERNAL that is not advertised",
    )
    http_port: int = _port(8092, "Port of /metrics, /healthz and /readyz")

    max_connections: int = _setting(10_000, "Connections of Kafka's clients, in all", least=1)
    max_connections_per_ip: int = _setting(0, "Connections of Kafka's clients from one address; 0: no bound", least=0)
    connections_max_idle_ms: int = _duration(600_000, "A Kafka client's connection is closed when silent for so long")
    socket_request_max_bytes: int = _setting(
        100 << 20, "The largest request of a Kafka client", "bytes", least=1 << 10, most=2**31 - 1
    )
    queued_max_request_bytes: int = _setting(
        256 << 20, "Requests of Kafka's clients that are not answered yet, all together", "bytes", least=1 << 20
    )
    max_incremental_fetch_session_cache_slots: int = _setting(
        1000, "Fetch sessions of Kafka's clients, which say once what they read; 0: none", least=0, most=100_000
    )
    auto_create_topics_enable: bool = _setting(
        True, "Whether a topic is made when a Kafka client asks for it and it does not exist"
    )

    group_lag_interval_ms: int = _setting(
        5000, "How often the lags of groups are measured for metrics and lists; 0: never", "ms", least=0, most=3_600_000
    )
    group_initial_rebalance_delay_ms: int = _setting(
        _GROUPS.initial_rebalance_delay_ms,
        "For how long a new group waits for more members before its first rebalance; `dohle up`: 0",
        "ms",
        least=0,
        most=_LONGEST_MS,
    )
    group_min_session_timeout_ms: int = _duration(
        _GROUPS.min_session_timeout_ms, "The shortest session that a group's member may ask for"
    )
    group_max_session_timeout_ms: int = _duration(_GROUPS.max_session_timeout_ms, "The longest one")
    group_max_size: int = _setting(_GROUPS.max_size, "Members of a group of the classic protocol", least=1)
    group_consumer_session_timeout_ms: int = _duration(
        _GROUPS.consumer_session_timeout_ms, "A member of a group with group.protocol=consumer is silent for so long"
    )
    group_consumer_min_session_timeout_ms: int = _duration(
        _GROUPS.consumer_min_session_timeout_ms, "The least that a group's own configuration may make of it"
    )
    group_consumer_max_session_timeout_ms: int = _duration(_GROUPS.consumer_max_session_timeout_ms, "The most")
    group_consumer_heartbeat_interval_ms: int = _duration(
        _GROUPS.consumer_heartbeat_interval_ms, "How often members of such groups are told to show themselves"
    )
    group_consumer_min_heartbeat_interval_ms: int = _duration(
        _GROUPS.consumer_min_heartbeat_interval_ms, "The least that a group's own configuration may make of it"
    )
    group_consumer_max_heartbeat_interval_ms: int = _duration(_GROUPS.consumer_max_heartbeat_interval_ms, "The most")
    group_consumer_max_size: int = _setting(_GROUPS.consumer_max_size, "Members of such a group", least=1)
    group_consumer_assignors: tuple[str, ...] = _setting(
        _GROUPS.consumer_assignors, "Who assigns partitions in such groups: uniform, range; the first is the default"
    )
    group_consumer_migration_policy: str = _setting(
        _GROUPS.consumer_migration_policy,
        "Whether groups go from one protocol to the other with their members: bidirectional, upgrade, downgrade,"
        " disabled",
    )
    group_consumer_regex_refresh_interval_ms: int = _duration(
        _GROUPS.consumer_regex_refresh_interval_ms, "How often the topics are looked up that a regular expression means"
    )
    offset_metadata_max_bytes: int = _setting(
        _GROUPS.offset_metadata_max_bytes, "What a consumer may commit beside an offset", "bytes", least=0, most=32_767
    )
    offsets_retention_minutes: int = _setting(
        _GROUPS.offsets_retention_ms // 60_000,
        "Offsets of a group without members, or of topics that it reads no more, are forgotten after so long",
        "minutes",
        least=1,
        most=_LONGEST_MS // 60_000 * 100,
    )
    offsets_retention_check_interval_ms: int = _duration(
        _GROUPS.offsets_retention_check_interval_ms, "How often those are looked for"
    )
    offsets_commit_timeout_ms: int = _duration(
        5000, "How long a coordinator's record may take to reach the in-sync replicas before a client is told to retry"
    )
    offsets_topic_num_partitions: int = _setting(
        50, "Partitions of __consumer_offsets, when it is made", least=1, most=10_000
    )
    offsets_topic_replication_factor: int = _setting(
        3, "Its replicas, or as many as there are brokers then, if fewer", least=1, most=32
    )
    offsets_topic_segment_bytes: int = _setting(
        100 << 20, "The size of its segments", "bytes", least=1 << 20, most=2**31 - 1
    )
    offsets_topic_compression_codec: int = _setting(
        0, "How its records are compressed: 0 not at all, 1 gzip, 2 snappy, 3 lz4, 4 zstd", least=0, most=4
    )

    heartbeat_interval_ms: int = _duration(200, "How often a broker tells the controller that it lives")
    session_timeout_ms: int = _duration(3000, "A broker that is silent for so long is fenced")
    replica_lag_time_max_ms: int = _duration(10_000, "A follower that is behind for so long leaves the in-sync set")
    replica_fill_bytes_per_s: int = _setting(
        64 << 20,
        "How fast replicas are filled that begin with nothing, as on a new disk; 0: no bound",
        "bytes/s",
        least=0,
    )
    raft_heartbeat_interval_ms: int = _duration(250, "How often the active controller shows itself to the others")
    raft_election_timeout_min_ms: int = _duration(1000, "Least silence after which a controller stands for election")
    raft_election_timeout_max_ms: int = _duration(1500, "Longest silence before it stands; drawn between the two")

    metadata_log_max_record_bytes_between_snapshots: int = _setting(
        1 << 20, "A controller writes a snapshot after so much metadata, and cuts its log", "bytes", least=1
    )
    metadata_log_max_snapshot_interval_ms: int = _duration(
        3_600_000, "Or after so long, if any metadata was written meanwhile"
    )
    metadata_log_segment_bytes: int = _setting(
        8 << 20, "A segment of the metadata log; it is cut by whole segments", "bytes", least=1024, most=2**31 - 1
    )

    default_partitions: int = _setting(1, "Partitions of a topic that names no number", least=1, most=10_000)
    default_replication_factor: int = _setting(3, "Replicas of a topic that names no number", least=1, most=32)
    leader_imbalance_check_interval_ms: int = _setting(
        300_000, "How often leaders that are not the preferred ones are looked at; 0: never", "ms", least=0
    )
    leader_imbalance_per_broker_percentage: int = _setting(
        10, "Share of a broker's preferred partitions that others may lead", "%", least=0, most=100
    )
    producer_id_expiration_ms: int = _duration(86_400_000, "An idempotent producer silent for so long is forgotten")
    log_retention_check_interval_ms: int = _duration(
        300_000, "How often logs are looked at for segments that their topics' retention lets go"
    )
    log_scrub_interval_ms: int = _setting(
        7 * DAY_MS, "How often all that lies in the logs is read, to find what rots; 0: never", "ms", least=0
    )
    log_scrub_bytes_per_s: int = _setting(10 << 20, "How fast that is read; 0: no bound", "bytes/s", least=0)
    storage_min_free_bytes: int = _setting(
        LEAST_FREE_BYTES,
        "Producers are refused while the disk of a log directory has less room; replication goes on. 0: never",
        "bytes",
        least=0,
    )
    log_cleaner_backoff_ms: int = _duration(
        15_000,
        "How often logs are looked at for records that compaction lets go, of topics with cleanup.policy compact",
    )
    log_cleaner_dedupe_buffer_size: int = _setting(
        128 << 20, "Memory for the keys of the log that is being compacted", "bytes", least=1 << 20
    )
    log_cleaner_io_max_bytes_per_second: int = _setting(
        32 << 20, "What compaction may read and write, all logs of a node together", "bytes/s", least=1 << 10
    )
    stray_retention_ms: int = _setting(
        RETENTION_MS,
        "How long replicas are kept that were set aside (…-stray): damaged ones, or no longer this node's",
        "ms",
        least=DAY_MS,
    )
    log_level: str = _setting("info", "How much is logged: debug, info, warning or error")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_bounds(field.name, getattr(self, field.name), field.metadata)
        unknown = [role for role in self.roles if role not in (CONTROLLER, BROKER)]
        if unknown or not self.roles:
            raise ConfigurationError(
                f"roles = {','.join(self.roles)!r}: expected controller, broker or controller,broker"
            )
        if self.log_level not in ("debug", "info", "warning", "error"):
            raise ConfigurationError(f"log_level = {self.log_level!r}: expected debug, info, warning or error")
        self._check_directories()
        if self.replica_selector not in ("rack", "leader"):
            raise ConfigurationError(f"replica_selector = {self.replica_selector!r}: expected rack or leader")
        self._check_timing()
        check_groups(self)
        self._check_addresses()

    def _check_directories(self) -> None:
        paths = [path.rstrip("/") or "/" for path in self.log_directories]
        twice = sorted({path for path in paths if paths.count(path) > 1})
        if twice:
            raise ConfigurationError(f"log_dirs names {twice[0]} twice: name each folder once")
        for one in paths:
            inside = next((other for other in paths if other.startswith(f"{one}/")), None)
            if inside is not None:
                raise ConfigurationError(f"log_dirs names {inside}, which lies in {one}: give each disk a folder apart")

    def _check_timing(self) -> None:
        for shorter, longer, times in (
            ("heartbeat_interval_ms", "session_timeout_ms", 3),
            ("raft_heartbeat_interval_ms", "raft_election_timeout_min_ms", 3),
            ("raft_election_timeout_min_ms", "raft_election_timeout_max_ms", 1),
        ):
            if getattr(self, shorter) * times > getattr(self, longer):
                at_least = f"at least {times} times " if times > 1 else "no less than "
                raise ConfigurationError(
                    f"{longer} = {getattr(self, longer)} is too short: make it {at_least}{shorter},"
                    f" which is {getattr(self, shorter)}"
                )

    def _check_addresses(self) -> None:
        check_ports(self)
        if self.advertised_host in WILDCARD_HOSTS and self.host in WILDCARD_HOSTS:
            raise ConfigurationError(
                f"host = {self.host!r} is no address that others can reach: set advertised_host to this machine's name"
            )
        check_kafka_addresses(self)
        ids = [voter.node_id for voter in self.voters]
        if len(set(ids)) < len(ids):
            raise ConfigurationError("voters names a node twice")
        if CONTROLLER not in self.roles and self.node_id in ids:
            raise ConfigurationError(
                f"voters names node {self.node_id}, which is no controller: add the role, or take the voter away"
            )
        if not self.voters and CONTROLLER not in self.roles:
            raise ConfigurationError("voters is empty, so this broker cannot find a controller: set it")

    @property
    def log_directories(self) -> tuple[str, ...]:
        """The folders that hold replicas."""
        return self.log_dirs or (self.data_dir,)

    @property
    def metadata_directory(self) -> str:
        """The folder that holds a controller's metadata log and its vote."""
        return self.metadata_log_dir or self.log_directories[0]

    @property
    def directories(self) -> tuple[str, ...]:
        """All folders of the node, that of the metadata first."""
        return tuple(dict.fromkeys((self.metadata_directory, *self.log_directories)))

    @property
    def reachable_host(self) -> str:
        """What others are told to connect to."""
        return self.advertised_host or self.host

    @property
    def reachable_address(self) -> Address:
        """Where others are told to reach the gRPC services."""
        return Address(self.reachable_host, self.advertised_grpc_port or self.grpc_port)

    @property
    def kafka(self) -> tuple[ListenerPlan, ...]:
        """The listeners for Kafka's clients."""
        return listener_plans(self)

    @property
    def grpc_address(self) -> Address:
        return Address(self.host, self.grpc_port)

    @property
    def external_grpc(self) -> tuple[Address, Address] | None:
        """Where the node listens for clients of the external port, and what they are told; None: nowhere."""
        port = self.external_grpc_port
        return (Address(self.host, port), Address(self.external_host, port)) if port else None

    @property
    def controllers(self) -> tuple[Voter, ...]:
        """The controllers; this node alone if the configuration names none."""
        return self.voters or (Voter(self.node_id, self.reachable_address),)

    @property
    def is_controller(self) -> bool:
        return CONTROLLER in self.roles

    @property
    def is_broker(self) -> bool:
        return BROKER in self.roles


def _check_bounds(name: str, value: object, metadata: Any) -> None:
    least, most = metadata["least"], metadata["most"]
    if least is None:
        return
    assert isinstance(value, int), f"{name} has bounds, so it is a number"
    if value < least or (most is not None and value > most):
        bounds = f"from {least} to {most}" if most is not None else f"{least} or more"
        raise ConfigurationError(f"{name} = {value}: expected {bounds}")
