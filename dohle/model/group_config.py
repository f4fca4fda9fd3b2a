"""Configuration of single groups, under Kafka's names: what differs from what brokers give to all of them.

Stored is what users set, as text by name. Bounds are the brokers' own settings (`dohle.groups.settings`): where those
change, a group's value that has come to lie outside counts as the bound.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final

from dohle.model.errors import InvalidConfig
from dohle.model.topic_config import INT_MAX, ConfigKey, ConfigType

HEARTBEAT_INTERVAL: Final = "consumer.heartbeat.interval.ms"
SESSION_TIMEOUT: Final = "consumer.session.timeout.ms"

GROUP_KEYS: Final[Mapping[str, ConfigKey]] = {
    key.name: key
    for key in (
        ConfigKey(
            HEARTBEAT_INTERVAL,
            ConfigType.INT,
            5000,
            "How often members of a group of the consumer protocol are told to send a heartbeat.",
            1,
            INT_MAX,
        ),
        ConfigKey(
            SESSION_TIMEOUT,
            ConfigType.INT,
            45_000,
            "After how long without a heartbeat a member of a group of the consumer protocol has left.",
            1,
            INT_MAX,
        ),
    )
}
"""Every key by name, in alphabetical order. The defaults are those of brokers that set none."""


def group_config_key(name: str) -> ConfigKey:
    """Returns the key of `name`. Raises InvalidConfig, naming the nearest known one."""
    key = GROUP_KEYS.get(name)
    if key is None:
        near = difflib.get_close_matches(name, GROUP_KEYS, n=1)
        hint = f"did you mean {near[0]}?" if near else "known are " + ", ".join(GROUP_KEYS)
        raise InvalidConfig(f"no configuration of groups is called {name!r}: {hint}")
    return key


def parse_group_overrides(overrides: Mapping[str, str]) -> dict[str, int]:
    """Returns the values by name. Raises InvalidConfig, naming key, value and bounds."""
    values: dict[str, int] = {}
    for name, text in overrides.items():
        value = group_config_key(name).parse(text)
        assert isinstance(value, int), "all keys of groups are whole numbers"
        values[name] = value
    return values
