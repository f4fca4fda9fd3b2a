"""Members of classic groups, as tests write them down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dohle.groups.classic.commands import (
    Describe,
    Description,
    Heartbeat,
    Join,
    Joined,
    Leave,
    Leaver,
    NotJoined,
    Protocols,
    Sync,
    Synced,
)
from dohle.groups.settings import GroupSettings
from dohle.groups.subscription import Subscription, encode_subscription
from dohle.model.errors import DohleError
from tests.groups.harness import Asked, Harness

GROUP = "g"
INSTANT = GroupSettings(initial_rebalance_delay_ms=0)
RANGE: Protocols = (("range", encode_subscription(Subscription(("t",)))),)
OTHER_TOPIC: Protocols = (("range", encode_subscription(Subscription(("u",)))),)


def join(member_id: str = "", instance_id: str | None = None, **given: Any) -> Join:
    """A join as most are: `consumer`, one protocol, session 10 s, rebalance 60 s, without the handshake."""
    values = {
        "group_id": GROUP,
        "client_id": "c",
        "client_host": "/127.0.0.1",
        "protocol_type": "consumer",
        "protocols": RANGE,
        "session_timeout_ms": 10_000,
        "rebalance_timeout_ms": 60_000,
        "needs_member_id": False,
    }
    return Join(member_id=member_id, instance_id=instance_id, **(values | given))


def joined(asked: Asked) -> Joined:
    assert isinstance(asked.reply, Joined), asked.reply
    return asked.reply


def not_joined(asked: Asked, error: type[DohleError]) -> str:
    """Returns the member id that the refusal bears."""
    assert isinstance(asked.reply, NotJoined), asked.reply
    assert type(asked.reply.error) is error, asked.reply.error
    return asked.reply.member_id


def synced(asked: Asked) -> bytes:
    assert isinstance(asked.reply, Synced), asked.reply
    return asked.reply.assignment


def is_refused(asked: Asked, error: type[DohleError]) -> None:
    assert type(asked.error) is error, asked.error


@dataclass
class Members:
    """The members of one group, driven through the phases of a rebalance."""

    harness: Harness

    def ask_to_join(self, member_id: str = "", instance_id: str | None = None, **given: Any) -> Asked:
        return self.harness.ask(join(member_id, instance_id, **given))

    def join_all(self, *asked: Asked, wait_s: float = 0) -> list[Joined]:
        """Lets the initial delay pass, and returns what they were told."""
        self.harness.pass_time(wait_s)
        return [joined(one) for one in asked]

    def sync(
        self,
        member_id: str,
        generation: int,
        assignments: dict[str, bytes] | None = None,
        instance_id: str | None = None,
        **given: Any,
    ) -> Asked:
        brought = tuple((assignments or {}).items())
        return self.harness.ask(Sync(GROUP, member_id, instance_id, generation, brought, **given))

    def heartbeat(self, member_id: str, generation: int, instance_id: str | None = None) -> Asked:
        return self.harness.ask(Heartbeat(GROUP, member_id, instance_id, generation))

    def leave(self, *leavers: Leaver | str) -> list[type[DohleError] | None]:
        told = self.harness.call(Leave(GROUP, tuple(Leaver(one) if isinstance(one, str) else one for one in leavers)))
        return [None if error is None else type(error) for error in told]

    def describe(self) -> Description:
        description = self.harness.call(Describe(GROUP))
        assert isinstance(description, Description)
        return description

    @property
    def state(self) -> str:
        return self.describe().state

    def stable(self, count: int, *instances: str, **given: Any) -> list[Joined]:
        """Makes a stable group of so many members, and static ones of these names; the first one leads. Each is
        assigned its own number, from 0, as bytes."""
        asked = [self.ask_to_join(**given) for _ in range(count)]
        asked += [self.ask_to_join("", instance, **given) for instance in instances]
        told = self.join_all(*asked, wait_s=self.harness.settings.initial_rebalance_delay_ms / 1000 * (len(asked) + 1))
        self.assign(told)
        return told

    def assign(self, told: list[Joined]) -> None:
        """All of them sync, the leader last; each is assigned its number."""
        assignments = {one.member_id: bytes([number]) for number, one in enumerate(told)}
        leader = next(one for one in told if one.member_id == one.leader)
        followers = [self.sync(one.member_id, one.generation) for one in told if one is not leader]
        answers = [*followers, self.sync(leader.member_id, leader.generation, assignments)]
        assert all(isinstance(one.reply, Synced) for one in answers)
        assert self.state == "Stable"
