"""ConsumerMember: a member of the GroupWorld that speaks KIP-848, as Kafka's clients do."""

from __future__ import annotations

from typing import Any

from dohle.groups.consumer.commands import JOINING_EPOCH, LEAVING_EPOCH, ConsumerHeartbeat, HeartbeatAnswer
from dohle.groups.outcome import Moment, Outcome, Ticket
from dohle.groups.records import Assignment
from dohle.groups.shard import GroupShard
from dohle.model.errors import DohleError
from dohle.model.group_errors import FencedMemberEpoch, UnknownMember
from dohle.model.ids import PartitionKey, TopicId
from dohle.testing.invariants.ownership import Heard, said_to_have
from tests.groups.group_world import GROUP, INTERVAL_S, REBALANCE_S, GroupWorld, Member, Request


class ConsumerMember(Member):
    """It gives up one partition after the other, and takes what is new once it has given up all that it is to."""

    def __init__(self, world: GroupWorld, process: str) -> None:
        super().__init__(world, process)
        self.epoch = JOINING_EPOCH
        self._topics = world.chance.choice((("t",), ("t", "u")))
        self._tells_all = True
        self._told: Assignment | None = None  # what it has said that it owns
        self._target: set[PartitionKey] | None = None
        self._request: Request | None = None
        self._next_s = 0.0
        self._heard: dict[Request, Heard] = {}

    @property
    def topics(self) -> tuple[str, ...]:
        return self._topics

    @property
    def member_id(self) -> str:
        return self.process

    @property
    def is_restless(self) -> bool:
        return self._target is not None or self._told != self._owned() or None in self.positions.values()

    def keeps_up(self) -> None:
        if self._target is not None:
            self._reconcile(self._target)
        due = self._next_s <= self.world.now_s or self._told != self._owned() or self.epoch == JOINING_EPOCH
        if self._request is None and due:
            self._heartbeat()

    def leaves(self) -> None:
        self.world.counts("left")
        self.alive = False
        for key in self.positions:
            self.commits(key)
        self._send(ConsumerHeartbeat(GROUP, self.member_id, LEAVING_EPOCH), lambda _: None)

    def sees(self, request: Request, reply: Any) -> None:
        if request.member is self and isinstance(reply, HeartbeatAnswer) and reply.assignment is not None:
            self.world.ownership.told(self._heard.pop(request), GROUP, self.member_id, reply.assignment)

    def _heartbeat(self) -> None:
        owned = self._owned()
        self._next_s = self.world.now_s + INTERVAL_S
        command = ConsumerHeartbeat(
            GROUP,
            self.member_id,
            self.epoch,
            rebalance_timeout_ms=int(REBALANCE_S * 1000) if self._tells_all else -1,
            topics=self._topics if self._tells_all else None,
            owned=owned if self._tells_all or owned != self._told else None,
        )
        self._told, self._tells_all = owned, False
        self._request = self._send(command, self._take)

    def _send(self, command: ConsumerHeartbeat, take: Any) -> Request:
        def heard(shard: GroupShard, ticket: Ticket, moment: Moment) -> Outcome:
            outcome = command(shard, ticket, moment)
            if not isinstance(outcome.replies.get(ticket), DohleError):
                self._heard[request] = self.world.ownership.heard(GROUP, command.member_id, said_to_have(command))
            return outcome

        request = self.world.send(heard, take, self)
        return request

    def _take(self, reply: Any) -> None:
        self._request = None
        match reply:
            case HeartbeatAnswer():
                self.epoch = reply.member_epoch
                if reply.assignment is not None:
                    self._target = {PartitionKey(topic, one) for topic, numbers in reply.assignment for one in numbers}
            case FencedMemberEpoch() | UnknownMember():
                self.world.counts(f"fenced: {type(reply).__name__}")
                self.loses_all()
                self.epoch, self._target, self._tells_all = JOINING_EPOCH, None, True
            case DohleError():
                self._tells_all = True
                self._next_s = self.world.now_s
            case _:
                raise AssertionError(f"a heartbeat is answered by {reply!r}")

    def _reconcile(self, target: set[PartitionKey]) -> None:
        given_up = sorted(set(self.positions) - target)
        if given_up:
            self.world.counts("revoked")
            if self.world.chance.random() < 0.5:
                self.commits(given_up[0])
            self.loses(given_up[0])
        else:
            for key in sorted(target - set(self.positions)):
                self.gains(key)
            self._target = None

    def _owned(self) -> Assignment:
        topics: dict[TopicId, list[int]] = {}
        for key in sorted(self.positions):
            topics.setdefault(key.topic_id, []).append(key.partition)
        return tuple((topic, tuple(numbers)) for topic, numbers in topics.items())


def consumer_world(number: int) -> GroupWorld:
    """Returns a world whose members speak KIP-848."""
    return GroupWorld(number, ConsumerMember)
