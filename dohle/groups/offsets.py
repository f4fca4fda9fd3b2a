"""Offsets: what groups have committed, who may commit and read it, and when it ends.

Commands, each of which a driver calls with the shard, a ticket and the moment: `Commit`, `FetchOffsets`,
`DeleteOffsets`, `DeleteGroup`, `ListGroups`. The rules are those of Kafka's group coordinator (KIP-211, 496, 518, 709,
848). A read returns what was appended, which a later commit may have been as well; its answer waits for that.

Transactions: pending offsets will stand beside the committed ones. What asks whether there are any is `is_pending`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dohle.groups.expiry import Expiry
from dohle.groups.group import CLASSIC, CONSUMER_PROTOCOL
from dohle.groups.outcome import Moment, Outcome, Ticket
from dohle.groups.records import CommittedOffset, GroupRecord, OffsetRecord
from dohle.groups.state import ShardState
from dohle.model.errors import DohleError, UnknownTopicId, UnknownTopicOrPartition
from dohle.model.group_errors import (
    GroupIdNotFound,
    GroupSubscribedToTopic,
    IllegalGeneration,
    NonEmptyGroup,
    OffsetMetadataTooLarge,
    UnstableOffsetCommit,
)
from dohle.model.ids import PartitionKey, TopicId, TopicPartition, id_text
from dohle.model.image import TopicImage

if TYPE_CHECKING:
    from dohle.groups.shard import GroupShard

_NEVER_MS: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class OffsetToCommit:
    """`topic`: its name, or its id. `leader_epoch` -1: not known."""

    topic: str | TopicId
    partition: int
    offset: int
    leader_epoch: int = -1
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class Commit:
    """Commits offsets of a group. Answered with a DohleError or None for each of them, in their order.

    `epoch`: the member's generation or epoch; -1 with an empty `member_id`: whoever commits is no member.
    `knows_epochs`: as in `Group.check_commit`. `retention_ms`: how long to keep them, as old clients may ask; None: by
    the group's rules.
    """

    group_id: str
    offsets: tuple[OffsetToCommit, ...]
    member_id: str = ""
    instance_id: str | None = None
    epoch: int = -1
    knows_epochs: bool = True
    retention_ms: int | None = None

    def __call__(self, shard: GroupShard, ticket: Ticket, moment: Moment) -> Outcome:
        return shard.offsets.commit(self, ticket, moment)


@dataclass(frozen=True, slots=True)
class FetchedOffset:
    """What is known of one partition; `topic` as it was asked for. `value` None: nothing was committed, or `error` says
    why it is not told."""

    topic: str | TopicId
    partition: int
    value: CommittedOffset | None
    error: DohleError | None = None


@dataclass(frozen=True, slots=True)
class FetchOffsets:
    """Reads committed offsets. Answered with a tuple of FetchedOffset, in the order of `topics`; of a group that is not
    there nothing was committed. Errors: UnknownMember, StaleMemberEpoch, IllegalGeneration.

    `topics`: names or ids, with partitions; None: all that there are, by names, ascending. `member_id` None and `epoch`
    -1: whoever reads is no member, or does not say. `require_stable`: an offset is not told while a transaction has
    another one pending (UnstableOffsetCommit).
    """

    group_id: str
    topics: tuple[tuple[str | TopicId, tuple[int, ...]], ...] | None = None
    member_id: str | None = None
    epoch: int = -1
    require_stable: bool = False

    def __call__(self, shard: GroupShard, ticket: Ticket, moment: Moment) -> Outcome:
        return shard.offsets.fetch(self, ticket)


@dataclass(frozen=True, slots=True)
class DeleteOffsets:
    """Forgets committed offsets (KIP-496). Answered with a DohleError or None for each partition, in their order.
    Errors of the whole: GroupIdNotFound, NonEmptyGroup (members whose subscriptions nobody knows)."""

    group_id: str
    partitions: tuple[TopicPartition, ...]

    def __call__(self, shard: GroupShard, ticket: Ticket, moment: Moment) -> Outcome:
        return shard.offsets.delete(self, ticket)


@dataclass(frozen=True, slots=True)
class DeleteGroup:
    """Ends a group without members, with its offsets. Answered with None. Errors: GroupIdNotFound, NonEmptyGroup."""

    group_id: str

    def __call__(self, shard: GroupShard, ticket: Ticket, moment: Moment) -> Outcome:
        return shard.offsets.delete_group(self, ticket)


@dataclass(frozen=True, slots=True)
class ListedGroup:
    group_id: str
    protocol_type: str
    state: str
    kind: str


@dataclass(frozen=True, slots=True)
class ListGroups:
    """Lists this shard's groups in those states and of those kinds, in any case; no filter: all. Answered with a tuple
    of ListedGroup, by id. A state or kind that there is not has no groups."""

    states: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def __call__(self, shard: GroupShard, ticket: Ticket, moment: Moment) -> Outcome:
        return shard.offsets.list_groups(self, ticket)


class Offsets:
    """The part of a shard that has its groups' offsets, and what concerns groups of both protocols alike."""

    applies: tuple[type[GroupRecord], ...] = (OffsetRecord,)

    def __init__(self, state: ShardState) -> None:
        self._state = state
        self._expiry = Expiry(state, self.is_pending)

    # commands

    def commit(self, command: Commit, ticket: Ticket, moment: Moment) -> Outcome:
        """Offsets that can be committed are, whatever is wrong with others."""
        topics = [self._topic(one.topic) for one in command.offsets]
        errors = [self._unknown(one.topic, one.partition) for one in command.offsets]
        refusal = None
        if None in errors:
            known = zip(command.offsets, topics, errors, strict=True)
            partitions = tuple(
                [PartitionKey(topic.topic_id, one.partition) for one, topic, error in known if topic and not error]
            )
            try:
                self._begin_commit(command, partitions, moment)
            except DohleError as error:
                refusal = error
        expire_ms = -1
        if command.retention_ms is not None:
            expire_ms = min(moment.wall_ms + command.retention_ms, _NEVER_MS)
        records: list[GroupRecord] = []
        for place, (one, topic) in enumerate(zip(command.offsets, topics, strict=True)):
            if errors[place] is None:
                errors[place] = refusal or self._oversize(one.metadata)
            if errors[place] is None:
                assert topic is not None
                value = CommittedOffset(
                    one.offset, one.leader_epoch, one.metadata, moment.wall_ms, expire_ms, topic.topic_id
                )
                records.append(OffsetRecord(command.group_id, topic.name, one.partition, value))
        self._state.counts.commits += bool(records)
        self._state.counts.offsets += len(records)
        return Outcome(tuple(records), {ticket: tuple(errors)})

    def fetch(self, command: FetchOffsets, ticket: Ticket) -> Outcome:
        group = self._state.group(command.group_id)
        if group is not None:
            try:
                group.check_fetch(command.member_id, command.epoch)
            except GroupIdNotFound:
                group = None
            except DohleError as refusal:
                return Outcome(replies={ticket: refusal})
        found = self._state.offsets.of(command.group_id) if group is not None else {}
        topics = command.topics
        if topics is None:
            topics = tuple([(topic, tuple(sorted(partitions))) for topic, partitions in sorted(found.items())])
        fetched: list[FetchedOffset] = []
        for asked, partitions in topics:
            topic = self._topic(asked)
            name = asked if isinstance(asked, str) else "" if topic is None else topic.name
            values = found.get(name, {})
            for partition in partitions:
                error = self._untold(command, asked, name, partition)
                value = None if error is not None else values.get(partition)
                if value is not None and topic is not None and value.topic_id not in (None, topic.topic_id):
                    value = None  # it was committed for another topic of that name
                fetched.append(FetchedOffset(asked, partition, value, error))
        return Outcome(replies={ticket: tuple(fetched)})

    def delete(self, command: DeleteOffsets, ticket: Ticket) -> Outcome:
        group = self._state.group(command.group_id)
        if group is None or group.state == "Dead":
            return Outcome(replies={ticket: _not_found(command.group_id)})
        if group.kind == CLASSIC and group.state != "Empty" and group.protocol_type != CONSUMER_PROTOCOL:
            refusal = NonEmptyGroup(f"group {group.group_id} has members, whose subscriptions only they know")
            return Outcome(replies={ticket: refusal})
        errors: list[DohleError | None] = []
        records: dict[GroupRecord, None] = {}
        for topic, partition in command.partitions:
            error = self._unknown(topic, partition)
            if error is None and group.subscribes_to(topic):
                error = GroupSubscribedToTopic(f"members of group {group.group_id} subscribe to {topic}")
            errors.append(error)
            if error is None and self._has(group.group_id, topic, partition):
                records[OffsetRecord(group.group_id, topic, partition, None)] = None
        return Outcome(tuple(records), {ticket: tuple(errors)})

    def delete_group(self, command: DeleteGroup, ticket: Ticket) -> Outcome:
        group = self._state.group(command.group_id)
        if group is None:
            return Outcome(replies={ticket: _not_found(command.group_id)})
        try:
            group.check_deletion()
        except DohleError as error:
            return Outcome(replies={ticket: error})
        offsets = [
            OffsetRecord(group.group_id, topic, partition, None)
            for topic, partitions in sorted(self._state.offsets.of(group.group_id).items())
            for partition in sorted(partitions)
        ]
        return Outcome((*offsets, *group.tombstones()), {ticket: None})

    def list_groups(self, command: ListGroups, ticket: Ticket) -> Outcome:
        states = {state.strip().lower() for state in command.states}
        kinds = {kind.strip().lower() for kind in command.kinds}
        listed: list[ListedGroup] = []
        for group_id in sorted(self._state.group_ids()):
            group = self._state.group(group_id)
            assert group is not None
            if (not states or group.state.lower() in states) and (not kinds or group.kind.lower() in kinds):
                listed.append(ListedGroup(group_id, group.protocol_type, group.state, group.kind))
        return Outcome(replies={ticket: tuple(listed)})

    def is_pending(self, group_id: str, topic: str, partition: int) -> bool:
        """Whether a transaction has an offset of the partition that is neither committed nor aborted: no transactions
        write here yet."""
        return False

    # as a part of the shard

    def apply(self, record: GroupRecord) -> None:
        assert isinstance(record, OffsetRecord)
        if record.value is None:
            self._state.offsets.remove(record.group_id, record.topic, record.partition)
        else:
            self._state.offsets.put(record.group_id, record.topic, record.partition, record.value)

    def begin(self, moment: Moment) -> Iterable[Outcome]:
        self._expiry.begin(moment)
        return ()

    def topics_changed(self, moment: Moment) -> Iterable[Outcome]:
        self._expiry.topics_changed(moment)
        return ()

    # what commands have in common

    def _begin_commit(self, command: Commit, partitions: Sequence[PartitionKey], moment: Moment) -> None:
        """Raises what the whole commit is refused with. To a group that is not there all may commit but members."""
        group = self._state.group(command.group_id)
        if group is None and command.epoch < 0:
            return
        if group is None:
            raise _not_found(command.group_id) if command.knows_epochs else IllegalGeneration()
        group.check_commit(
            command.member_id, command.instance_id, command.epoch, partitions, knows_epochs=command.knows_epochs
        )
        group.committed(command.member_id, moment.now_s)

    def _oversize(self, metadata: str) -> DohleError | None:
        most = self._state.settings.offset_metadata_max_bytes
        if len(metadata) <= most:
            return None
        return OffsetMetadataTooLarge(f"the commit's metadata has {len(metadata)} characters, and may have {most}")

    def _topic(self, topic: str | TopicId) -> TopicImage | None:
        image = self._state.image
        return image.topic_named(topic) if isinstance(topic, str) else image.topics.get(topic)

    def _unknown(self, asked: str | TopicId, partition: int) -> DohleError | None:
        """Returns what is wrong with a partition that is not there."""
        topic = self._topic(asked)
        if topic is None:
            return _no_topic(asked)
        if not 0 <= partition < len(topic.partitions):
            return UnknownTopicOrPartition(f"topic {topic.name} has no partition {partition}")
        return None

    def _untold(self, command: FetchOffsets, asked: str | TopicId, name: str, partition: int) -> DohleError | None:
        """Returns why an offset is not told. Of a topic whose name alone is asked for there may be nothing to tell."""
        if not name and not isinstance(asked, str):
            return _no_topic(asked)
        if command.require_stable and self.is_pending(command.group_id, name, partition):
            return UnstableOffsetCommit(f"a transaction has an offset of {name}-{partition} pending: ask again")
        return None

    def _has(self, group_id: str, topic: str, partition: int) -> bool:
        return self._state.offsets.get(group_id, topic, partition) is not None or self.is_pending(
            group_id, topic, partition
        )


def _no_topic(asked: str | TopicId) -> DohleError:
    if isinstance(asked, str):
        return UnknownTopicOrPartition(f"there is no topic {asked}")
    return UnknownTopicId(f"there is no topic of id {id_text(asked)}")


def _not_found(group_id: str) -> GroupIdNotFound:
    return GroupIdNotFound(f"there is no group {group_id}")
