"""GroupMember: keeps a consumer's assignment in step with its group, and commits what is finished.

Partitions that the consumer keeps are read on, whatever happens to others. One that it is to give up is read no more
at once; the coordinator hears of it when what its reader has of it is finished, `on_revoked` has returned, and the
offset is committed. One that comes begins where the group has committed. What is lost was given to another already:
nothing of it is committed any more.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from dohle.client.assigned_partition import AssignedPartition
from dohle.client.backoff import Backoff
from dohle.client.commits import NO_MEMBER, Commits, Committable, MemberIdentity
from dohle.client.coordinator_link import CoordinatorLink
from dohle.client.fetcher import Fetcher
from dohle.client.membership import Interest, Membership, MemberTerms
from dohle.client.seams import Seams
from dohle.client.unfinished import Unfinished
from dohle.client.values import CommittedOffset
from dohle.model.errors import DohleError, UnknownTopicId, UnknownTopicOrPartition
from dohle.model.group_errors import FencedMemberEpoch, StaleMemberEpoch, UnknownMember
from dohle.model.ids import PartitionKey, TopicPartition
from dohle.runtime.network import Address
from dohle.runtime.tasks import Tasks, cancel

log = logging.getLogger(__name__)

_CLOSE_S: Final = 5.0
"""How long a consumer that is closed tries to commit, and to say that it leaves."""
_REFRESH_S: Final = 2.0
"""How long what is assigned may be unknown to this client before it looks again at what is assigned."""
_NOT_THERE: Final = (UnknownTopicOrPartition, UnknownTopicId)

T = TypeVar("T")
RebalanceCallback: TypeAlias = Callable[[list[TopicPartition]], Awaitable[None] | None]


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """See `Consumer` for what each means."""

    terms: MemberTerms
    auto_commit: bool
    auto_commit_interval_ms: int
    request_timeout_ms: int


@dataclass(frozen=True, slots=True)
class RebalanceCallbacks:
    """Each is told of the partitions that it is about."""

    on_assigned: RebalanceCallback | None = None
    on_revoked: RebalanceCallback | None = None
    on_lost: RebalanceCallback | None = None


class GroupMember:
    """A consumer's side of its group, `subscribe`d or with partitions of its own choice.

    `unfinished` knows what may be committed, `make` makes a partition, `hold` has the reader be given nothing more of
    one, `tell` has it hear of a failure.
    """

    def __init__(
        self,
        settings: GroupSettings,
        bootstrap: Sequence[Address],
        fetcher: Fetcher,
        seams: Seams,
        tasks: Tasks,
        *,
        unfinished: Callable[[], Unfinished],
        make: Callable[[TopicPartition, bytes], AssignedPartition],
        hold: Callable[[AssignedPartition], None],
        tell: Callable[[Exception], None],
    ) -> None:
        self._settings = settings
        self._fetcher = fetcher
        self._seams = seams
        self._tasks = tasks
        self._unfinished = unfinished
        self._make = make
        self._hold = hold
        self._tell = tell
        self._request_s = settings.request_timeout_ms / 1000
        terms = settings.terms
        self._link = CoordinatorLink(terms.group_id, bootstrap, fetcher.metadata, seams)
        self._commits = Commits(terms.group_id, terms.instance_id, self._link, seams)
        self._callbacks = RebalanceCallbacks()
        self._membership: Membership | None = None
        self._stepping: asyncio.Task[None] | None = None
        self._committing: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._joining = False
        self._lost: list[TopicPartition] = []
        self._committed: dict[AssignedPartition, int] = {}

    @property
    def subscribed(self) -> bool:
        return self._membership is not None

    async def subscribe(self, interest: Interest, callbacks: RebalanceCallbacks) -> None:
        """Returns when the group has taken the member in, or its new subscription. Raises why it does not."""
        self._callbacks = callbacks
        self._fetcher.by_group = True
        self._fetcher.metadata.follow(interest.topics)
        membership = self._membership
        if membership is None:
            membership = self._membership = Membership(
                self._settings.terms,
                interest,
                self._link,
                self._seams,
                self._tasks,
                on_wanted=self._changed.set,
                on_lost=self._lose_all,
                on_refused=self._refused,
                late_s=self._late_s,
            )
            self._stepping = self._tasks.spawn(self._keep_in_step(self._stepping), "assignment")
            self._start_committing()
        else:
            membership.subscribe(interest)
        self._joining = True
        try:
            await membership.joined(self._request_s)
        finally:
            self._joining = False

    async def unsubscribe(self) -> None:
        """Gives everything up, and leaves the group."""
        deadline = self._seams.clock.now() + _CLOSE_S
        membership = self._membership
        if self._stepping is not None:
            await cancel(self._stepping)
        if self._committing is not None:
            await cancel(self._committing)
            self._committing = None
        assigned = list(self._fetcher.assigned.values())
        told = not assigned or membership is None or await self._call(self._callbacks.on_revoked, assigned)
        if told and self._settings.auto_commit:
            await self._commit_finished(assigned, _CLOSE_S)
        self._drop(assigned)
        if membership is not None:
            await membership.leave(max(deadline - self._seams.clock.now(), 0.0))
            self._membership = None
            self._fetcher.by_group = False

    async def begin_at_committed(self, partitions: Sequence[AssignedPartition]) -> None:
        """Places partitions of the consumer's own choice where the group has committed. Raises why it cannot."""
        found = await self._commits.fetch(
            [(one.name, one.key.topic_id) for one in partitions], self._identity, self._request_s
        )
        for partition in partitions:
            self._place(partition, found[partition.name])
        self._start_committing()

    async def commit(self, offsets: Mapping[AssignedPartition, int] | None, metadata: str) -> None:
        """Commits `offsets`, or what is finished. Raises why one of them is not committed."""
        if offsets is None:
            offsets = self._finished(self._fetcher.assigned.values())
        if not offsets:
            return
        failures = await self._commit(offsets, self._request_s, metadata)
        for failure in failures.values():
            raise failure

    async def committed(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, CommittedOffset | None]:
        assigned = self._fetcher.assigned
        wanted = [(name, assigned[name].key.topic_id if name in assigned else b"") for name in partitions]
        return await self._commits.fetch(wanted, self._identity, self._request_s) if wanted else {}

    async def close(self) -> None:
        """Commits what is finished, if that is the consumer's task, and leaves."""
        await self.unsubscribe()

    # what the group says

    async def _keep_in_step(self, former: asyncio.Task[None] | None) -> None:
        """Has what is assigned follow what the membership wants, once `former`, which did so before, has ended."""
        if former is not None:
            await cancel(former)
        backoff = Backoff(self._seams.random)
        while True:
            self._changed.clear()
            if self._lost:
                lost, self._lost = self._lost, []
                await self._tell_of(self._callbacks.on_lost, lost)
            wanted = {} if self._membership is None else self._membership.wanted
            gone = [one for one in self._fetcher.assigned.values() if one.key not in wanted]
            if gone:
                await self._give_up(gone)
            settled = await self._take_on(wanted)
            if self._membership is not None:
                self._membership.owns(tuple(one.key for one in self._fetcher.assigned.values()))
            if settled:
                backoff.reset()
                await self._changed.wait()
            else:
                await self._seams.clock.wait(self._changed, backoff.next_s())

    async def _give_up(self, gone: list[AssignedPartition]) -> None:
        for partition in gone:
            partition.held = True
            self._unfinished().hold(partition)
            self._hold(partition)
        for partition in gone:
            await self._unfinished().until_finished(partition)
        if await self._call(self._callbacks.on_revoked, gone) and self._settings.auto_commit:
            await self._commit_finished(gone, self._settings.terms.rebalance_timeout_ms / 1000)
        self._drop(gone)

    async def _take_on(self, wanted: Mapping[PartitionKey, str]) -> bool:
        """Begins to read what is wanted and not assigned; False if some of it cannot be read yet."""
        owned = {one.key for one in self._fetcher.assigned.values()}
        missing = {key: name for key, name in wanted.items() if key not in owned}
        if not missing:
            return True
        try:
            there = await self._known(missing)
            names = [(TopicPartition(missing[key], key.partition), bytes(key.topic_id)) for key in there]
            found = await self._fetched(names) if names else {}
        except DohleError as failure:
            log.info("group %s: cannot begin yet: %s", self._settings.terms.group_id, failure.message)
            return False
        if self._membership is None or self._membership.wanted is not wanted:
            return False  # another assignment meanwhile
        added = [self._make(name, topic_id) for name, topic_id in names]
        for partition in added:
            partition.held = True
            self._place(partition, found[partition.name])
        self._fetcher.assign([*self._fetcher.assigned.values(), *added])
        if added:
            await self._call(self._callbacks.on_assigned, added)
        for partition in added:
            partition.held = False
        self._fetcher.wake()
        return len(added) == len(missing)

    async def _known(self, missing: Mapping[PartitionKey, str]) -> list[PartitionKey]:
        """Returns those that the client's metadata has; of the others it is to learn."""
        metadata = self._fetcher.metadata
        there = [key for key, name in missing.items() if self._has(key, name)]
        if len(there) < len(missing):
            metadata.follow(dict.fromkeys(missing.values()))
            await metadata.next_refresh(_REFRESH_S)
            there = [key for key, name in missing.items() if self._has(key, name)]
        return there

    def _has(self, key: PartitionKey, name: str) -> bool:
        topic = self._fetcher.metadata.view.topics.get(name)
        return topic is not None and topic.topic_id == key.topic_id and key.partition < len(topic.partitions)

    async def _fetched(self, names: list[tuple[TopicPartition, bytes]]) -> dict[TopicPartition, CommittedOffset | None]:
        return await self._as_member(self._request_s, lambda left_s: self._commits.fetch(names, self._identity, left_s))

    def _place(self, partition: AssignedPartition, committed: CommittedOffset | None) -> None:
        if committed is not None:
            partition.move_to(committed.offset)
            self._committed[partition] = committed.offset

    def _drop(self, gone: Iterable[AssignedPartition]) -> None:
        left = dict(self._fetcher.assigned)
        for partition in gone:
            if left.get(partition.name) is partition:
                del left[partition.name]
            self._hold(partition)
            self._unfinished().forget(partition)
            self._committed.pop(partition, None)
        self._fetcher.assign(left.values())

    def _lose_all(self) -> None:
        """The group has given all of it to others, or will: nothing more is done with it."""
        assigned = list(self._fetcher.assigned.values())
        for partition in assigned:
            partition.held = True
            self._unfinished().hold(partition)
        self._drop(assigned)
        self._lost += [partition.name for partition in assigned]
        self._stepping = self._tasks.spawn(self._keep_in_step(self._stepping), "assignment")

    def _refused(self, failure: DohleError) -> None:
        self._membership = None
        if not self._joining:  # else who subscribes is told
            self._tell(failure)

    def _late_s(self) -> float:
        interval_s = self._settings.terms.rebalance_timeout_ms / 1000
        since = self._unfinished().busy_since()
        return -interval_s if since is None else self._seams.clock.now() - since - interval_s

    # commits

    def _identity(self) -> MemberIdentity:
        return NO_MEMBER if self._membership is None else self._membership.identity()

    async def _as_member(self, timeout_s: float, ask: Callable[[float], Awaitable[T]]) -> T:
        """Returns what `ask` does, which is told how many seconds it has; again where the member's epoch was stale."""
        clock = self._seams.clock
        deadline = clock.now() + timeout_s
        backoff = Backoff(self._seams.random)
        while True:
            epoch = self._identity().epoch
            membership = self._membership
            try:
                return await ask(deadline - clock.now())
            except StaleMemberEpoch:
                left_s = deadline - clock.now()
                if left_s <= 0 or membership is None or not await membership.renewed(epoch, left_s):
                    raise
            except (FencedMemberEpoch, UnknownMember):
                if membership is not None:
                    membership.look()
                raise
            await clock.sleep(backoff.next_s())

    def _start_committing(self) -> None:
        if self._settings.auto_commit and self._committing is None:
            self._committing = self._tasks.spawn(self._commit_now_and_then(), "commits")

    async def _commit_now_and_then(self) -> None:
        interval_s = self._settings.auto_commit_interval_ms / 1000
        while True:
            await self._seams.clock.sleep(interval_s)
            await self._commit_finished(self._fetcher.assigned.values(), self._request_s)

    def _finished(self, partitions: Iterable[AssignedPartition]) -> dict[AssignedPartition, int]:
        """Returns up to where each is finished, where that is not committed yet."""
        unfinished = self._unfinished()
        found = {partition: unfinished.finished_to(partition) for partition in partitions}
        return {
            one: offset for one, offset in found.items() if offset is not None and offset != self._committed.get(one)
        }

    async def _commit_finished(self, partitions: Iterable[AssignedPartition], timeout_s: float) -> None:
        """Commits what is finished; what is not committed is read again by whoever has the partition next."""
        offsets = self._finished(partitions)
        if not offsets:
            return
        group_id = self._settings.terms.group_id
        try:
            failures = await self._commit(offsets, timeout_s, "")
        except DohleError as failure:
            log.warning("group %s: offsets are not committed: %s", group_id, failure.message)
            return
        for name, why in failures.items():
            if not isinstance(why, _NOT_THERE):
                log.warning("group %s: the offset of %s is not committed: %s", group_id, name, why.message)

    async def _commit(
        self, offsets: Mapping[AssignedPartition, int], timeout_s: float, metadata: str
    ) -> dict[TopicPartition, DohleError]:
        """Returns why some are not committed. Raises why none is."""
        wanted = {one.name: Committable(bytes(one.key.topic_id), offset, metadata) for one, offset in offsets.items()}
        began_as = self._identity().member_id

        def identity() -> MemberIdentity:
            """Before each attempt: what was given up or lost meanwhile is another's, who may be further already."""
            member = self._identity()
            away = [str(one.name) for one in offsets if self._fetcher.assigned.get(one.name) is not one]
            if away or member.member_id != began_as:
                raise UnknownMember(
                    f"not this consumer's any more, and not committed: {', '.join(away) or 'all it had'}"
                )
            return member

        outcomes = await self._as_member(timeout_s, lambda left_s: self._commits.commit(wanted, identity, left_s))
        failures = {name: failure for name, failure in outcomes.items() if failure is not None}
        for partition, offset in offsets.items():
            if partition.name not in failures and self._fetcher.assigned.get(partition.name) is partition:
                self._committed[partition] = offset
        return failures

    # the user's own code

    async def _call(self, callback: RebalanceCallback | None, partitions: list[AssignedPartition]) -> bool:
        return await self._tell_of(callback, [partition.name for partition in partitions])

    async def _tell_of(self, callback: RebalanceCallback | None, names: list[TopicPartition]) -> bool:
        """Returns whether it has worked; if not, the reader hears of it."""
        if callback is None:
            return True
        try:
            outcome = callback(sorted(names))
            if inspect.isawaitable(outcome):
                await outcome
        except Exception as failure:  # noqa: BLE001 - whatever the user's code raises is the user's to hear of
            self._tell(failure)
            return False
        return True
