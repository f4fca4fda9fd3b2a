"""Configurations of topics, brokers and groups."""

from __future__ import annotations

from dohle.kafka.declaration import (
    Bool,
    Int8,
    Int16,
    Int32,
    Request,
    Response,
    String,
    Struct,
    since,
)


class DescribeConfigsRequest(Request, key=32, versions=(1, 4), flexible=4):
    """Describes configurations, with where each value comes from."""

    resources: list[Resource]
    include_synonyms: Bool = False
    include_documentation: Bool = since(3, default=False)

    class Resource(Struct):
        resource_type: Int8
        resource_name: String
        configuration_keys: list[String] | None


class DescribeConfigsResponse(Response, key=32, versions=(1, 4), flexible=4):
    throttle_time_ms: Int32 = 0
    results: list[Result]

    class Result(Struct):
        error_code: Int16
        error_message: String | None
        resource_type: Int8
        resource_name: String
        configs: list[Config]

        class Config(Struct):
            name: String
            value: String | None
            read_only: Bool
            config_source: Int8 = -1
            is_sensitive: Bool
            synonyms: list[Synonym]
            config_type: Int8 = since(3, default=0)
            documentation: String | None = since(3, default="")

            class Synonym(Struct):
                name: String
                value: String | None
                source: Int8


class AlterConfigsRequest(Request, key=33, versions=(0, 2), flexible=2):
    """Replaces whole configurations."""

    resources: list[Resource]
    validate_only: Bool

    class Resource(Struct):
        resource_type: Int8
        resource_name: String
        configs: list[Config]

        class Config(Struct):
            name: String
            value: String | None


class AlterConfigsResponse(Response, key=33, versions=(0, 2), flexible=2):
    throttle_time_ms: Int32 = 0
    responses: list[Resource]

    class Resource(Struct):
        error_code: Int16
        error_message: String | None
        resource_type: Int8
        resource_name: String


class IncrementalAlterConfigsRequest(Request, key=44, versions=(0, 1), flexible=1):
    """Changes single configurations: sets, deletes, appends, subtracts."""

    resources: list[Resource]
    validate_only: Bool

    class Resource(Struct):
        resource_type: Int8
        resource_name: String
        configs: list[Config]

        class Config(Struct):
            name: String
            config_operation: Int8
            value: String | None


class IncrementalAlterConfigsResponse(Response, key=44, versions=(0, 1), flexible=1):
    throttle_time_ms: Int32 = 0
    responses: list[Resource]

    class Resource(Struct):
        error_code: Int16
        error_message: String | None
        resource_type: Int8
        resource_name: String


class ListConfigResourcesRequest(Request, key=74, versions=(0, 1), flexible=0):
    """Lists the resources that have a configuration of their own."""

    resource_types: list[Int8] = since(1, default=[])


class ListConfigResourcesResponse(Response, key=74, versions=(0, 1), flexible=0):
    throttle_time_ms: Int32 = 0
    error_code: Int16
    config_resources: list[ConfigResource]

    class ConfigResource(Struct):
        resource_name: String
        resource_type: Int8 = since(1, default=16)
