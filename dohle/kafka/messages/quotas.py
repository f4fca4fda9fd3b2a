"""Quotas of clients."""

from __future__ import annotations

from dohle.kafka.declaration import (
    Bool,
    Float64,
    Int8,
    Int16,
    Int32,
    Request,
    Response,
    String,
    Struct,
)


class DescribeClientQuotasRequest(Request, key=48, versions=(0, 1), flexible=1):
    """Describes quotas."""

    components: list[Component]
    strict: Bool

    class Component(Struct):
        entity_type: String
        match_type: Int8
        match: String | None


class DescribeClientQuotasResponse(Response, key=48, versions=(0, 1), flexible=1):
    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None
    entries: list[Entry] | None

    class Entry(Struct):
        entity: list[Entity]
        values: list[Value]

        class Entity(Struct):
            entity_type: String
            entity_name: String | None

        class Value(Struct):
            key: String
            value: Float64


class AlterClientQuotasRequest(Request, key=49, versions=(0, 1), flexible=1):
    """Changes quotas."""

    entries: list[Entry]
    validate_only: Bool

    class Entry(Struct):
        entity: list[Entity]
        ops: list[Op]

        class Entity(Struct):
            entity_type: String
            entity_name: String | None

        class Op(Struct):
            key: String
            value: Float64
            remove: Bool


class AlterClientQuotasResponse(Response, key=49, versions=(0, 1), flexible=1):
    throttle_time_ms: Int32 = 0
    entries: list[Entry]

    class Entry(Struct):
        error_code: Int16
        error_message: String | None
        entity: list[Entity]

        class Entity(Struct):
            entity_type: String
            entity_name: String | None
