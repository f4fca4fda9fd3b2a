"""DescribeConfigs, AlterConfigs, IncrementalAlterConfigs, ListConfigResources.

Topics and groups have a configuration that is changed; brokers one that is told alone, and loggers, whose levels are
changed for as long as the process lives. Each resource of a request succeeds or fails by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from dohle.broker.broker import Broker
from dohle.kafka.messages.configs import (
    AlterConfigsRequest,
    AlterConfigsResponse,
    DescribeConfigsRequest,
    DescribeConfigsResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)
from dohle.listeners.kafka import loggers
from dohle.listeners.kafka.apis import Caller
from dohle.listeners.kafka.broker_configs import DEFAULT, STATIC, BrokerConfig, topic_defaults
from dohle.listeners.kafka.group_configs import changes_of_group, group_configs, whole_of_group
from dohle.listeners.kafka.topic_configs import topic_configs
from dohle.listeners.kafka.topics_known import TopicsKnown, failed
from dohle.listeners.passing_on import passed_on
from dohle.model.errors import DohleError, InvalidRequest, UnsupportedVersion
from dohle.model.metadata import GROUP_CONFIGS_VERSION
from dohle.model.topic_config import TOPIC_KEYS, check_topic_name
from dohle.rpc.v1 import admin_pb2

_TOPIC, _BROKER, _BROKER_LOGGER, _CLIENT_METRICS, _GROUP = 2, 4, 8, 16, 32
_LISTED: Final = (_TOPIC, _BROKER, _BROKER_LOGGER, _CLIENT_METRICS, _GROUP)
_SET, _DELETE, _APPEND, _SUBTRACT = 0, 1, 2, 3
_OPERATIONS: Final = {_SET: "SET", _DELETE: "DELETE", _APPEND: "APPEND", _SUBTRACT: "SUBTRACT"}
_OF_LOGGER: Final = 6
_FIRST_WITH_TYPES: Final = 1

_Result = DescribeConfigsResponse.Result
_Change: TypeAlias = IncrementalAlterConfigsRequest.Resource.Config
_Altered: TypeAlias = AlterConfigsResponse.Resource | IncrementalAlterConfigsResponse.Resource


@dataclass(slots=True)
class _Wanted:
    """What a request would have changed by the controller, each with the place of its answer."""

    topics: dict[str, tuple[_Altered, admin_pb2.AlterTopicConfigs]] = field(default_factory=dict)
    groups: dict[str, tuple[_Altered, admin_pb2.AlterGroupConfigs]] = field(default_factory=dict)


class Configs:
    """`own` is the configuration of this broker, but for the defaults of topics."""

    def __init__(self, broker: Broker, known: TopicsKnown, own: Sequence[BrokerConfig]) -> None:
        self._broker = broker
        self._known = known
        self._own = sorted((*own, *topic_defaults()), key=lambda config: config.name)

    async def describe(self, request: DescribeConfigsRequest, _caller: Caller) -> DescribeConfigsResponse:
        response = DescribeConfigsResponse(results=[])
        strange = next((one for one in request.resources if one.resource_type not in _LISTED), None)
        for resource in request.resources:
            result = _Result(
                error_code=0,
                error_message="",  # never null, as Kafka has it
                resource_type=resource.resource_type,
                resource_name=resource.resource_name,
                configs=[],
            )
            response.results.append(result)
            try:
                if strange is not None:
                    raise InvalidRequest(
                        f"Unexpected resource type {strange.resource_type} for resource {strange.resource_name}"
                    )
                configs = self._described(resource.resource_type, resource.resource_name, request)
                keys = resource.configuration_keys
                result.configs = [config for config in configs if not keys or config.name in keys]
            except DohleError as error:
                result.error_code, result.error_message = failed(error)
        return response

    def _described(self, resource_type: int, name: str, request: DescribeConfigsRequest) -> Iterable[_Result.Config]:
        match resource_type:
            case 2:
                check_topic_name(name)
                return topic_configs(self._known.topic(name, b"", by_id=False).overrides, request)
            case 4:
                if not name:  # what holds for all brokers unless one has its own: nothing can be set there
                    return ()
                self._check_node(name, or_empty=True)
                return (_of_broker(config, request) for config in self._own)
            case 8:
                if not name:
                    raise InvalidRequest("Broker id must not be empty")
                self._check_node(name)
                return (_of_logger(*logger) for logger in loggers.levels().items())
            case 16:
                if not name:
                    raise InvalidRequest("Client metrics subscription name must not be empty")
                return ()
            case _:
                if not name:
                    raise InvalidRequest("Group name must not be empty")
                return group_configs(self._of_group(name), self._broker.groups.settings.groups, request)

    def _of_group(self, group_id: str) -> Mapping[str, str]:
        return self._broker.image.group_overrides.get(group_id, {})

    def _check_groups_have_any(self) -> None:
        """Raises UnsupportedVersion while an older controller might be asked, which would not see what it is asked."""
        if self._broker.image.metadata_version < GROUP_CONFIGS_VERSION:
            raise UnsupportedVersion(
                f"the configuration of a group needs metadata.version {GROUP_CONFIGS_VERSION}, and this cluster works"
                f" at {self._broker.image.metadata_version}: finalise it first, with `dohle cluster features upgrade`"
            )

    def _check_node(self, name: str, *, or_empty: bool = False) -> None:
        """Raises InvalidRequest where a broker's resource is not this one's."""
        me = self._broker.node_id
        try:
            node_id = int(name)
        except ValueError:
            raise InvalidRequest(f"Node id must be an integer, but it is: {name}") from None
        if node_id != me:
            wanted = f"{me} or empty string," if or_empty else f"{me},"
            raise InvalidRequest(f"Unexpected broker id, expected {wanted} but received {name}")

    async def alter(self, request: IncrementalAlterConfigsRequest, _caller: Caller) -> IncrementalAlterConfigsResponse:
        """Changes single keys."""
        wanted = _Wanted()
        response = IncrementalAlterConfigsResponse(responses=[])
        twice = _named_twice(request.resources)
        for resource in request.resources:
            altered = IncrementalAlterConfigsResponse.Resource(
                error_code=0,
                error_message=None,
                resource_type=resource.resource_type,
                resource_name=resource.resource_name,
            )
            response.responses.append(altered)
            name = resource.resource_name
            try:
                _check_resource(resource, twice, (_TOPIC, _BROKER, _BROKER_LOGGER, _CLIENT_METRICS, _GROUP))
                _check_entries((one.name, one.value) for one in resource.configs if one.config_operation != _DELETE)
                _check_once(resource.configs)
                unknown = [one.config_operation for one in resource.configs if one.config_operation not in _OPERATIONS]
                if unknown:
                    raise InvalidRequest(f"Unknown operations type {unknown[0]}")
                if resource.resource_type == _TOPIC:
                    wanted.topics[name] = altered, _topic_changes(name, resource.configs)
                elif resource.resource_type == _GROUP:
                    self._check_groups_have_any()
                    settings = self._broker.groups.settings.groups
                    changes = changes_of_group(name, resource.configs, self._of_group(name), settings)
                    wanted.groups[name] = altered, changes
                elif resource.resource_type == _BROKER_LOGGER:
                    self._check_node(name)
                    _alter_loggers(resource.configs, validate_only=request.validate_only)
                else:
                    changed = [one.name for one in resource.configs if one.config_operation != _DELETE]
                    self._refuse(resource.resource_type, name, changed)
            except DohleError as error:
                altered.error_code, altered.error_message = failed(error)
        await self._pass_on(wanted, validate_only=request.validate_only)
        return response

    async def alter_whole(self, request: AlterConfigsRequest, _caller: Caller) -> AlterConfigsResponse:
        """Replaces configurations: what is not named goes back to its default."""
        wanted = _Wanted()
        response = AlterConfigsResponse(responses=[])
        twice = _named_twice(request.resources)
        for resource in request.resources:
            altered = AlterConfigsResponse.Resource(
                error_code=0,
                error_message=None,
                resource_type=resource.resource_type,
                resource_name=resource.resource_name,
            )
            response.responses.append(altered)
            name = resource.resource_name
            try:
                _check_resource(resource, twice, (_TOPIC, _BROKER, _CLIENT_METRICS, _GROUP))
                _check_entries((one.name, one.value) for one in resource.configs)
                _check_once(resource.configs)
                if resource.resource_type == _TOPIC:
                    entries = [admin_pb2.ConfigEntry(name=one.name, value=one.value) for one in resource.configs]
                    changes = admin_pb2.AlterTopicConfigs(topic=name, set=entries, replace=True)
                    wanted.topics[name] = altered, changes
                elif resource.resource_type == _GROUP:
                    self._check_groups_have_any()
                    values = {one.name: one.value or "" for one in resource.configs}
                    whole = whole_of_group(name, values, self._broker.groups.settings.groups)
                    wanted.groups[name] = altered, whole
                else:
                    self._refuse(resource.resource_type, name, [one.name for one in resource.configs])
            except DohleError as error:
                altered.error_code, altered.error_message = failed(error)
        await self._pass_on(wanted, validate_only=request.validate_only)
        return response

    def _refuse(self, resource_type: int, name: str, changed: Sequence[str]) -> None:
        """Raises InvalidRequest if anything is to be set that can only be set before a start, or not at all."""
        if resource_type == _CLIENT_METRICS:
            raise InvalidRequest("telemetry of clients is not collected, so there is nothing to subscribe to")
        if name:
            self._check_node(name)
        if changed:
            raise InvalidRequest(
                f"Cannot update these configs dynamically: {', '.join(changed)}. A broker's configuration is its"
                " configuration file's: change that, and start the broker again"
            )

    async def _pass_on(self, wanted: _Wanted, *, validate_only: bool) -> None:
        if not wanted.topics and not wanted.groups:
            return
        request = admin_pb2.AlterConfigsRequest(
            topics=[changes for _, changes in wanted.topics.values()],
            groups=[changes for _, changes in wanted.groups.values()],
            validate_only=validate_only,
        )
        try:
            answer = await passed_on(self._broker, "AlterConfigs", request, timeout_ms=0)
        except DohleError as error:
            for altered, _ in (*wanted.topics.values(), *wanted.groups.values()):
                altered.error_code, altered.error_message = failed(error)
            return
        for topic in answer.topics:
            altered, _ = wanted.topics[topic.topic]
            altered.error_code, altered.error_message = failed(topic.failure)
        for group in answer.groups:
            altered, _ = wanted.groups[group.group]
            altered.error_code, altered.error_message = failed(group.failure)

    async def list_resources(self, request: ListConfigResourcesRequest, caller: Caller) -> ListConfigResourcesResponse:
        """Lists whatever can have a configuration; version 0 asks for clients' metrics alone, which nothing has."""
        response = ListConfigResourcesResponse(error_code=0, config_resources=[])
        types: Sequence[int] = request.resource_types or _LISTED
        if caller.api_version < _FIRST_WITH_TYPES:
            types = (_CLIENT_METRICS,)
        if any(one not in _LISTED for one in types):
            response.error_code = UnsupportedVersion.code
            return response
        for resource_type in sorted(set(types)):
            response.config_resources += [
                ListConfigResourcesResponse.ConfigResource(resource_name=name, resource_type=resource_type)
                for name in self._resources(resource_type)
            ]
        return response

    def _resources(self, resource_type: int) -> Iterator[str]:
        image = self._broker.image
        if resource_type == _TOPIC:
            yield from (topic.name for topic in image.topics_in_order())
        elif resource_type in (_BROKER, _BROKER_LOGGER):
            yield from (str(broker.node_id) for broker in image.brokers_in_order())
        elif resource_type == _GROUP:
            yield from (group_id for group_id, _ in image.overridden_groups())


def _named_twice(resources: Iterable[Any]) -> frozenset[tuple[int, str]]:
    counts = Counter((one.resource_type, one.resource_name) for one in resources)
    return frozenset(named for named, times in counts.items() if times > 1)


def _check_resource(resource: Any, twice: frozenset[tuple[int, str]], types: Sequence[int]) -> None:
    if (resource.resource_type, resource.resource_name) in twice:
        raise InvalidRequest("Each resource must appear at most once.")
    if resource.resource_type not in types:
        raise InvalidRequest(f"Unknown resource type {resource.resource_type}")
    if resource.resource_type == _TOPIC:
        if not resource.resource_name:
            raise InvalidRequest("topics have no configuration that holds for all of them: name one")
        check_topic_name(resource.resource_name)


def _check_once(configs: Sequence[Any]) -> None:
    if len({one.name for one in configs}) < len(configs):
        raise InvalidRequest("Error due to duplicate config keys")


def _check_entries(entries: Iterable[tuple[str, str | None]]) -> None:
    without_value = [name for name, value in entries if value is None]
    if without_value:
        raise InvalidRequest(f"Null value not supported for : {', '.join(without_value)}")


def _topic_changes(topic: str, configs: Sequence[_Change]) -> admin_pb2.AlterTopicConfigs:
    changes = admin_pb2.AlterTopicConfigs(topic=topic)
    by_operation = {_SET: changes.set, _APPEND: changes.append, _SUBTRACT: changes.subtract}
    for config in configs:
        if config.config_operation == _DELETE:
            changes.remove.extend([config.name] if config.name in TOPIC_KEYS else [])  # what is not there is deleted
        else:
            by_operation[config.config_operation].append(admin_pb2.ConfigEntry(name=config.name, value=config.value))
    return changes


def _alter_loggers(configs: Sequence[_Change], *, validate_only: bool) -> None:
    """Changes all of the levels, or none."""
    for config in configs:
        if config.config_operation not in (_SET, _DELETE):
            operation = _OPERATIONS[config.config_operation]
            raise InvalidRequest(f"{operation} operation is not allowed for the BROKER_LOGGER resource")
        loggers.check(config.name, config.value if config.config_operation == _SET else None)
    for config in () if validate_only else configs:
        loggers.change(config.name, config.value if config.config_operation == _SET else None)


def _of_broker(config: BrokerConfig, request: DescribeConfigsRequest) -> _Result.Config:
    synonyms: list[_Result.Config.Synonym] = []
    if request.include_synonyms:
        values = ((config.value, config.source), (config.default, DEFAULT))
        synonyms = [
            _Result.Config.Synonym(name=config.name, value=value, source=source)
            for value, source in (values if config.source == STATIC else values[1:])
            if value is not None
        ]
    return _Result.Config(
        name=config.name,
        value=config.value,
        read_only=True,
        config_source=config.source,
        is_sensitive=False,
        synonyms=synonyms,
        config_type=config.type.value,
        documentation=config.doc if request.include_documentation else None,
    )


def _of_logger(name: str, level: str) -> _Result.Config:
    return _Result.Config(
        name=name, value=level, read_only=False, config_source=_OF_LOGGER, is_sensitive=False, synonyms=[]
    )
