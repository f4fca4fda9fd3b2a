"""Server-side assignors: who of a KIP-848 group is to have which partitions.

An assignor is a pure function of who the members are, which topics there are, and what the members had. It is a
generator, since a large group takes longer than an event loop may be held: each `next` is a slice of a few
milliseconds at most, and what the generator returns is the target assignment. `assign` runs one without a rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from dohle.groups.assignors.plan import Assigning, Subscription
from dohle.groups.assignors.range import assign_ranges
from dohle.groups.assignors.uniform import assign_uniformly
from dohle.groups.records import Assignment
from dohle.model.ids import TopicId

Assignor: TypeAlias = Callable[[Mapping[str, Subscription], Mapping[TopicId, int], Mapping[str, Assignment]], Assigning]
"""`(members, topics, previous)`: members by id; how many partitions each topic has, where topics that are missing do
not exist; the target that members had, of whom some may be gone and some missing. The target has every member, some of
them perhaps with nothing."""

ASSIGNORS: Mapping[str, Assignor] = {"uniform": assign_uniformly, "range": assign_ranges}
"""By the names that members ask for."""


def assign(
    assignor: Assignor,
    members: Mapping[str, Subscription],
    topics: Mapping[TopicId, int],
    previous: Mapping[str, Assignment],
) -> dict[str, Assignment]:
    """Returns the target assignment, without slices."""
    assigning = assignor(members, topics, previous)
    while True:
        try:
            next(assigning)
        except StopIteration as end:
            target: dict[str, Assignment] = end.value
            return target
