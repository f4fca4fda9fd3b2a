"""Groups' own values of configuration keys, as the controller decides on them."""

from __future__ import annotations

import pytest

from dohle.controller.topics import alter_configs
from dohle.model.errors import InvalidConfig, InvalidRequest, UnsupportedVersion
from dohle.model.group_config import HEARTBEAT_INTERVAL, SESSION_TIMEOUT
from dohle.model.metadata import GROUP_CONFIGS_VERSION
from dohle.rpc.v1.admin_pb2 import AlterConfigsRequest, AlterGroupConfigs, AlterTopicConfigs
from dohle.rpc.v1.common_pb2 import Failure
from tests.controller.decided_cluster import DecidedCluster


def wanted(group="g", remove=(), replace=False, **values):
    changes = AlterGroupConfigs(group=group, remove=remove, replace=replace)
    for name, value in values.items():
        changes.set.add(name=f"consumer.{name.replace('_', '.')}", value=value)
    return changes


def alter(cluster, *groups, topics=(), **options):
    request = AlterConfigsRequest(groups=groups, topics=topics, **options)
    return cluster.take(alter_configs(cluster.image, request))


def has(cluster, group="g"):
    return dict(cluster.image.group_overrides.get(group, {}))


@pytest.fixture
def cluster():
    return DecidedCluster(1)


def test_values_are_set_and_taken_back(cluster):
    (answer,) = alter(cluster, wanted(heartbeat_interval_ms=" 6000", session_timeout_ms="50000")).groups
    assert (answer.group, answer.failure) == ("g", Failure())
    assert has(cluster) == {HEARTBEAT_INTERVAL: "6000", SESSION_TIMEOUT: "50000"}
    end = cluster.image.next_offset
    alter(cluster, wanted(heartbeat_interval_ms="6000"))
    assert cluster.image.next_offset == end, "nothing changes"
    alter(cluster, wanted(remove=[SESSION_TIMEOUT], heartbeat_interval_ms="7000"))
    assert has(cluster) == {HEARTBEAT_INTERVAL: "7000"}
    alter(cluster, wanted(replace=True, session_timeout_ms="50000"))
    assert has(cluster) == {SESSION_TIMEOUT: "50000"}
    alter(cluster, wanted(replace=True))
    assert "g" not in cluster.image.group_overrides
    assert cluster.replayed() == cluster.image


def test_only_validating_changes_nothing(cluster):
    (answer,) = alter(cluster, wanted(heartbeat_interval_ms="6000"), validate_only=True).groups
    assert answer.failure == Failure()
    assert has(cluster) == {}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (wanted(heartbeat_interval_ms="often"), InvalidConfig),
        (wanted(heartbeat_interval_ms="0"), InvalidConfig),
        (wanted(heartbeet_interval_ms="6000"), InvalidConfig),
        (wanted(remove=["no.such"]), InvalidConfig),
        (wanted(remove=[HEARTBEAT_INTERVAL], heartbeat_interval_ms="6000"), InvalidConfig),
        (wanted(group="", heartbeat_interval_ms="6000"), InvalidRequest),
    ],
)
def test_what_cannot_be_is_refused_by_itself(cluster, changes, error):
    cluster.topic("t", [1])
    topic = AlterTopicConfigs(topic="t", remove=["retention.ms"])
    answer = alter(cluster, wanted("other", session_timeout_ms="50000"), changes, topics=[topic])
    assert [one.failure.code for one in answer.groups] == [0, error.code]
    assert answer.topics[0].failure == Failure()
    assert list(cluster.image.group_overrides) == ["other"]


def test_a_group_that_is_named_twice_is_refused(cluster):
    answer = alter(cluster, wanted(session_timeout_ms="50000"), wanted(session_timeout_ms="51000"))
    assert [one.failure.code for one in answer.groups] == [InvalidRequest.code] * 2


def test_a_cluster_at_an_older_version_keeps_none():
    cluster = DecidedCluster(1, metadata_version=GROUP_CONFIGS_VERSION - 1)
    (answer,) = alter(cluster, wanted(session_timeout_ms="50000")).groups
    assert answer.failure.code == UnsupportedVersion.code
    assert "dohle cluster features upgrade" in answer.failure.message
