"""Topics: created, deleted, grown, and emptied up to an offset."""

from __future__ import annotations

from dohle.kafka.declaration import (
    NO_UUID,
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Request,
    Response,
    String,
    Struct,
    Uuid,
    always,
    since,
    tagged,
    until,
)


class CreateTopicsRequest(Request, key=19, versions=(2, 7), flexible=5):
    """Creates topics."""

    topics: list[Topic]
    timeout_ms: Int32 = 60000
    validate_only: Bool = False

    class Topic(Struct):
        name: String
        num_partitions: Int32
        replication_factor: Int16
        assignments: list[Assignment]
        configs: list[Config]

        class Assignment(Struct):
            partition_index: Int32
            broker_ids: list[Int32]

        class Config(Struct):
            name: String
            value: String | None


class CreateTopicsResponse(Response, key=19, versions=(2, 7), flexible=5):
    throttle_time_ms: Int32 = 0
    topics: list[Topic]

    class Topic(Struct):
        name: String
        topic_id: Uuid = since(7, default=NO_UUID)
        error_code: Int16
        error_message: String | None
        topic_config_error_code: Int16 = tagged(0, 5, default=0)
        num_partitions: Int32 = since(5, default=-1)
        replication_factor: Int16 = since(5, default=-1)
        configs: list[Config] | None = since(5, default=[])

        class Config(Struct):
            name: String
            value: String | None
            read_only: Bool
            config_source: Int8 = -1
            is_sensitive: Bool


class DeleteTopicsRequest(Request, key=20, versions=(1, 6), flexible=4):
    """Deletes topics, by name or by id."""

    topics: list[Topic] = since(6, default=[])
    topic_names: list[String] = until(5, default=[])
    timeout_ms: Int32

    class Topic(Struct):
        name: String | None = None
        topic_id: Uuid


class DeleteTopicsResponse(Response, key=20, versions=(1, 6), flexible=4):
    throttle_time_ms: Int32 = 0
    responses: list[Topic]

    class Topic(Struct):
        name: String | None = always(nullable=6)
        topic_id: Uuid = since(6, default=NO_UUID)
        error_code: Int16
        error_message: String | None = since(5, default=None)


class CreatePartitionsRequest(Request, key=37, versions=(0, 3), flexible=2):
    """Gives topics more partitions."""

    topics: list[Topic]
    timeout_ms: Int32
    validate_only: Bool

    class Topic(Struct):
        name: String
        count: Int32
        assignments: list[Assignment] | None

        class Assignment(Struct):
            broker_ids: list[Int32]


class CreatePartitionsResponse(Response, key=37, versions=(0, 3), flexible=2):
    throttle_time_ms: Int32 = 0
    results: list[Result]

    class Result(Struct):
        name: String
        error_code: Int16
        error_message: String | None = None


class DeleteRecordsRequest(Request, key=21, versions=(0, 2), flexible=2):
    """Deletes the records before an offset."""

    topics: list[Topic]
    timeout_ms: Int32

    class Topic(Struct):
        name: String
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32
            offset: Int64


class DeleteRecordsResponse(Response, key=21, versions=(0, 2), flexible=2):
    throttle_time_ms: Int32 = 0
    topics: list[Topic]

    class Topic(Struct):
        name: String
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32
            low_watermark: Int64
            error_code: Int16
