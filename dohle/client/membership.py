"""Membership: a consumer's part in its group, by KIP-848.

It heartbeats; the answers say which partitions the member is to have. What it owns, its user says, and gives up and
takes on at its own pace: heartbeats go on meanwhile, and tell the coordinator what is owned. A member that was fenced
has lost everything, and joins again under another id, so that nothing late of its former life counts.

What a heartbeat does not say the coordinator knows from the one before; so after a heartbeat that got no answer, the
next one says everything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from dohle.client.backoff import Backoff
from dohle.client.commits import MemberIdentity
from dohle.client.coordinator_link import CoordinatorLink
from dohle.client.seams import Seams
from dohle.model.errors import DohleError, RequestTimedOut
from dohle.model.group_errors import FencedMemberEpoch, UnknownMember, UnreleasedInstanceId
from dohle.model.ids import PartitionKey, TopicId, id_text, new_id
from dohle.rpc.v1 import groups_pb2
from dohle.runtime.tasks import Tasks, cancel

log = logging.getLogger(__name__)

_JOINS: Final = 0
_LEAVES: Final = -1
_LEAVES_FOR_A_WHILE: Final = -2
_ANSWER_S: Final = 60.0
"""After which a heartbeat that finds no coordinator is noted, and begun again."""
_FORMER_SELF_S: Final = 90.0
"""For how long another member may have the same instance id: a session that ends is no longer than a minute."""
_LOOK_S: Final = 0.2
"""How often a reader that is late is looked for."""
_GOODBYE_S: Final = 2.0
"""How long a member whose reader is late tries to say that it leaves."""

Wanted: TypeAlias = Mapping[PartitionKey, str]
"""Partitions with their topics' names."""


@dataclass(frozen=True, slots=True)
class MemberTerms:
    """As what a consumer joins. `rebalance_timeout_ms`: how long it may take to give partitions up."""

    group_id: str
    instance_id: str | None
    rack: str
    assignor: str | None
    rebalance_timeout_ms: int


@dataclass(frozen=True, slots=True)
class Interest:
    """What a member subscribes to: topics by name, ascending, and by a regular expression ("": none)."""

    topics: tuple[str, ...]
    regex: str = ""


class Membership:
    """Joins at once, and again whenever it has to. `wanted` is what the coordinator last said that it is to have.

    `on_wanted` is told when that has changed, `on_lost` that all is lost; `on_refused` that the group does not take
    this member, after which it has ended. `late_s` says for how many seconds too long nothing was finished: positive
    makes the member leave, and come back once it is negative again.
    """

    def __init__(
        self,
        terms: MemberTerms,
        interest: Interest,
        link: CoordinatorLink,
        seams: Seams,
        tasks: Tasks,
        *,
        on_wanted: Callable[[], None],
        on_lost: Callable[[], None],
        on_refused: Callable[[DohleError], None],
        late_s: Callable[[], float],
    ) -> None:
        self.wanted: Wanted = {}
        self._terms = terms
        self._interest = interest
        self._link = link
        self._seams = seams
        self._on_wanted = on_wanted
        self._on_lost = on_lost
        self._on_refused = on_refused
        self._late_s = late_s
        self._backoff = Backoff(seams.random)
        self._member_id = ""
        self._epoch = _JOINS
        self._joined = False
        self._owned: tuple[PartitionKey, ...] = ()
        self._saying: tuple[Interest, tuple[PartitionKey, ...]] = (interest, ())
        self._told: tuple[Interest, tuple[PartitionKey, ...]] | None = None  # what the coordinator has heard
        self._refusal: DohleError | None = None
        self._wake = asyncio.Event()
        self._answered = asyncio.Event()
        self._blocked_since: float | None = None  # by a member of the same instance id
        self._task = tasks.spawn(self._run(), "membership")

    def identity(self) -> MemberIdentity:
        """Returns as whom the consumer commits. Raises UnknownMember while it is no member."""
        if not self._joined:
            raise UnknownMember(
                f"this consumer is no member of group {self._terms.group_id} at the moment: what it had is another's,"
                " who reads it from where it was committed last"
            )
        return MemberIdentity(self._member_id, self._epoch)

    async def joined(self, timeout_s: float) -> None:
        """Returns when the coordinator has answered what is subscribed to now. Raises what it refuses it with."""
        deadline = self._seams.clock.now() + timeout_s
        while not self._joined or self._told is None or self._told[0] != self._interest:
            if self._refusal is not None:
                raise self._refusal
            if not await self._next_answer(deadline - self._seams.clock.now()):
                raise RequestTimedOut(
                    f"group {self._terms.group_id} has not let this consumer in within {timeout_s:g} s"
                )

    async def renewed(self, epoch: int, timeout_s: float) -> bool:
        """Heartbeats at once, unless the member's epoch is another than `epoch` already; False if that fails."""
        if self._joined and self._epoch == epoch:
            self._wake.set()
            await self._next_answer(timeout_s)
        return self._joined

    def subscribe(self, interest: Interest) -> None:
        self._interest = interest
        self._wake.set()

    def owns(self, partitions: tuple[PartitionKey, ...]) -> None:
        """Tells the coordinator, at once if these are others than before."""
        if partitions != self._owned:
            self._owned = partitions
            self._wake.set()

    def look(self) -> None:
        """Has the coordinator asked now: something says that it sees this member otherwise than the member does."""
        self._wake.set()

    async def leave(self, timeout_s: float) -> None:
        """Ends, and tells the coordinator, which then waits for this member no more."""
        await cancel(self._task)
        if self._joined:
            await self._say_goodbye(timeout_s)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            late_s = self._late_s()
            if late_s > 0:
                await self._stay_away(late_s)
                continue
            if not self._member_id:
                self._member_id, self._epoch = id_text(new_id(self._seams.random)), _JOINS
            try:
                answer = await self._link.ask("GroupHeartbeat", self._heartbeat, _ANSWER_S)
            except (FencedMemberEpoch, UnknownMember) as failure:
                await self._fenced(failure)
                continue
            except UnreleasedInstanceId as failure:
                if not self._may_become_free(failure):
                    return
                await self._seams.clock.sleep(self._backoff.next_s())
                continue
            except DohleError as failure:
                if failure.retriable:
                    log.warning("group %s has no coordinator that answers: %s", self._terms.group_id, failure.message)
                    continue
                self._refuse(failure)
                return
            await self._seams.clock.wait(self._wake, self._take(answer))

    def _heartbeat(self) -> groups_pb2.GroupHeartbeatRequest:
        """Returns the next heartbeat, with what has changed, or with everything if the last got no answer."""
        terms, told = self._terms, self._told
        self._saying = (self._interest, self._owned)
        self._told = None  # until there is an answer
        request = groups_pb2.GroupHeartbeatRequest(
            group_id=terms.group_id,
            member_id=self._member_id,
            member_epoch=self._epoch,
            instance_id=terms.instance_id,
            rebalance_timeout_ms=-1,
        )
        if told is None:
            request.rebalance_timeout_ms = terms.rebalance_timeout_ms
            if terms.rack:
                request.rack = terms.rack
            if terms.assignor is not None:
                request.assignor = terms.assignor
        if told is None or told[0] != self._interest:
            request.topics.SetInParent()
            request.topics.names.extend(self._interest.topics)
            request.topic_regex = self._interest.regex
        if told is None or told[1] != self._owned:
            request.owned.SetInParent()
            request.owned.topics.extend(_by_topic(self._owned))
        return request

    def _take(self, answer: Any) -> float:
        """Takes an answer in, and returns in how many seconds the next heartbeat is due."""
        self._backoff.reset()
        self._blocked_since = None
        self._told = self._saying
        self._joined = True
        self._epoch = answer.member_epoch
        changed = answer.HasField("assignment")
        if changed:
            self.wanted = {
                PartitionKey(TopicId(topic.topic_id), number): topic.name
                for topic in answer.assignment.topics
                for number in topic.partitions
            }
        self._tell_waiting()
        if changed:
            self._on_wanted()
        if self._told != (self._interest, self._owned):
            self._wake.set()  # it changed while the heartbeat was on its way
        interval_s: float = max(answer.heartbeat_interval_ms, 1) / 1000
        return min(interval_s, max(-self._late_s(), _LOOK_S))

    async def _fenced(self, failure: DohleError) -> None:
        log.warning(
            "group %s does not know this consumer any more, which has lost its partitions and joins again: %s",
            self._terms.group_id,
            failure.message,
        )
        self._lose()
        await self._seams.clock.sleep(self._backoff.next_s())

    def _lose(self) -> None:
        self._joined = False
        self._member_id = ""
        self._owned = ()
        self.wanted = {}
        self._told = None
        self._tell_waiting()
        self._on_lost()

    def _may_become_free(self, failure: DohleError) -> bool:
        """Another member has this one's instance id: its former self, whose session will end, or another consumer."""
        now = self._seams.clock.now()
        if self._blocked_since is None:
            self._blocked_since = now
            log.warning(
                "group %s: instance id %s is still in use; waiting: %s",
                self._terms.group_id,
                self._terms.instance_id,
                failure.message,
            )
        if now - self._blocked_since < _FORMER_SELF_S:
            return True
        self._refuse(failure)
        return False

    def _refuse(self, failure: DohleError) -> None:
        self._refusal = failure
        self._lose()
        self._on_refused(failure)

    async def _stay_away(self, late_s: float) -> None:
        """Leaves, until its reader comes back."""
        if self._joined:
            log.warning(
                "group %s: what this consumer has read was not finished in time (max_poll_interval_ms), %.1f s ago: it"
                " leaves the group until it reads again",
                self._terms.group_id,
                late_s,
            )
            await self._say_goodbye(_GOODBYE_S)
            self._lose()
        await self._seams.clock.wait(self._wake, _LOOK_S)

    async def _say_goodbye(self, timeout_s: float) -> None:
        terms = self._terms
        request = groups_pb2.GroupHeartbeatRequest(
            group_id=terms.group_id,
            member_id=self._member_id,
            member_epoch=_LEAVES if terms.instance_id is None else _LEAVES_FOR_A_WHILE,
            instance_id=terms.instance_id,
            rebalance_timeout_ms=-1,
        )
        try:
            async with asyncio.timeout(timeout_s):
                await self._link.ask("GroupHeartbeat", lambda: request, timeout_s)
        except (DohleError, TimeoutError) as failure:
            log.info("group %s was not told that this consumer leaves: %s", terms.group_id, failure)

    async def _next_answer(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(max(timeout_s, 0)):
                await self._answered.wait()
        except TimeoutError:
            return False
        return True

    def _tell_waiting(self) -> None:
        answered, self._answered = self._answered, asyncio.Event()
        answered.set()


def _by_topic(partitions: tuple[PartitionKey, ...]) -> list[groups_pb2.GroupTopic]:
    numbers: dict[TopicId, list[int]] = {}
    for key in sorted(partitions):
        numbers.setdefault(key.topic_id, []).append(key.partition)
    return [groups_pb2.GroupTopic(topic_id=topic_id, partitions=numbers[topic_id]) for topic_id in numbers]
