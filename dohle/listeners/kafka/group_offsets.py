"""OffsetCommit, OffsetFetch and OffsetDelete: what groups have consumed, by topics that have names or, later, ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from dohle.broker.broker import Broker
from dohle.groups.offsets import Commit, DeleteOffsets, FetchedOffset, FetchOffsets, OffsetToCommit
from dohle.kafka.declaration import NO_UUID
from dohle.kafka.messages.groups import (
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetFetchRequest,
    OffsetFetchResponse,
)
from dohle.listeners.kafka.apis import Caller
from dohle.listeners.kafka.topics_known import wire_code
from dohle.model.errors import DohleError
from dohle.model.ids import TopicId, TopicPartition

_FIRST_BY_ID: Final = 10
_FIRST_WITH_EPOCHS: Final = 9
_FIRST_OF_SEVERAL: Final = 8
_FIRST_WITH_GROUP_ERROR: Final = 2
_NO_OFFSET: Final = -1
_DEFAULT_RETENTION: Final = -1

_Named: TypeAlias = str | TopicId
_AskedGroup = OffsetFetchRequest.Group
_ToldGroup = OffsetFetchResponse.Group


@dataclass(frozen=True, slots=True)
class GroupOffsets:
    """Committed offsets, by the groups' coordinator."""

    broker: Broker

    async def commit(self, request: OffsetCommitRequest, caller: Caller) -> OffsetCommitResponse:
        by_id = caller.api_version >= _FIRST_BY_ID
        offsets = tuple(
            [
                OffsetToCommit(
                    _named(topic, by_id=by_id),
                    one.partition_index,
                    one.committed_offset,
                    one.committed_leader_epoch,
                    one.committed_metadata or "",
                )
                for topic in request.topics
                for one in topic.partitions
            ]
        )
        retention_ms = request.retention_time_ms
        command = Commit(
            request.group_id,
            offsets,
            request.member_id,
            request.group_instance_id,
            request.generation_id_or_member_epoch,
            knows_epochs=caller.api_version >= _FIRST_WITH_EPOCHS,
            retention_ms=None if retention_ms == _DEFAULT_RETENTION else retention_ms,
        )
        errors: Sequence[DohleError | None]
        try:
            errors = await self.broker.groups.ask(request.group_id, command, may_be_empty=True)
        except DohleError as error:
            errors = [error] * len(offsets)
        codes = iter(errors)
        topics = [
            OffsetCommitResponse.Topic(
                name=topic.name,
                topic_id=topic.topic_id,
                partitions=[
                    OffsetCommitResponse.Topic.Partition(
                        partition_index=one.partition_index, error_code=_code(next(codes))
                    )
                    for one in topic.partitions
                ],
            )
            for topic in request.topics
            if topic.partitions
        ]
        return OffsetCommitResponse(topics=topics)

    async def fetch(self, request: OffsetFetchRequest, caller: Caller) -> OffsetFetchResponse:
        if caller.api_version >= _FIRST_OF_SEVERAL:
            groups = [await self._of_group(asked, request, caller) for asked in request.groups]
            return OffsetFetchResponse(groups=groups)
        topics = request.topics
        asked = _AskedGroup(
            group_id=request.group_id,
            topics=None
            if topics is None
            else [_AskedGroup.Topic(name=topic.name, partition_indexes=topic.partition_indexes) for topic in topics],
        )
        told = await self._of_group(asked, request, caller)
        if told.error_code and caller.api_version < _FIRST_WITH_GROUP_ERROR:
            told.topics = [_refused(topic, told.error_code) for topic in asked.topics or []]
        return OffsetFetchResponse(error_code=told.error_code, topics=[_as_one(topic) for topic in told.topics])

    async def _of_group(self, asked: _AskedGroup, request: OffsetFetchRequest, caller: Caller) -> _ToldGroup:
        by_id = caller.api_version >= _FIRST_BY_ID
        topics = None
        if asked.topics is not None:
            topics = tuple([(_named(topic, by_id=by_id), tuple(topic.partition_indexes)) for topic in asked.topics])
        command = FetchOffsets(asked.group_id, topics, asked.member_id, asked.member_epoch, request.require_stable)
        try:
            fetched = await self.broker.groups.ask(asked.group_id, command, may_be_empty=True)
        except DohleError as error:
            return _ToldGroup(group_id=asked.group_id, topics=[], error_code=wire_code(error))
        if asked.topics is not None:
            told = iter(fetched)
            return _ToldGroup(
                group_id=asked.group_id,
                topics=[
                    _told(topic.name, topic.topic_id, [next(told) for _ in topic.partition_indexes])
                    for topic in asked.topics
                ],
            )
        by_topic: dict[str, list[FetchedOffset]] = {}
        for one in fetched:
            by_topic.setdefault(one.topic, []).append(one)
        ids = self.broker.image.topic_ids
        return _ToldGroup(
            group_id=asked.group_id,
            topics=[
                _told(name, ids.get(name, NO_UUID), offsets)
                for name, offsets in by_topic.items()
                if not by_id or name in ids
            ],
        )

    async def delete(self, request: OffsetDeleteRequest, caller: Caller) -> OffsetDeleteResponse:
        partitions = tuple(
            [TopicPartition(topic.name, one.partition_index) for topic in request.topics for one in topic.partitions]
        )
        try:
            errors = await self.broker.groups.ask(request.group_id, DeleteOffsets(request.group_id, partitions))
        except DohleError as error:
            return OffsetDeleteResponse(error_code=wire_code(error), topics=[])
        codes = iter(errors)
        topics = [
            OffsetDeleteResponse.Topic(
                name=topic.name,
                partitions=[
                    OffsetDeleteResponse.Topic.Partition(
                        partition_index=one.partition_index, error_code=_code(next(codes))
                    )
                    for one in topic.partitions
                ],
            )
            for topic in request.topics
        ]
        return OffsetDeleteResponse(error_code=0, topics=topics)


def _named(topic: OffsetCommitRequest.Topic | _AskedGroup.Topic, *, by_id: bool) -> _Named:
    return TopicId(topic.topic_id) if by_id else topic.name


def _code(error: DohleError | None) -> int:
    return 0 if error is None else wire_code(error)


def _told(name: str, topic_id: bytes, offsets: Iterable[FetchedOffset]) -> _ToldGroup.Topic:
    partitions: list[_ToldGroup.Topic.Partition] = []
    for one in offsets:
        value = one.value
        partitions.append(
            _ToldGroup.Topic.Partition(
                partition_index=one.partition,
                committed_offset=_NO_OFFSET if value is None else value.offset,
                committed_leader_epoch=-1 if value is None else value.leader_epoch,
                metadata="" if value is None else value.metadata,
                error_code=_code(one.error),
            )
        )
    return _ToldGroup.Topic(name=name, topic_id=topic_id, partitions=partitions)


def _refused(topic: _AskedGroup.Topic, code: int) -> _ToldGroup.Topic:
    """Returns how clients are told an error of the group that know errors of partitions alone."""
    partitions = [
        _ToldGroup.Topic.Partition(partition_index=number, committed_offset=_NO_OFFSET, metadata="", error_code=code)
        for number in topic.partition_indexes
    ]
    return _ToldGroup.Topic(name=topic.name, partitions=partitions)


def _as_one(topic: _ToldGroup.Topic) -> OffsetFetchResponse.Topic:
    """Returns the topic as versions have it that ask for a single group."""
    partitions = [
        OffsetFetchResponse.Topic.Partition(
            partition_index=one.partition_index,
            committed_offset=one.committed_offset,
            committed_leader_epoch=one.committed_leader_epoch,
            metadata=one.metadata,
            error_code=one.error_code,
        )
        for one in topic.partitions
    ]
    return OffsetFetchResponse.Topic(name=topic.name, partitions=partitions)
