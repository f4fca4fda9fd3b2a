"""Ownership: who of a group may believe that a partition is its own, judged by what the coordinator hears and tells.

A member of KIP-848 holds a partition from the moment when it is told so until it says that it has given it up, is
fenced, or leaves, be it for a while. Nobody else is to be told that it has the partition before. A member that has
asked again takes no answer to what it asked before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NewType

from dohle.groups.consumer.commands import ConsumerHeartbeat
from dohle.groups.records import Assignment
from dohle.model.ids import PartitionKey, id_text

Heard = NewType("Heard", int)


class Ownership:
    """All groups', across coordinators. `violated` is told what fell."""

    def __init__(self, violated: Callable[[str], None]) -> None:
        self._violated = violated
        self._holders: dict[str, dict[PartitionKey, dict[str, None]]] = {}  # by group, then the members' ids
        self._heard = 0
        self._newest: dict[tuple[str, str], Heard] = {}  # by group and member, the last that it has asked

    def heard(self, group_id: str, member_id: str, owned: Assignment | None) -> Heard:
        """A heartbeat is taken in by which the member has these and no others; None: it does not say."""
        self._heard += 1
        number = self._newest[group_id, member_id] = Heard(self._heard)
        if owned is not None:
            self._keeps(group_id, member_id, owned)
        return number

    def told(self, heard: Heard, group_id: str, member_id: str, assignment: Assignment) -> None:
        """The answer is let out: the member has these."""
        if self._newest.get((group_id, member_id)) != heard:
            return
        holders = self._holders.setdefault(group_id, {})
        for key in _keys(assignment):
            held = holders.setdefault(key, {})
            for other in held:
                if other != member_id:
                    self._violated(
                        f"group {group_id}: member {member_id} is given partition {key.partition} of"
                        f" {id_text(key.topic_id)}, which member {other} has and has not given up"
                    )
            held[member_id] = None

    def gone(self, group_id: str, member_id: str) -> None:
        """The member has left or was fenced, and that is committed."""
        self._newest.pop((group_id, member_id), None)
        self._keeps(group_id, member_id, ())

    def _keeps(self, group_id: str, member_id: str, owned: Assignment) -> None:
        has = dict.fromkeys(_keys(owned))
        for key, held in self._holders.get(group_id, {}).items():
            if key not in has:
                held.pop(member_id, None)


def said_to_have(request: ConsumerHeartbeat) -> Assignment | None:
    """Returns what a heartbeat says that the member has; None: it does not say. Who leaves has nothing."""
    return () if request.member_epoch < 0 else request.owned


def _keys(assignment: Assignment) -> Iterator[PartitionKey]:
    for topic_id, numbers in assignment:
        for number in numbers:
            yield PartitionKey(topic_id, number)
