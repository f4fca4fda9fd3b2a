"""Which replica answers a consumer: the leader, or an in-sync follower in the consumer's rack (KIP-392).

Only a consumer that names its rack is sent to a follower, and only the leader sends it there. A follower answers for as
long as it knows nothing that speaks against it: its leader's stream and epoch, the in-sync set, and its own session
hold. In every other case it refuses, and the consumer asks the leader again: a follower never says that an offset does
not exist. Nor does a leader without a session: the log of who leads by now may span other offsets.

That nothing above the watermark is read holds on followers as on leaders: theirs is one that the leader has said, so
everything below it is committed.
"""

from __future__ import annotations

from dohle.broker.following import NO_SUBSCRIPTION, Following
from dohle.broker.leading import Leading
from dohle.broker.membership import Membership
from dohle.broker.partition import Partition
from dohle.broker.replicas import Replicas
from dohle.model.errors import NotLeaderOrFollower, OffsetNotAvailable
from dohle.model.ids import NodeId
from dohle.runtime.clock import Clock


class Readers:
    """Consumers of this broker's partitions; `rack` is the broker's own."""

    def __init__(self, replicas: Replicas, membership: Membership, clock: Clock, rack: str, *, by_rack: bool) -> None:
        self._replicas = replicas
        self._membership = membership
        self._clock = clock
        self._rack = rack
        self._by_rack = by_rack

    @property
    def in_doubt(self) -> bool:
        """Whether this broker has no session with a controller."""
        return self._membership.fenced or self._membership.in_doubt

    def replica_for(self, leading: Leading, rack: str, fetch_offset: int) -> NodeId | None:
        """Returns the follower that a consumer in `rack` is to read; None if it is to stay with this leader."""
        if not rack or rack == self._rack or not self._by_rack or self._membership.in_doubt:
            return None
        brokers = self._replicas.image.brokers
        near = [node for node in leading.assigned_replicas if (known := brokers.get(node)) and known.rack == rack]
        return leading.sends_reader_to(near, fetch_offset, self._clock.now()) if near else None

    def check_sure_to_lead(self, partition: Partition) -> None:
        """Raises NotLeaderOrFollower where others may lead by now."""
        if self._membership.fenced or self._membership.in_doubt:
            raise NotLeaderOrFollower(
                f"this replica of {partition.name} leads, and has no session with a controller: ask who leads by now"
            )

    def check_following(self, partition: Partition, following: Following, fetch_offset: int) -> None:
        """Raises NotLeaderOrFollower or OffsetNotAvailable unless this follower can answer for `fetch_offset`."""
        assigned = self._replicas.image.partition(partition.key)
        why = ""
        if self._membership.fenced or self._membership.in_doubt:
            why = "has no session with a controller"
        elif following.subscription == NO_SUBSCRIPTION:
            why = "hears nothing from the leader"
        elif assigned is None or self._membership.node_id not in assigned.in_sync_replicas:
            why = "is not in sync"
        elif partition.log.damage is not None:
            why = "is damaged"
        if why:
            raise NotLeaderOrFollower(f"this replica of {partition.name} {why}: read from the leader")
        log = partition.log
        if not log.log_start_offset <= fetch_offset <= log.log_end_offset:
            raise OffsetNotAvailable(
                f"this replica of {partition.name} has offsets {log.log_start_offset} to {log.log_end_offset}, and"
                f" {fetch_offset} is asked for: read from the leader"
            )
