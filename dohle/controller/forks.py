"""Forks: what is decided about a topic that begins with what another one has (docs/decisions/0037).

A fork is made by the brokers that have the source's replicas, for they share its files. While it is being made it is
none of the topics: nobody sees it, elections and reassignments know nothing of it, and its name is taken. The leader of
each of the source's partitions says where that was cut. Then the other replicas make theirs, and say what they have, or
that they cannot. Once all have spoken that are alive, the topic is made in one batch, with those in sync that have the
same; the others begin with nothing, as any new replica does. Or it ends, and nothing was there.

Its first leader epoch is above the one that the source has by then, and so above every epoch in its log. Its replicas
are taken to be there since the fork began: one that is lost is missing, and does not pass for a new one that is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dohle.controller.decision import Decision, need_version, registered
from dohle.controller.topics import check_new_name, existing_topic
from dohle.model.errors import (
    DohleError,
    InvalidPartitions,
    InvalidReplicaAssignment,
    InvalidRequest,
    LeaderNotAvailable,
    NotEnoughReplicas,
    ReassignmentInProgress,
    UnknownTopicOrPartition,
    error_for,
)
from dohle.model.ids import NO_NODE, NodeId, TopicId
from dohle.model.image import ClusterImage, ForkImage, TopicImage
from dohle.model.metadata import (
    FORKS_VERSION,
    UNSET,
    EndFork,
    ForkedPartition,
    ForkedReplica,
    ForkTopic,
    MetadataRecord,
    Partition,
    PartitionChange,
    Topic,
    TopicOverride,
)
from dohle.rpc.v1.admin_pb2 import ForkPoint, ForkTopicRequest, ForkTopicResponse
from dohle.rpc.v1.controller_pb2 import ConfirmForksRequest

_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class EndedFork:
    """`failure` says why it came to nothing; None where the topic is there. `ends` are where its partitions end."""

    topic_id: TopicId
    ends: tuple[int, ...]
    failure: DohleError | None


def begin_fork(image: ClusterImage, request: ForkTopicRequest) -> Decision[ForkTopicResponse]:
    """Decides that a fork begins; answers how far it is where it has begun already.

    Raises UnsupportedVersion, InvalidRequest, InvalidTopic, TopicAlreadyExists, UnknownTopicOrPartition,
    InvalidPartitions, LeaderNotAvailable, ReassignmentInProgress, InvalidReplicaAssignment.
    """
    need_version(image, FORKS_VERSION, "a fork of a topic")
    topic_id = TopicId(request.topic_id)
    if topic_id in image.topics:
        return Decision((), ForkTopicResponse(whole=True))
    if topic_id in image.forks:
        return Decision((), ForkTopicResponse())
    if len(topic_id) != _ID_BYTES:
        raise InvalidRequest(f"a topic id has {_ID_BYTES} bytes")
    check_new_name(image, request.name)
    source = existing_topic(image, request.source)
    if source.config.is_compacted and (
        request.HasField("timestamp_ms") or request.HasField("offset") or request.points
    ):
        raise InvalidRequest(
            f"{source.name} is compacted, so that nobody knows any more what it was like at an earlier offset or time:"
            " fork it as it is now, or a snapshot that was made then"
        )
    partitions = [
        ForkedPartition(_replicas(image, source, number), wanted)
        for number, wanted in enumerate(_wanted(source, request))
    ]
    timestamp_ms = request.timestamp_ms if request.HasField("timestamp_ms") else UNSET
    record = ForkTopic(topic_id, request.name, source.topic_id, timestamp_ms, tuple(partitions))
    return Decision((record,), ForkTopicResponse())


def _wanted(source: TopicImage, request: ForkTopicRequest) -> list[int]:
    """Returns the offset at which each partition is to be cut."""
    asked = [request.offset] if request.HasField("offset") else []
    asked += [point.offset for point in request.points]
    if request.HasField("timestamp_ms") and (asked or request.timestamp_ms < 0):
        raise InvalidRequest("fork at a time, which is not negative, or at offsets: not at both")
    if any(offset < 0 for offset in asked):
        raise InvalidRequest(f"{min(asked)} is no offset to fork at")
    wanted = [request.offset if request.HasField("offset") else UNSET] * len(source.partitions)
    for point in request.points:
        if not 0 <= point.partition < len(wanted):
            raise InvalidPartitions(f"{source.name} has no partition {point.partition}: it has {len(wanted)}")
        wanted[point.partition] = point.offset
    return wanted


def _replicas(image: ClusterImage, source: TopicImage, number: int) -> tuple[NodeId, ...]:
    partition = source.partitions[number]
    if partition.is_reassigning:
        raise ReassignmentInProgress(f"{source.name}-{number} is on its way to other brokers: fork it once it is there")
    if partition.leader == NO_NODE:
        raise LeaderNotAvailable(f"{source.name}-{number} has no leader, who would say where it can be cut")
    if draining := [node for node in partition.assigned_replicas if image.is_draining(node)]:
        raise InvalidReplicaAssignment(
            f"a fork of {source.name} would lie on brokers that are being drained, {draining}: fork it once its"
            " replicas have left them"
        )
    return partition.assigned_replicas


def confirm_forks(image: ClusterImage, request: ConfirmForksRequest) -> Decision[list[EndedFork]]:
    """Decides on what a broker says of its replicas of forks; answers which of those come to nothing by it.

    What nobody waits for any more is passed over. Raises BrokerIdNotRegistered, StaleBrokerEpoch, NotController.
    """
    broker = registered(image, NodeId(request.broker_id), request.broker_epoch)
    node_id = broker.node_id
    records: list[MetadataRecord] = []
    ended: dict[TopicId, EndedFork] = {}
    heard: set[tuple[TopicId, int]] = set()
    for said in request.replicas:
        topic_id = TopicId(said.topic_id)
        fork = image.forks.get(topic_id)
        if fork is None or topic_id in ended or not 0 <= said.partition < len(fork.partitions):
            continue
        before = fork.partitions[said.partition]
        if node_id not in before.assigned_replicas or (topic_id, said.partition) in heard:
            continue
        if node_id in (*before.confirmed, *before.unable):
            continue
        able = not said.failure.code
        if able and said.log_dir not in broker.online_log_dirs:
            continue  # it was said before that directory failed
        heard.add((topic_id, said.partition))
        if before.end == UNSET:
            if not _leads_source(image, fork, said.partition, node_id, said.source_leader_epoch):
                continue  # metadata will tell it who does
            if not able:
                failure = error_for(said.failure.code, said.failure.message)
                ended[topic_id] = EndedFork(topic_id, (), failure)
                records = [record for record in records if getattr(record, "topic_id", None) != topic_id]
                records.append(EndFork(topic_id))
                continue
        elif (said.end, said.checksum) != (before.end, before.checksum):
            able = False
        end = said.end if able else UNSET
        records.append(
            ForkedReplica(topic_id, said.partition, node_id, end, said.checked_from, said.checksum if able else 0)
        )
    return Decision(tuple(records), list(ended.values()))


def _leads_source(image: ClusterImage, fork: ForkImage, number: int, node_id: NodeId, leader_epoch: int) -> bool:
    source = image.topics.get(fork.source_id)
    if source is None:
        return False
    partition = source.partitions[number]
    return (partition.leader, partition.leader_epoch) == (node_id, leader_epoch)


def settle_fork(image: ClusterImage, topic_id: TopicId, *, gives_up: bool) -> Decision[EndedFork | None]:
    """Decides that a fork is whole, or comes to nothing; answers None while replicas have not spoken that are alive.

    `gives_up`: those are waited for no longer.
    """
    fork = image.forks.get(topic_id)
    if fork is None:
        return Decision((), None)
    source = image.topics.get(fork.source_id)
    if source is None:
        return _nothing(fork, UnknownTopicOrPartition(f"the source of {fork.name} was deleted meanwhile"))
    gone = [node for one in fork.partitions for node in one.assigned_replicas if node not in image.brokers]
    if gone:
        return _nothing(fork, InvalidReplicaAssignment(f"broker {gone[0]} was unregistered meanwhile"))
    silent = [(number, node) for number, one in enumerate(fork.partitions) for node in _silent(image, one)]
    if silent and not gives_up:
        return Decision((), None)
    uncut = [number for number, one in enumerate(fork.partitions) if one.end == UNSET]
    if uncut:
        return _nothing(
            fork, LeaderNotAvailable(f"no leader of {source.name}-{uncut[0]} has said in time where it can be cut")
        )
    records: list[MetadataRecord] = [Topic(topic_id, fork.name)]
    records += [TopicOverride(topic_id, name, value) for name, value in source.overrides.items()]
    for number, one in enumerate(fork.partitions):
        members = tuple([node for node in one.assigned_replicas if node in one.confirmed and image.is_active(node)])
        least = min(source.config.min_insync_replicas, len(one.assigned_replicas))
        if len(members) < max(least, 1):
            return _nothing(fork, _too_few(source, number, one, members, least))
        leader_epoch = source.partitions[number].leader_epoch + 1
        records.append(Partition(topic_id, number, one.assigned_replicas, members, members[0]))
        records.append(PartitionChange(topic_id, number, members[0], leader_epoch, 1, members, ()))
    ends = tuple([one.end for one in fork.partitions])
    return Decision((*records, EndFork(topic_id)), EndedFork(topic_id, ends, None))


def _silent(image: ClusterImage, partition: ForkedPartition) -> list[NodeId]:
    """Returns the replicas that are to be waited for; one that is down is not, once it is known where to cut."""
    if partition.end == UNSET:
        return list(partition.assigned_replicas)
    spoken = {*partition.confirmed, *partition.unable}
    return [node for node in partition.assigned_replicas if node not in spoken and image.is_active(node)]


def _too_few(
    source: TopicImage, number: int, partition: ForkedPartition, members: Sequence[NodeId], least: int
) -> DohleError:
    others = [node for node in partition.assigned_replicas if node not in members]
    return NotEnoughReplicas(
        f"{source.name}-{number} cannot be forked: only {list(members)} have all that a fork would have, of the"
        f" {least} that min.insync.replicas asks for; {others} are down, lag behind, or cannot share files"
    )


def _nothing(fork: ForkImage, failure: DohleError) -> Decision[EndedFork | None]:
    alarm = f"topic {fork.name} is not forked: {failure.message}"
    return Decision((EndFork(fork.topic_id),), EndedFork(fork.topic_id, (), failure), (alarm,))


def points(ends: Sequence[int]) -> list[ForkPoint]:
    """Returns where partitions end, by their numbers."""
    return [ForkPoint(partition=number, offset=end) for number, end in enumerate(ends)]
