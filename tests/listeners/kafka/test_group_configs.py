"""Configurations of single groups, as Kafka's administrators see and change them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from dohle.groups.settings import Beats
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
from dohle.model.errors import InvalidConfig, InvalidRequest, UnsupportedVersion
from dohle.model.metadata import METADATA_VERSION, FeatureLevel
from tests.broker.brokers import until
from tests.broker.virtual_time import in_virtual_time
from tests.listeners.kafka.served_broker import ServedBroker

GROUP = 32
SET, DELETE, APPEND, SUBTRACT = range(4)
INTERVAL, TIMEOUT = "consumer.heartbeat.interval.ms", "consumer.session.timeout.ms"


async def change(served: ServedBroker, group_id: str, *configs: tuple[str, int, str | None], **how: Any) -> int:
    kind = IncrementalAlterConfigsRequest.Resource
    entries = [kind.Config(name=name, config_operation=operation, value=value) for name, operation, value in configs]
    resource = kind(resource_type=GROUP, resource_name=group_id, configs=entries)
    request = IncrementalAlterConfigsRequest(**{"resources": [resource], "validate_only": False, **how})
    return (await served.ask(request, IncrementalAlterConfigsResponse)).responses[0].error_code


async def replace(served: ServedBroker, group_id: str, **values: str) -> int:
    kind = AlterConfigsRequest.Resource
    configs = [kind.Config(name=name, value=value) for name, value in values.items()]
    resource = kind(resource_type=GROUP, resource_name=group_id, configs=configs)
    request = AlterConfigsRequest(resources=[resource], validate_only=False)
    return (await served.ask(request, AlterConfigsResponse)).responses[0].error_code


async def described(
    served: ServedBroker, group_id: str, keys: Sequence[str] | None = None
) -> dict[str, tuple[str | None, int, list[tuple[str, str | None, int]]]]:
    resource = DescribeConfigsRequest.Resource(
        resource_type=GROUP, resource_name=group_id, configuration_keys=None if keys is None else list(keys)
    )
    request = DescribeConfigsRequest(resources=[resource], include_synonyms=True, include_documentation=True)
    (result,) = (await served.ask(request, DescribeConfigsResponse)).results
    assert result.error_code == 0
    assert all(config.documentation and config.config_type == 3 and not config.read_only for config in result.configs)
    return {
        config.name: (
            config.value,
            config.config_source,
            [(synonym.name, synonym.value, synonym.source) for synonym in config.synonyms],
        )
        for config in result.configs
    }


@in_virtual_time
async def test_a_group_has_the_brokers_values_until_it_gets_its_own() -> None:
    served = await ServedBroker.started()
    broker = served.node.broker
    of_all = {
        INTERVAL: ("5000", 5, [(f"group.{INTERVAL}", "5000", 5)]),
        TIMEOUT: ("45000", 5, [(f"group.{TIMEOUT}", "45000", 5)]),
    }
    assert await described(served, "g") == of_all
    assert await change(served, "g", (INTERVAL, SET, " 6000 "), (TIMEOUT, SET, "50000")) == 0
    assert await described(served, "g") == {
        INTERVAL: ("6000", 8, [(INTERVAL, "6000", 8), (f"group.{INTERVAL}", "5000", 5)]),
        TIMEOUT: ("50000", 8, [(TIMEOUT, "50000", 8), (f"group.{TIMEOUT}", "45000", 5)]),
    }
    assert await described(served, "other") == of_all
    assert broker.groups.settings.groups.beats_of(broker.image.group_overrides.get("g")) == Beats(6000, 50_000)
    assert await change(served, "g", (INTERVAL, DELETE, None), ("no.such", DELETE, None)) == 0
    assert await described(served, "g", [INTERVAL]) == {INTERVAL: of_all[INTERVAL]}
    assert await replace(served, "g", **{INTERVAL: "7000"}) == 0
    assert await described(served, "g") == {
        **of_all,
        INTERVAL: ("7000", 8, [(INTERVAL, "7000", 8), (f"group.{INTERVAL}", "5000", 5)]),
    }
    assert await replace(served, "g") == 0
    assert await described(served, "g") == of_all
    assert not broker.image.group_overrides


@in_virtual_time
async def test_groups_that_have_values_of_their_own_are_listed() -> None:
    served = await ServedBroker.started()
    for group_id in ("b", "a", "gone"):
        assert await change(served, group_id, (INTERVAL, SET, "6000")) == 0
    assert await change(served, "gone", (INTERVAL, DELETE, None)) == 0
    assert await change(served, "tried", (INTERVAL, SET, "6000"), validate_only=True) == 0
    response = await served.ask(ListConfigResourcesRequest(resource_types=[GROUP]), ListConfigResourcesResponse)
    assert [(one.resource_type, one.resource_name) for one in response.config_resources] == [(GROUP, "a"), (GROUP, "b")]


@in_virtual_time
@pytest.mark.parametrize(
    ("configs", "code"),
    [
        ([(INTERVAL, SET, "4999")], InvalidConfig.code),
        ([(INTERVAL, SET, "15001")], InvalidConfig.code),
        ([(TIMEOUT, SET, "44999")], InvalidConfig.code),
        ([(TIMEOUT, SET, "60001")], InvalidConfig.code),
        ([(TIMEOUT, SET, "soon")], InvalidConfig.code),
        ([(TIMEOUT, SET, "")], InvalidConfig.code),
        ([("consumer.no.such", SET, "1")], InvalidConfig.code),
        ([("retention.ms", SET, "1")], InvalidConfig.code),
        ([(TIMEOUT, APPEND, "50000")], InvalidConfig.code),
        ([(TIMEOUT, SUBTRACT, "50000")], InvalidConfig.code),
        ([(TIMEOUT, SET, None)], InvalidRequest.code),
        ([(TIMEOUT, SET, "50000"), (TIMEOUT, SET, "50001")], InvalidRequest.code),
        ([(TIMEOUT, 7, "50000")], InvalidRequest.code),
    ],
)
async def test_what_is_no_value_of_a_group_is_refused(configs: list[tuple[str, int, str | None]], code: int) -> None:
    served = await ServedBroker.started()
    assert await change(served, "g", *configs) == code
    assert not served.node.broker.image.group_overrides


@in_virtual_time
async def test_groups_without_a_name_have_no_configuration() -> None:
    served = await ServedBroker.started()
    assert await change(served, "", (INTERVAL, SET, "6000")) == InvalidRequest.code
    assert await replace(served, "", **{INTERVAL: "6000"}) == InvalidRequest.code


@in_virtual_time
async def test_a_cluster_at_an_older_version_keeps_no_configuration_of_groups() -> None:
    served = await ServedBroker.started()
    served.cluster.controller.commit(FeatureLevel(METADATA_VERSION, 5))
    await until(lambda: served.node.broker.image.metadata_version == 5)
    assert await change(served, "g", (INTERVAL, SET, "6000")) == UnsupportedVersion.code
    assert await replace(served, "g", **{INTERVAL: "6000"}) == UnsupportedVersion.code
    assert not served.operated, "an older controller would not see what it is asked"
