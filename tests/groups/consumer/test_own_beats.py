"""Groups with heartbeats and sessions of their own."""

from __future__ import annotations

import pytest

from tests.groups.consumer.members import TestMember
from tests.groups.harness import Harness

GROUP, OTHER = "g", "other"


@pytest.fixture
def harness() -> Harness:
    harness = Harness()
    harness.make_topic("t", partitions=6)
    return harness


def interval_of(member: TestMember) -> int:
    answer = member.beat()
    assert answer is not None
    return answer.heartbeat_interval_ms


def test_members_are_told_the_interval_of_their_group(harness: Harness) -> None:
    one, other = (TestMember(harness, group_id, "a", topics=("t",)) for group_id in (GROUP, OTHER))
    assert (interval_of(one), interval_of(other)) == (5000, 5000)
    harness.configure(GROUP, heartbeat_interval_ms=9000)
    assert (interval_of(one), interval_of(other)) == (9000, 5000)
    harness.configure(GROUP)
    assert interval_of(one) == 5000


def test_a_session_lasts_as_long_as_the_group_says(harness: Harness) -> None:
    one, other = (TestMember(harness, group_id, "a", topics=("t",)) for group_id in (GROUP, OTHER))
    harness.configure(GROUP, session_timeout_ms=60_000)
    one.beat()
    other.beat()
    harness.pass_time(46)
    assert harness.shard.state.groups[GROUP].state == "Stable"
    assert harness.shard.state.groups[OTHER].state == "Empty"
    harness.pass_time(15)
    assert harness.shard.state.groups[GROUP].state == "Empty"
