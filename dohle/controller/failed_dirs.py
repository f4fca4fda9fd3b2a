"""Log directories of a broker that goes on have failed: their replicas go offline (replication.md, rule 16).

In one batch: which directories are left, which replicas are offline, and what follows for their partitions. Another
member of the ISR leads, and the replica leaves it, as lost ones do; the last member stays, leads no more, and is
trusted again when its directory is back with all that was durable there.
"""

from __future__ import annotations

from dohle.controller.decision import Decision, registered
from dohle.controller.elections import Revisions
from dohle.model.errors import InvalidRequest, UnsupportedVersion
from dohle.model.ids import DirectoryId, NodeId, PartitionKey, TopicId
from dohle.model.image import ClusterImage
from dohle.model.image_apply import apply
from dohle.model.metadata import LOG_DIRECTORIES_VERSION, METADATA_VERSION, UNKNOWN_END, Doubt, LogDirectories
from dohle.rpc.v1.controller_pb2 import FailLogDirsRequest, FailLogDirsResponse, HeldReplica


def fail_log_dirs(image: ClusterImage, request: FailLogDirsRequest) -> Decision[FailLogDirsResponse]:
    """Decides on a broker's report; the same report again changes nothing. Raises as `registered` does."""
    broker = registered(image, NodeId(request.broker_id), request.broker_epoch)
    if image.metadata_version < LOG_DIRECTORIES_VERSION:
        raise UnsupportedVersion(f"failed directories need {METADATA_VERSION} {LOG_DIRECTORIES_VERSION}")
    failed = [DirectoryId(one) for one in request.log_dirs]
    online = tuple([one for one in broker.online_log_dirs if one not in failed])
    if not online:
        raise InvalidRequest(f"broker {broker.node_id} reports all of its log directories: then it must end")
    gone = [one for one in broker.online_log_dirs if one in failed]
    reported = {
        PartitionKey(TopicId(one.topic_id), one.partition): one
        for one in request.replicas
        if _is_assigned(image, PartitionKey(TopicId(one.topic_id), one.partition), broker.node_id)
    }
    offline_replicas = tuple(sorted({*broker.offline_replicas, *reported}))
    if not gone and len(offline_replicas) == len(broker.offline_replicas):
        return Decision((), FailLogDirsResponse())
    record = LogDirectories(
        broker.node_id, broker.broker_epoch, online, (*broker.offline_log_dirs, *gone), offline_replicas
    )
    revisions = Revisions(apply(image, record, image.next_offset))
    for key in sorted(reported):
        partition = image.partition(key)
        assert partition is not None
        if broker.node_id in partition.in_sync_replicas:
            earlier = partition.doubt_about(broker.node_id)
            doubt = earlier if earlier is not None and earlier.lost else _lost(broker.node_id, reported[key])
            others = [other for other in partition.doubts if other.node_id != broker.node_id]
            proven = [other for other in partition.proven_replicas if other != broker.node_id]
            revisions.revise(key, partition, doubts=tuple(sorted([*others, doubt])), proven=proven)
        elif broker.node_id in partition.eligible_replicas or broker.node_id == partition.last_known_leader:
            revisions.revise(key, partition)
    alarm = f"broker {broker.node_id}: {len(gone)} of its log directories failed, with {len(reported)} replicas"
    return Decision((record, *revisions.changes), FailLogDirsResponse(), (alarm, *revisions.alarms))


def _lost(node_id: NodeId, held: HeldReplica) -> Doubt:
    """Returns the doubt that is settled once the replica is back with all that was durable, nothing of an empty one."""
    end = held.durable_end if held.durable_end > 0 else UNKNOWN_END
    return Doubt(node_id, held.last_epoch, end, lost=True)


def _is_assigned(image: ClusterImage, key: PartitionKey, node_id: NodeId) -> bool:
    partition = image.partition(key)
    return partition is not None and node_id in partition.assigned_replicas
