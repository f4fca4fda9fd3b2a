"""AssignedPartition: where a consumer stands in one partition.

`position` is the next offset that the reader gets, `fetch_offset` the next one to ask for; between them lies what was
read ahead. `generation` grows whenever read-ahead loses its meaning: an answer to a request of an older one is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator

from dohle.client.backoff import Backoff
from dohle.client.fetched_batch import FetchedBatch
from dohle.client.preferred_replica import PreferredReplica
from dohle.model.batch import split_batches
from dohle.model.ids import NO_NODE, PartitionKey, TopicId, TopicPartition
from dohle.rpc.v1 import broker_pb2


class AssignedPartition:
    """One partition of a consumer. Its consumer keeps what was read ahead, in the order of arrival."""

    __slots__ = (
        "backoff",
        "fetch_offset",
        "generation",
        "held",
        "key",
        "leader",
        "leader_epoch",
        "missing_since",
        "name",
        "paused",
        "position",
        "preferred",
        "refused",
        "reset_to",
        "retry_at",
        "stopped",
    )

    def __init__(self, name: TopicPartition, topic_id: bytes, reset_to: int | None, backoff: Backoff) -> None:
        self.name = name
        self.key = PartitionKey(TopicId(topic_id), name.partition)
        self.reset_to = reset_to  # a ListOffsets timestamp, -1 end, -2 beginning; None: the reader must seek
        self.backoff = backoff
        self.leader: int = NO_NODE
        self.leader_epoch = -1
        self.position: int | None = None
        self.fetch_offset: int | None = None
        self.generation = 0
        self.paused = False
        self.held = False  # by the consumer's group: it comes, or goes
        self.stopped = False  # by a failure that the reader was told of; until the next seek
        self.retry_at = 0.0
        self.missing_since: float | None = None
        self.preferred = PreferredReplica()
        self.refused: tuple[int, int] | None = None  # the position that a leader did not have, and its epoch

    @property
    def source(self) -> int:
        """The node that this partition is read from."""
        return self.leader if self.preferred.node is None else self.preferred.node

    @property
    def fetchable(self) -> bool:
        return self.fetch_offset is not None and not self.paused and not self.stopped and not self.held

    @property
    def needs_offset(self) -> bool:
        return self.position is None and not self.stopped and not self.held

    @property
    def has_read_ahead(self) -> bool:
        return self.fetch_offset != self.position

    def move_to(self, offset: int | None) -> None:
        """Goes on at `offset`; None: where `reset_to` says."""
        self.position = self.fetch_offset = offset
        self.stopped = False
        self.retry_at = 0.0
        self.generation += 1
        self.refused = None

    def refuse(self) -> None:
        """The leader has no such offset: goes on where `reset_to` says."""
        assert self.position is not None, "what has no position is not asked for"
        refused = (self.position, self.leader_epoch)
        self.move_to(None)
        self.refused = refused

    def begin_at(self, offset: int, leader_epoch: int) -> None:
        """Goes on where the leader of that epoch says: at what a former leader did not have, which may have been about
        to delete it and been deposed, or else at `offset`."""
        is_former = self.refused is not None and self.refused[1] < leader_epoch
        self.move_to(self.refused[0] if self.refused is not None and is_former else offset)

    def rewind(self) -> None:
        """Forgets what was read ahead."""
        self.fetch_offset = self.position
        self.generation += 1

    def taken(self, answer: broker_pb2.FetchedPartition) -> Iterator[FetchedBatch]:
        """Yields the answer's batches, and moves `fetch_offset` behind each. Raises CorruptMessage."""
        self.backoff.reset()
        buffer = answer.batches
        for start, header in split_batches(buffer):
            first_offset = self.fetch_offset
            assert first_offset is not None, "only partitions with an offset are asked for"
            if header.next_offset <= first_offset:
                continue
            self.fetch_offset = header.next_offset
            yield FetchedBatch(
                self.name.topic,
                self.name.partition,
                buffer=buffer,
                start=start,
                header=header,
                first_offset=first_offset,
                high_watermark=answer.high_watermark,
            )
