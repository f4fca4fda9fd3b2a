"""Fetch sessions (KIP-227): what a client wants is said once, and each answer holds only what is new in it.

A full fetch (epoch 0) begins a session if there is a place for it; each further one names the next epoch, and only what
has changed of what it wants. A session that is not known, or whose epoch does not come next, is answered by an error,
whereupon the client begins again.

Places are given as Kafka gives them: a new session takes a free one, else that of the one that was silent for longest,
if for more than `EVICTION_S`; else that of the smallest one, if that is smaller than the new one and has been there for
so long. Bounded are sessions, and also the partitions of all sessions together, which is where the memory goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Final, NamedTuple

from dohle.broker.fetch_set import Fetched, FetchSet, FetchWanted, Interest
from dohle.kafka.messages.fetch import FetchRequest
from dohle.model.errors import FetchSessionIdNotFound, FetchSessionTopicIdError, InvalidFetchSessionEpoch
from dohle.model.ids import PartitionKey, TopicId

EVICTION_S: Final = 120.0
MOST_PARTITIONS: Final = 250_000
NO_SESSION: Final = 0
_FIRST_EPOCH: Final = 0
_FINAL_EPOCH: Final = -1
_LAST_NUMBER: Final = (1 << 31) - 1
_NOT_TOLD: Final = -1
_NO_KEY: Final = PartitionKey(TopicId(bytes(16)), -1)

_Asked = FetchRequest.Topic.Partition


class PartitionName(NamedTuple):
    """A partition as the client names it: the topic by its name, or by its id."""

    topic: str | bytes
    partition: int


class SessionPartition(Interest):
    """One partition that a session wants, and what its client was told of it last."""

    __slots__ = ("_told_high_watermark", "_told_log_start", "name")

    def __init__(self, name: PartitionName) -> None:
        super().__init__(FetchWanted(_NO_KEY, 0, 0))
        self.name = name
        self._told_high_watermark = self._told_log_start = _NOT_TOLD

    def asked(self, asked: _Asked, rack: str) -> None:
        """Takes what the client wants of it now; where the partition is comes by `found`."""
        self.wanted = FetchWanted(
            self.wanted.key, asked.fetch_offset, asked.partition_max_bytes, asked.current_leader_epoch, rack
        )

    def found(self, key: PartitionKey) -> None:
        old = self.wanted
        self.wanted = FetchWanted(key, old.fetch_offset, old.max_bytes, old.current_leader_epoch, old.rack)

    def has_news(self, answer: Fetched) -> bool:
        """Whether the client does not know all of `answer` yet."""
        return answer.is_news or (answer.high_watermark, answer.log_start_offset) != (
            self._told_high_watermark,
            self._told_log_start,
        )

    def told(self, answer: Fetched) -> None:
        """The client is told of `answer`; after an error of all that there is, even if it is what it was before."""
        self._told_high_watermark, self._told_log_start = answer.high_watermark, answer.log_start_offset


class FetchSession:
    """What one client wants. `number` is 0 while it has no place, and so ends with its first answer."""

    def __init__(self, now: float, *, by_id: bool) -> None:
        self.number = NO_SESSION
        self.epoch = _next(_FIRST_EPOCH)  # which the client must name next
        self.by_id = by_id
        self.fetch_set = FetchSet[SessionPartition]()
        self.partitions: dict[PartitionName, SessionPartition] = {}
        self.not_found: dict[SessionPartition, None] = {}
        """Those whose topic or partition this broker has not heard of: to be looked up with every fetch."""
        self.created_at = self.used_at = now
        self._rack = ""

    def __len__(self) -> int:
        return len(self.partitions)

    def take(self, request: FetchRequest) -> None:
        """Takes over what `request` wants, wants otherwise, and wants no longer."""
        if request.rack_id != self._rack:
            self._moved_to(request.rack_id)
        for name, asked in self._names(request):
            partition = self.partitions.get(name)
            if partition is None:
                partition = self.partitions[name] = SessionPartition(name)
                self.not_found[partition] = None
                partition.asked(asked, self._rack)
            else:
                partition.asked(asked, self._rack)
                if partition not in self.not_found:
                    self.fetch_set.look_again(partition)
        for topic in request.forgotten_topics_data:
            for number in topic.partitions:
                self._forget(PartitionName(topic.topic_id if self.by_id else topic.topic, number))

    def _names(self, request: FetchRequest) -> Iterator[tuple[PartitionName, _Asked]]:
        for topic in request.topics:
            named = topic.topic_id if self.by_id else topic.topic
            for asked in topic.partitions:
                yield PartitionName(named, asked.partition), asked

    def _moved_to(self, rack: str) -> None:
        self._rack = rack
        for partition in self.partitions.values():
            old = partition.wanted
            partition.wanted = FetchWanted(old.key, old.fetch_offset, old.max_bytes, old.current_leader_epoch, rack)
            if partition not in self.not_found:
                self.fetch_set.look_again(partition)

    def _forget(self, name: PartitionName) -> None:
        partition = self.partitions.pop(name, None)
        if partition is not None:
            self.not_found.pop(partition, None)
            self.fetch_set.drop(partition)

    def found(self, partition: SessionPartition, key: PartitionKey) -> None:
        """From here on `partition` is that of `key`."""
        del self.not_found[partition]
        partition.found(key)
        self.fetch_set.add(partition)

    def lost(self, partition: SessionPartition) -> None:
        """There is no such partition any more; another topic of the name may come."""
        if self.partitions.get(partition.name) is partition and partition not in self.not_found:
            self.fetch_set.drop(partition)
            self.not_found[partition] = None

    def close(self) -> None:
        self.fetch_set.close()


class FetchSessions:
    """The sessions of a node's clients, at most `slots`; `now` is the monotonic time in seconds."""

    def __init__(self, slots: int, now: Callable[[], float], random: Random) -> None:
        self.evictions = 0
        self.partitions = 0  # of all of them
        self._slots = slots
        self._now = now
        self._random = random
        self._sessions: dict[int, FetchSession] = {}  # in the order of their last use

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, request: FetchRequest, *, by_id: bool) -> FetchSession:
        """Returns the session of `request`, which has taken it: a new one without a place for a full fetch.

        Raises FetchSessionIdNotFound, InvalidFetchSessionEpoch, FetchSessionTopicIdError.
        """
        if request.session_epoch in (_FIRST_EPOCH, _FINAL_EPOCH):
            self._remove(self._sessions.get(request.session_id))
            session = FetchSession(self._now(), by_id=by_id)
            session.take(request)
            return session
        session = self._known(request, by_id=by_id)
        before = len(session)
        session.take(request)
        self.partitions += len(session) - before
        if self.partitions > MOST_PARTITIONS:
            self._remove(session)
            raise FetchSessionIdNotFound(f"the fetch sessions of this broker have {MOST_PARTITIONS} partitions already")
        if not session:  # it ends, and this is its last answer
            self._remove(session)
            return FetchSession(self._now(), by_id=by_id)
        session.epoch = _next(session.epoch)
        self._use(session)
        return session

    def _known(self, request: FetchRequest, *, by_id: bool) -> FetchSession:
        session = self._sessions.get(request.session_id)
        if session is None:
            raise FetchSessionIdNotFound(f"there is no fetch session {request.session_id}")
        if request.session_epoch != session.epoch:
            raise InvalidFetchSessionEpoch(
                f"epoch {session.epoch} of fetch session {session.number} comes next, not {request.session_epoch}"
            )
        if session.by_id != by_id:
            raise FetchSessionTopicIdError(
                f"fetch session {session.number} names topics by their {'ids' if session.by_id else 'names'}"
            )
        return session

    def keep(self, session: FetchSession, request: FetchRequest) -> None:
        """Gives the session of a full fetch a place, if it wants one and there is one."""
        if request.session_epoch != _FIRST_EPOCH or not self._has_room(len(session)):
            return
        while session.number in self._sessions or session.number == NO_SESSION:
            session.number = self._random.randint(1, _LAST_NUMBER)
        self.partitions += len(session)
        self._use(session)

    def _has_room(self, partitions: int) -> bool:
        if self.partitions + partitions > MOST_PARTITIONS or not self._slots:
            return False
        if len(self._sessions) >= self._slots:
            evicted = self._evictable(partitions)
            if evicted is None:
                return False
            self.evictions += 1
            self._remove(evicted)
        return True

    def _evictable(self, partitions: int) -> FetchSession | None:
        long_ago = self._now() - EVICTION_S
        silent = next(iter(self._sessions.values()))
        if silent.used_at < long_ago:
            return silent
        old = [session for session in self._sessions.values() if session.created_at < long_ago]
        smallest = min(old, key=len, default=None)
        return smallest if smallest is not None and len(smallest) < partitions else None

    def _use(self, session: FetchSession) -> None:
        session.used_at = self._now()
        self._sessions.pop(session.number, None)
        self._sessions[session.number] = session

    def _remove(self, session: FetchSession | None) -> None:
        if session is not None and self._sessions.pop(session.number, None) is not None:
            self.partitions -= len(session)
            session.close()


def _next(epoch: int) -> int:
    return 1 if epoch == _LAST_NUMBER else epoch + 1
