"""The configuration of a topic: each key with its value, and where that comes from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from dohle.kafka.messages.configs import DescribeConfigsRequest, DescribeConfigsResponse
from dohle.listeners.kafka.broker_configs import DEFAULT, TOPIC_DEFAULTS
from dohle.model.topic_config import TOPIC_KEYS

_OF_TOPIC: Final = 1
_IN_HOURS: Final = frozenset({"flush.ms", "retention.ms", "segment.jitter.ms", "segment.ms"})
"""Their defaults come from keys of other units with Kafka, which names no synonym then."""

_Config = DescribeConfigsResponse.Result.Config


def described_values(overrides: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yields every key of a topic with its value, by name."""
    for name, key in TOPIC_KEYS.items():
        yield name, overrides.get(name, key.default_text)


def config_source(name: str, overrides: Collection[str]) -> int:
    """Returns Kafka's number for where a value comes from."""
    return _OF_TOPIC if name in overrides else DEFAULT


def topic_configs(overrides: Mapping[str, str], request: DescribeConfigsRequest) -> Iterator[_Config]:
    """Yields the keys of a topic that has these overrides."""
    for name, text in described_values(overrides):
        key = TOPIC_KEYS[name]
        value = key.plain(text)
        synonyms: list[_Config.Synonym] = []
        if request.include_synonyms:
            if name in overrides:
                synonyms.append(_Config.Synonym(name=name, value=value, source=_OF_TOPIC))
            if name not in _IN_HOURS:
                synonyms.append(_Config.Synonym(name=TOPIC_DEFAULTS[name], value=key.default_text, source=DEFAULT))
        yield _Config(
            name=name,
            value=value,
            read_only=False,
            config_source=config_source(name, overrides),
            is_sensitive=False,
            synonyms=synonyms,
            config_type=key.type.value,
            documentation=key.doc if request.include_documentation else None,
        )
