"""The configuration of a group: each key with its value, and where that comes from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from dohle.groups.settings import GroupSettings
from dohle.kafka.messages.configs import DescribeConfigsRequest, DescribeConfigsResponse
from dohle.listeners.kafka.broker_configs import DEFAULT, STATIC
from dohle.model.errors import InvalidConfig, InvalidRequest
from dohle.model.group_config import GROUP_KEYS, HEARTBEAT_INTERVAL, SESSION_TIMEOUT
from dohle.rpc.v1 import admin_pb2

_OF_GROUP: Final = 8
_SET, _DELETE = 0, 1

_Config = DescribeConfigsResponse.Result.Config


def group_configs(
    overrides: Mapping[str, str], settings: GroupSettings, request: DescribeConfigsRequest
) -> Iterator[_Config]:
    """Yields the keys of a group that has these values of its own."""
    brokers = {
        HEARTBEAT_INTERVAL: settings.consumer_heartbeat_interval_ms,
        SESSION_TIMEOUT: settings.consumer_session_timeout_ms,
    }
    for name, key in GROUP_KEYS.items():
        of_all = str(brokers[name])
        values = [
            *([(name, overrides[name], _OF_GROUP)] if name in overrides else ()),
            *([(f"group.{name}", of_all, STATIC)] if of_all != key.default_text else ()),
            (f"group.{name}", key.default_text, DEFAULT),
        ]
        _, value, source = values[0]
        yield _Config(
            name=name,
            value=value,
            read_only=False,
            config_source=source,
            is_sensitive=False,
            synonyms=[_Config.Synonym(name=synonym, value=text, source=of) for synonym, text, of in values]
            if request.include_synonyms
            else [],
            config_type=key.type.value,
            documentation=key.doc if request.include_documentation else None,
        )


def changes_of_group(
    group_id: str, configs: Iterable[Any], overrides: Mapping[str, str], settings: GroupSettings
) -> admin_pb2.AlterGroupConfigs:
    """Returns the change that single keys make. Raises InvalidRequest, InvalidConfig."""
    _check_name(group_id)
    changes = admin_pb2.AlterGroupConfigs(group=group_id)
    after = dict(overrides)
    for config in configs:
        if config.config_operation not in (_SET, _DELETE):
            raise InvalidConfig(
                f"{config.name} is no list, so nothing can be appended to it or subtracted from it: set it"
            )
        if config.config_operation == _SET:
            changes.set.add(name=config.name, value=config.value)
            after[config.name] = config.value
        elif config.name in GROUP_KEYS:  # what is not there is deleted
            changes.remove.append(config.name)
            after.pop(config.name, None)
    settings.check_overrides(after)
    return changes


def whole_of_group(group_id: str, values: Mapping[str, str], settings: GroupSettings) -> admin_pb2.AlterGroupConfigs:
    """Returns the change that makes these all the values that the group has. Raises InvalidRequest, InvalidConfig."""
    _check_name(group_id)
    settings.check_overrides(values)
    entries = [admin_pb2.ConfigEntry(name=name, value=value) for name, value in values.items()]
    return admin_pb2.AlterGroupConfigs(group=group_id, set=entries, replace=True)


def _check_name(group_id: str) -> None:
    if not group_id:
        raise InvalidRequest("groups have no configuration that holds for all of them: name one")
