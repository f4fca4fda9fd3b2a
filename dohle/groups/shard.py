"""GroupShard: the groups of one partition of `__consumer_offsets`, for as long as one broker leads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from dohle.groups.classic.groups import ClassicGroups
from dohle.groups.consumer.groups import ConsumerGroups
from dohle.groups.counts import GroupCounts
from dohle.groups.history import History
from dohle.groups.offsets import Offsets
from dohle.groups.outcome import Moment, Outcome
from dohle.groups.part import Part
from dohle.groups.records import GroupRecord
from dohle.groups.settings import GroupSettings
from dohle.groups.state import ShardState
from dohle.model.ids import RandomBytes
from dohle.model.image import ClusterImage


class GroupShard:
    """First `apply` of everything that the log has, then `begin`; from then on commands, each of them a method of a
    part. `outcome` says what is to become of what they return."""

    def __init__(self, settings: GroupSettings, random: RandomBytes, counts: GroupCounts | None = None) -> None:
        self.state = ShardState(settings, random, counts=counts or GroupCounts())
        self.offsets = Offsets(self.state)
        self.classic = ClassicGroups(self.state)
        self.consumer = ConsumerGroups(self.state, self.classic)
        self.history = History(self.state)
        self._parts: Sequence[Part] = (self.offsets, self.classic, self.consumer, self.history)
        self._appliers: dict[type[GroupRecord], Callable[[GroupRecord], None]] = {}
        for part in self._parts:
            self._appliers.update(dict.fromkeys(part.applies, part.apply))

    def apply(self, record: GroupRecord) -> None:
        self._appliers[type(record)](record)

    def begin(self, image: ClusterImage, moment: Moment) -> Iterator[Outcome]:
        """Begins to coordinate. Each outcome is to be carried out before the next is asked for."""
        self.state.image = image
        for part in self._parts:
            yield from part.begin(moment)

    def topics_changed(self, image: ClusterImage, moment: Moment) -> Iterator[Outcome]:
        """Takes a newer image, in which topics are others. Each outcome is to be carried out before the next."""
        self.state.image = image
        for part in self._parts:
            yield from part.topics_changed(moment)

    def next_s(self) -> float | None:
        """Returns when `expire` is due, in monotonic seconds; None while nothing is."""
        return self.state.timers.next_s()

    def expire(self, moment: Moment) -> Outcome | None:
        """Returns what one timer that is due leads to; None if none is."""
        action = self.state.timers.take(moment.now_s)
        return None if action is None else action(moment)
