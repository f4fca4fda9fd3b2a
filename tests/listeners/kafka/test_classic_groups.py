"""Classic groups as Kafka's clients ask for them, in every version."""

from __future__ import annotations

import asyncio

import pytest

from dohle.kafka.messages.groups import (
    DescribeGroupsRequest,
    DescribeGroupsResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupRequest,
    LeaveGroupResponse,
    SyncGroupRequest,
    SyncGroupResponse,
)
from dohle.listeners.kafka.addresses import client_host
from dohle.model.group_errors import (
    GroupIdNotFound,
    IllegalGeneration,
    InconsistentGroupProtocol,
    InvalidGroupId,
    InvalidSessionTimeout,
    MemberIdRequired,
    UnknownMember,
)
from tests.broker.virtual_time import in_virtual_time
from tests.listeners.kafka.served_broker import ServedBroker
from tests.listeners.kafka.test_group_offsets import with_topic


def joining(member_id: str = "", group: str = "g", session_ms: int = 10_000, *names: str) -> JoinGroupRequest:
    protocols = [JoinGroupRequest.Protocol(name=name, metadata=name.encode()) for name in names or ("range", "range")]
    return JoinGroupRequest(
        group_id=group,
        session_timeout_ms=session_ms,
        rebalance_timeout_ms=20_000,
        member_id=member_id,
        protocol_type="consumer",
        protocols=protocols,
    )


async def join(served: ServedBroker, version: int = 9) -> JoinGroupResponse:
    """Returns what a new member is told, which has the group to itself."""
    told = await served.ask(joining(), JoinGroupResponse, version)
    if told.error_code == MemberIdRequired.code:
        assert version >= 4
        told = await served.ask(joining(told.member_id), JoinGroupResponse, version)
    assert told.error_code == 0
    return told


async def sync(served: ServedBroker, told: JoinGroupResponse, version: int = 5, **given: object) -> SyncGroupResponse:
    fields = {
        "group_id": "g",
        "generation_id": told.generation_id,
        "member_id": told.member_id,
        "protocol_type": "consumer" if version >= 5 else None,
        "protocol_name": "range" if version >= 5 else None,
        "assignments": [SyncGroupRequest.Assignment(member_id=told.member_id, assignment=b"mine")],
    }
    return await served.ask(SyncGroupRequest(**(fields | given)), SyncGroupResponse, version)


@pytest.mark.parametrize("version", range(10))
@in_virtual_time
async def test_a_member_joins_syncs_beats_is_described_and_leaves(version: int) -> None:
    served = await with_topic()
    told = await join(served, version)
    assert told.generation_id == 1
    assert told.leader == told.member_id
    assert told.member_id.startswith("test-")
    assert told.protocol_name == "range"
    assert [(one.member_id, bytes(one.metadata)) for one in told.members] == [(told.member_id, b"range")]
    assert told.protocol_type == ("consumer" if version >= 7 else None)
    synced = await sync(served, told, min(version, 5))
    assert (synced.error_code, bytes(synced.assignment)) == (0, b"mine")
    for generation, code in ((1, 0), (2, IllegalGeneration.code)):
        beat = HeartbeatRequest(group_id="g", generation_id=generation, member_id=told.member_id)
        assert (await served.ask(beat, HeartbeatResponse, min(version, 4))).error_code == code
    asks = DescribeGroupsRequest(groups=["g", "none"])
    group, none = (await served.ask(asks, DescribeGroupsResponse, min(version, 6))).groups
    assert (group.group_state, group.protocol_type, group.protocol_data) == ("Stable", "consumer", "range")
    (member,) = group.members
    assert (member.client_id, member.client_host, bytes(member.member_assignment)) == ("test", "/client", b"mine")
    assert (none.group_state, none.error_code) == ("Dead", GroupIdNotFound.code if version >= 6 else 0)
    leaver = LeaveGroupRequest.Member(member_id=told.member_id, reason="done" if version >= 5 else None)
    for code in (0, UnknownMember.code):
        leaves = (
            LeaveGroupRequest(group_id="g", members=[leaver])
            if version >= 3
            else LeaveGroupRequest(group_id="g", member_id=told.member_id)
        )
        left = await served.ask(leaves, LeaveGroupResponse, min(version, 5))
        assert [left.error_code, *(one.error_code for one in left.members)] == ([0, code] if version >= 3 else [code])


@in_virtual_time
async def test_what_is_refused_bears_the_codes_of_kafka() -> None:
    served = await with_topic()
    for request, code, member_id in (
        (joining("m", ""), InvalidGroupId.code, "m"),
        (joining("m", session_ms=1), InvalidSessionTimeout.code, "m"),
        (joining("m"), UnknownMember.code, "m"),
    ):
        told = await served.ask(request, JoinGroupResponse)
        assert (told.error_code, told.member_id, told.generation_id, told.protocol_name) == (code, member_id, -1, None)
    told = await served.ask(joining("m"), JoinGroupResponse, 6)
    assert told.protocol_name == "", "which could not be null then"
    told = await join(served)
    assert (await sync(served, told, protocol_type=None)).error_code == InconsistentGroupProtocol.code
    assert (await sync(served, told, protocol_name="sticky")).error_code == InconsistentGroupProtocol.code


@in_virtual_time
async def test_operations_are_told_of_groups_that_are_there() -> None:
    served = await with_topic()
    await join(served)
    asks = DescribeGroupsRequest(groups=["g", "none", ""], include_authorized_operations=True)
    told = (await served.ask(asks, DescribeGroupsResponse)).groups
    assert [one.authorized_operations for one in told] == [0b110101001000, -(1 << 31), -(1 << 31)]
    assert [one.error_code for one in told] == [0, GroupIdNotFound.code, GroupIdNotFound.code]
    assert told[0].group_state == "CompletingRebalance"


@in_virtual_time
async def test_the_last_to_join_answers_all_and_a_leave_ends_the_wait() -> None:
    served = await with_topic()
    first = await join(served)
    await sync(served, first)
    given = (await served.ask(joining(), JoinGroupResponse)).member_id
    waiting = asyncio.ensure_future(served.ask(joining(given), JoinGroupResponse))
    await asyncio.sleep(1)
    assert not waiting.done()
    leaver = LeaveGroupRequest.Member(member_id=given)
    await served.ask(LeaveGroupRequest(group_id="g", members=[leaver]), LeaveGroupResponse)
    assert (await waiting).error_code == UnknownMember.code


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "/127.0.0.1"),
        ("::1", "/0:0:0:0:0:0:0:1"),
        ("2001:db8::a0:1", "/2001:db8:0:0:0:0:a0:1"),
        ("fe80::1%eth0", "/fe80:0:0:0:0:0:0:1%eth0"),
        ("node-3", "/node-3"),
    ],
)
def test_where_clients_are_is_shown_as_java_shows_it(host: str, shown: str) -> None:
    assert client_host(host) == shown
