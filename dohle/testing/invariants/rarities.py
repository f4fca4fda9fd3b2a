"""Rarities: the names of what `Rare` counts, and how a function of the product is wrapped to see it.

Each wrap is a function around one of the product's, named by the attribute itself, and calls it once with what it was
given. Where they are: `replica_rarities` for storage, brokers and clients, `controller_rarities` for controllers,
`group_rarities` for groups of consumers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from dohle.broker.metadata_follower import MetadataFollower

RARE = (
    "a batch out of its producer's order is refused",
    "a broker is drained",
    "a broker is fenced early",
    "a broker is forgotten",
    "a change is left open by a controller that lost its office",
    "a broker takes a snapshot",
    "a commit of a fenced member is refused",
    "a compaction runs",
    "a compaction's swap is finished at a start",
    "a compaction's swap is undone at a start",
    "a coordinator resigns while somebody waits",
    "a damaged snapshot is refused",
    "a deletion is acknowledged",
    "a deletion is acknowledged under another leader than it was asked of",
    "a directory fails and its broker goes on",
    "a directory is missing and its replicas are not made anew",
    "a disk fails",
    "a divergence is truncated",
    "a duplicate is answered",
    "a leader's session ends in silence",
    "a log begins later on a follower",
    "a log that begins within a batch is read",
    "a member does not give up in time",
    "a member returns with a doubt",
    "a member's session ends",
    "a metadata follower changes its controller",
    "a PreVote is refused",
    "a process is killed while it writes its vote",
    "a rebalance moves replicas",
    "a producer snapshot is loaded",
    "a reader is sent to a follower",
    "a reader is sent back to its leader",
    "a Raft leader is proven gone",
    "a Raft leader without its majority steps down",
    "a Raft log is truncated",
    "a replica catches up by chunks",
    "a replica moves to another directory",
    "a replica is eligible",
    "a segment is rolled",
    "a segment is let go",
    "a snapshot is fetched at a start",
    "a snapshot is installed",
    "a snapshot is written",
    "a stale AlterPartition is refused",
    "a stop was unclean",
    "a tombstone goes",
    "a torn tail is cut",
    "a truncation goes across segments",
    "acknowledgements fail with their epoch",
    "all leaderships are handed over in a controlled shutdown",
    "an early fencing is undone",
    "an append is refused for want of replicas",
    "an eligible replica leads",
    "an unclean election is held",
    "groups are taken over by another coordinator",
    "new replicas are placed beside a draining broker",
    "an ISR grows",
    "an ISR shrinks",
    "a damaged leader is relieved",
    "a damaged replica begins anew",
    "a damaged replica is repaired in place",
    "damage is found at a start",
    "damage is found by a read",
    "damage is found by scrubbing",
    "producers are refused for want of room",
    "the last known leader leads uncleanly",
    "the watermark waits for a replica that is about to join",
)
"""What is counted; a campaign that never meets one of them has not tried."""


class Counts:
    """What one run came to."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()
        self.deletions: dict[tuple[str, int], int] = {}  # in which leader epoch each was first asked for
        self.controllers: dict[MetadataFollower, int] = {}  # that each follower had its last records from

    def add(self, name: str, count: int = 1) -> None:
        assert name in RARE, f"{name!r} is none of what is counted"
        self.of[name] += count


Wrap = Callable[[Counts, Callable[..., Any]], Callable[..., Any]]


class Wrapped(NamedTuple):
    """A function of the product, by its owner and name, and what it is wrapped in."""

    owner: object
    name: str
    wrap: Wrap


def around(wraps: list[Wrapped], owner: object, method: Callable[..., Any]) -> Callable[[Wrap], Wrap]:
    """Returns a decorator that adds what it decorates to `wraps`, as what `method` is wrapped in."""
    assert vars(owner)[method.__name__] is method

    def register(wrap: Wrap) -> Wrap:
        wraps.append(Wrapped(owner, method.__name__, wrap))
        return wrap

    return register
