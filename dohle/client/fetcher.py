"""Fetcher: the consumer's work in the background.

It finds starting positions, follows leaders and the replicas that they name, keeps a stream to each broker that it
reads, and sorts what comes back: batches and failures for the reader into `ahead`, everything that time heals into
another try.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Final

from dohle.client.assigned_partition import AssignedPartition
from dohle.client.backoff import Backoff
from dohle.client.cluster_view import ClusterView, TopicView
from dohle.client.fetch_stream import FetchSettings, FetchStream
from dohle.client.metadata_cache import MetadataCache
from dohle.client.offset_lookup import OffsetLookup
from dohle.client.read_ahead import ReadAhead
from dohle.client.seams import Seams
from dohle.model.errors import (
    CorruptMessage,
    DohleError,
    OffsetNotAvailable,
    OffsetOutOfRange,
    UnknownTopicId,
    UnknownTopicOrPartition,
    error_for,
)
from dohle.model.ids import NO_NODE, TopicPartition
from dohle.rpc.v1 import broker_pb2
from dohle.runtime.network import Address
from dohle.runtime.tasks import Tasks

log = logging.getLogger(__name__)

_MISSING_S: Final = 5.0
"""For how long brokers may not know an assigned topic before its reader is told."""
_DOUBT_S: Final = 2.0
"""How often other brokers are asked who leads while one that is read may be cut off."""


class Fetcher:
    """Reads `assigned` ahead, at most `prefetch_bytes` of it."""

    def __init__(
        self,
        bootstrap: Sequence[Address],
        settings: FetchSettings,
        prefetch_bytes: int,
        seams: Seams,
        tasks: Tasks,
    ) -> None:
        self._settings = settings
        self._prefetch_bytes = prefetch_bytes
        self._seams = seams
        self._tasks = tasks
        self._streams: dict[int, FetchStream] = {}
        self._placing = asyncio.Event()
        self._started = False
        self._doubted_at = -_DOUBT_S
        self.by_group = False  # a group assigns, and sees for itself what becomes of topics
        self.assigned: dict[TopicPartition, AssignedPartition] = {}
        self.ahead = ReadAhead()
        self.metadata = MetadataCache(bootstrap, seams, tasks, self._follow_leaders)
        self.lookup = OffsetLookup(self.metadata, seams, settings.request_timeout_ms / 1000)

    def assign(self, partitions: Iterable[AssignedPartition]) -> None:
        """Makes `partitions` the assignment."""
        former, self.assigned = self.assigned, {partition.name: partition for partition in partitions}
        for name, partition in former.items():
            if self.assigned.get(name) is not partition:
                partition.generation += 1
                self.ahead.forget(partition)
        if not self._started:
            self._started = True
            self._tasks.spawn(self._place_all(), "starting positions")
        self._follow_leaders(self.metadata.view)

    def move(self, partition: AssignedPartition, offset: int | None) -> None:
        """Has `partition` go on at `offset`; None: where its reset says."""
        self.ahead.sought(partition)
        partition.move_to(offset)
        self.wake()

    def rewind(self, partition: AssignedPartition) -> None:
        """Forgets what was read ahead of `partition`."""
        self.ahead.forget(partition)
        partition.rewind()
        self.wake()

    def stop(self, partition: AssignedPartition, failure: DohleError) -> None:
        """Reads no more of `partition` before the next seek; the reader is told why."""
        partition.rewind()
        self._stop_all([partition], failure)

    def wake(self) -> None:
        """Looks again at what can be read."""
        if any(partition.needs_offset for partition in self.assigned.values()):
            self._placing.set()
        for node in sorted(self._streams):
            self._streams[node].wake()

    def room_freed(self, node: int) -> None:
        """Says that what was read ahead from `node` has become less."""
        stream = self._streams.get(node)
        if stream is not None:
            stream.room_freed()

    async def place(self, partitions: Sequence[AssignedPartition]) -> None:
        """Finds positions for partitions that have none. Raises what keeps them from being found."""
        for reset_to in dict.fromkeys(partition.reset_to for partition in partitions):
            placed = {partition: partition.generation for partition in partitions if partition.reset_to == reset_to}
            if reset_to is None:
                raise _no_position(placed)
            offsets = await self.lookup.at(placed, reset_to)
            for partition, generation in placed.items():
                if partition.generation == generation and partition.position is None:
                    partition.begin_at(offsets[partition.name], partition.leader_epoch)
        self.wake()

    def close(self) -> None:
        for node in sorted(self._streams):
            self._streams[node].close()
        self._streams.clear()

    async def _place_all(self) -> None:
        """Finds starting positions for whatever is assigned and has none; what time heals is tried for ever."""
        backoff = Backoff(self._seams.random)
        while True:
            await self._placing.wait()
            self._placing.clear()
            if await self._place_once():
                backoff.reset()
            else:
                self.metadata.request_refresh()
                await self._seams.clock.sleep(backoff.next_s())
                self._placing.set()

    async def _place_once(self) -> bool:
        """Asks for each position once; returns False if some are to be asked for again."""
        homeless = [partition for partition in self.assigned.values() if partition.needs_offset]
        settled = True
        for reset_to in dict.fromkeys(partition.reset_to for partition in homeless):
            asked = {
                partition: (partition.generation, partition.leader_epoch)
                for partition in homeless
                if partition.reset_to == reset_to
            }
            if reset_to is None:
                self._stop_all(list(asked), _no_position(asked))
                continue
            for partition, outcome in (await self.lookup.once(asked, reset_to)).items():
                if self.assigned.get(partition.name) is not partition or not partition.needs_offset:
                    continue  # assigned anew or sought meanwhile
                if isinstance(outcome, DohleError):
                    if outcome.retriable:
                        settled = False
                    else:
                        self._stop_all([partition], outcome)
                elif partition.generation == asked[partition][0]:
                    partition.begin_at(outcome.offset, asked[partition][1])
        self.wake()
        return settled

    def _stop_all(self, partitions: list[AssignedPartition], failure: DohleError) -> None:
        for partition in partitions:
            partition.stopped = True
        self.ahead.fail(failure, partitions)

    def _follow_leaders(self, view: ClusterView) -> None:
        now = self._seams.clock.now()
        for partition in self.assigned.values():
            topic = view.topics.get(partition.name.topic)
            if partition.name.topic in view.failures or topic is None:
                self._missing(partition, now)
            elif topic.topic_id != partition.key.topic_id:
                if not partition.stopped and not self.by_group:
                    self.stop(
                        partition,
                        UnknownTopicId(
                            f"topic {topic.name!r} was deleted and made again; assign it to read the new one"
                        ),
                    )
            elif partition.name.partition < len(topic.partitions):
                self._follow(partition, topic, view)
        self.wake()

    def _follow(self, partition: AssignedPartition, topic: TopicView, view: ClusterView) -> None:
        known = topic.partitions[partition.name.partition]
        partition.missing_since = None
        source = partition.source
        if known.leader_epoch != partition.leader_epoch or known.leader != partition.leader:
            partition.leader, partition.leader_epoch = known.leader, known.leader_epoch
            partition.preferred.forget()
            partition.retry_at = 0.0
        elif partition.preferred.node is not None and partition.preferred.node not in view.nodes:
            partition.preferred.forget()  # it is fenced
        if partition.source != source:
            partition.generation += 1  # the former one's answer is not waited for
        address = view.nodes.get(partition.source)
        if address is None:
            self.metadata.request_refresh()
        else:
            self._keep_stream(partition.source, address)

    def _missing(self, partition: AssignedPartition, now: float) -> None:
        """The brokers do not know the topic: just after its creation some do not yet, after its deletion none does."""
        if partition.missing_since is None:
            partition.missing_since = now
        if now - partition.missing_since < _MISSING_S:
            self.metadata.request_refresh()
        elif not partition.stopped and not self.by_group:
            self.stop(partition, UnknownTopicOrPartition(f"topic {partition.name.topic!r} does not exist any more"))

    def _keep_stream(self, node: int, address: Address) -> None:
        stream = self._streams.get(node)
        if stream is not None and stream.address == address:
            return
        if stream is not None:
            stream.close()
        self._streams[node] = FetchStream(
            address,
            self._settings,
            self._seams,
            self._tasks,
            partitions=lambda: [partition for partition in self.assigned.values() if partition.source == node],
            room_bytes=lambda: self._room_bytes(node),
            on_answer=lambda partition, answer: self._answered(partition, answer, node),
            on_lost=lambda partitions, failure: self._lost(partitions, failure, node),
            on_doubt=self._doubted,
        )

    def _room_bytes(self, node: int) -> int:
        """Returns how much to ask `node` for: nothing before half of its share is free, so that answers are large."""
        sources = {partition.source for partition in self.assigned.values() if partition.source != NO_NODE}
        share = self._prefetch_bytes // max(len(sources), 1)
        room_bytes = share - self.ahead.bytes_from(node)
        return room_bytes if room_bytes >= share // 2 else 0

    def _answered(self, partition: AssignedPartition, answer: broker_pb2.FetchedPartition, node: int) -> None:
        if answer.failure.code:
            failure = error_for(answer.failure.code, answer.failure.message)
            if partition.preferred.node == node:
                self._back_to_leader(partition, failure)
            else:
                self._refused(partition, failure)
            return
        try:
            for batch in partition.taken(answer):
                self.ahead.put(partition, batch, node)
        except CorruptMessage as failure:
            if not self.asks_leader_instead(partition, node, failure):
                self.stop(partition, CorruptMessage(f"{partition.name}: {failure.message}"))
            return
        now = self._seams.clock.now()
        if answer.batches:
            partition.preferred.brought_something(now)
        if answer.HasField("preferred_read_replica"):
            self._read_from(partition, answer.preferred_read_replica, now)
        elif partition.preferred.is_due(now):
            partition.preferred.forget()
            self.wake()

    def _read_from(self, partition: AssignedPartition, node: int, now: float) -> None:
        """The leader has named a replica that is nearer."""
        address = self.metadata.view.nodes.get(node)
        if address is None:  # it has just come
            partition.preferred.shun(now)
            self.metadata.request_refresh()
            return
        log.debug("%s is read from node %d", partition.name, node)
        partition.preferred.named(node, now)
        self._keep_stream(node, address)
        self.wake()

    def asks_leader_instead(self, partition: AssignedPartition, node: int, failure: CorruptMessage) -> bool:
        """What `node` has sent is rotten. Returns whether the leader is asked, since a follower has sent it."""
        if node == partition.leader:
            return False
        log.warning("%s: what node %d sent is rotten, its leader is asked: %s", partition.name, node, failure.message)
        self._back_to_leader(partition, failure)
        return True

    def _back_to_leader(self, partition: AssignedPartition, failure: DohleError) -> None:
        """A follower knows no offset to be out of range, and no topic to be gone: the leader will say what is wrong."""
        log.debug("%s is read from its leader again: %s", partition.name, failure.message)
        partition.preferred.shun(self._seams.clock.now())
        if not isinstance(failure, OffsetNotAvailable):
            self.metadata.request_refresh()
        self.wake()

    def _doubted(self) -> None:
        """A broker has heard from no controller for long: whether it still leads, others know."""
        now = self._seams.clock.now()
        if now - self._doubted_at >= _DOUBT_S:
            self._doubted_at = now
            self.metadata.request_refresh()

    def _refused(self, partition: AssignedPartition, failure: DohleError) -> None:
        match failure:
            case OffsetOutOfRange() if partition.has_read_ahead:
                self._try_again(partition)  # what is still there is read first
            case OffsetOutOfRange() if partition.reset_to is not None:
                log.warning(
                    "%s has no offset %s; going on where auto_offset_reset says", partition.name, partition.position
                )
                self.ahead.sought(partition)
                partition.refuse()
                self.wake()
            case OffsetOutOfRange():
                self.stop(
                    partition,
                    OffsetOutOfRange(f"{partition.name} has no offset {partition.position}; seek to one that it has"),
                )
            case CorruptMessage():  # a leader says so only when no other replica can take its place
                self.stop(partition, failure)
            case _ if failure.retriable:
                self.metadata.request_refresh()
                self._try_again(partition)
            case _:
                self.stop(partition, failure)

    def _lost(self, partitions: list[AssignedPartition], failure: DohleError, node: int) -> None:
        log.debug("a fetch got no answer: %s", failure.message)
        self.metadata.request_refresh()
        again = [partition for partition in partitions if partition.preferred.node != node]
        for partition in partitions:
            if partition.preferred.node == node:
                self._back_to_leader(partition, failure)
        if again:
            self._try_again(*again)

    def _try_again(self, *partitions: AssignedPartition) -> None:
        """Has them asked for again a while from now, together: who does not answer is not asked once for each."""
        wait_s = min(partition.backoff.next_s() for partition in partitions)
        retry_at = self._seams.clock.now() + wait_s
        for partition in partitions:
            partition.retry_at = retry_at
        asyncio.get_running_loop().call_later(wait_s, self.wake)


def _no_position(partitions: Iterable[AssignedPartition]) -> OffsetOutOfRange:
    names = ", ".join(str(partition.name) for partition in partitions)
    return OffsetOutOfRange(f"{names}: no position, and auto_offset_reset is none; seek to one")
