"""Topic configuration: Kafka's keys, each with type, default, bounds and meaning, in one table that is `TopicConfig`.

What is stored and sent is what users set: a mapping of names to text, the overrides. It is checked once, by
`validate_overrides` at the edge, and becomes a `TopicConfig` wherever a partition works by it. Defaults are Kafka's but
for `flush.messages`, which is 1 here: a broker fsyncs before it acknowledges.

Names of topics are checked here too. That no two differ in `.` and `_` alone is the controller's to see.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from dohle.model.errors import InvalidConfig, InvalidTopic

INT_MAX: Final = (1 << 31) - 1
LONG_MAX: Final = (1 << 63) - 1

_DAY_MS: Final = 24 * 60 * 60 * 1000
_MOST_NAME_CHARACTERS: Final = 249
_LEGAL_NAME: Final = re.compile(r"[a-zA-Z0-9._-]+")

ConfigValue = bool | int | float | str | tuple[str, ...]


class ConfigType(Enum):
    """The types of values, by the numbers that Kafka's DescribeConfigs gives them."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """One key: its name, the type, default and bounds of its values, and what it does."""

    name: str
    type: ConfigType
    default: ConfigValue
    doc: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def attribute(self) -> str:
        """The attribute of TopicConfig that holds its value."""
        return self.name.replace(".", "_")

    @property
    def default_text(self) -> str:
        """The default as a user would write it."""
        match self.default:
            case bool():
                return "true" if self.default else "false"
            case tuple():
                return ",".join(self.default)
            case _:
                return str(self.default)

    @property
    def bounds_text(self) -> str:
        """What values may be, in words."""
        match self.type:
            case ConfigType.BOOLEAN:
                return "true or false"
            case ConfigType.STRING:
                return "one of " + ", ".join(self.choices)
            case ConfigType.LIST:
                return "a list, separated by commas, of " + ", ".join(self.choices)
            case ConfigType.DOUBLE:
                return f"a number from {self.low:g} to {self.high:g}"
            case _:
                return f"a whole number from {self.low} to {self.high}"

    def parse(self, text: str) -> ConfigValue:
        """Returns the value that `text` stands for. Raises InvalidConfig, naming key, value and bounds."""
        value = self._value_of(text.strip())
        if value is None:
            raise InvalidConfig(f"{self.name} cannot be {text!r}: it must be {self.bounds_text}")
        return value

    def plain(self, text: str) -> str:
        """Returns a value that `parse` takes as Kafka shows it: without blanks, in small letters where case is none."""
        match self.type:
            case ConfigType.BOOLEAN:
                return text.strip().lower()
            case ConfigType.LIST:
                return ",".join(_items(text))
            case _:
                return text.strip()

    def _value_of(self, text: str) -> ConfigValue | None:
        match self.type:
            case ConfigType.BOOLEAN:
                return {"true": True, "false": False}.get(text.lower())
            case ConfigType.STRING:
                return text if text in self.choices else None
            case ConfigType.LIST:
                items = _items(text)
                return tuple(sorted(set(items))) if set(items) <= set(self.choices) else None
            case _:
                return self._number_of(text)

    def _number_of(self, text: str) -> float | None:
        assert self.low is not None
        assert self.high is not None
        if "_" in text:  # Python's own way to group digits
            return None
        try:
            number = float(text) if self.type is ConfigType.DOUBLE else int(text)
        except ValueError:
            return None
        return number if self.low <= number <= self.high else None


def _items(text: str) -> list[str]:
    """Returns what a list names; nothing at all names nothing."""
    return [item.strip() for item in text.split(",")] if text.strip() else []


def _int(name: str, default: int, doc: str, *, low: int = 0) -> Any:
    return _field(ConfigKey(name, ConfigType.INT, default, doc, low, INT_MAX))


def _long(name: str, default: int, doc: str, *, low: int = 0) -> Any:
    return _field(ConfigKey(name, ConfigType.LONG, default, doc, low, LONG_MAX))


def _ratio(name: str, default: float, doc: str) -> Any:
    return _field(ConfigKey(name, ConfigType.DOUBLE, default, doc, 0.0, 1.0))


def _switch(name: str, default: bool, doc: str) -> Any:
    return _field(ConfigKey(name, ConfigType.BOOLEAN, default, doc))


def _choice(name: str, default: str, doc: str, choices: tuple[str, ...]) -> Any:
    return _field(ConfigKey(name, ConfigType.STRING, default, doc, choices=choices))


def _list(name: str, default: tuple[str, ...], doc: str, choices: tuple[str, ...]) -> Any:
    return _field(ConfigKey(name, ConfigType.LIST, default, doc, choices=choices))


def _field(key: ConfigKey) -> Any:
    return dataclasses.field(default=key.default, metadata={"key": key})


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicConfig:
    """What a topic's partitions work by; without arguments, the defaults. Times are in ms, sizes in bytes."""

    cleanup_policy: tuple[str, ...] = _list(
        "cleanup.policy",
        ("delete",),
        "delete removes old segments by age and size; compact keeps the newest record of each key; both may be given,"
        " or nothing, which keeps all.",
        ("compact", "delete"),
    )
    compression_type: str = _choice(
        "compression.type",
        "producer",
        "The codec in which batches are stored; producer keeps what the producer chose.",
        ("producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"),
    )
    delete_retention_ms: int = _long(
        "delete.retention.ms", _DAY_MS, "How long a tombstone stays in a compacted topic, for readers from the start."
    )
    file_delete_delay_ms: int = _long(
        "file.delete.delay.ms", 60_000, "How long a file stays on the disk after it was removed from the log."
    )
    flush_messages: int = _long(
        "flush.messages",
        1,
        "After how many records an append is fsynced. 1: before every acknowledgement. More: acknowledged records can"
        " be lost when all replicas lose power at once.",
        low=1,
    )
    flush_ms: int = _long("flush.ms", LONG_MAX, "After how long appended records are fsynced at the latest.")
    index_interval_bytes: int = _int(
        "index.interval.bytes", 4096, "How many bytes of log lie between two entries of the offset index."
    )
    max_compaction_lag_ms: int = _long(
        "max.compaction.lag.ms", LONG_MAX, "How long a record may stay uncompacted in a compacted topic.", low=1
    )
    max_message_bytes: int = _int(
        "max.message.bytes", 1_048_588, "The largest batch, as it is sent, compressed or not."
    )
    message_timestamp_after_max_ms: int = _long(
        "message.timestamp.after.max.ms",
        3_600_000,
        "How far a record's timestamp may lie ahead of the broker's clock (CreateTime only).",
    )
    message_timestamp_before_max_ms: int = _long(
        "message.timestamp.before.max.ms",
        LONG_MAX,
        "How far a record's timestamp may lie behind the broker's clock (CreateTime only).",
    )
    message_timestamp_type: str = _choice(
        "message.timestamp.type",
        "CreateTime",
        "Whether a record bears the producer's time or the time of its append.",
        ("CreateTime", "LogAppendTime"),
    )
    min_cleanable_dirty_ratio: float = _ratio(
        "min.cleanable.dirty.ratio", 0.5, "The share of a log that must be uncompacted before it is compacted."
    )
    min_compaction_lag_ms: int = _long(
        "min.compaction.lag.ms", 0, "How long a record stays uncompacted in a compacted topic at least."
    )
    min_insync_replicas: int = _int(
        "min.insync.replicas",
        1,
        "How many replicas must have a record, durably, before acks=all is acknowledged; at most the replication"
        " factor counts.",
        low=1,
    )
    preallocate: bool = _switch("preallocate", False, "Whether a segment's file takes its full size when it is made.")
    retention_bytes: int = _long(
        "retention.bytes", -1, "The size of a partition above which its oldest segments go; -1: no limit.", low=-1
    )
    retention_ms: int = _long(
        "retention.ms", 7 * _DAY_MS, "The age above which segments go; -1: they stay for ever.", low=-1
    )
    segment_bytes: int = _int(
        "segment.bytes", 1 << 30, "The size of a segment above which a new one is begun.", low=1 << 20
    )
    segment_index_bytes: int = _int(
        "segment.index.bytes", 10 << 20, "The size of an offset index above which a new segment is begun.", low=4
    )
    segment_jitter_ms: int = _long(
        "segment.jitter.ms", 0, "At most by how much segment.ms is shortened at random, so that not all roll at once."
    )
    segment_ms: int = _long("segment.ms", 7 * _DAY_MS, "The age above which a new segment is begun.", low=1)
    unclean_leader_election_enable: bool = _switch(
        "unclean.leader.election.enable",
        False,
        "Whether a replica out of sync may lead when no other is left, at the price of acknowledged records.",
    )

    @classmethod
    def from_overrides(cls, overrides: Mapping[str, str]) -> TopicConfig:
        """Returns the defaults with `overrides` over them. Raises InvalidConfig."""
        values: dict[str, Any] = {}
        for name, text in overrides.items():
            key = config_key(name)
            values[key.attribute] = key.parse(text)
        config = cls(**values)
        if config.min_compaction_lag_ms > config.max_compaction_lag_ms:
            raise InvalidConfig(
                f"min.compaction.lag.ms, {config.min_compaction_lag_ms}, must not exceed max.compaction.lag.ms,"
                f" {config.max_compaction_lag_ms}"
            )
        return config

    @property
    def is_compacted(self) -> bool:
        return "compact" in self.cleanup_policy

    @property
    def is_append_time(self) -> bool:
        """The leader's clock, not the producer's, gives records their time."""
        return self.message_timestamp_type == "LogAppendTime"

    @property
    def bounds_timestamps(self) -> bool:
        """Bounds on records' timestamps were set: each record is held against them, not the batch's header alone."""
        return not self.is_append_time and (
            self.message_timestamp_before_max_ms != DEFAULTS.message_timestamp_before_max_ms
            or self.message_timestamp_after_max_ms != DEFAULTS.message_timestamp_after_max_ms
        )


DEFAULTS: Final = TopicConfig()

TOPIC_KEYS: Final[Mapping[str, ConfigKey]] = {
    key.name: key for key in (field.metadata["key"] for field in dataclasses.fields(TopicConfig))
}
"""Every key by name, in alphabetical order."""


NOT_CARRIED_OUT: Final = frozenset(
    {
        "preallocate",
    }
)
"""Keys that are taken, checked and kept, and that nothing acts on in this version. Users who set one are told."""


def config_key(name: str) -> ConfigKey:
    """Returns the key of `name`. Raises InvalidConfig, naming the nearest known one."""
    key = TOPIC_KEYS.get(name)
    if key is None:
        near = difflib.get_close_matches(name, TOPIC_KEYS, n=1)
        hint = f"did you mean {near[0]}?" if near else "known are " + ", ".join(TOPIC_KEYS)
        raise InvalidConfig(f"no topic configuration is called {name!r}: {hint}")
    return key


def validate_overrides(overrides: Mapping[str, str]) -> None:
    """Raises InvalidConfig, naming key, value and bounds, unless `overrides` can be a topic's."""
    TopicConfig.from_overrides(overrides)


def check_topic_name(name: str) -> None:
    """Raises InvalidTopic unless `name` is legal by Kafka's rules."""
    if name in {"", ".", ".."}:
        raise InvalidTopic(f"a topic cannot be called {name!r}")
    if len(name) > _MOST_NAME_CHARACTERS:
        raise InvalidTopic(
            f"the topic's name {name[:20]}... has {len(name)} characters: at most {_MOST_NAME_CHARACTERS} are legal"
        )
    if not _LEGAL_NAME.fullmatch(name):
        raise InvalidTopic(f"a topic cannot be called {name!r}: legal are ASCII letters, digits, '.', '_' and '-'")
