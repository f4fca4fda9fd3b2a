"""What one reader wants of this broker's partitions, kept from one fetch to the next, and what of it is worth a look.

An interest is *due* from when it is wanted, or wanted otherwise, and whenever its partition wakes its watchers: the
watermark or the log's start has moved, or the role has changed. It stays due while there is something to read, an
error, or another replica to name. So a fetch costs what has news, however many partitions are wanted; a fetch that asks
once is one of a set that is dropped afterwards.

Interests take turns: what brought batches goes to the end, so that none starves where an answer has no room for all.

What of a follower's state wakes nobody is looked at when a fetch begins: a subscription that has ended, damage, a
session in doubt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from dohle.broker.following import NO_SUBSCRIPTION, Following
from dohle.broker.partition import Partition
from dohle.model.errors import DohleError
from dohle.model.ids import NodeId, PartitionKey


@dataclass(frozen=True, slots=True)
class FetchWanted:
    key: PartitionKey
    fetch_offset: int
    max_bytes: int
    current_leader_epoch: int = -1
    rack: str = ""  # the reader's; empty: only a leader may answer


@dataclass(frozen=True, slots=True)
class Fetched:
    """`failure` None: `batches` are whole, and the first may begin before the offset that was asked for.

    `read_from` is the replica that the reader is to go on with, if it is to go elsewhere; `follows`: of a follower.
    """

    key: PartitionKey
    high_watermark: int = -1
    log_start_offset: int = -1
    batches: bytes = b""
    failure: DohleError | None = None
    read_from: NodeId | None = None
    follows: bool = False

    @property
    def is_urgent(self) -> bool:
        """Whether the reader is to hear of it without waiting for more."""
        return self.failure is not None or self.read_from is not None

    @property
    def is_news(self) -> bool:
        """Whether a reader is waiting for this."""
        return bool(self.batches) or self.is_urgent


class Interest:
    """One partition in a set; `partition` is what is watched, None where there was none here when it was read."""

    __slots__ = ("_set", "partition", "wanted")

    def __init__(self, wanted: FetchWanted) -> None:
        self.wanted = wanted
        self.partition: Partition | None = None
        self._set: FetchSet[Any] | None = None

    def join(self, fetch_set: FetchSet[Any] | None) -> None:
        self._set = fetch_set
        if fetch_set is None:
            self.watch(None)

    def watch(self, partition: Partition | None) -> None:
        """Hears of `partition` from now on, and of no other one."""
        if partition is not self.partition:
            if self.partition is not None:
                self.partition.unwatch(self._woken)
            self.partition = partition
            if partition is not None:
                partition.watch(self._woken)

    def _woken(self) -> None:
        if self._set is not None:
            self._set.look_again(self)


I = TypeVar("I", bound=Interest)  # noqa: E741 - an interest


class Turn(Generic[I]):
    """One fetch of a set: what it has yet to look at, and what it has found."""

    def __init__(self, due: Iterable[I]) -> None:
        self.unread: dict[I, None] = dict.fromkeys(due)
        self.answers: dict[I, Fetched] = {}
        self.found_bytes = 0
        self.is_urgent = False
        self.is_over = False  # another fetch of the set has begun, or the set was closed
        self.news = asyncio.Event()

    def begin_to_read(self, interest: I) -> None:
        """From here on what wakes it asks for another look."""
        del self.unread[interest]
        before = self.answers.pop(interest, None)
        if before is not None:
            self.found_bytes -= len(before.batches)

    def found(self, interest: I, answer: Fetched) -> None:
        self.answers[interest] = answer
        self.found_bytes += len(answer.batches)
        self.is_urgent = self.is_urgent or answer.is_urgent


class FetchSet(Generic[I]):
    """The interests of one reader, who fetches them one fetch at a time: a new one ends an older one."""

    def __init__(self) -> None:
        self._interests: dict[I, None] = {}
        self._due: dict[I, None] = {}  # in the order of their turns
        self._followed: dict[I, None] = {}  # those that a follower answered
        self._turn: Turn[I] | None = None

    def __len__(self) -> int:
        return len(self._interests)

    def add(self, interest: I) -> None:
        self._interests[interest] = None
        interest.join(self)
        self.look_again(interest)

    def drop(self, interest: I) -> None:
        """It is wanted no longer."""
        interest.join(None)
        for where in (self._interests, self._due, self._followed):
            where.pop(interest, None)
        if self._turn is not None:
            self._turn.unread.pop(interest, None)

    def look_again(self, interest: I) -> None:
        """There may be news for it, or it is wanted otherwise now."""
        self._due[interest] = None
        if self._turn is not None:
            self._turn.unread[interest] = None
            self._turn.news.set()

    def begin(self, *, in_doubt: bool) -> Turn[I]:
        """Begins a fetch; `in_doubt`: what followers answered may not hold any more."""
        self._end_turn()
        for interest in self._followed:
            partition = interest.partition
            if in_doubt or partition is None or _may_fail(partition):
                self._due[interest] = None
        self._turn = turn = Turn(self._due)
        return turn

    def settle(self, turn: Turn[I]) -> None:
        """The reader is told what `turn` found: what has no more than that is due no longer."""
        if turn.is_over:
            return
        self._take(turn.answers, turn.unread)

    def _take(self, answers: Mapping[I, Fetched], unread: Mapping[I, None]) -> None:
        for interest, answer in answers.items():
            if interest not in self._interests:
                continue
            if answer.batches:
                self._due.pop(interest, None)
                self._due[interest] = None
            elif interest not in unread and not answer.is_urgent and _is_all(interest, answer):
                self._due.pop(interest, None)
            if answer.follows:
                self._followed[interest] = None
            else:
                self._followed.pop(interest, None)

    def end(self, turn: Turn[I]) -> None:
        if self._turn is turn:
            self._turn = None

    def close(self) -> None:
        """Nothing is wanted any more; a fetch that waits ends."""
        self._end_turn()
        for interest in self._interests:
            interest.join(None)
        self._interests, self._due, self._followed = {}, {}, {}

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.is_over = True
            turn.news.set()


def _is_all(interest: Interest, answer: Fetched) -> bool:
    return interest.wanted.fetch_offset >= answer.high_watermark


def _may_fail(partition: Partition) -> bool:
    role = partition.role
    return partition.log.damage is not None or (isinstance(role, Following) and role.subscription == NO_SUBSCRIPTION)
