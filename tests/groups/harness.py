"""A shard with a log and a clock, driven as `dohle.groups.outcome` says: what runs under a broker, without one.

What is appended is committed at once, until `hold()`. Time passes when `pass_time` says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final, TypeAlias

from dohle.groups.outcome import Moment, Outcome, Reply, Ticket
from dohle.groups.records import (
    CurrentRecord,
    GroupRecord,
    MemberRecord,
    OffsetRecord,
    RebalanceRecord,
    RegexRecord,
    TargetEpochRecord,
    TargetRecord,
)
from dohle.groups.settings import GroupSettings
from dohle.groups.shard import GroupShard
from dohle.model.errors import DohleError
from dohle.model.group_errors import NotCoordinator
from dohle.model.ids import NodeId, TopicId, new_id
from dohle.model.image import EMPTY_IMAGE, ClusterImage, PartitionImage, TopicImage
from dohle.model.topic_config import TopicConfig

Command: TypeAlias = Callable[[GroupShard, Ticket, Moment], Outcome]

_KEYS: Final[dict[type[GroupRecord], tuple[str, ...]]] = {
    OffsetRecord: ("group_id", "topic", "partition"),
    MemberRecord: ("group_id", "member_id"),
    TargetRecord: ("group_id", "member_id"),
    CurrentRecord: ("group_id", "member_id"),
    RegexRecord: ("group_id", "regex"),
    RebalanceRecord: ("group_id", "place"),
}
_BY_GROUP: Final = ("group_id",)


def key_of(record: GroupRecord) -> tuple[Any, ...]:
    """Returns what a later record of the same key replaces."""
    kind = type(record)
    return kind, *(getattr(record, name) for name in _KEYS.get(kind, _BY_GROUP))


def is_tombstone(record: GroupRecord) -> bool:
    return (record.epoch if isinstance(record, TargetEpochRecord) else record.value) is None


def last_of_each_key(records: Iterable[GroupRecord]) -> list[GroupRecord]:
    """Returns what compaction leaves, in the order of their keys' first records; tombstones stay."""
    return list({key_of(record): record for record in records}.values())


@dataclass
class Asked:
    """A command that was given in, and what it was answered with, if it was."""

    ticket: Ticket
    replies: list[Reply] = field(default_factory=list)

    @property
    def waits(self) -> bool:
        return not self.replies

    @property
    def reply(self) -> Reply:
        """The reply, which may be an error. Fails while there is none."""
        assert self.replies, f"command {self.ticket} has no answer yet"
        return self.replies[0]

    @property
    def error(self) -> DohleError:
        assert isinstance(self.reply, DohleError), f"command {self.ticket} was answered with {self.reply}"
        return self.reply


class Harness:
    """`shard` is the one that coordinates now; `log` has all that was appended, `watermark` of which are committed."""

    def __init__(self, settings: GroupSettings | None = None, seed: int = 0) -> None:
        self.settings = settings or GroupSettings()
        self.random = Random(seed)
        self.moment = Moment(1000.0, 1_700_000_000_000)
        self.image = EMPTY_IMAGE
        self.log: list[GroupRecord] = []
        self.watermark = 0
        self.holds = False
        self.refusal: DohleError | None = None
        self.failures: list[DohleError] = []
        self._waiting: deque[tuple[int, Outcome]] = deque()
        self._asked: dict[Ticket, Asked] = {}
        self._tickets = 0
        self.shard = GroupShard(self.settings, self.random)
        self._begin()

    # commands

    def ask(self, command: Command) -> Asked:
        """Gives a command in; whether it is answered at once is its own matter."""
        self._tickets += 1
        asked = self._asked[Ticket(self._tickets)] = Asked(Ticket(self._tickets))
        self._carry_out(command(self.shard, asked.ticket, self.moment))
        return asked

    def call(self, command: Command) -> Any:
        """Returns the answer, which must be there at once. Raises it if it is an error."""
        reply = self.ask(command).reply
        if isinstance(reply, DohleError):
            raise reply
        return reply

    # time and topics

    def pass_time(self, seconds: float) -> None:
        """Lets time pass, with every timer at its own moment."""
        until_s = self.moment.now_s + seconds
        while (due_s := self.shard.next_s()) is not None and due_s <= until_s:
            self._move_to(max(due_s, self.moment.now_s))
            outcome = self.shard.expire(self.moment)
            assert outcome is not None, "a timer was announced that does not come"
            self._carry_out(outcome)
        self._move_to(until_s)

    def make_topic(self, name: str, partitions: int = 1, topic_id: TopicId | None = None) -> TopicId:
        """Makes a topic, or gives the one of that name as many partitions."""
        known = self.image.topic_named(name)
        if topic_id is None:
            topic_id = TopicId(new_id(self.random)) if known is None else known.topic_id
        node = NodeId(1)
        partition = PartitionImage((node,), (node,), node, 0, 0, (0,))
        topic = TopicImage(topic_id, name, 0, (partition,) * partitions, {}, TopicConfig())
        topics, names = self.image.topics, self.image.topic_ids
        self._topics_changed(
            replace(self.image, topics=topics.insert(topic_id, topic), topic_ids=names.insert(name, topic_id))
        )
        return topic_id

    def drop_topic(self, name: str) -> None:
        topic_id = self.image.topic_ids[name]
        topics, names = self.image.topics, self.image.topic_ids
        self._topics_changed(replace(self.image, topics=topics.remove(topic_id), topic_ids=names.remove(name)))

    # the log

    def hold(self) -> None:
        """What is appended from now on is not committed, until `commit`."""
        self.holds = True

    def commit(self) -> None:
        """Commits all that was appended, and holds nothing more."""
        self.holds = False
        self._settle()

    def restart(self, *, keep: int | None = None, shuffled: bool = True) -> None:
        """The next coordinator loads what the log has, and begins; who waited at the last one is told NotCoordinator.

        `keep`: how many records of the log there still are, no less than are committed. The load gets the last of each
        key; `shuffled`: in any order, and some tombstones are gone already.
        """
        keep = len(self.log) if keep is None else keep
        assert keep >= self.watermark, "committed records are not lost"
        self.shard = GroupShard(self.settings, self.random)
        self._waiting.clear()
        for asked in self._asked.values():
            asked.replies.append(NotCoordinator())
        self._asked.clear()
        del self.log[keep:]
        self.holds, self.watermark = False, keep
        loaded = last_of_each_key(self.log)
        if shuffled:
            loaded = [record for record in loaded if not is_tombstone(record) or self.random.random() < 0.5]
            self.random.shuffle(loaded)
        for record in loaded:
            self.shard.apply(record)
        self._begin()

    # what becomes of outcomes

    def _begin(self) -> None:
        for outcome in self.shard.begin(self.image, self.moment):
            self._carry_out(outcome)

    def configure(self, group_id: str, **values: int) -> None:
        """Gives the group values of its own: `heartbeat_interval_ms`, `session_timeout_ms`."""
        own = {f"consumer.{name.replace('_', '.')}": str(value) for name, value in sorted(values.items())}
        overrides = self.image.group_overrides
        changed = overrides.insert(group_id, own) if own else overrides.discard(group_id)
        self.image = replace(self.image, group_overrides=changed)
        self.shard.state.image = self.image

    def _topics_changed(self, image: ClusterImage) -> None:
        self.image = replace(image, next_offset=image.next_offset + 1)
        for outcome in self.shard.topics_changed(self.image, self.moment):
            self._carry_out(outcome)

    def _carry_out(self, outcome: Outcome) -> None:
        if outcome.records and self.refusal is not None:
            self.failures.append(self.refusal)
            self._answer(dict.fromkeys(outcome.replies, self.refusal))
            if outcome.then is not None:
                self._carry_out(outcome.then(self.refusal, self.moment))
            return
        self._append(outcome.records)
        self._waiting.append((len(self.log), outcome))
        self._settle()

    def _append(self, records: Sequence[GroupRecord]) -> None:
        self.log.extend(records)
        for record in records:
            self.shard.apply(record)

    def _settle(self) -> None:
        if not self.holds:
            self.watermark = len(self.log)
        while self._waiting and self._waiting[0][0] <= self.watermark:
            _, outcome = self._waiting.popleft()
            self._answer(outcome.replies)
            if outcome.then is not None:
                self._carry_out(outcome.then(None, self.moment))

    def _answer(self, replies: Any) -> None:
        for ticket, reply in replies.items():
            asked = self._asked.pop(ticket, None)
            assert asked is not None, f"command {ticket} is answered, and was already"
            asked.replies.append(reply)

    def _move_to(self, now_s: float) -> None:
        passed_ms = round((now_s - self.moment.now_s) * 1000)
        self.moment = Moment(now_s, self.moment.wall_ms + passed_ms)
