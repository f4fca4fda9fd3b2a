"""The Admin service over gRPC: what changes metadata goes on to the active controller, the rest is answered here."""

from __future__ import annotations

from typing import Any

from dohle.broker.broker import Broker
from dohle.broker.leading import Leading
from dohle.broker.partition import Partition
from dohle.listeners.broker_service import failure
from dohle.model.errors import DamagedReplica, DohleError, StorageFailure, UnknownTopicOrPartition
from dohle.model.image import BrokerImage, ClusterImage, TopicImage
from dohle.model.topic_config import TOPIC_KEYS
from dohle.rpc.v1 import admin_pb2, common_pb2
from dohle.runtime.disk import Disk
from dohle.runtime.network import RequestContext

DEFAULT_TIMEOUT_S = 30.0
_CATCH_UP_S = 1.0


class AdminService:
    """What an operator asks of this broker, or through it."""

    def __init__(self, broker: Broker, disk: Disk) -> None:
        self._broker = broker
        self._disk = disk

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

    async def create_topics(
        self, request: admin_pb2.CreateTopicsRequest, context: RequestContext
    ) -> admin_pb2.CreateTopicsResponse:
        response: admin_pb2.CreateTopicsResponse = await self._change("CreateTopics", request)
        return response

    async def delete_topics(
        self, request: admin_pb2.DeleteTopicsRequest, context: RequestContext
    ) -> admin_pb2.DeleteTopicsResponse:
        response: admin_pb2.DeleteTopicsResponse = await self._change("DeleteTopics", request)
        return response

    async def create_partitions(
        self, request: admin_pb2.CreatePartitionsRequest, context: RequestContext
    ) -> admin_pb2.CreatePartitionsResponse:
        response: admin_pb2.CreatePartitionsResponse = await self._change("CreatePartitions", request)
        return response

    async def alter_configs(
        self, request: admin_pb2.AlterConfigsRequest, context: RequestContext
    ) -> admin_pb2.AlterConfigsResponse:
        response: admin_pb2.AlterConfigsResponse = await self._change("AlterConfigs", request)
        return response

    async def alter_partition_reassignments(
        self, request: admin_pb2.AlterPartitionReassignmentsRequest, context: RequestContext
    ) -> admin_pb2.AlterPartitionReassignmentsResponse:
        response: admin_pb2.AlterPartitionReassignmentsResponse = await self._change(
            "AlterPartitionReassignments", request
        )
        return response

    async def list_partition_reassignments(
        self, request: admin_pb2.ListPartitionReassignmentsRequest, context: RequestContext
    ) -> admin_pb2.ListPartitionReassignmentsResponse:
        response: admin_pb2.ListPartitionReassignmentsResponse = await self._pass_on(
            "ListPartitionReassignments", request
        )
        return response

    async def elect_leaders(
        self, request: admin_pb2.ElectLeadersRequest, context: RequestContext
    ) -> admin_pb2.ElectLeadersResponse:
        response: admin_pb2.ElectLeadersResponse = await self._change("ElectLeaders", request)
        return response

    async def unregister_broker(
        self, request: admin_pb2.UnregisterBrokerRequest, context: RequestContext
    ) -> admin_pb2.UnregisterBrokerResponse:
        response: admin_pb2.UnregisterBrokerResponse = await self._change("UnregisterBroker", request)
        return response

    async def describe_partition_history(
        self, request: admin_pb2.DescribePartitionHistoryRequest, context: RequestContext
    ) -> admin_pb2.DescribePartitionHistoryResponse:
        response: admin_pb2.DescribePartitionHistoryResponse = await self._pass_on("DescribePartitionHistory", request)
        return response

    async def describe_quorum(
        self, request: admin_pb2.DescribeQuorumRequest, context: RequestContext
    ) -> admin_pb2.DescribeQuorumResponse:
        response: admin_pb2.DescribeQuorumResponse = await self._pass_on("DescribeQuorum", request)
        return response

    async def add_voter(
        self, request: admin_pb2.AddVoterRequest, context: RequestContext
    ) -> admin_pb2.AddVoterResponse:
        response: admin_pb2.AddVoterResponse = await self._change("AddVoter", request)
        return response

    async def remove_voter(
        self, request: admin_pb2.RemoveVoterRequest, context: RequestContext
    ) -> admin_pb2.RemoveVoterResponse:
        response: admin_pb2.RemoveVoterResponse = await self._change("RemoveVoter", request)
        return response

    async def transfer_controller(
        self, request: admin_pb2.TransferControllerRequest, context: RequestContext
    ) -> admin_pb2.TransferControllerResponse:
        response: admin_pb2.TransferControllerResponse = await self._pass_on("TransferController", request)
        return response

    async def describe_features(
        self, request: admin_pb2.DescribeFeaturesRequest, context: RequestContext
    ) -> admin_pb2.DescribeFeaturesResponse:
        response: admin_pb2.DescribeFeaturesResponse = await self._pass_on("DescribeFeatures", request)
        return response

    async def update_features(
        self, request: admin_pb2.UpdateFeaturesRequest, context: RequestContext
    ) -> admin_pb2.UpdateFeaturesResponse:
        response: admin_pb2.UpdateFeaturesResponse = await self._change("UpdateFeatures", request)
        return response

    async def _change(self, method: str, request: Any) -> Any:
        """Passes a change on, and waits a little until this broker has it: who has changed something reads it here."""
        answer = await self._pass_on(method, request)
        await self._broker.metadata.reached(answer.metadata_offset, _CATCH_UP_S)
        return answer

    async def _pass_on(self, method: str, request: Any) -> Any:
        timeout_s = request.timeout_ms / 1000 if request.timeout_ms > 0 else DEFAULT_TIMEOUT_S
        return await self._broker.ask_controller(method, request, timeout_s=timeout_s)

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
        partitions = sorted(self._broker.replicas.partitions.values(), key=lambda partition: partition.name)
        now = self._broker.now()
        directories = [
            admin_pb2.LogDir(
                path=folder.path,
                directory_id=folder.directory_id,
                free_bytes=0 if folder.failed else self._disk.free_bytes(folder.path),
                replicas=[_replica(one, now) for one in partitions if folder.logs.get(one.log.key) is one.log],
            )
            for folder in self._broker.log_dirs.folders
        ]
        offline = dict(self._broker.log_dirs.offline)
        for directory in directories:
            if directory.path in offline:
                directory.failure.CopyFrom(failure(StorageFailure(offline.pop(directory.path))))
        directories += [
            admin_pb2.LogDir(path=path, failure=failure(StorageFailure(reason))) for path, reason in offline.items()
        ]
        return admin_pb2.DescribeLogDirsResponse(node_id=self._broker.node_id, log_dirs=directories)


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


def _replica(partition: Partition, now: float) -> admin_pb2.ReplicaDescription:
    log, damage = partition.log, partition.log.damage
    damaged = None if damage is None else DamagedReplica(str(damage))
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
        bytes_in_per_s=partition.bytes_in.per_s(now),
        bytes_out_per_s=partition.bytes_out.per_s(now),
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
