"""The quorum, its voters, features and brokers that leave, as Kafka's administrators see and change them."""

from __future__ import annotations

import pytest

from dohle.kafka.declaration import NO_UUID
from dohle.kafka.messages.cluster import ApiVersionsRequest, ApiVersionsResponse
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
from dohle.model.errors import (
    BrokerIdNotRegistered,
    DuplicateVoter,
    InconsistentClusterId,
    InvalidRequest,
    InvalidUpdateVersion,
    RequestTimedOut,
    UnknownTopicOrPartition,
    VoterNotFound,
)
from dohle.model.ids import NodeId
from dohle.model.metadata import NEWEST_METADATA_VERSION
from dohle.rpc.v1 import admin_pb2
from tests.broker.logs import CLUSTER
from tests.broker.virtual_time import in_virtual_time
from tests.listeners.kafka.served_broker import ServedBroker

FOLDER = b"f" * 16


def quorum_of(*named: tuple[str, list[int]]) -> DescribeQuorumRequest:
    kind = DescribeQuorumRequest.Topic
    return DescribeQuorumRequest(
        topics=[
            kind(topic_name=name, partitions=[kind.Partition(partition_index=number) for number in numbers])
            for name, numbers in named
        ]
    )


METADATA = quorum_of(("__cluster_metadata", [0]))


@in_virtual_time
@pytest.mark.parametrize("version", DescribeQuorumRequest.API.versions)
async def test_the_quorum_is_described_with_who_has_what(version: int) -> None:
    served = await ServedBroker.started()

    def replica(node_id: int, durable_end: int, silent_ms: int) -> admin_pb2.QuorumReplica:
        return admin_pb2.QuorumReplica(
            node_id=node_id, directory_id=FOLDER, host="h", port=7092, durable_end=durable_end, silent_ms=silent_ms
        )

    served.cluster.controller.quorum = admin_pb2.DescribeQuorumResponse(
        leader_id=1,
        term=5,
        committed_end=100,
        log_end=101,
        voters=[replica(1, 101, 0), replica(2, 90, 250), replica(3, -1, -1)],
        learners=[replica(4, 100, 10)],
    )
    response = await served.ask(METADATA, DescribeQuorumResponse, version)
    assert response.error_code == 0
    partition = response.topics[0].partitions[0]
    assert (partition.error_code, partition.leader_id, partition.leader_epoch) == (0, 1, 5)
    assert partition.high_watermark == 100
    assert [one.log_end_offset for one in partition.current_voters] == [101, 90, -1]
    assert [one.replica_id for one in partition.observers] == [4]
    now = served.node.broker.wall_ms()
    if version >= 1:
        assert [one.last_fetch_timestamp for one in partition.current_voters] == [now, now - 250, -1]
        assert [one.last_caught_up_timestamp for one in partition.current_voters] == [now, -1, -1]
        assert partition.observers[0].last_caught_up_timestamp == now - 10
    if version >= 2:
        assert partition.current_voters[0].replica_directory_id == FOLDER
        assert [(one.node_id, one.listeners[0].port) for one in response.nodes] == [(1, 7092), (2, 7092), (3, 7092)]


@in_virtual_time
@pytest.mark.parametrize(
    "request_",
    [quorum_of(("t", [0])), quorum_of(("__cluster_metadata", [1])), quorum_of(("__cluster_metadata", [0, 1]))],
)
async def test_other_partitions_have_no_quorum(request_: DescribeQuorumRequest) -> None:
    served = await ServedBroker.started()
    response = await served.ask(request_, DescribeQuorumResponse)
    assert response.error_code == 0
    codes = {one.error_code for topic in response.topics for one in topic.partitions}
    assert codes == {UnknownTopicOrPartition.code}
    assert served.operated == []


def voter(**changes: object) -> AddRaftVoterRequest:
    fields = {
        "cluster_id": None,
        "timeout_ms": 1000,
        "voter_id": 5,
        "voter_directory_id": FOLDER,
        "listeners": [AddRaftVoterRequest.Listener(name="CONTROLLER", host="h", port=7092)],
    }
    return AddRaftVoterRequest(**{**fields, **changes})


@in_virtual_time
@pytest.mark.parametrize("version", AddRaftVoterRequest.API.versions)
async def test_a_voter_is_added_with_its_folder(version: int) -> None:
    served = await ServedBroker.started()
    assert (await served.ask(voter(cluster_id=CLUSTER), AddRaftVoterResponse, version)).error_code == 0
    method, request = served.cluster.controller.operated[-1]
    assert (method, request.node_id, request.directory_id, request.timeout_ms) == ("AddVoter", 5, FOLDER, 1000)


@in_virtual_time
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"cluster_id": "another"}, InconsistentClusterId),
        ({"voter_id": -1}, InvalidRequest),
        ({"voter_id": 1, "voter_directory_id": bytes(16)}, DuplicateVoter),
        ({"timeout_ms": 0}, RequestTimedOut),
    ],
)
async def test_a_voter_that_cannot_be_added_is_refused(changes: dict[str, object], error: type) -> None:
    served = await ServedBroker.started()
    response = await served.ask(voter(**changes), AddRaftVoterResponse)
    assert response.error_code == error.code
    assert response.error_message
    assert served.operated == []


@in_virtual_time
async def test_a_voter_is_removed_once() -> None:
    served = await ServedBroker.started()
    request = RemoveRaftVoterRequest(cluster_id=CLUSTER, voter_id=1, voter_directory_id=bytes(16))
    assert request.voter_directory_id == NO_UUID  # as the folder of this test's voter is
    served.cluster.controller.lost_answers["RemoveVoter"] = 1
    assert (await served.ask(request, RemoveRaftVoterResponse)).error_code == 0
    assert served.operated == ["RemoveVoter"] * 2
    for changes, error in (
        ({"voter_id": 9}, VoterNotFound),
        ({"voter_directory_id": FOLDER}, VoterNotFound),
        ({"cluster_id": "another"}, InconsistentClusterId),
    ):
        fields = {"cluster_id": None, "voter_id": 1, "voter_directory_id": NO_UUID, **changes}
        assert (await served.ask(RemoveRaftVoterRequest(**fields), RemoveRaftVoterResponse)).error_code == error.code


def update(level: int, upgrade_type: int = 1, feature: str = "metadata.version") -> UpdateFeaturesRequest.FeatureUpdate:
    return UpdateFeaturesRequest.FeatureUpdate(feature=feature, max_version_level=level, upgrade_type=upgrade_type)


@in_virtual_time
@pytest.mark.parametrize("version", UpdateFeaturesRequest.API.versions)
async def test_the_level_that_is_finalised_may_be_finalised_again(version: int) -> None:
    served = await ServedBroker.started()
    again = UpdateFeaturesRequest.FeatureUpdate(feature="metadata.version", max_version_level=NEWEST_METADATA_VERSION)
    response = await served.ask(UpdateFeaturesRequest(feature_updates=[again]), UpdateFeaturesResponse, version)
    assert (response.error_code, response.error_message) == (InvalidUpdateVersion.code, response.error_message)
    # nobody is connected with this test's controller, which says so: it was asked, and decided
    assert served.operated == ["UpdateFeatures"]
    assert "is not connected" in str(response.error_message)


@in_virtual_time
@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (update(NEWEST_METADATA_VERSION, 9), "upgrade type"),
        (update(-1), "less than 0"),
        (update(0), "cannot be taken away"),
        (update(1), "Can't downgrade the version"),
        (update(1, 2), "never lowered"),
        (update(1, 3), "never lowered"),
        (update(99, 2), "Can't downgrade to a newer version"),
        (update(1, 1, "group.version"), "does not support the feature"),
    ],
)
async def test_levels_that_cannot_be_finalised_are_refused_all_together(
    changed: UpdateFeaturesRequest.FeatureUpdate, says: str
) -> None:
    served = await ServedBroker.started()
    request = UpdateFeaturesRequest(feature_updates=[update(NEWEST_METADATA_VERSION), changed], validate_only=True)
    response = await served.ask(request, UpdateFeaturesResponse)
    assert response.error_code == InvalidUpdateVersion.code
    assert says in str(response.error_message)
    assert served.operated == []


@in_virtual_time
async def test_a_downgrade_of_version_0_says_so_by_a_flag() -> None:
    served = await ServedBroker.started()
    changed = UpdateFeaturesRequest.FeatureUpdate(feature="metadata.version", max_version_level=1, allow_downgrade=True)
    response = await served.ask(UpdateFeaturesRequest(feature_updates=[changed]), UpdateFeaturesResponse, 0)
    assert "never lowered" in str(response.error_message)
    none = await served.ask(UpdateFeaturesRequest(feature_updates=[], timeout_ms=0), UpdateFeaturesResponse)
    assert none.error_code == 0


@in_virtual_time
async def test_features_are_told_with_the_versions() -> None:
    served = await ServedBroker.started()
    request = ApiVersionsRequest(client_software_name="test", client_software_version="1")
    told = await served.ask(request, ApiVersionsResponse)
    supported = [(one.name, one.min_version, one.max_version) for one in told.supported_features]
    assert supported == [("metadata.version", 1, NEWEST_METADATA_VERSION), ("group.version", 0, 1)]
    finalised = [(one.name, one.min_version_level, one.max_version_level) for one in told.finalized_features]
    assert finalised == [("group.version", 1, 1), ("metadata.version", *(NEWEST_METADATA_VERSION,) * 2)]
    assert told.finalized_features_epoch == served.node.broker.image.next_offset - 1
    keys = [one.api_key for one in told.api_keys]
    assert keys == sorted(keys)
    told = await served.ask(request, ApiVersionsResponse, 3)
    assert [one.name for one in told.supported_features] == ["metadata.version"], "which is never absent"


@in_virtual_time
async def test_a_broker_is_forgotten_that_is_down() -> None:
    served = await ServedBroker.started()
    await served.cluster.nodes[3].stop()
    response = await served.ask(UnregisterBrokerRequest(broker_id=1), UnregisterBrokerResponse)
    assert response.error_code == InvalidRequest.code  # it is up
    served.cluster.controller.fence(3)
    assert (await served.ask(UnregisterBrokerRequest(broker_id=3), UnregisterBrokerResponse)).error_code == 0
    assert NodeId(3) not in served.cluster.controller.image.brokers
    for broker_id in (3, -1, 77):
        response = await served.ask(UnregisterBrokerRequest(broker_id=broker_id), UnregisterBrokerResponse)
        assert response.error_code == BrokerIdNotRegistered.code
