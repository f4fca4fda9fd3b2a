"""Expiry: how committed offsets end that nobody deletes, and groups that have nothing left.

Offsets end when nobody has used them for `offsets_retention_ms` (KIP-211), and with their topic. A group without
members and offsets ends with the next look. Looks are taken in steps, a timer each, so that what a shard has may be
much; what a look could not append is found again by the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from dohle.groups.group import CLASSIC, CONSUMER_PROTOCOL, Group
from dohle.groups.outcome import Moment, Outcome
from dohle.groups.records import CommittedOffset, GroupRecord, OffsetRecord
from dohle.groups.state import ShardState
from dohle.groups.timers import Action

_MOST_LOOKED_AT: Final = 200
"""Offsets in one step: 0.3 ms."""
_MOST_RECORDS: Final = 50
"""Tombstones in one batch."""
_RETENTION: Final = "offsets: retention"
_TOPICS: Final = "offsets: topics"
_UNKNOWN_MS: Final = -1


class Expiry:
    """`is_pending(group_id, topic, partition)`: whether a transaction has an offset there; what is there stays then."""

    def __init__(self, state: ShardState, is_pending: Callable[[str, str, int], bool]) -> None:
        self._state = state
        self._is_pending = is_pending
        self._topic_ids = state.image.topic_ids
        self._to_look_at: dict[str, None] = {}

    def begin(self, moment: Moment) -> None:
        """Topics may have been deleted while nobody coordinated: all offsets are looked at once."""
        self._topic_ids = self._state.image.topic_ids
        self._look_for_topics(self._state.offsets.group_ids(), moment)
        self._wait(moment)

    def topics_changed(self, moment: Moment) -> None:
        """Ends the offsets of topics that are gone, or are others of the same name."""
        before, now = self._topic_ids, self._state.image.topic_ids
        self._topic_ids = now
        offsets = self._state.offsets
        for topic in sorted(offsets.topics()):
            if before.get(topic) != now.get(topic):
                self._look_for_topics(offsets.groups_of(topic), moment)

    def _look_for_topics(self, group_ids: Iterable[str], moment: Moment) -> None:
        self._to_look_at.update(dict.fromkeys(group_ids))
        timers = self._state.timers
        if self._to_look_at and _TOPICS not in timers:
            timers.set(_TOPICS, moment.now_s, self._in_steps(_TOPICS, self._without_topic(), lambda _moment: None))

    def _wait(self, moment: Moment) -> None:
        interval_s = self._state.settings.offsets_retention_check_interval_ms / 1000
        self._state.timers.set(_RETENTION, moment.now_s + interval_s, self._look_for_expired)

    def _look_for_expired(self, moment: Moment) -> Outcome:
        return self._in_steps(_RETENTION, self._expired(moment.wall_ms), self._wait)(moment)

    def _in_steps(self, name: str, found: Iterator[list[GroupRecord]], at_end: Callable[[Moment], None]) -> Action:
        """Returns what a timer of this name does: so much of `found`, then the same again at once."""

        def step(moment: Moment) -> Outcome:
            records: list[GroupRecord] = []
            for looked_at, ended in enumerate(found, 1):
                records.extend(ended)
                if looked_at >= _MOST_LOOKED_AT or len(records) >= _MOST_RECORDS:
                    self._state.timers.set(name, moment.now_s, step)
                    break
            else:
                at_end(moment)
            return Outcome(tuple(records))

        return step

    def _without_topic(self) -> Iterator[list[GroupRecord]]:
        """Yields once for each offset of the groups to look at: its tombstone if its topic is gone."""
        while self._to_look_at:
            group_id = next(iter(self._to_look_at))
            del self._to_look_at[group_id]
            for topic, partition, value in self._offsets_of(group_id):
                is_gone = self._is_gone(topic, value)
                yield [OffsetRecord(group_id, topic, partition, None)] if is_gone else []

    def _expired(self, now_ms: int) -> Iterator[list[GroupRecord]]:
        """Yields once for each offset, and once for each group: the tombstones of what has ended."""
        for group_id in self._state.group_ids():
            all_ended = True
            for topic, partition, value in self._offsets_of(group_id):
                ended = self._has_ended(group_id, topic, partition, value, now_ms)
                all_ended = all_ended and ended
                yield [OffsetRecord(group_id, topic, partition, None)] if ended else []
            yield self._end_of(group_id, now_ms) if all_ended else []

    def _end_of(self, group_id: str, now_ms: int) -> list[GroupRecord]:
        """Returns a group's tombstones if all its offsets have ended: between two steps there may have been commits."""
        group = self._state.groups.get(group_id)
        if group is None or group.state != "Empty":
            return []
        has_ended = all(self._has_ended(group_id, *offset, now_ms) for offset in self._offsets_of(group_id))
        return list(group.tombstones()) if has_ended else []

    def _offsets_of(self, group_id: str) -> Iterator[tuple[str, int, CommittedOffset]]:
        """Yields the offsets that the group has when it comes to them: meanwhile some may go."""
        offsets = self._state.offsets
        for topic in sorted(offsets.of(group_id)):
            for partition in sorted(offsets.of(group_id).get(topic, ())):
                value = offsets.get(group_id, topic, partition)
                if value is not None:
                    yield topic, partition, value

    def _has_ended(self, group_id: str, topic: str, partition: int, value: CommittedOffset, now_ms: int) -> bool:
        group = self._state.group(group_id)
        if group is None or self._is_pending(group_id, topic, partition):
            return False
        return self._is_gone(topic, value) or self._is_expired(group, topic, value, now_ms)

    def _is_gone(self, topic: str, value: CommittedOffset) -> bool:
        topic_id = self._state.image.topic_ids.get(topic)
        return topic_id is None or value.topic_id not in (None, topic_id)

    def _is_expired(self, group: Group, topic: str, value: CommittedOffset, now_ms: int) -> bool:
        used_ms = _last_used_ms(group, value)
        if used_ms is None or group.subscribes_to(topic):
            return False
        if value.expire_ms != _UNKNOWN_MS:
            return now_ms >= value.expire_ms
        return now_ms - used_ms >= self._state.settings.offsets_retention_ms


def _last_used_ms(group: Group, value: CommittedOffset) -> int | None:
    """Returns from when on an offset ages that no member subscribes to; None: not as the group stands."""
    if group.kind != CLASSIC or not group.protocol_type:
        return value.commit_ms
    if group.state == "Empty":
        since_ms = group.empty_since_ms
        return value.commit_ms if since_ms in (None, _UNKNOWN_MS) else since_ms
    return value.commit_ms if group.protocol_type == CONSUMER_PROTOCOL and group.state == "Stable" else None
