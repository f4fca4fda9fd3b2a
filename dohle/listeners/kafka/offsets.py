"""ListOffsets and OffsetForLeaderEpoch."""

from __future__ import annotations

from collections import Counter
from typing import Final

from dohle.broker.broker import Broker
from dohle.broker.reads import EARLIEST_LOCAL, LATEST_TIERED, MAX_TIMESTAMP, FoundOffset
from dohle.kafka.messages.fetch import (
    ListOffsetsRequest,
    ListOffsetsResponse,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
)
from dohle.listeners.kafka.apis import Caller
from dohle.listeners.kafka.topics_known import TopicsKnown, by_name, wire_code
from dohle.model.errors import DohleError, InvalidRequest, LeaderNotAvailable, OffsetNotAvailable, UnsupportedVersion

_EARLIEST_PENDING_UPLOAD: Final = -6
_SINCE: Final = {MAX_TIMESTAMP: 7, EARLIEST_LOCAL: 8, LATEST_TIERED: 9, _EARLIEST_PENDING_UPLOAD: 11}
"""The version that brought each special timestamp; -1 and -2 were always there."""
_FIRST_WITH_NOT_AVAILABLE: Final = 5


class Offsets:
    """Where readers begin, and where leader epochs ended."""

    def __init__(self, broker: Broker, known: TopicsKnown) -> None:
        self._broker = broker
        self._known = known

    async def list_offsets(self, request: ListOffsetsRequest, caller: Caller) -> ListOffsetsResponse:
        response = ListOffsetsResponse(topics=[])
        times = Counter((topic.name, one.partition_index) for topic in request.topics for one in topic.partitions)
        for topic in request.topics:
            answers: list[ListOffsetsResponse.Topic.Partition] = []
            response.topics.append(ListOffsetsResponse.Topic(name=topic.name, partitions=answers))
            for partition in {one.partition_index: one for one in topic.partitions}.values():
                answer = ListOffsetsResponse.Topic.Partition(partition_index=partition.partition_index, error_code=0)
                answers.append(answer)
                try:
                    if times[topic.name, partition.partition_index] > 1:
                        raise InvalidRequest(f"partition {partition.partition_index} of {topic.name} is named twice")
                    found = await self._find(topic.name, partition, caller.api_version)
                except DohleError as error:
                    answer.error_code = wire_code(by_name(error, by_id=False))
                else:
                    answer.offset, answer.timestamp = found.offset, found.timestamp_ms
                    answer.leader_epoch = found.leader_epoch
        return response

    async def _find(self, name: str, asked: ListOffsetsRequest.Topic.Partition, version: int) -> FoundOffset:
        timestamp = asked.timestamp
        if timestamp < _EARLIEST_PENDING_UPLOAD:
            raise UnsupportedVersion(f"there is no special timestamp {timestamp}")
        if version < _SINCE.get(timestamp, 0):
            raise UnsupportedVersion(f"timestamp {timestamp} needs version {_SINCE[timestamp]} of ListOffsets")
        key = self._known.key(self._known.topic(name, b"", by_id=False), asked.partition_index)
        if timestamp == _EARLIEST_PENDING_UPLOAD:  # like the latest that was uploaded there is none
            timestamp = LATEST_TIERED
        try:
            return await self._broker.reads.find_offset(key, timestamp, asked.current_leader_epoch)
        except OffsetNotAvailable as error:
            if version >= _FIRST_WITH_NOT_AVAILABLE:
                raise
            raise LeaderNotAvailable(error.message) from error

    async def of_leader_epochs(
        self, request: OffsetForLeaderEpochRequest, _caller: Caller
    ) -> OffsetForLeaderEpochResponse:
        response = OffsetForLeaderEpochResponse(topics=[])
        for topic in request.topics:
            answers: list[OffsetForLeaderEpochResponse.Topic.Partition] = []
            response.topics.append(OffsetForLeaderEpochResponse.Topic(topic=topic.topic, partitions=answers))
            for asked in topic.partitions:
                answer = OffsetForLeaderEpochResponse.Topic.Partition(error_code=0, partition=asked.partition)
                answers.append(answer)
                try:
                    key = self._known.key(self._known.topic(topic.topic, b"", by_id=False), asked.partition)
                    answer.leader_epoch, answer.end_offset = self._broker.reads.end_of_epoch(
                        key, asked.leader_epoch, asked.current_leader_epoch
                    )
                except DohleError as error:
                    answer.error_code = wire_code(by_name(error, by_id=False))
        return response
