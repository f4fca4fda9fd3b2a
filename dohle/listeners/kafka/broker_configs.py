"""The configuration of this broker, under Kafka's names.

Settings of a node that mean the same as one of Kafka's are told under that name, and so are the defaults of topics,
which brokers have by other names than topics. All of it is read-only: a node's settings come from its configuration
alone, and take a start to change (docs/decisions/0044). Which settings those are, `dohle.cluster` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dohle.model.topic_config import TOPIC_KEYS, ConfigType

STATIC: Final = 4
DEFAULT: Final = 5

_OTHER_NAMES: Final = {
    "compression.type": "compression.type",
    "delete.retention.ms": "log.cleaner.delete.retention.ms",
    "file.delete.delay.ms": "log.segment.delete.delay.ms",
    "flush.messages": "log.flush.interval.messages",
    "flush.ms": "log.flush.interval.ms",
    "max.compaction.lag.ms": "log.cleaner.max.compaction.lag.ms",
    "max.message.bytes": "message.max.bytes",
    "min.cleanable.dirty.ratio": "log.cleaner.min.cleanable.ratio",
    "min.compaction.lag.ms": "log.cleaner.min.compaction.lag.ms",
    "min.insync.replicas": "min.insync.replicas",
    "segment.index.bytes": "log.index.size.max.bytes",
    "segment.jitter.ms": "log.roll.jitter.ms",
    "segment.ms": "log.roll.ms",
    "unclean.leader.election.enable": "unclean.leader.election.enable",
}

TOPIC_DEFAULTS: Final[Mapping[str, str]] = {name: _OTHER_NAMES.get(name, f"log.{name}") for name in TOPIC_KEYS}
"""What brokers call the default of each of a topic's keys."""


@dataclass(frozen=True, slots=True)
class BrokerConfig:
    """One value; `default` is what it is without being set. None: there is none."""

    name: str
    type: ConfigType
    value: str | None
    default: str | None
    doc: str

    @property
    def source(self) -> int:
        return DEFAULT if self.value == self.default else STATIC


def topic_defaults() -> tuple[BrokerConfig, ...]:
    """Returns the defaults of topics as a broker's configuration."""
    return tuple(
        BrokerConfig(name, key.type, key.default_text, key.default_text, f"The default of {key.name}. {key.doc}")
        for key in TOPIC_KEYS.values()
        for name in (TOPIC_DEFAULTS[key.name],)
    )
