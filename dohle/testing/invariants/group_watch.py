"""Group watch: that no coordinator hands a partition on before its owner has given it up, or is gone.

While it is entered, what coordinators hear from members of KIP-848 and let out to them passes through here, of whatever
node, and is left as it is. Members are taken to be gone as soon as that is written: whether it lasts, replication says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dohle.broker.groups.led_shard import LedShard
from dohle.groups.consumer.commands import ConsumerHeartbeat, HeartbeatAnswer
from dohle.groups.consumer.groups import ConsumerGroups
from dohle.groups.outcome import Moment, Outcome, Ticket
from dohle.groups.records import GroupRecord, MemberRecord
from dohle.groups.shard import GroupShard
from dohle.model.errors import DohleError
from dohle.testing.invariants.ownership import Heard, Ownership, said_to_have


@contextmanager
def watched_groups(violated: Callable[[str], None]) -> Iterator[None]:
    """Tells `violated` of partitions that are handed on too early meanwhile. One at a time is entered."""
    ownership = Ownership(violated)
    asked: dict[ConsumerGroups, dict[Ticket, tuple[Heard, str]]] = {}
    heartbeat, finish, apply = ConsumerGroups.heartbeat, LedShard._finish, GroupShard.apply

    def heard(self: ConsumerGroups, request: ConsumerHeartbeat, ticket: Ticket, moment: Moment) -> Outcome:
        outcome = heartbeat(self, request, ticket, moment)
        if not isinstance(outcome.replies.get(ticket), DohleError):
            number = ownership.heard(request.group_id, request.member_id, said_to_have(request))
            asked.setdefault(self, {})[ticket] = number, request.group_id
        return outcome

    def finished(self: LedShard, outcome: Outcome, failure: DohleError | None) -> None:
        waiting = asked.get(self._shard.consumer, {})
        for ticket, reply in outcome.replies.items():
            known = waiting.pop(ticket, None)
            if known is None or failure is not None or self._is_over or not isinstance(reply, HeartbeatAnswer):
                continue
            if reply.assignment is not None:
                ownership.told(*known, reply.member_id, reply.assignment)
        finish(self, outcome, failure)

    def applied(self: GroupShard, record: GroupRecord) -> None:
        if isinstance(record, MemberRecord) and record.value is None:
            ownership.gone(record.group_id, record.member_id)
        apply(self, record)

    ConsumerGroups.heartbeat = heard  # type: ignore[method-assign]
    LedShard._finish = finished  # type: ignore[method-assign]
    GroupShard.apply = applied  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConsumerGroups.heartbeat = heartbeat  # type: ignore[method-assign]
        LedShard._finish = finish  # type: ignore[method-assign]
        GroupShard.apply = apply  # type: ignore[method-assign]
