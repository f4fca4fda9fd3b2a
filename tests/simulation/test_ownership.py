"""Who of a group may believe that a partition is its own."""

from __future__ import annotations

from dohle.groups.consumer.commands import ConsumerHeartbeat
from dohle.groups.records import Assignment
from dohle.model.ids import TopicId
from dohle.testing.invariants.ownership import Ownership, said_to_have

PARTITION: Assignment = ((TopicId(b"t" * 16), (0,)),)


def heartbeat(epoch: int, owned: Assignment | None = None) -> ConsumerHeartbeat:
    return ConsumerHeartbeat(
        group_id="g",
        member_id="a",
        member_epoch=epoch,
        instance_id="one",
        rack=None,
        rebalance_timeout_ms=-1,
        topics=None,
        regex=None,
        assignor=None,
        owned=owned,
        client_id="",
        client_host="",
    )


def handed_on(*said: ConsumerHeartbeat) -> list[str]:
    """Returns what is violated where `a` has the partition, says this, and `b` is given it."""
    violations: list[str] = []
    ownership = Ownership(violations.append)
    ownership.told(ownership.heard("g", "a", None), "g", "a", PARTITION)
    for request in said:
        ownership.heard("g", "a", said_to_have(request))
    ownership.told(ownership.heard("g", "b", None), "g", "b", PARTITION)
    return violations


def test_who_says_nothing_of_it_has_it_still() -> None:
    assert handed_on()
    assert handed_on(heartbeat(3))
    assert handed_on(heartbeat(3, PARTITION))


def test_who_has_given_it_up_or_leaves_has_it_no_more() -> None:
    assert not handed_on(heartbeat(3, ()))
    assert not handed_on(heartbeat(-1))
    assert not handed_on(heartbeat(-2))
