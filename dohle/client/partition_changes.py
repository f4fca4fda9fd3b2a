"""What an operator asks of partitions, and what comes back: reassignments, elections, histories.

Values for users, and their messages. Errors are those of `dohle.model.errors`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dohle.client.descriptions import error_in
from dohle.model.errors import DohleError
from dohle.model.ids import TopicPartition
from dohle.rpc.v1 import admin_pb2

_ANY_EPOCH = -1


@dataclass(frozen=True, slots=True)
class Reassignment:
    """Where a partition's replicas shall be, the preferred leader first; `replicas` of None takes back what runs.

    With a `partition_epoch` it is refused if the partition has changed since.
    """

    topic: str
    partition: int
    replicas: tuple[int, ...] | None
    partition_epoch: int | None = None

    @property
    def name(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)


@dataclass(frozen=True, slots=True)
class OngoingReassignment:
    """A reassignment that has not ended. `replicas` are the targets in their order, then those that are removed."""

    topic: str
    partition: int
    partition_epoch: int
    leader: int
    replicas: tuple[int, ...]
    adding_replicas: tuple[int, ...]
    removing_replicas: tuple[int, ...]
    in_sync_replicas: tuple[int, ...]

    @property
    def name(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)

    @property
    def target_replicas(self) -> tuple[int, ...]:
        return tuple([node for node in self.replicas if node not in self.removing_replicas])


@dataclass(frozen=True, slots=True)
class OngoingReassignments:
    """All that run, by partition; `throttle_bytes_per_s` of 0 means no bound."""

    reassignments: tuple[OngoingReassignment, ...]
    throttle_bytes_per_s: int


@dataclass(frozen=True, slots=True)
class ElectedLeader:
    """Who leads after an election, and in which leader epoch."""

    leader: int
    leader_epoch: int


@dataclass(frozen=True, slots=True)
class PartitionStep:
    """What one change of the metadata made of a partition, and which brokers' changes it came with."""

    metadata_offset: int
    time_ms: int
    leader: int
    leader_epoch: int
    partition_epoch: int
    in_sync_replicas: tuple[int, ...]
    assigned_replicas: tuple[int, ...]  # empty while it is not known: the change was made before what was read
    adding_replicas: tuple[int, ...]
    removing_replicas: tuple[int, ...]
    fenced_brokers: tuple[int, ...]
    unfenced_brokers: tuple[int, ...]
    shutting_down_brokers: tuple[int, ...]
    registered_brokers: tuple[int, ...]
    doubtful_brokers: tuple[int, ...]
    eligible_replicas: tuple[int, ...] = ()
    last_known_leader: int = -1
    offline_brokers: tuple[int, ...] = ()  # whose replicas lie in directories that they have lost


@dataclass(frozen=True, slots=True)
class PartitionHistory:
    """The newest steps of a partition, the oldest first; what lay before `read_from_offset` was not looked at."""

    steps: tuple[PartitionStep, ...]
    read_from_offset: int
    now_ms: int
    known_end: int = 0  # up to where the controller that answered has metadata
    known_at_ms: int = 0  # when the last of them was appended; 0: not known


def wanted_message(wanted: Reassignment) -> admin_pb2.WantedReassignment:
    return admin_pb2.WantedReassignment(
        topic=wanted.topic,
        partition=wanted.partition,
        replicas=wanted.replicas,
        cancel=wanted.replicas is None,
        partition_epoch=_ANY_EPOCH if wanted.partition_epoch is None else wanted.partition_epoch,
    )


def outcomes(answer: admin_pb2.AlterPartitionReassignmentsResponse) -> dict[TopicPartition, DohleError | None]:
    return {TopicPartition(one.topic, one.partition): error_in(one.failure) for one in answer.partitions}


def ongoing(answer: admin_pb2.ListPartitionReassignmentsResponse) -> OngoingReassignments:
    return OngoingReassignments(
        tuple(
            OngoingReassignment(
                topic=one.topic,
                partition=one.partition,
                partition_epoch=one.partition_epoch,
                leader=one.leader,
                replicas=tuple(one.replicas),
                adding_replicas=tuple(one.adding_replicas),
                removing_replicas=tuple(one.removing_replicas),
                in_sync_replicas=tuple(one.in_sync_replicas),
            )
            for one in answer.partitions
        ),
        answer.throttle_bytes_per_s,
    )


def elections_of(partitions: Mapping[str, Sequence[int]]) -> list[admin_pb2.ElectionOf]:
    return [admin_pb2.ElectionOf(topic=topic, partitions=numbers) for topic, numbers in partitions.items()]


def elected(answer: admin_pb2.ElectLeadersResponse) -> dict[TopicPartition, ElectedLeader | DohleError]:
    return {
        TopicPartition(one.topic, one.partition): error_in(one.failure) or ElectedLeader(one.leader, one.leader_epoch)
        for one in answer.partitions
    }


def history(answer: admin_pb2.DescribePartitionHistoryResponse) -> PartitionHistory:
    assigned: Sequence[int] = ()
    adding: Sequence[int] = ()
    removing: Sequence[int] = ()
    steps: list[PartitionStep] = []
    for step in answer.steps:
        if step.assigned_replicas:  # a change that does not name them has left them as they were
            assigned, adding, removing = step.assigned_replicas, step.adding_replicas, step.removing_replicas
        steps.append(
            PartitionStep(
                metadata_offset=step.metadata_offset,
                time_ms=step.time_ms,
                leader=step.leader,
                leader_epoch=step.leader_epoch,
                partition_epoch=step.partition_epoch,
                in_sync_replicas=tuple(step.in_sync_replicas),
                assigned_replicas=tuple(assigned),
                adding_replicas=tuple(adding),
                removing_replicas=tuple(removing),
                fenced_brokers=tuple(step.fenced_brokers),
                unfenced_brokers=tuple(step.unfenced_brokers),
                shutting_down_brokers=tuple(step.shutting_down_brokers),
                registered_brokers=tuple(step.registered_brokers),
                doubtful_brokers=tuple(step.doubtful_brokers),
                eligible_replicas=tuple(step.eligible_replicas),
                last_known_leader=step.last_known_leader if step.HasField("last_known_leader") else -1,
                offline_brokers=tuple(step.offline_brokers),
            )
        )
    return PartitionHistory(tuple(steps), answer.read_from_offset, answer.now_ms, answer.known_end, answer.known_at_ms)
