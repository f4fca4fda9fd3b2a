"""KIP-848 groups as Kafka's clients ask for them, in every version."""

from __future__ import annotations

from typing import Any

import pytest

from dohle.kafka.messages.consumer_groups import (
    ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse,
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
)
from dohle.model.errors import InvalidRequest
from dohle.model.group_errors import (
    FencedMemberEpoch,
    GroupIdNotFound,
    InvalidRegularExpression,
    UnknownMember,
    UnsupportedAssignor,
)
from tests.broker.virtual_time import in_virtual_time
from tests.listeners.kafka.served_broker import ServedBroker
from tests.listeners.kafka.test_group_offsets import T, with_topic


async def beat(served: ServedBroker, version: int | None = None, **given: Any) -> ConsumerGroupHeartbeatResponse:
    """A member that joins, unless `given` says otherwise."""
    values: dict[str, Any] = {
        "group_id": "g",
        "member_id": "a",
        "member_epoch": 0,
        "rebalance_timeout_ms": 60_000,
        "subscribed_topic_names": ["t"],
        "topic_partitions": [],
    }
    return await served.ask(ConsumerGroupHeartbeatRequest(**(values | given)), ConsumerGroupHeartbeatResponse, version)


@in_virtual_time
async def test_a_member_joins_beats_is_described_and_leaves() -> None:
    served = await with_topic()
    for version in (0, 1):
        joined = await beat(served, version, rack_id="here", server_assignor="range")
        assert (joined.error_code, joined.error_message, joined.heartbeat_interval_ms) == (0, None, 5000)
        assert joined.assignment is not None
        [assigned] = joined.assignment.topic_partitions
        assert (assigned.topic_id, assigned.partitions) == (T, [0, 1])
        owned = [ConsumerGroupHeartbeatRequest.TopicPartitions(topic_id=T, partitions=[0, 1])]
        nothing_new = ConsumerGroupHeartbeatRequest(
            group_id="g", member_id="a", member_epoch=joined.member_epoch, topic_partitions=owned
        )
        told = await served.ask(nothing_new, ConsumerGroupHeartbeatResponse, version)
        assert (told.member_id, told.member_epoch, told.assignment) == ("a", joined.member_epoch, None)
        request = ConsumerGroupDescribeRequest(group_ids=["g", "none"], include_authorized_operations=False)
        group, none = (await served.ask(request, ConsumerGroupDescribeResponse, version)).groups
        assert (group.group_state, group.assignor_name, group.error_code) == ("Stable", "range", 0)
        assert group.group_epoch == group.assignment_epoch == joined.member_epoch
        [member] = group.members
        assert (member.member_id, member.rack_id, member.client_id, member.client_host) == (
            "a",
            "here",
            "test",
            "/client",
        )
        assert (member.subscribed_topic_names, member.subscribed_topic_regex) == (["t"], "")
        assert member.member_type == (1 if version else -1)
        [partitions] = member.assignment.topic_partitions
        assert (partitions.topic_name, partitions.partitions) == ("t", [0, 1])
        assert member.target_assignment == member.assignment
        assert none.error_code == GroupIdNotFound.code
        left = await beat(served, version, member_epoch=-1)
        assert (left.error_code, left.member_epoch, left.assignment) == (0, -1, None)


@in_virtual_time
async def test_an_id_is_given_to_those_alone_who_speak_version_0() -> None:
    served = await with_topic()
    given = await beat(served, 0, member_id="")
    assert given.error_code == 0
    assert len(given.member_id or "") == 22
    refused = await beat(served, 1, member_id="")
    assert refused.error_code == InvalidRequest.code


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"group_id": ""}, InvalidRequest),
        ({"member_epoch": -3}, InvalidRequest),
        ({"topic_partitions": None}, InvalidRequest),
        ({"server_assignor": "none"}, UnsupportedAssignor),
        ({"subscribed_topic_regex": "("}, InvalidRegularExpression),
        ({"group_id": "other", "member_epoch": 1}, GroupIdNotFound),
        ({"member_id": "b", "member_epoch": 1}, UnknownMember),
        ({"member_epoch": 7}, FencedMemberEpoch),
    ],
)
@in_virtual_time
async def test_what_is_wrong_is_said_by_kafkas_code(given: dict[str, Any], error: type[Exception]) -> None:
    served = await with_topic()
    await beat(served)
    told = await beat(served, **given)
    assert told.error_code == error.code  # type: ignore[attr-defined]
    assert told.error_message
    assert (told.member_epoch, told.assignment) == (0, None)
