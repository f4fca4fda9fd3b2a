"""Classic groups on real nodes, by what one connection sends."""

from __future__ import annotations

import pytest

from dohle.kafka.messages.groups import (
    FindCoordinatorRequest,
    FindCoordinatorResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupRequest,
    LeaveGroupResponse,
)
from dohle.model.group_errors import MemberIdRequired, UnknownMember
from tests.integration.clusters import Cluster, until
from tests.integration.kafka.raw import RawKafka

pytestmark = pytest.mark.processes


def _coordinator(trio: Cluster, group: str) -> RawKafka:
    found: list[FindCoordinatorResponse.Coordinator] = []

    def is_found() -> bool:
        with RawKafka(trio.kafka_port(trio.node_ids[0])) as node:
            asked = FindCoordinatorRequest(coordinator_keys=[group])
            found[:] = node.ask_newest(asked, FindCoordinatorResponse).coordinators
        return found[0].error_code == 0

    until(is_found, "the group has a coordinator")
    return RawKafka(found[0].port)


def test_a_leave_behind_a_waiting_join_of_the_same_connection_gets_through(trio: Cluster) -> None:
    def joins(member_id: str) -> JoinGroupRequest:
        return JoinGroupRequest(
            group_id="leaves",
            session_timeout_ms=60_000,
            rebalance_timeout_ms=300_000,
            member_id=member_id,
            protocol_type="consumer",
            protocols=[JoinGroupRequest.Protocol(name="range", metadata=b"")],
        )

    given: list[JoinGroupResponse] = []

    with _coordinator(trio, "leaves") as member, _coordinator(trio, "leaves") as other:

        def is_given() -> bool:
            given[:] = [member.ask_newest(joins(""), JoinGroupResponse)]
            return given[0].error_code == MemberIdRequired.code

        until(is_given, "the coordinator has loaded its groups")
        blocker = other.ask_newest(joins(""), JoinGroupResponse)
        settled = other.ask_newest(joins(blocker.member_id), JoinGroupResponse)
        assert settled.error_code == 0
        # the group has a member that will not join again: whoever joins now waits for five minutes
        member.send(joins(given[0].member_id), 9)
        member.send(HeartbeatRequest(group_id="leaves", generation_id=1, member_id="nobody"), 4)
        leaver = LeaveGroupRequest.Member(member_id=given[0].member_id)
        member.send(LeaveGroupRequest(group_id="leaves", members=[leaver]), 5)
        joined = member.receive(JoinGroupResponse, 9)
        beaten = member.receive(HeartbeatResponse, 4)
        left = member.receive(LeaveGroupResponse, 5)
        assert joined.error_code == beaten.error_code == UnknownMember.code
        assert [one.error_code for one in left.members] == [0]
