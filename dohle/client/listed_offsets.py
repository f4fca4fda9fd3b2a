"""Listed offsets: the messages of ListOffsets, and what they say."""

from __future__ import annotations

from collections.abc import Iterable

from dohle.client.descriptions import error_in
from dohle.client.leader_questions import Led
from dohle.client.values import OffsetAndTimestamp
from dohle.model.errors import DohleError
from dohle.rpc.v1 import broker_pb2


def offsets_request(wanted: Iterable[tuple[Led, int]]) -> broker_pb2.ListOffsetsRequest:
    """Returns the question for each partition's offset by a time in ms, or an OffsetSpec."""
    return broker_pb2.ListOffsetsRequest(
        partitions=[
            broker_pb2.ListOffsetsPartition(
                topic_id=led.topic_id,
                partition=led.partition,
                timestamp_ms=timestamp_ms,
                current_leader_epoch=led.leader_epoch,
            )
            for led, timestamp_ms in wanted
        ]
    )


def listed_offsets(
    answer: broker_pb2.ListOffsetsResponse,
) -> dict[tuple[bytes, int], OffsetAndTimestamp | DohleError]:
    """Returns by topic id and number what was found, or why it was not."""
    return {
        (one.topic_id, one.partition): error_in(one.failure) or OffsetAndTimestamp(one.offset, one.timestamp_ms)
        for one in answer.partitions
    }
