"""ClassicGroup: who is in a group, in which phase of a rebalance it is, and what its members have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from dohle.groups.classic.commands import JoinedMember, Protocols
from dohle.groups.group import CLASSIC, CONSUMER_PROTOCOL
from dohle.groups.outcome import Ticket
from dohle.groups.rebalances import Who
from dohle.groups.records import ClassicGroupRecord, ClassicGroupState, ClassicMemberState
from dohle.groups.subscription import decode_subscription
from dohle.model.group_errors import (
    FencedInstanceId,
    IllegalGeneration,
    NonEmptyGroup,
    RebalanceInProgress,
    UnknownMember,
)
from dohle.model.ids import PartitionKey


class State(Enum):
    """A group's phase, by Kafka's names. One that is gone, which Kafka calls Dead, is not among a shard's groups."""

    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"


_BEFORE: Final = {
    State.EMPTY: (State.PREPARING,),
    State.PREPARING: (State.EMPTY, State.COMPLETING, State.STABLE),
    State.COMPLETING: (State.PREPARING,),
    State.STABLE: (State.COMPLETING,),
}


@dataclass(slots=True)
class ClassicMember:
    """`is_new`: it has joined, and was not told so yet. `expires_s`: when its session ends, unless it waits;
    `checked_s`: when that is looked at, which is no later. `seen_s`: when it joined, synced or committed last."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    protocols: Protocols
    session_timeout_ms: int
    rebalance_timeout_ms: int
    assignment: bytes = b""
    is_new: bool = False
    expires_s: float = 0.0
    checked_s: float | None = None
    seen_s: float | None = None

    def metadata(self, protocol: str | None) -> bytes:
        return dict(self.protocols)[protocol] if protocol is not None else b""

    @property
    def who(self) -> Who:
        return Who(self.member_id, self.instance_id, self.client_id, self.client_host)


class ClassicGroup:
    """Keeps: the leader is a member; `joining` and `syncing`, who wait and with which ticket, are members, and nobody
    is in both; `pending`, who were given an id and have not come with it yet, are none. Sets no timers."""

    kind = CLASSIC

    def __init__(self, group_id: str, wall_ms: int) -> None:
        self.group_id = group_id
        self.phase = State.EMPTY
        self.changed_ms = wall_ms
        self.is_initial = False
        """While it prepares: whether the group was empty before, and is given time to fill."""
        self.has_grown = False
        """Whether members have come since that time was last extended."""
        self.generation = 0
        self.protocol_type = ""
        self.protocol: str | None = None
        self.leader: str | None = None
        self.members: dict[str, ClassicMember] = {}
        self.instances: dict[str, str] = {}
        self.pending: dict[str, None] = {}
        self.joining: dict[str, Ticket] = {}
        self.syncing: dict[str, Ticket] = {}
        self.unsynced: dict[str, None] = {}
        """Who was told of this generation, and has not synced."""
        self._supporters: Counter[str] = Counter()
        self._subscribed: frozenset[str] | None = None

    @classmethod
    def of_record(cls, group_id: str, value: ClassicGroupState) -> ClassicGroup:
        """Returns the group as it was when it was written: stable, or empty."""
        group = cls(group_id, value.changed_ms)
        for member in value.members:
            group.add(_member_of(member, value.protocol or ""), value.protocol_type)
        group.phase = State.STABLE if value.members else State.EMPTY
        group.protocol_type, group.protocol, group.leader = value.protocol_type, value.protocol, value.leader
        group.generation = value.generation
        group._subscribed = group._read_subscriptions()
        return group

    def record(self, assignments: dict[str, bytes]) -> ClassicGroupRecord:
        """Returns the group as it is now, with these assignments."""
        members = tuple(
            ClassicMemberState(
                member_id=member.member_id,
                instance_id=member.instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                rebalance_timeout_ms=member.rebalance_timeout_ms,
                session_timeout_ms=member.session_timeout_ms,
                subscription=member.metadata(self.protocol),
                assignment=assignments.get(member.member_id, b""),
            )
            for member in self.members.values()
        )
        state = ClassicGroupState(
            self.protocol_type, self.generation, self.protocol, self.leader, self.changed_ms, members
        )
        return ClassicGroupRecord(self.group_id, state)

    # as all groups

    @property
    def state(self) -> str:
        return self.phase.value

    @property
    def is_simple(self) -> bool:
        return not self.protocol_type and self.phase is State.EMPTY and not self.pending

    @property
    def empty_since_ms(self) -> int | None:
        return self.changed_ms if self.phase is State.EMPTY else None

    def subscribes_to(self, topic: str) -> bool:
        if self._subscribed is None:
            return bool(self.members)
        return topic in self._subscribed

    def check_commit(
        self,
        member_id: str,
        instance_id: str | None,
        epoch: int,
        partitions: Sequence[PartitionKey] = (),
        *,
        knows_epochs: bool,
    ) -> None:
        if epoch < 0 and self.phase is State.EMPTY:
            return
        if epoch < 0 and not member_id and instance_id is None:
            raise UnknownMember(f"group {self.group_id} has members: only they commit to it, with their generation")
        self.check_member(member_id, instance_id)
        if epoch != self.generation:
            raise IllegalGeneration(self._stale(epoch))
        if self.phase is State.COMPLETING:
            raise RebalanceInProgress(f"group {self.group_id} waits for its leader's assignment: commit after that")

    def committed(self, member_id: str, now_s: float) -> None:
        member = self.members.get(member_id)
        if member is None:
            return
        member.seen_s = now_s
        if self.phase in (State.STABLE, State.PREPARING):
            member.expires_s = now_s + member.session_timeout_ms / 1000

    def check_fetch(self, member_id: str | None, epoch: int) -> None:
        """Whoever knows a classic group may read its offsets."""

    def check_deletion(self) -> None:
        if self.phase is not State.EMPTY:
            raise NonEmptyGroup(f"group {self.group_id} has {len(self.members)} members: stop them first")

    def tombstones(self) -> Iterable[ClassicGroupRecord]:
        return (ClassicGroupRecord(self.group_id, None),)

    # members

    def check_member(self, member_id: str, instance_id: str | None) -> None:
        """Raises UnknownMember, or FencedInstanceId where another one has come with the instance id since."""
        if instance_id is not None:
            owner = self.instances.get(instance_id)
            if owner is None:
                raise UnknownMember(f"group {self.group_id} has no member with the instance id {instance_id}")
            if owner != member_id:
                raise FencedInstanceId(
                    f"{instance_id} of group {self.group_id} is {owner} now, not {member_id}:"
                    " give each static member an instance id of its own"
                )
        if member_id not in self.members:
            raise UnknownMember(f"group {self.group_id} has no member {member_id!r}: join again without an id")

    def check_generation(self, member_id: str, instance_id: str | None, generation: int) -> None:
        """Raises as `check_member`, or IllegalGeneration."""
        self.check_member(member_id, instance_id)
        if generation != self.generation:
            raise IllegalGeneration(self._stale(generation))

    def _stale(self, generation: int) -> str:
        return f"group {self.group_id} is at generation {self.generation}, not {generation}: join again"

    def add(self, member: ClassicMember, protocol_type: str) -> None:
        """Adds a member, or takes one back."""
        assert member.instance_id is None or member.instance_id not in self.instances, "replaced, not added"
        if not self.members:
            self.protocol_type = protocol_type
        if member.instance_id is not None:
            self.instances[member.instance_id] = member.member_id
        if self.leader is None:
            self.leader = member.member_id
        self.members[member.member_id] = member
        self._supporters.update(name for name, _ in member.protocols)
        self.pending.pop(member.member_id, None)

    def remove(self, member_id: str) -> None:
        """Removes a member, or one that was only given its id; whoever waits in its name is no longer known."""
        member = self.members.pop(member_id, None)
        if member is not None:
            self._forget_protocols(member)
            if member.instance_id is not None:
                del self.instances[member.instance_id]
        for whom in (self.pending, self.joining, self.syncing, self.unsynced):
            whom.pop(member_id, None)
        if self.leader == member_id:
            self.leader = next(iter(self.members), None)

    def replace(self, old: ClassicMember, new: ClassicMember) -> None:
        """Another one is the static member now, with all that this one was."""
        assert old.instance_id == new.instance_id
        leads, has_to_sync = self.leader == old.member_id, old.member_id in self.unsynced
        self.remove(old.member_id)
        self.add(new, self.protocol_type)
        if leads:
            self.leader = new.member_id
        if has_to_sync:
            self.unsynced[new.member_id] = None

    def change(self, member: ClassicMember, protocols: Protocols, session_ms: int, rebalance_ms: int) -> None:
        """The member joins again, with what it brings now."""
        self._forget_protocols(member)
        member.protocols, member.session_timeout_ms, member.rebalance_timeout_ms = protocols, session_ms, rebalance_ms
        self._supporters.update(name for name, _ in protocols)

    def _forget_protocols(self, member: ClassicMember) -> None:
        self._supporters.subtract(name for name, _ in member.protocols)
        for name, _ in member.protocols:
            if not self._supporters[name]:
                del self._supporters[name]

    @property
    def is_complete(self) -> bool:
        """Whether everybody has come who is expected."""
        return len(self.joining) == len(self.members) and not self.pending

    @property
    def rebalance_timeout_s(self) -> float:
        """The longest that a member asks for."""
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0) / 1000

    # what they have in common

    def supports(self, protocol_type: str, protocols: Protocols) -> bool:
        """Whether somebody who brings these could be a member."""
        if self.phase is State.EMPTY:
            return bool(protocol_type and protocols)
        size = len(self.members)
        return protocol_type == self.protocol_type and any(self._supporters[name] == size for name, _ in protocols)

    def select_protocol(self) -> str:
        """Returns what all support and most want; of equals, what the longest-standing member wants."""
        size = len(self.members)
        candidates = {name for name, count in self._supporters.items() if count == size}
        votes = Counter(
            next(name for name, _ in member.protocols if name in candidates) for member in self.members.values()
        )
        return votes.most_common(1)[0][0]

    def metadata(self) -> tuple[JoinedMember, ...]:
        """Returns what its leader is told of the members."""
        return tuple(
            JoinedMember(member.member_id, member.instance_id, member.metadata(self.protocol))
            for member in self.members.values()
        )

    def _read_subscriptions(self) -> frozenset[str] | None:
        """Returns the topics of all members; None where there are members that do not say, or not readably."""
        if not self.members:
            return frozenset()
        if self.protocol_type != CONSUMER_PROTOCOL or self.protocol is None:
            return None
        try:
            return frozenset(
                topic
                for member in self.members.values()
                for topic in decode_subscription(member.metadata(self.protocol)).topics
            )
        except ValueError:
            return None

    # phases

    def enter(self, phase: State, wall_ms: int) -> None:
        assert self.phase in _BEFORE[phase], f"{self.phase} goes to no {phase}"
        self.phase, self.changed_ms = phase, wall_ms

    @property
    def can_prepare(self) -> bool:
        return self.phase in _BEFORE[State.PREPARING]

    def elect(self) -> bool:
        """Makes a member that has come the leader, unless the leader has; returns whether one leads."""
        if self.leader not in self.joining:
            came = next((member_id for member_id in self.members if member_id in self.joining), None)
            if came is None:
                return False
            self.leader = came
        return True

    def next_generation(self, wall_ms: int) -> None:
        """All have come who will: the members there are now are the group."""
        self.generation += 1
        self.protocol = self.select_protocol() if self.members else None
        self._subscribed = self._read_subscriptions()
        self.enter(State.COMPLETING if self.members else State.EMPTY, wall_ms)
        self.is_initial = self.has_grown = False
        self.unsynced.clear()


def _member_of(state: ClassicMemberState, protocol: str) -> ClassicMember:
    return ClassicMember(
        member_id=state.member_id,
        instance_id=state.instance_id,
        client_id=state.client_id,
        client_host=state.client_host,
        protocols=((protocol, state.subscription),),
        session_timeout_ms=state.session_timeout_ms,
        # the first versions of the record had none
        rebalance_timeout_ms=state.session_timeout_ms if state.rebalance_timeout_ms < 0 else state.rebalance_timeout_ms,
        assignment=state.assignment,
    )
