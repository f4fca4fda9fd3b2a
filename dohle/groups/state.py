"""ShardState: what all parts of one shard share."""

from __future__ import annotations

from dataclasses import dataclass, field

from dohle.groups.committed import CommittedOffsets
from dohle.groups.counts import GroupCounts
from dohle.groups.group import Group
from dohle.groups.rebalances import Rebalances
from dohle.groups.settings import Beats, GroupSettings
from dohle.groups.simple import SimpleGroup
from dohle.groups.timers import Timers
from dohle.model.ids import RandomBytes
from dohle.model.image import EMPTY_IMAGE, ClusterImage


@dataclass(slots=True)
class ShardState:
    """`groups` by id, of both kinds, without those that have nothing but offsets; `image`: the topics there are, as far
    as this node knows. `random` makes members' ids, in Kafka's form (a version 4 UUID)."""

    settings: GroupSettings
    random: RandomBytes
    image: ClusterImage = EMPTY_IMAGE
    groups: dict[str, Group] = field(default_factory=dict)
    offsets: CommittedOffsets = field(default_factory=CommittedOffsets)
    counts: GroupCounts = field(default_factory=GroupCounts)
    timers: Timers = field(default_factory=Timers)
    rebalances: Rebalances = field(default_factory=Rebalances)

    def group(self, group_id: str) -> Group | None:
        """Returns the group, which may be a simple one."""
        group = self.groups.get(group_id)
        if group is None and group_id in self.offsets:
            return SimpleGroup(group_id)
        return group

    def beats(self, group_id: str) -> Beats:
        """Returns how often members of the group, one of the consumer protocol, are to be heard of."""
        return self.settings.beats_of(self.image.group_overrides.get(group_id))

    def group_ids(self) -> list[str]:
        """Returns all groups, with the simple ones, in no order."""
        return [*self.groups, *(group_id for group_id in self.offsets.group_ids() if group_id not in self.groups)]
