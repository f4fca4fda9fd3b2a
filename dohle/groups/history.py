"""History: the last rebalances of each group, kept where its offsets are, so that the next coordinator knows them too.

Each is a record of its own, whose key is the group and one of so many places: compaction drops what a later one of the
same place replaces. It is written after the rebalance is over, by a timer that is due at once: no member waits for it,
and where the append fails it is lost. What is left of a group that has gone is deleted when this is next looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from dohle.groups.outcome import NOTHING, Moment, Outcome
from dohle.groups.rebalances import Rebalance
from dohle.groups.records import GroupRecord, KeptRebalance, RebalanceRecord
from dohle.groups.state import ShardState

MOST_REBALANCES = 100
"""Of one group."""
MOST_REMOVED = 10
"""Members that are named of those who did not come in time."""
_LONGEST_DETAIL = 200
_LOOK_EVERY_S = 600.0


class History:
    """Of the groups of one shard."""

    applies: tuple[type[GroupRecord], ...] = (RebalanceRecord,)

    def __init__(self, state: ShardState) -> None:
        self._state = state
        self._kept: dict[str, dict[int, KeptRebalance]] = {}
        self._next: dict[str, int] = {}
        state.rebalances.on_end = self._ended

    def of(self, group_id: str) -> list[KeptRebalance]:
        """Returns what is kept of a group, the oldest first."""
        return sorted(self._kept.get(group_id, {}).values(), key=lambda kept: kept.number)

    def apply(self, record: GroupRecord) -> None:
        assert isinstance(record, RebalanceRecord)
        group_id, value = record.group_id, record.value
        kept = self._kept.setdefault(group_id, {})
        if value is None:
            kept.pop(record.place, None)
            if not kept:
                del self._kept[group_id]
                self._next.pop(group_id, None)
            return
        kept[record.place] = value
        self._next[group_id] = max(self._next.get(group_id, 0), value.number + 1)

    def begin(self, moment: Moment) -> Iterable[Outcome]:
        yield self._look(moment)

    def topics_changed(self, _moment: Moment) -> Iterable[Outcome]:
        return ()

    def _ended(self, rebalance: Rebalance) -> None:
        self._state.counts.rebalances += 1
        group_id = rebalance.group_id
        number = self._next.get(group_id, 0)
        self._next[group_id] = number + 1
        kept = KeptRebalance(
            number,
            replace(rebalance, detail=rebalance.detail[:_LONGEST_DETAIL], removed=rebalance.removed[:MOST_REMOVED]),
            max(0, len(rebalance.removed) - MOST_REMOVED),
        )
        record = RebalanceRecord(group_id, number % MOST_REBALANCES, kept)
        self._state.timers.set(("rebalance", group_id, number), 0.0, lambda _: Outcome((record,)))

    def _look(self, moment: Moment) -> Outcome:
        """Deletes what is left of groups that have gone, and comes again."""
        self._state.timers.set("history", moment.now_s + _LOOK_EVERY_S, self._look)
        gone: list[GroupRecord] = [
            RebalanceRecord(group_id, place, None)
            for group_id in sorted(self._kept)
            if self._state.group(group_id) is None
            for place in sorted(self._kept[group_id])
        ]
        return Outcome(tuple(gone)) if gone else NOTHING
