"""A partition's history, read from the metadata log: who led and who was in sync, since when, and what happened then.

Every step is one change of the metadata, with the time of its append. The reason stands in the same change more often
than not: a broker that was fenced, one that registered anew, one that lost a directory. The last is a step of its own
also where the partition stays as it was, since it says why the replica does not come back. The newest stretch of the
log is looked at, read in pieces; batches that do not name the topic are passed over without being decoded.

Where no majority confirms anything, each controller tells what its own disk has. A restart forgets how much of the log
is committed until a majority says so again, so that is all of it: the end of it may yet be taken back.

What is not here: how replicas move between a broker's directories, which the metadata do not know.
"""

from __future__ import annotations

from collections import deque
from typing import TypeGuard

from dohle.controller.controller import Controller
from dohle.controller.decision import Decision, failure_of
from dohle.model.batch import split_batches
from dohle.model.errors import UnknownTopicOrPartition
from dohle.model.ids import NodeId, PartitionKey
from dohle.model.image import ClusterImage
from dohle.model.image_apply import apply_batch
from dohle.model.metadata import (
    BrokerChange,
    LogDirectories,
    MetadataRecord,
    Partition,
    PartitionChange,
    RegisterBroker,
    ReplicasChange,
)
from dohle.model.metadata_batch import decode_metadata
from dohle.rpc.v1 import admin_pb2
from dohle.runtime.clock import Clock
from dohle.runtime.tasks import turn

MOST_CHANGES = 1000
MOST_RECORDS = 200_000
"""How far back the log is looked at."""
_DEFAULT_CHANGES = 50
_READ_BYTES = 256 << 10


async def describe_partition_history(
    controller: Controller, request: admin_pb2.DescribePartitionHistoryRequest, clock: Clock
) -> admin_pb2.DescribePartitionHistoryResponse:
    """Returns the newest steps of one partition. Raises NotController, unless asked for it as known here."""
    if not request.as_known:
        await controller.leader_found()
        await controller.change(lambda _: Decision((), None))
    committed = controller.committed
    tail = await controller.quorum.read_unconfirmed() if request.as_known else b""
    image = await _with_tail(committed, tail)
    topic = image.topic_named(request.topic)
    if topic is None or not 0 <= request.partition < len(topic.partitions):
        unknown = UnknownTopicOrPartition(f"there is no partition {request.topic}-{request.partition}")
        return admin_pb2.DescribePartitionHistoryResponse(failure=failure_of(unknown), known_end=image.next_offset)
    most = min(request.most_changes, MOST_CHANGES) if request.most_changes > 0 else _DEFAULT_CHANGES
    steps = Steps(PartitionKey(topic.topic_id, request.partition), most)
    first = offset = max(topic.created_at, committed.next_offset - MOST_RECORDS, controller.quorum.first_offset)
    while offset < committed.next_offset:
        offset = steps.read(await controller.quorum.read_committed(offset, _READ_BYTES))
    steps.read(tail)
    return admin_pb2.DescribePartitionHistoryResponse(
        steps=steps.newest,
        read_from_offset=first,
        now_ms=clock.wall_ms(),
        known_end=image.next_offset,
        known_at_ms=steps.read_to_ms,
    )


async def _with_tail(image: ClusterImage, batches: bytes) -> ClusterImage:
    for batch in decode_metadata(batches):
        image = apply_batch(image, batch.records, batch.base_offset)
        await turn(0, every=1)
    return image


class Steps:
    """The newest steps of one partition, gathered change by change."""

    def __init__(self, key: PartitionKey, most: int) -> None:
        self.newest: deque[admin_pb2.PartitionStep] = deque(maxlen=most)
        self.read_to_ms = 0  # when the last change that was looked at was made
        self._key = key
        self._offline: dict[NodeId, None] = {}  # of whose replica it was said that its directory is lost

    def read(self, batches: bytes) -> int:
        """Takes in changes as the log has them, and returns the offset behind them."""
        end = 0
        for position, header in split_batches(batches):
            end, self.read_to_ms = header.next_offset, header.max_timestamp
            raw = bytes(memoryview(batches)[position : position + header.size_bytes])
            if raw.find(self._key.topic_id) >= 0:
                for batch in decode_metadata(raw):
                    self.add(batch.records, batch.base_offset, header.max_timestamp)
        return end

    def add(self, records: tuple[MetadataRecord, ...], offset: int, time_ms: int) -> None:
        """Takes in one change of the metadata."""
        step = step_of(records, self._key)
        told = [record.node_id for record in records if _tells_of_lost(record, self._key)]
        for record in records:
            if isinstance(record, RegisterBroker):
                self._offline.pop(record.node_id, None)
        lost = [node for node in told if node not in self._offline]
        self._offline |= dict.fromkeys(lost)
        if step is None and lost and self.newest:
            step = _unchanged(self.newest[-1])
        if step is None:
            return
        self._offline.pop(NodeId(step.leader), None)  # so it is back
        step.offline_brokers.extend(lost)
        step.metadata_offset, step.time_ms = offset, time_ms
        self.newest.append(step)


def _tells_of_lost(record: MetadataRecord, key: PartitionKey) -> TypeGuard[LogDirectories]:
    return isinstance(record, LogDirectories) and key in record.offline_replicas


def _unchanged(before: admin_pb2.PartitionStep) -> admin_pb2.PartitionStep:
    """Returns a step by which the partition itself stays as it was."""
    return admin_pb2.PartitionStep(
        leader=before.leader,
        leader_epoch=before.leader_epoch,
        partition_epoch=before.partition_epoch,
        in_sync_replicas=before.in_sync_replicas,
        doubtful_brokers=before.doubtful_brokers,
        eligible_replicas=before.eligible_replicas,
        last_known_leader=before.last_known_leader if before.HasField("last_known_leader") else None,
    )


def step_of(records: tuple[MetadataRecord, ...], key: PartitionKey) -> admin_pb2.PartitionStep | None:
    """Returns what one change says of a partition; None if nothing. Without replicas, they stayed as they were."""
    step: admin_pb2.PartitionStep | None = None
    for record in records:
        match record:
            case Partition() | PartitionChange() | ReplicasChange() if (record.topic_id, record.partition) == key:
                step = _state(record)
            case _:
                pass
    if step is None:
        return None
    for record in records:
        match record:
            case RegisterBroker():
                step.registered_brokers.append(record.node_id)
            case BrokerChange(fenced=True):
                step.fenced_brokers.append(record.node_id)
            case BrokerChange(shutting_down=True):
                step.shutting_down_brokers.append(record.node_id)
            case BrokerChange():
                step.unfenced_brokers.append(record.node_id)
            case _:
                pass
    return step


def _state(record: Partition | PartitionChange | ReplicasChange) -> admin_pb2.PartitionStep:
    step = admin_pb2.PartitionStep(leader=record.leader, in_sync_replicas=record.in_sync_replicas)
    if not isinstance(record, Partition):
        step.leader_epoch, step.partition_epoch = record.leader_epoch, record.partition_epoch
        step.doubtful_brokers.extend(doubt.node_id for doubt in record.doubts)
        step.eligible_replicas.extend(record.eligible_replicas)
        step.last_known_leader = record.last_known_leader
    if not isinstance(record, PartitionChange):
        step.assigned_replicas.extend(record.assigned_replicas)
    if isinstance(record, ReplicasChange):
        step.adding_replicas.extend(record.adding_replicas)
        step.removing_replicas.extend(record.removing_replicas)
    return step
