"""DescribeQuorum, AddRaftVoter, RemoveRaftVoter, UpdateFeatures, UnregisterBroker: the cluster's own make-up.

The active controller answers, by the rules of `dohle cluster voters`, `features` and `unregister`. Voters are known by
where they have connected from: the addresses that AddRaftVoter names are not looked at. Brokers follow the metadata
without being part of the quorum, so none is listed among its observers.
"""

from __future__ import annotations

from typing import Any, Final

from dohle.broker.broker import Broker
from dohle.kafka.declaration import NO_UUID
from dohle.kafka.messages.quorum import (
    AddRaftVoterRequest,
    AddRaftVoterResponse,
    DescribeQuorumRequest,
    DescribeQuorumResponse,
    RemoveRaftVoterRequest,
    RemoveRaftVoterResponse,
    UnregisterBrokerRequest,
    UnregisterBrokerResponse,
    UpdateFeaturesRequest,
    UpdateFeaturesResponse,
)
from dohle.listeners.kafka.apis import Caller
from dohle.listeners.kafka.asking import asked
from dohle.listeners.kafka.topics_known import failed
from dohle.listeners.passing_on import passed_on
from dohle.model.errors import (
    DohleError,
    DuplicateVoter,
    InconsistentClusterId,
    InvalidRequest,
    InvalidUpdateVersion,
    UnknownTopicOrPartition,
    VoterNotFound,
)
from dohle.model.metadata import METADATA_VERSION, Voter
from dohle.rpc.v1 import admin_pb2

_METADATA_TOPIC: Final = "__cluster_metadata"
_LISTENER: Final = "CONTROLLER"
_UNKNOWN: Final = -1
_UPGRADE, _SAFE_DOWNGRADE, _UNSAFE_DOWNGRADE = 1, 2, 3
_FIRST_WITH_TYPES: Final = 1

_Topic = DescribeQuorumResponse.Topic
_Node = DescribeQuorumResponse.Node


class QuorumAdmin:
    """What goes on to the active controller, and its answers."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def describe(self, request: DescribeQuorumRequest, _caller: Caller) -> DescribeQuorumResponse:
        """Describes the quorum of the metadata, the only partition that there is of the kind."""
        named = [(topic.topic_name, one.partition_index) for topic in request.topics for one in topic.partitions]
        if named != [(_METADATA_TOPIC, 0)] or len(request.topics) != 1:
            return _no_quorum_of(request)
        try:
            answer = await passed_on(self._broker, "DescribeQuorum", admin_pb2.DescribeQuorumRequest(), timeout_ms=0)
        except DohleError as error:
            code, message = failed(error)
            return DescribeQuorumResponse(error_code=code, error_message=message, topics=[])
        now_ms = self._broker.wall_ms()
        partition = _Topic.Partition(
            partition_index=0,
            error_code=0,
            error_message="",
            leader_id=answer.leader_id,
            leader_epoch=answer.term,
            high_watermark=answer.committed_end,
            current_voters=[_replica(one, answer, now_ms) for one in answer.voters],
            observers=[_replica(one, answer, now_ms) for one in answer.learners],
        )
        return DescribeQuorumResponse(
            error_code=0,
            error_message="",
            topics=[_Topic(topic_name=_METADATA_TOPIC, partitions=[partition])],
            nodes=[
                _Node(node_id=one.node_id, listeners=[_Node.Listener(name=_LISTENER, host=one.host, port=one.port)])
                for one in answer.voters
            ],
        )

    async def add_voter(self, request: AddRaftVoterRequest, _caller: Caller) -> AddRaftVoterResponse:
        directory_id = _directory(request.voter_directory_id)
        try:
            self._check_cluster(request.cluster_id)
            if request.voter_id < 0:
                raise InvalidRequest("Add voter request didn't include a valid voter")
            if self._voting(request.voter_id, b""):  # whatever its data folder
                raise DuplicateVoter(f"node {request.voter_id} votes already")
            wanted = admin_pb2.AddVoterRequest(node_id=request.voter_id, directory_id=directory_id)
            await asked(self._broker, "AddVoter", wanted, request.timeout_ms)
        except DohleError as error:
            code, message = failed(error)
            return AddRaftVoterResponse(error_code=code, error_message=message)
        return AddRaftVoterResponse(error_code=0, error_message=None)

    async def remove_voter(self, request: RemoveRaftVoterRequest, _caller: Caller) -> RemoveRaftVoterResponse:
        directory_id = _directory(request.voter_directory_id)
        try:
            self._check_cluster(request.cluster_id)
            if request.voter_id < 0:
                raise InvalidRequest("Remove voter request didn't include a valid voter")
            if not self._voting(request.voter_id, directory_id):
                raise VoterNotFound(f"node {request.voter_id} has no vote with this data folder")
            wanted = admin_pb2.RemoveVoterRequest(node_id=request.voter_id, directory_id=directory_id)
            await passed_on(self._broker, "RemoveVoter", wanted, timeout_ms=0)
        except DohleError as error:
            code, message = failed(error)
            return RemoveRaftVoterResponse(error_code=code, error_message=message)
        return RemoveRaftVoterResponse(error_code=0, error_message=None)

    def _check_cluster(self, cluster_id: str | None) -> None:
        here = self._broker.image.cluster_id
        if cluster_id is not None and cluster_id != here:
            raise InconsistentClusterId(f"this is cluster {here}, not {cluster_id}")

    def _voting(self, node_id: int, directory_id: bytes) -> list[Voter]:
        """Returns the voter, by what this broker knows before it asks: an attempt that is repeated is no duplicate."""
        return [
            voter
            for voter in self._broker.image.voters
            if voter.node_id == node_id and directory_id in (b"", voter.directory_id)
        ]

    async def update_features(self, request: UpdateFeaturesRequest, caller: Caller) -> UpdateFeaturesResponse:
        """Finalises all of the levels, or none."""
        try:
            for update in request.feature_updates:
                self._check_update(update, has_type=caller.api_version >= _FIRST_WITH_TYPES)
            for update in request.feature_updates:
                wanted = admin_pb2.UpdateFeaturesRequest(
                    metadata_version=update.max_version_level, validate_only=request.validate_only
                )
                await asked(self._broker, "UpdateFeatures", wanted, request.timeout_ms)
        except InvalidUpdateVersion as error:
            why = "The update failed for all features since the following feature had an error: "
            return UpdateFeaturesResponse(error_code=error.code, error_message=why + error.message)
        except DohleError as error:
            code, message = failed(error)
            return UpdateFeaturesResponse(error_code=code, error_message=message)
        return UpdateFeaturesResponse(
            error_code=0,
            error_message=None,
            results=[
                UpdateFeaturesResponse.Result(feature=update.feature, error_code=0, error_message=None)
                for update in request.feature_updates
            ],
        )

    def _check_update(self, update: UpdateFeaturesRequest.FeatureUpdate, *, has_type: bool) -> None:
        """Raises InvalidUpdateVersion, without asking the controller."""
        level, current = update.max_version_level, self._broker.image.metadata_version
        kind = update.upgrade_type if has_type else _SAFE_DOWNGRADE if update.allow_downgrade else _UPGRADE
        if kind not in (_UPGRADE, _SAFE_DOWNGRADE, _UNSAFE_DOWNGRADE):
            why = "The controller does not support the given upgrade type."
        elif level < 0:
            why = "A feature version cannot be less than 0."
        elif update.feature != METADATA_VERSION:
            why = f"This cluster does not support the feature: it has {METADATA_VERSION} alone."
        elif level == 0:
            why = f"{METADATA_VERSION} cannot be taken away."
        elif level < current and kind == _UPGRADE:
            why = (
                "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe"
                " downgrade."
            )
        elif level < current:
            why = f"{current} is finalised, and never lowered: the metadata may hold what only {current} knows."
        elif level > current and kind != _UPGRADE:
            why = "Can't downgrade to a newer version."
        else:
            return
        raise InvalidUpdateVersion(f"Invalid update version {level} for feature {update.feature}. {why}")

    async def unregister_broker(self, request: UnregisterBrokerRequest, _caller: Caller) -> UnregisterBrokerResponse:
        try:
            wanted = admin_pb2.UnregisterBrokerRequest(node_id=request.broker_id)
            await passed_on(self._broker, "UnregisterBroker", wanted, timeout_ms=0)
        except DohleError as error:
            code, message = failed(error)
            return UnregisterBrokerResponse(error_code=code, error_message=message)
        return UnregisterBrokerResponse(error_code=0, error_message=None)


def _no_quorum_of(request: DescribeQuorumRequest) -> DescribeQuorumResponse:
    error = UnknownTopicOrPartition()
    return DescribeQuorumResponse(
        error_code=0,
        error_message="",
        topics=[
            _Topic(
                topic_name=topic.topic_name,
                partitions=[
                    _Topic.Partition(
                        partition_index=one.partition_index,
                        error_code=error.code,
                        error_message=error.message,
                        leader_id=0,
                        leader_epoch=0,
                        high_watermark=0,
                        current_voters=[],
                        observers=[],
                    )
                    for one in topic.partitions
                ],
            )
            for topic in request.topics
        ],
    )


def _replica(one: Any, quorum: Any, now_ms: int) -> DescribeQuorumResponse.ReplicaState:
    heard_ms = now_ms - one.silent_ms if one.silent_ms >= 0 else _UNKNOWN
    has_all = one.durable_end >= quorum.committed_end
    return DescribeQuorumResponse.ReplicaState(
        replica_id=one.node_id,
        replica_directory_id=one.directory_id or NO_UUID,
        log_end_offset=one.durable_end,
        last_fetch_timestamp=heard_ms,
        last_caught_up_timestamp=heard_ms if has_all else _UNKNOWN,
    )


def _directory(directory_id: bytes) -> bytes:
    """Returns the directory's id; empty if none is named."""
    return b"" if directory_id == NO_UUID else directory_id
