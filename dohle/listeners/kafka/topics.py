"""CreateTopics, DeleteTopics, CreatePartitions, DeleteRecords."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Final

from dohle.broker.broker import Broker
from dohle.kafka.declaration import NO_UUID
from dohle.kafka.messages.topics import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreateTopicsRequest,
    CreateTopicsResponse,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
)
from dohle.listeners.kafka.apis import Caller
from dohle.listeners.kafka.asking import asked
from dohle.listeners.kafka.topic_configs import config_source, described_values
from dohle.listeners.kafka.topics_known import TopicsKnown, by_name, failed, wire_code
from dohle.model.errors import (
    DohleError,
    InvalidConfig,
    InvalidRequest,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from dohle.rpc.v1 import admin_pb2

_MOST_WAIT_S: Final = 60.0
_OWN_DISK_S: Final = 1.0
"""A time-out is for other replicas: the leader's own part, which takes none of it with Kafka, has this at the least."""
_FIRST_BY_ID: Final = 6
_NOTHING: Final = -1

_CLUSTERS_OWN: Final = frozenset({"__cluster_metadata"})

_Created = CreateTopicsResponse.Topic
_Deleted = DeleteTopicsResponse.Topic


class Topics:
    """Changes of topics, which go on to the active controller, and deletions of records, which this broker makes."""

    def __init__(self, broker: Broker, known: TopicsKnown) -> None:
        self._broker = broker
        self._known = known

    async def _asked(self, method: str, request: Any, timeout_ms: int, names: list[str]) -> dict[str, Any]:
        """Returns by name what the controller answered of each topic; a DohleError for each if it did not.

        `names` are those of the request, whose order the answer has.
        """
        if not names:
            return {}
        try:
            answer = await asked(self._broker, method, request, timeout_ms)
        except DohleError as error:
            return dict.fromkeys(names, error)
        return dict(zip(names, answer.topics, strict=True))

    async def create(self, request: CreateTopicsRequest, _caller: Caller) -> CreateTopicsResponse:
        refused: dict[str, DohleError] = {}
        twice = _twice([topic.name for topic in request.topics])
        wanted: list[admin_pb2.NewTopic] = []
        for topic in request.topics:
            try:
                if topic.name in twice:
                    raise InvalidRequest("Duplicate topic name.")
                if topic.name in _CLUSTERS_OWN:
                    raise InvalidRequest(f"Creation of internal topic {topic.name} is prohibited.")
                wanted.append(_new_topic(topic))
            except DohleError as error:
                refused[topic.name] = error
        answered = await self._asked(
            "CreateTopics",
            admin_pb2.CreateTopicsRequest(topics=wanted, validate_only=request.validate_only),
            request.timeout_ms,
            [topic.name for topic in wanted],
        )
        names = dict.fromkeys(topic.name for topic in request.topics)
        overrides = {topic.name: topic.configs for topic in request.topics}
        return CreateTopicsResponse(
            topics=[_created(name, refused.get(name) or answered[name], overrides[name]) for name in names]
        )

    async def delete(self, request: DeleteTopicsRequest, caller: Caller) -> DeleteTopicsResponse:
        """Deletes topics by their names, from version 6 on also by their ids; one that is named twice stays."""
        response = DeleteTopicsResponse(responses=[])
        asked_for = [(one.name, one.topic_id) for one in request.topics]
        if caller.api_version < _FIRST_BY_ID:
            asked_for = [(name, NO_UUID) for name in request.topic_names]
        wanted: dict[str, _Deleted] = {}
        ids: dict[str, bytes] = {}
        times = Counter(asked_for)
        for name, topic_id in times:
            answer = _Deleted(name=name, topic_id=topic_id, error_code=0)
            response.responses.append(answer)
            try:
                if times[name, topic_id] > 1:
                    raise InvalidRequest("Duplicate topic name." if name is not None else "Duplicate topic id.")
                found = self._deletable(name, topic_id)
                if found in wanted:  # by its name and by its id: answered once, by both
                    response.responses.pop()
                    answer = wanted[found]
                    answer.name, answer.topic_id = found, topic_id if name is None else answer.topic_id
                    raise InvalidRequest("The provided topic name maps to an ID that was already supplied.")
            except DohleError as error:
                answer.error_code, answer.error_message = failed(error)
            else:
                wanted[found], ids[found] = answer, b"" if topic_id == NO_UUID else topic_id
        names = [name for name, answer in wanted.items() if not answer.error_code]
        answered = await self._asked(
            "DeleteTopics",
            admin_pb2.DeleteTopicsRequest(topics=names, topic_ids=[ids[name] for name in names]),
            request.timeout_ms,
            names,
        )
        for name in names:
            _tell_deletion(wanted[name], name, answered[name], by_id=bool(ids[name]))
        return response

    def _deletable(self, name: str | None, topic_id: bytes) -> str:
        """Returns the name of the topic that is meant. Raises InvalidRequest, UnknownTopicId."""
        if name is None and topic_id == NO_UUID:
            raise InvalidRequest("Neither topic name nor id were specified.")
        if name is None:
            return self._known.topic("", topic_id, by_id=True).name
        if topic_id != NO_UUID:
            raise InvalidRequest("You may not specify both topic name and topic id.")
        return name

    async def create_partitions(self, request: CreatePartitionsRequest, _caller: Caller) -> CreatePartitionsResponse:
        twice = _twice([topic.name for topic in request.topics])
        refused = dict.fromkeys(sorted(twice), InvalidRequest("Duplicate topic name."))
        wanted = [topic for topic in request.topics if topic.name not in refused]
        answered = await self._asked(
            "CreatePartitions",
            admin_pb2.CreatePartitionsRequest(
                topics=[_new_partitions(topic) for topic in wanted], validate_only=request.validate_only
            ),
            request.timeout_ms,
            [topic.name for topic in wanted],
        )
        response = CreatePartitionsResponse(results=[])
        for name in dict.fromkeys(topic.name for topic in request.topics):
            code, message = _outcome(refused.get(name) or answered[name])
            response.results.append(CreatePartitionsResponse.Result(name=name, error_code=code, error_message=message))
        return response

    async def delete_records(self, request: DeleteRecordsRequest, _caller: Caller) -> DeleteRecordsResponse:
        timeout_s = min(max(request.timeout_ms / 1000, _OWN_DISK_S), _MOST_WAIT_S)

        async def delete(
            name: str, asked: DeleteRecordsRequest.Topic.Partition
        ) -> DeleteRecordsResponse.Topic.Partition:
            answer = DeleteRecordsResponse.Topic.Partition(
                partition_index=asked.partition_index, low_watermark=_NOTHING, error_code=0
            )
            try:
                key = self._known.key(self._known.topic(name, b"", by_id=False), asked.partition_index)
                found = await self._broker.deletions.delete(key, asked.offset, _NOTHING, timeout_s)
            except DohleError as error:
                answer.error_code = wire_code(by_name(error, by_id=False))
            else:
                answer.low_watermark = found.log_start_offset
            return answer

        response = DeleteRecordsResponse(topics=[])
        for topic in request.topics:
            # side by side: one that waits for a replica keeps none of the others
            answers = await asyncio.gather(*(delete(topic.name, one) for one in topic.partitions))
            response.topics.append(DeleteRecordsResponse.Topic(name=topic.name, partitions=answers))
        return response


def _twice(names: list[str]) -> set[str]:
    return {name for name, times in Counter(names).items() if times > 1}


def _new_topic(topic: CreateTopicsRequest.Topic) -> admin_pb2.NewTopic:
    without_value = [config.name for config in topic.configs if config.value is None]
    if without_value:
        raise InvalidConfig(f"{', '.join(without_value)}: null is no value; leave out what is to be the default")
    if topic.assignments and (topic.num_partitions, topic.replication_factor) != (_NOTHING, _NOTHING):
        raise InvalidRequest("both assignments and a number of partitions or replicas are given: give one of them")
    return admin_pb2.NewTopic(
        name=topic.name,
        partitions=topic.num_partitions,
        replication_factor=topic.replication_factor,
        configs=[admin_pb2.ConfigEntry(name=config.name, value=config.value) for config in topic.configs],
        assignments=[
            admin_pb2.ReplicaAssignment(partition=one.partition_index, replicas=one.broker_ids)
            for one in topic.assignments
        ],
    )


def _new_partitions(topic: CreatePartitionsRequest.Topic) -> admin_pb2.NewPartitions:
    assignments = [admin_pb2.ReplicaAssignment(replicas=one.broker_ids) for one in topic.assignments or ()]
    if topic.assignments is not None and not assignments:
        assignments = [admin_pb2.ReplicaAssignment()]  # placed by hand, and nowhere: the controller says what is wrong
    return admin_pb2.NewPartitions(topic=topic.name, total_count=topic.count, assignments=assignments)


def _tell_deletion(answer: _Deleted, name: str, answered: Any, *, by_id: bool) -> None:
    code, message = _outcome(answered)
    if by_id and code == UnknownTopicOrPartition.code:
        code = UnknownTopicId.code
    answer.error_code, answer.error_message = code, message
    if not code:
        answer.name, answer.topic_id = name, answered.topic_id


def _created(name: str, answered: Any, configs: list[CreateTopicsRequest.Topic.Config]) -> _Created:
    code, message = _outcome(answered)
    if code:
        return _Created(name=name, error_code=code, error_message=message)
    overrides = {config.name: config.value or "" for config in configs}
    return _Created(
        name=name,
        topic_id=answered.topic_id or NO_UUID,
        error_code=0,
        error_message=None,
        num_partitions=answered.partitions,
        replication_factor=answered.replication_factor,
        configs=[
            _Created.Config(
                name=key, value=value, read_only=False, config_source=config_source(key, overrides), is_sensitive=False
            )
            for key, value in described_values(overrides)
        ],
    )


def _outcome(answered: Any) -> tuple[int, str | None]:
    """Returns code and message, of an error or of the controller's answer for one topic."""
    return failed(answered if isinstance(answered, DohleError) else answered.failure)
