"""The Admin service over gRPC: what changes metadata goes on to the active controller, the rest is answered here."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

from dohle.broker.broker import Broker
from dohle.broker.dir_moves import DirMove
from dohle.broker.following import Following
from dohle.broker.leading import Leading
from dohle.broker.partition import Partition
from dohle.listeners.as_known import history_as_known, quorum_as_known
from dohle.listeners.broker_service import failure
from dohle.listeners.passing_on import passed_on
from dohle.model.errors import DamagedReplica, DohleError, StorageFailure, UnknownTopicOrPartition
from dohle.model.ids import TopicPartition
from dohle.model.image import BrokerImage, ClusterImage, TopicImage
from dohle.model.topic_config import TOPIC_KEYS
from dohle.rpc.v1 import admin_pb2, common_pb2
from dohle.runtime.disk import Disk
from dohle.runtime.network import RequestContext
from dohle.storage.log_folder import LogFolder
from dohle.storage.opened import Damage

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


def _passed_on(
    request_type: type[Request], response_type: type[Response]
) -> Callable[[AdminService, Request, RequestContext], Coroutine[Any, Any, Response]]:
    """Returns the rpc that the active controller answers, which has one of the same name."""
    method = request_type.DESCRIPTOR.name.removesuffix("Request")

    async def rpc(service: AdminService, request: Any, _context: RequestContext) -> Response:
        answer = await passed_on(service._broker, method, request, timeout_ms=request.timeout_ms)
        assert isinstance(answer, response_type), f"{method} is answered by {answer.DESCRIPTOR.full_name}"
        return answer

    return rpc


class AdminService:
    """What an operator asks of this broker, or through it."""

    def __init__(self, broker: Broker, disk: Disk) -> None:
        self._broker = broker
        self._disk = disk

    create_topics = _passed_on(admin_pb2.CreateTopicsRequest, admin_pb2.CreateTopicsResponse)
    delete_topics = _passed_on(admin_pb2.DeleteTopicsRequest, admin_pb2.DeleteTopicsResponse)
    fork_topic = _passed_on(admin_pb2.ForkTopicRequest, admin_pb2.ForkTopicResponse)
    create_partitions = _passed_on(admin_pb2.CreatePartitionsRequest, admin_pb2.CreatePartitionsResponse)
    alter_configs = _passed_on(admin_pb2.AlterConfigsRequest, admin_pb2.AlterConfigsResponse)
    alter_partition_reassignments = _passed_on(
        admin_pb2.AlterPartitionReassignmentsRequest, admin_pb2.AlterPartitionReassignmentsResponse
    )
    list_partition_reassignments = _passed_on(
        admin_pb2.ListPartitionReassignmentsRequest, admin_pb2.ListPartitionReassignmentsResponse
    )
    elect_leaders = _passed_on(admin_pb2.ElectLeadersRequest, admin_pb2.ElectLeadersResponse)
    drain_broker = _passed_on(admin_pb2.DrainBrokerRequest, admin_pb2.DrainBrokerResponse)
    unregister_broker = _passed_on(admin_pb2.UnregisterBrokerRequest, admin_pb2.UnregisterBrokerResponse)
    _confirmed_history = _passed_on(
        admin_pb2.DescribePartitionHistoryRequest, admin_pb2.DescribePartitionHistoryResponse
    )
    _confirmed_quorum = _passed_on(admin_pb2.DescribeQuorumRequest, admin_pb2.DescribeQuorumResponse)
    add_voter = _passed_on(admin_pb2.AddVoterRequest, admin_pb2.AddVoterResponse)
    remove_voter = _passed_on(admin_pb2.RemoveVoterRequest, admin_pb2.RemoveVoterResponse)
    transfer_controller = _passed_on(admin_pb2.TransferControllerRequest, admin_pb2.TransferControllerResponse)
    describe_features = _passed_on(admin_pb2.DescribeFeaturesRequest, admin_pb2.DescribeFeaturesResponse)
    update_features = _passed_on(admin_pb2.UpdateFeaturesRequest, admin_pb2.UpdateFeaturesResponse)

    async def describe_partition_history(
        self, request: admin_pb2.DescribePartitionHistoryRequest, context: RequestContext
    ) -> admin_pb2.DescribePartitionHistoryResponse:
        if request.as_known:
            return await history_as_known(self._broker, request)
        return await self._confirmed_history(request, context)

    async def describe_quorum(
        self, request: admin_pb2.DescribeQuorumRequest, context: RequestContext
    ) -> admin_pb2.DescribeQuorumResponse:
        if request.as_known:
            return await quorum_as_known(self._broker)
        return await self._confirmed_quorum(request, context)

    async def describe_cluster(
        self, request: admin_pb2.DescribeClusterRequest, context: RequestContext
    ) -> admin_pb2.DescribeClusterResponse:
        image = self._broker.image
        leaders: dict[int, int] = {}
        partitions = 0
        for topic in image.topics_in_order():
            partitions += len(topic.partitions)
            for partition in topic.partitions:
                leaders[partition.leader] = leaders.get(partition.leader, 0) + 1
        return admin_pb2.DescribeClusterResponse(
            cluster_id=image.cluster_id or "",
            controller_id=self._broker.metadata.controller_id,
            nodes=[_node(image, broker, leaders) for broker in image.brokers_in_order()],
            voters=[
                admin_pb2.VoterDescription(
                    node_id=voter.node_id, directory_id=voter.directory_id, host=voter.host, port=voter.port
                )
                for voter in image.voters
            ],
            metadata_version=image.metadata_version,
            metadata_offset=image.next_offset,
            topics=len(image.topic_ids),
            partitions=partitions,
            unhealthy=[
                admin_pb2.PartitionHealth(
                    topic=health.name.topic,
                    partition=health.name.partition,
                    leader=health.partition.leader,
                    assigned_replicas=health.partition.assigned_replicas,
                    in_sync_replicas=health.live_in_sync_replicas,
                    min_insync_replicas=health.min_insync_replicas,
                    eligible_replicas=health.partition.eligible_replicas,
                    last_known_leader=health.partition.last_known_leader,
                )
                for health in image.unhealthy_partitions()
            ],
        )

    async def describe_configs(
        self, request: admin_pb2.DescribeConfigsRequest, context: RequestContext
    ) -> admin_pb2.DescribeConfigsResponse:
        response = admin_pb2.DescribeConfigsResponse()
        for name in request.topics:
            topic = self._broker.image.topic_named(name)
            if topic is None:
                unknown: DohleError = UnknownTopicOrPartition(f"there is no topic {name}")
                response.topics.append(admin_pb2.TopicConfigs(topic=name, failure=failure(unknown)))
            else:
                response.topics.append(admin_pb2.TopicConfigs(topic=name, configs=_configs(topic)))
        return response

    async def describe_log_dirs(
        self, request: admin_pb2.DescribeLogDirsRequest, context: RequestContext
    ) -> admin_pb2.DescribeLogDirsResponse:
        replicas = self._broker.replicas
        partitions = sorted(replicas.partitions.values(), key=lambda partition: partition.name)
        if request.omit_replicas:
            partitions = [partition for partition in partitions if partition.log.damage is not None]
        now = self._broker.now()
        directories = [self._log_dir(folder, partitions, now) for folder in self._broker.log_dirs.folders]
        offline = dict(self._broker.log_dirs.offline)
        for directory in directories:
            if directory.path in offline:
                directory.failure.CopyFrom(failure(StorageFailure(offline.pop(directory.path))))
        directories += [
            admin_pb2.LogDir(path=path, failure=failure(StorageFailure(reason))) for path, reason in offline.items()
        ]
        waiting = [
            admin_pb2.WaitingReplica(topic=topic, partition=partition, reason=replicas.why_unmade)
            for topic, partition in sorted(replicas.unmade.values())
        ]
        return admin_pb2.DescribeLogDirsResponse(
            node_id=self._broker.node_id,
            log_dirs=directories,
            moves=[] if request.omit_replicas else [_log_dir_move(move) for move in self._broker.dir_moves.all],
            waiting=waiting,
        )

    def _log_dir(self, folder: LogFolder, partitions: Sequence[Partition], now: float) -> admin_pb2.LogDir:
        described = admin_pb2.LogDir(
            path=folder.path,
            directory_id=folder.directory_id,
            strays=len(folder.strays.sizes),
            stray_bytes=sum(folder.strays.sizes.values()),
            lacks_room=folder.headroom.words() if folder.headroom.is_low else "",
            replicas=[
                _replica(one, now, is_repaired=one.key in self._broker.replicas.repairs.under_way)
                for one in partitions
                if folder.logs.get(one.log.key) is one.log
            ],
        )
        if not folder.failed:
            try:
                described.free_bytes = self._disk.free_bytes(folder.path)
            except OSError as error:  # it is gone, and nothing has been written to it since
                described.failure.CopyFrom(failure(StorageFailure(f"{folder.path} does not answer: {error.strerror}")))
        return described

    async def alter_replica_log_dirs(
        self, request: admin_pb2.AlterReplicaLogDirsRequest, context: RequestContext
    ) -> admin_pb2.AlterReplicaLogDirsResponse:
        response = admin_pb2.AlterReplicaLogDirsResponse()
        for wanted in request.replicas:
            name = TopicPartition(wanted.topic, wanted.partition)
            altered = response.replicas.add(topic=wanted.topic, partition=wanted.partition)
            try:
                if wanted.path:
                    self._broker.dir_moves.begin(name, wanted.path, validate_only=request.validate_only)
                else:
                    await self._broker.dir_moves.cancel(name)
            except DohleError as error:
                altered.failure.CopyFrom(failure(error))
        return response


def _node(image: ClusterImage, broker: BrokerImage, leaders: dict[int, int]) -> admin_pb2.NodeDescription:
    return admin_pb2.NodeDescription(
        node_id=broker.node_id,
        endpoints=[
            common_pb2.Endpoint(
                listener=endpoint.listener,
                host=endpoint.host,
                port=endpoint.port,
                security_protocol=endpoint.security_protocol,
            )
            for endpoint in broker.endpoints
        ],
        rack=broker.rack,
        fenced=broker.fenced,
        shutting_down=broker.shutting_down,
        broker_epoch=broker.broker_epoch,
        incarnation_id=broker.incarnation_id,
        leaders=leaders.get(broker.node_id, 0),
        replicas=image.replica_count(broker.node_id),
        offline_log_dirs=len(broker.offline_log_dirs),
        offline_replicas=len(broker.offline_replicas),
        draining=broker.draining,
    )


def _configs(topic: TopicImage) -> list[admin_pb2.DescribedConfig]:
    return [
        admin_pb2.DescribedConfig(
            name=name,
            value=topic.overrides.get(name, key.default_text),
            is_default=name not in topic.overrides,
            type=key.type.name.lower(),
            doc=key.doc,
        )
        for name, key in TOPIC_KEYS.items()
    ]


def _damage_words(damage: Damage, *, is_repaired: bool) -> str:
    if is_repaired:
        becomes = "it is being repaired from its leader"
    else:
        becomes = "it is repaired, or filled anew, once another replica is in sync without it"
    if damage.offsets is None:
        return f"{damage}; nothing of it is served; {becomes}"
    return f"{damage}; offsets {damage.offsets[0]} to {damage.offsets[1] - 1} are not served; {becomes}"


def _replica(partition: Partition, now: float, *, is_repaired: bool) -> admin_pb2.ReplicaDescription:
    log, damage = partition.log, partition.log.damage
    damaged = None if damage is None else DamagedReplica(_damage_words(damage, is_repaired=is_repaired))
    refusal = partition.role.refusal if isinstance(partition.role, Following) else None
    return admin_pb2.ReplicaDescription(
        topic=partition.name.topic,
        topic_id=partition.key.topic_id,
        partition=partition.name.partition,
        size_bytes=log.size_bytes,
        log_start_offset=log.log_start_offset,
        log_end_offset=log.log_end_offset,
        durable_end=log.durable_end,
        high_watermark=log.high_watermark,
        leads=isinstance(partition.role, Leading),
        followers=[] if not isinstance(partition.role, Leading) else _followers(partition.role, now),
        failure=None if damaged is None else failure(damaged),
        refusal=None if refusal is None else failure(refusal),
        bytes_in_per_s=partition.bytes_in.per_s(now),
        bytes_out_per_s=partition.bytes_out.per_s(now),
    )


def _log_dir_move(move: DirMove) -> admin_pb2.LogDirMove:
    return admin_pb2.LogDirMove(
        topic=move.name.topic,
        partition=move.name.partition,
        source_path=move.source,
        target_path=move.target,
        state=f"LOG_DIR_MOVE_STATE_{move.state.name}",
        copied_bytes=move.copied_bytes,
        size_bytes=move.size_bytes,
        failure=None if move.failure is None else failure(move.failure),
    )


def _followers(leading: Leading, now: float) -> list[admin_pb2.FollowerDescription]:
    lags_s = leading.lags_s(now)
    return [
        admin_pb2.FollowerDescription(
            node_id=node_id,
            durable_end=replica.durable_end,
            lag_ms=int(lags_s[node_id] * 1000),
            subscribed=replica.subscriber is not None,
        )
        for node_id, replica in sorted(leading.replicas.items())
    ]
