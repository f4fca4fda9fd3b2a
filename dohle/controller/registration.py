"""A broker registers: its new incarnation replaces the one before, in one atomic batch (replication.md, rule 12).

Whatever partitions it led, each gets a new leader epoch, with another leader or none: a broker never leads in an epoch
older than its registration. It stays in the ISR where its data is known to be whole. Where it is not, a doubt is noted,
and `elections` does what follows from it:

- *lost*: another directory, or one that was wiped, a replica that is missing, or one that is damaged. A replica that
  was assigned after the metadata offset up to which the broker's folders are durable is not missing but empty.
- *out of reach*: a replica that is missing while some directory cannot be used. It is lost for as long as that lasts,
  and the broker is told not to make it anew: it is `offline`.
- *doubtful*: an unclean stop, after which recovery cut a torn tail, or not every append had been fsynced. A broker that
  names the broker epoch before as cleanly ended is taken at its word.

A lost replica is trusted again only when it was damaged, and is whole again at or past the end that it had then: the
empty log that a broker makes in place of a missing one must never look sound at the next start.
"""

from __future__ import annotations

from dataclasses import dataclass

from dohle.controller.decision import Decision
from dohle.controller.elections import Revisions
from dohle.controller.registered_dirs import Evidence
from dohle.model.errors import (
    DuplicateBrokerRegistration,
    InconsistentClusterId,
    InvalidRegistration,
    UnsupportedVersion,
)
from dohle.model.ids import DirectoryId, IncarnationId, NodeId, PartitionKey, TopicId, id_text
from dohle.model.image import ClusterImage, PartitionImage
from dohle.model.image_apply import apply_batch
from dohle.model.metadata import (
    LOG_DIRECTORIES_VERSION,
    METADATA_VERSION,
    UNKNOWN_END,
    Doubt,
    Endpoint,
    LogDirectories,
    RegisterBroker,
    check_levels,
)
from dohle.rpc.identity import features_of
from dohle.rpc.v1.controller_pb2 import HeldReplica, RegisterBrokerRequest, RegisterBrokerResponse

GRPC_LISTENER = "GRPC"
"""Where the other nodes find a broker, its failure detector among them."""
_ID_BYTES = 16
_HIGHEST_PORT = 65_535


def register_broker(
    image: ClusterImage, request: RegisterBrokerRequest, *, previous_gone: bool
) -> Decision[RegisterBrokerResponse]:
    """Decides on a registration. `previous_gone`: the incarnation that the image has was probed, and may be replaced.

    That it is fenced is not enough: one that has just registered is, too.

    Asked again by the same incarnation, it answers with the epoch that this one has. Raises InconsistentClusterId,
    UnsupportedVersion, InvalidRegistration, or DuplicateBrokerRegistration while the incarnation before may live.
    """
    record = _checked(image, request)
    previous = image.brokers.get(record.node_id)
    if previous is not None and previous.incarnation_id == record.incarnation_id:
        return Decision((), RegisterBrokerResponse(broker_epoch=previous.broker_epoch))
    if previous is not None and not previous_gone:
        raise DuplicateBrokerRegistration(
            f"node {record.node_id} has just been registered as incarnation {id_text(previous.incarnation_id)}: "
            "if that is another process, stop it, or give this node another id"
        )
    broker_epoch = image.next_offset
    evidence = Evidence.of(previous, request)
    held = {PartitionKey(TopicId(replica.topic_id), replica.partition): replica for replica in request.held}
    returning = {
        key: _Returning(image, record.node_id, evidence, key, partition, held.get(key))
        for key, partition in image.replicas_of(record.node_id)
    }
    directories = evidence.record(broker_epoch, [key for key, one in returning.items() if one.is_out_of_reach()])
    records = (record,) if directories is None else (record, directories)
    _check_log_dirs(image, evidence, directories)
    revisions = Revisions(apply_batch(image, records, broker_epoch), present=record.node_id)
    for one in returning.values():
        one.revise(revisions)
    answer = RegisterBrokerResponse(broker_epoch=broker_epoch)
    return Decision((*records, *revisions.changes), answer, tuple(revisions.alarms))


@dataclass(frozen=True, slots=True)
class _Returning:
    """A replica whose broker registers."""

    image: ClusterImage
    node_id: NodeId
    evidence: Evidence
    key: PartitionKey
    partition: PartitionImage
    held: HeldReplica | None

    def is_out_of_reach(self) -> bool:
        """Whether it is missing, and may lie in a directory that the broker cannot use."""
        return self.held is None and self.evidence.lacks_some and self._was_durable()

    def revise(self, revisions: Revisions) -> None:
        """Notes what the partition becomes: a doubt about a member; who is none, but eligible or led last, may go."""
        node_id, partition = self.node_id, self.partition
        remembered = node_id in partition.eligible_replicas or node_id == partition.last_known_leader
        if node_id not in partition.in_sync_replicas and not remembered:
            return
        doubt = self.doubt()
        lost = [node_id] if doubt is not None and doubt.lost else []
        if node_id in partition.in_sync_replicas:
            others = [other for other in partition.doubts if other.node_id != node_id]
            doubts = others if doubt is None else sorted([*others, doubt])
            proven = [other for other in partition.proven_replicas if other != node_id]
            if doubt is not None and self.is_proven():
                proven.append(node_id)
            revisions.revise(self.key, partition, doubts=tuple(doubts), proven=proven)
        elif doubt is None or self.is_proven():
            revisions.revise(self.key, partition)
        else:
            eligible = [other for other in partition.eligible_replicas if other != node_id]
            revisions.revise(self.key, partition, eligible=eligible, lost=lost)

    def is_proven(self) -> bool:
        """Whether it has all that it ever acknowledged, though recovery may have cut what it had not."""
        node_id, held = self.node_id, self.held
        earlier = self.partition.doubt_about(node_id)
        return (
            held is not None
            and held.proven
            and not held.damaged
            and self.evidence.is_known(held.log_dir)
            and (earlier is None or node_id in self.partition.proven_replicas)
        )

    def doubt(self) -> Doubt | None:
        """Returns what stands against a member of the ISR, None if its data is known to be whole."""
        held, earlier = self.held, self.partition.doubt_about(self.node_id)
        was_lost = earlier is not None and earlier.lost
        was_doubtful = earlier is not None and not earlier.lost  # and nobody has led since
        if held is None:
            if self._was_durable() or was_lost:
                return self._missing(earlier)
            relaxed = self._relaxed() and not self.evidence.clean
            return Doubt(self.node_id, -1, 0, lost=False) if was_doubtful or relaxed else None
        if not self.evidence.is_known(held.log_dir):
            return Doubt(self.node_id, -1, 0, lost=True)
        if earlier is not None and was_lost and not self._healed(earlier, held):
            return earlier
        if held.damaged:
            return Doubt(self.node_id, held.last_epoch, held.durable_end, lost=True)
        clean = self.evidence.stopped_cleanly(held.log_dir)
        if not was_doubtful and (clean or (held.proven and held.cut_bytes == 0)):
            return None
        return Doubt(self.node_id, held.last_epoch, held.durable_end, lost=False)

    def _missing(self, earlier: Doubt | None) -> Doubt:
        if not self.evidence.lacks_some:
            return Doubt(self.node_id, -1, 0, lost=True)
        if earlier is not None and earlier.lost:
            return earlier
        return Doubt(self.node_id, -1, UNKNOWN_END, lost=True)

    def _was_durable(self) -> bool:
        """Whether the broker had made this replica's folder durable, so that it should be there.

        Where no directory that served before is there any more, nobody knows, and it is taken for true.
        """
        index = self.partition.assigned_replicas.index(self.node_id)
        return self.partition.assigned_at[index] < self.evidence.durable_metadata_offset

    def _relaxed(self) -> bool:
        """Whether appends may have been acknowledged before they were fsynced, the folder's making included."""
        return self.image.topics[self.key.topic_id].config.flush_messages > 1

    def _healed(self, lost: Doubt, held: HeldReplica) -> bool:
        if lost.durable_end == UNKNOWN_END:
            return True  # its directory is back, and nobody has made it anew meanwhile
        return lost.last_epoch >= 0 and (lost.last_epoch, lost.durable_end) <= (held.last_epoch, held.durable_end)


def _check_log_dirs(image: ClusterImage, evidence: Evidence, directories: LogDirectories | None) -> None:
    ids = evidence.ids
    _demand(all(len(one) == _ID_BYTES for one in ids), f"a directory id has {_ID_BYTES} bytes")
    _demand(len(set(ids)) == len(ids), "two log directories have the same id: one is a copy of the other")
    if directories is not None and image.metadata_version < LOG_DIRECTORIES_VERSION:
        raise UnsupportedVersion(
            f"this cluster works at {METADATA_VERSION} {image.metadata_version}, and several log directories, or one"
            f" beside that of the metadata, need {LOG_DIRECTORIES_VERSION}: finalise that first"
            " (`dohle cluster features upgrade`), or give the node one directory"
        )


def _checked(image: ClusterImage, request: RegisterBrokerRequest) -> RegisterBroker:
    """Returns the registration's record after checking the request in itself and against the cluster's levels."""
    hello = request.hello
    if hello.cluster_id != image.cluster_id:
        raise InconsistentClusterId(
            f"node {hello.node_id} belongs to cluster {hello.cluster_id}, this is {image.cluster_id}: "
            "give it the addresses of its own cluster, or a data folder of this one"
        )
    _demand(hello.node_id >= 0, f"the node id {hello.node_id} is negative")
    _demand(len(hello.incarnation_id) == _ID_BYTES, f"an incarnation id has {_ID_BYTES} bytes")
    _demand(len(hello.directory_id) == _ID_BYTES, f"a directory id has {_ID_BYTES} bytes")
    _demand(len(request.endpoints) > 0, "the broker names no endpoint")
    _demand(
        len({endpoint.listener for endpoint in request.endpoints}) == len(request.endpoints),
        "two endpoints have the same listener",
    )
    _demand(
        any(endpoint.listener == GRPC_LISTENER for endpoint in request.endpoints),
        f"no endpoint has the listener {GRPC_LISTENER}, by which the other nodes reach a broker",
    )
    for endpoint in request.endpoints:
        _demand(endpoint.host != "", f"the endpoint of listener {endpoint.listener} names no host")
        _demand(0 < endpoint.port <= _HIGHEST_PORT, f"the endpoint of listener {endpoint.listener} has no usable port")
    _demand(
        request.durable_metadata_offset <= image.next_offset,
        f"node {hello.node_id} has applied metadata up to {request.durable_metadata_offset}, but this cluster's ends "
        f"at {image.next_offset}: the controllers have lost metadata; restore their data folders",
    )
    features = features_of(hello)
    _demand(len({feature.name for feature in features}) == len(features), "a feature is named twice")
    check_levels(image.features, features, f"node {hello.node_id}")
    return RegisterBroker(
        node_id=NodeId(hello.node_id),
        incarnation_id=IncarnationId(hello.incarnation_id),
        directory_id=DirectoryId(hello.directory_id),
        endpoints=tuple(
            Endpoint(door.listener, door.host, door.port, door.security_protocol) for door in request.endpoints
        ),
        rack=request.rack,
        features=features,
    )


def _demand(condition: bool, complaint: str) -> None:
    if not condition:
        raise InvalidRegistration(complaint)
