"""Levels of metadata.version: finalised when all who count support them, refused with who does not and what to do."""

from __future__ import annotations

import dataclasses

import pytest

from dohle.controller.features import describe_features, update_features
from dohle.controller.registration import register_broker
from dohle.model.errors import InvalidUpdateVersion
from dohle.model.ids import DirectoryId, NodeId
from dohle.model.metadata import METADATA_VERSION, FeatureRange
from dohle.raft.quorum import ReplicaKey
from dohle.rpc.v1.admin_pb2 import NODE_ROLE_LEARNER, NODE_ROLE_VOTER, UpdateFeaturesRequest
from tests.controller.decided_cluster import VOTER, DecidedCluster

ME = ReplicaKey(VOTER.node_id, VOTER.directory_id)
LEARNER = ReplicaKey(NodeId(9), DirectoryId(bytes([9] * 16)))


def up_to(level, least=1):
    return (FeatureRange(METADATA_VERSION, least, level),)


@pytest.fixture
def cluster():
    """Three brokers that support the level after the finalised one, too."""
    cluster = DecidedCluster()
    cluster.newest = cluster.image.metadata_version + 1
    for node_id in (1, 2, 3):
        start(cluster, node_id, cluster.newest)
    return cluster


def start(cluster, node_id, newest):
    request = cluster.registration(node_id)
    request.hello.features[0].max_level = newest
    cluster.take(register_broker(cluster.image, request, previous_gone=True))
    cluster.beat(node_id)


def start_all(cluster):
    for node_id in (1, 2, 3):
        start(cluster, node_id, cluster.newest)
    return cluster


def finalise(cluster, level=0, supported=None, validate_only=False):
    request = UpdateFeaturesRequest(metadata_version=level, validate_only=validate_only)
    supported = {ME: up_to(cluster.newest)} if supported is None else supported
    return update_features(cluster.image, request, supported, cluster.newest)


def test_the_newest_is_finalised_when_all_support_it(cluster):
    before = cluster.image.metadata_version
    decision = finalise(cluster)
    assert [record.level for record in decision.records] == [cluster.newest]
    assert decision.answer.metadata_version == cluster.newest
    assert decision.answer.previous_metadata_version == before


def test_nothing_changes_in_a_check_or_when_it_is_finalised_already(cluster):
    assert not finalise(cluster, validate_only=True).records
    decision = finalise(cluster, cluster.image.metadata_version)
    assert not decision.records
    assert decision.answer.metadata_version == decision.answer.previous_metadata_version


def test_a_broker_that_does_not_know_it_stands_in_the_way(cluster):
    start(cluster, 2, cluster.newest - 1)
    with pytest.raises(InvalidUpdateVersion, match=r"cannot be finalised: broker 2 supports 1 to \d\. Upgrade"):
        finalise(cluster)


def test_so_does_one_that_is_down_and_holds_replicas_and_not_one_that_is_empty(cluster):
    start(cluster, 3, cluster.newest - 1)
    cluster.fence(3)
    assert finalise(cluster).records
    cluster.topic("t", [1, 3])
    with pytest.raises(InvalidUpdateVersion, match=r"broker 3 is down, .*dohle cluster drain 3"):
        finalise(cluster)


def test_a_voter_must_be_connected_and_support_it(cluster):
    with pytest.raises(InvalidUpdateVersion, match=f"voter {ME.node_id} is not connected.*voters remove {ME.node_id}"):
        finalise(cluster, supported={})
    with pytest.raises(InvalidUpdateVersion, match=f"voter {ME.node_id} supports 1 to"):
        finalise(cluster, supported={ME: up_to(cluster.newest - 1)})


def test_another_folder_of_a_voters_node_does_not_speak_for_it(cluster):
    other = ReplicaKey(ME.node_id, DirectoryId(b"o" * 16))
    with pytest.raises(InvalidUpdateVersion, match=f"voter {ME.node_id} is not connected"):
        finalise(cluster, supported={other: up_to(cluster.newest)})


def test_a_controller_without_a_vote_must_support_it_too(cluster):
    supported = {ME: up_to(cluster.newest), LEARNER: up_to(cluster.newest - 1)}
    with pytest.raises(InvalidUpdateVersion, match="controller without a vote 9 supports"):
        finalise(cluster, supported=supported)


def test_a_level_that_nobody_knows_is_refused_with_the_one_that_can_be(cluster):
    newest = cluster.newest
    with pytest.raises(InvalidUpdateVersion) as refusal:
        finalise(cluster, 99)
    assert refusal.value.message == (
        f"metadata.version 99 is known to no node of this cluster: the newest is {newest}. All support {newest}, which"
        f" `dohle cluster features upgrade --metadata-version {newest}` finalises"
    )
    start(cluster, 2, newest - 1)
    with pytest.raises(InvalidUpdateVersion, match=rf"works at {newest - 1}, .* for {newest}: broker 2 supports 1 to"):
        finalise(cluster, 99)
    with pytest.raises(InvalidUpdateVersion) as refusal:
        finalise(cluster, newest)
    assert refusal.value.message.count("broker 2 supports") == 1
    cluster.take(finalise(start_all(cluster)))
    with pytest.raises(
        InvalidUpdateVersion, match=rf"newest is {newest}, at which it works. For more, every node needs"
    ):
        finalise(cluster, 99)


def test_the_newest_that_all_support_is_offered_where_some_know_more(cluster):
    newest = cluster.newest + 1
    start(cluster, 2, newest)
    with pytest.raises(InvalidUpdateVersion, match=rf"broker 1 supports .* All support {newest - 1}, which"):
        finalise(cluster, newest)


def test_a_level_that_was_left_behind_is_refused(cluster):
    image = dataclasses.replace(cluster.image, features={METADATA_VERSION: 3})
    with pytest.raises(InvalidUpdateVersion, match=r"metadata.version 3 is finalised, and never lowered to 1"):
        update_features(image, UpdateFeaturesRequest(metadata_version=1), {ME: up_to(3)}, 3)


def test_what_is_shown_says_who_supports_what_and_why_not_yet(cluster):
    start(cluster, 2, cluster.newest - 1)
    supported = {ME: up_to(cluster.newest), LEARNER: up_to(cluster.newest, 2)}
    shown = describe_features(cluster.image, supported, cluster.newest).answer
    assert (shown.metadata_version, shown.newest_metadata_version) == (cluster.newest - 1, cluster.newest)
    assert "broker 2 supports" in shown.obstacle
    assert [node.max_metadata_version for node in shown.nodes[:3]] == [
        cluster.newest,
        cluster.newest - 1,
        cluster.newest,
    ]
    assert [(node.node_id, node.role) for node in shown.nodes[3:]] == [
        (ME.node_id, NODE_ROLE_VOTER),
        (9, NODE_ROLE_LEARNER),
    ]
