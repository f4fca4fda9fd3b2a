"""What a broker's coordinators have done since it started: it outlives the shards, which come and go."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class GroupCounts:
    """`commits`: requests of which something was taken; `offsets`: what was taken of them."""

    rebalances: int = 0
    commits: int = 0
    offsets: int = 0
