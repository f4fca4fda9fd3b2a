"""ShardState: what all parts of one shard share."""

from __future__ import annotations

from dataclasses import dataclass, field

from dohle.groups.group import Group
from dohle.groups.settings import GroupSettings
from dohle.groups.timers import Timers
from dohle.model.ids import RandomBytes
from dohle.model.image import EMPTY_IMAGE, ClusterImage


@dataclass(slots=True)
class ShardState:
    """`groups` by id, of both kinds; `image`: the topics there are, as far as this node knows. `random` makes members'
    ids, in Kafka's form (a version 4 UUID)."""

    settings: GroupSettings
    random: RandomBytes
    image: ClusterImage = EMPTY_IMAGE
    groups: dict[str, Group] = field(default_factory=dict)
    timers: Timers = field(default_factory=Timers)
