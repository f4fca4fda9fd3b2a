"""DescribeConfigs and IncrementalAlterConfigs, of topics. A node's settings are its configuration file's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from dohle.broker.broker import Broker
from dohle.kafka.messages.configs import (
    DescribeConfigsRequest,
    DescribeConfigsResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from dohle.listeners.kafka.apis import Caller
from dohle.listeners.kafka.topics_known import TopicsKnown, wire_code
from dohle.listeners.passing_on import passed_on
from dohle.model.errors import DohleError, InvalidConfig, InvalidRequest, error_for
from dohle.model.topic_config import TOPIC_KEYS, ConfigType, config_key
from dohle.rpc.v1 import admin_pb2

_TOPIC: Final = 2
_BROKER: Final = 4
_APPEND: Final = 2
_OF_TOPIC: Final = 1
_OF_FILE: Final = 4
_DEFAULT: Final = 5

_Result = DescribeConfigsResponse.Result
_Altered = IncrementalAlterConfigsResponse.Resource


class Configs:
    """Configurations of topics."""

    def __init__(self, broker: Broker, known: TopicsKnown) -> None:
        self._broker = broker
        self._known = known

    async def describe(self, request: DescribeConfigsRequest, _caller: Caller) -> DescribeConfigsResponse:
        response = DescribeConfigsResponse(results=[])
        for resource in request.resources:
            result = _Result(
                error_code=0,
                error_message=None,
                resource_type=resource.resource_type,
                resource_name=resource.resource_name,
                configs=[],
            )
            response.results.append(result)
            try:
                if resource.resource_type == _BROKER:
                    result.configs = [self._own_number(resource)]
                    continue
                _check_type(resource.resource_type)
                topic = self._known.topic(resource.resource_name, b"", by_id=False)
            except DohleError as error:
                result.error_code, result.error_message = wire_code(error), error.message
                continue
            keys = resource.configuration_keys
            result.configs = [
                _config(name, value, topic.overrides, request)
                for name, value in described_values(topic.overrides)
                if keys is None or name in keys
            ]
        return response

    def _own_number(self, resource: DescribeConfigsRequest.Resource) -> _Result.Config:
        """Returns what a client learns by it who answers; of another broker there is nothing to say."""
        own = str(self._broker.node_id)
        if resource.resource_name != own:
            raise InvalidRequest(f"this is broker {own}: ask broker {resource.resource_name} for its configuration")
        return _Result.Config(
            name="node.id",
            value=own,
            read_only=True,
            config_source=_OF_FILE,
            is_sensitive=False,
            synonyms=[],
            config_type=ConfigType.INT.value,
            documentation=None,
        )

    async def alter(self, request: IncrementalAlterConfigsRequest, _caller: Caller) -> IncrementalAlterConfigsResponse:
        response = IncrementalAlterConfigsResponse(responses=[])
        wanted: dict[str, tuple[_Altered, admin_pb2.AlterTopicConfigs]] = {}
        twice = Counter((one.resource_type, one.resource_name) for one in request.resources)
        for resource in request.resources:
            altered = _Altered(
                error_code=0,
                error_message=None,
                resource_type=resource.resource_type,
                resource_name=resource.resource_name,
            )
            response.responses.append(altered)
            try:
                _check_type(resource.resource_type)
                if twice[resource.resource_type, resource.resource_name] > 1:
                    raise InvalidRequest(f"topic {resource.resource_name} is named twice in one request")
                topic = self._known.topic(resource.resource_name, b"", by_id=False)
                wanted[topic.name] = altered, _changes(topic.name, resource.configs, topic.overrides)
            except DohleError as error:
                altered.error_code, altered.error_message = wire_code(error), error.message
        if wanted:
            await self._alter(wanted, validate_only=request.validate_only)
        return response

    async def _alter(
        self, wanted: Mapping[str, tuple[_Altered, admin_pb2.AlterTopicConfigs]], *, validate_only: bool
    ) -> None:
        request = admin_pb2.AlterConfigsRequest(
            topics=[changes for _, changes in wanted.values()], validate_only=validate_only
        )
        try:
            answer = await passed_on(self._broker, "AlterConfigs", request, timeout_ms=0)
        except DohleError as error:
            for altered, _ in wanted.values():
                altered.error_code, altered.error_message = wire_code(error), error.message
            return
        for one in answer.topics:
            if one.failure.code:
                altered, _ = wanted[one.topic]
                altered.error_code = wire_code(error_for(one.failure.code))
                altered.error_message = one.failure.message


def described_values(overrides: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yields every key of a topic with its value, by name."""
    for name, key in TOPIC_KEYS.items():
        yield name, overrides.get(name, key.default_text)


def config_source(name: str, overrides: Collection[str]) -> int:
    """Returns Kafka's number for where a value comes from."""
    return _OF_TOPIC if name in overrides else _DEFAULT


def _check_type(resource_type: int) -> None:
    if resource_type != _TOPIC:
        raise InvalidRequest(
            f"resources of type {resource_type} are not served: only topics (type 2) have a configuration here; that"
            " of a node is its file, shown by `dohle config --show`"
        )


def _config(
    name: str, value: str, overrides: Mapping[str, str], request: DescribeConfigsRequest
) -> DescribeConfigsResponse.Result.Config:
    key = TOPIC_KEYS[name]
    synonyms: list[_Result.Config.Synonym] = []
    if request.include_synonyms:
        if name in overrides:
            synonyms.append(_Result.Config.Synonym(name=name, value=value, source=_OF_TOPIC))
        synonyms.append(_Result.Config.Synonym(name=name, value=key.default_text, source=_DEFAULT))
    return _Result.Config(
        name=name,
        value=value,
        read_only=False,
        config_source=config_source(name, overrides),
        is_sensitive=False,
        synonyms=synonyms,
        config_type=key.type.value,
        documentation=key.doc if request.include_documentation else None,
    )


def _changes(
    topic: str,
    configs: list[IncrementalAlterConfigsRequest.Resource.Config],
    overrides: Mapping[str, str],
) -> admin_pb2.AlterTopicConfigs:
    changes = admin_pb2.AlterTopicConfigs(topic=topic)
    for config in configs:
        match config.config_operation:
            case 1:
                changes.remove.append(config.name)
            case _ if config.value is None:
                raise InvalidConfig(f"{config.name}: null is no value; delete what is to be the default")
            case 0:
                changes.set.append(admin_pb2.ConfigEntry(name=config.name, value=config.value))
            case 2 | 3 as operation:
                value = _list_with(config.name, config.value, overrides, adds=operation == _APPEND)
                changes.set.append(admin_pb2.ConfigEntry(name=config.name, value=value))
            case unknown:
                raise InvalidRequest(f"there is no operation {unknown} on configurations")
    return changes


def _list_with(name: str, value: str, overrides: Mapping[str, str], *, adds: bool) -> str:
    key = config_key(name)
    if key.type is not ConfigType.LIST:
        raise InvalidConfig(f"{name} is no list, so nothing can be appended to it or subtracted from it")
    items = overrides.get(name, key.default_text).split(",")
    named = [item.strip() for item in value.split(",")]
    kept = [item for item in items if item not in named]
    return ",".join([*kept, *named] if adds else kept)
