"""Members of KIP-848 groups, as tests have them: each keeps what it was told, and says what a client would."""

from __future__ import annotations

from dataclasses import dataclass, field

from dohle.groups.consumer.commands import ConsumerHeartbeat, HeartbeatAnswer
from dohle.groups.records import Assignment
from dohle.model.error_tree import DohleError
from dohle.model.group_errors import FencedMemberEpoch, UnknownMember
from dohle.model.ids import PartitionKey
from tests.groups.harness import Harness


@dataclass
class TestMember:
    """`held`: what it consumes; `assigned`: what it was told last that it is to have, which it
    does only once it `is_slow` no more."""

    __test__ = False

    harness: Harness
    group_id: str
    member_id: str
    topics: tuple[str, ...] | None = None
    regex: str | None = None
    instance_id: str | None = None
    assignor: str | None = None
    rebalance_timeout_ms: int = 60_000
    epoch: int = 0
    held: Assignment = ()
    assigned: Assignment = ()
    interval_ms: int = 0
    is_slow: bool = False
    errors: list[DohleError] = field(default_factory=list)

    @property
    def partitions(self) -> set[PartitionKey]:
        return {PartitionKey(topic_id, number) for topic_id, numbers in self.held for number in numbers}

    def request(self, *, full: bool = False) -> ConsumerHeartbeat:
        """`full`: it says all, as after an error."""
        full = full or self.epoch == 0
        return ConsumerHeartbeat(
            group_id=self.group_id,
            member_id=self.member_id,
            member_epoch=self.epoch,
            instance_id=self.instance_id,
            rebalance_timeout_ms=self.rebalance_timeout_ms if full else -1,
            topics=self.topics if full else None,
            regex=self.regex if full else None,
            assignor=self.assignor if full else None,
            owned=self.held,
            client_id=f"client of {self.member_id}",
            client_host="/127.0.0.1",
        )

    def beat(self, *, full: bool = False, loses_answer: bool = False) -> HeartbeatAnswer | None:
        """One heartbeat; it gives up at once what it is told to. None if it was fenced, and has given up all."""
        reply = self.harness.ask(self.request(full=full)).reply
        if loses_answer:
            return None
        if isinstance(reply, DohleError):
            self.errors.append(reply)
            if isinstance(reply, (FencedMemberEpoch, UnknownMember)):
                self.epoch, self.held, self.assigned = 0, (), ()
            return None
        assert isinstance(reply, HeartbeatAnswer)
        self.take(reply)
        return reply

    def take(self, answer: HeartbeatAnswer) -> None:
        self.epoch, self.interval_ms = answer.member_epoch, answer.heartbeat_interval_ms
        if answer.assignment is not None:
            self.assigned = answer.assignment
        if not self.is_slow:
            self.held = self.assigned

    def leave(self) -> None:
        self.harness.call(
            ConsumerHeartbeat(self.group_id, self.member_id, -1, client_id="", instance_id=self.instance_id)
        )
        self.epoch, self.held, self.assigned = 0, (), ()


def settle(*members: TestMember, beats: int = 10) -> int:
    """Has members come in turn until nothing changes. Returns how many rounds it took."""
    for number in range(beats):
        before = [(member.epoch, member.held) for member in members]
        for member in members:
            member.beat()
        if before == [(member.epoch, member.held) for member in members]:
            return number
    raise AssertionError(f"members have not settled in {beats} heartbeats each")
