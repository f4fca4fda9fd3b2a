"""DescribeQuorum, Add- and RemoveRaftVoter, UpdateFeatures, UnregisterBroker."""

from __future__ import annotations

from typing import Any

from dohle.kafka.declaration import NO_UUID
from dohle.kafka.messages.quorum import (
    AddRaftVoterRequest,
    DescribeQuorumRequest,
    RemoveRaftVoterRequest,
    UnregisterBrokerRequest,
    UpdateFeaturesRequest,
)
from tests.differential.cases import Cases, all_versions
from tests.differential.cases.produce import NO_SUCH_ID

METADATA = "__cluster_metadata"
DOWNGRADE, UNSAFE = 2, 3

QUORUM = Cases(55)


def quorum(topic: str = METADATA, *partitions: int) -> DescribeQuorumRequest:
    asked = [DescribeQuorumRequest.Topic.Partition(partition_index=one) for one in partitions]
    return DescribeQuorumRequest(topics=[DescribeQuorumRequest.Topic(topic_name=topic, partitions=asked)])


def two_quorums() -> DescribeQuorumRequest:
    asked = quorum(METADATA, 0)
    asked.topics += quorum("another", 0).topics
    return asked


QUORUM.good("the quorum", lambda _: quorum(METADATA, 0), all_versions(55))
QUORUM.bad("another partition", lambda _: quorum(METADATA, 1), all_versions(55))
QUORUM.bad("a negative partition", lambda _: quorum(METADATA, -1))
QUORUM.bad("another topic", lambda _: quorum("another", 0), all_versions(55))
QUORUM.good("no topics", lambda _: DescribeQuorumRequest(topics=[]))
QUORUM.good("no partitions", lambda _: quorum(METADATA))
QUORUM.bad("an empty name", lambda _: quorum("", 0))
QUORUM.bad("two topics", lambda _: two_quorums())

FEATURES = Cases(57)


def feature(name: str, level: int, upgrade_type: int = 1, **how: Any) -> UpdateFeaturesRequest:
    one = UpdateFeaturesRequest.FeatureUpdate(feature=name, max_version_level=level, upgrade_type=upgrade_type)
    return UpdateFeaturesRequest(**{"feature_updates": [one], "timeout_ms": 10_000, **how})


def features_twice() -> UpdateFeaturesRequest:
    asked = feature("group.version", 1)
    asked.feature_updates *= 2
    return asked


FEATURES.bad("an unknown feature", lambda _: feature("no.such", 1), all_versions(57))
FEATURES.bad("an unknown feature, only to be validated", lambda _: feature("no.such", 1, validate_only=True), [1, 2])
FEATURES.bad("no name", lambda _: feature("", 1))
FEATURES.bad("a level that nobody has", lambda _: feature("metadata.version", 32_000))
FEATURES.bad("a negative level", lambda _: feature("metadata.version", -1))
FEATURES.bad("an unknown kind of upgrade", lambda _: feature("metadata.version", 1, 9), [1, 2])
FEATURES.bad("level 0 without a downgrade", lambda _: feature("metadata.version", 0))
FEATURES.bad("an unknown feature to be lowered", lambda _: feature("no.such", 1, DOWNGRADE), [1, 2])
FEATURES.good("a feature twice", lambda _: features_twice())

GONE = Cases(64)
for broker in (7, -1, 0, (1 << 31) - 1, -(1 << 31)):
    GONE.bad(f"broker {broker}", lambda _, broker=broker: UnregisterBrokerRequest(broker_id=broker))

ADD = Cases(80)


def add(voter_id: int = 9, **how: Any) -> AddRaftVoterRequest:
    listener = AddRaftVoterRequest.Listener(name="CONTROLLER", host="127.0.0.1", port=1)
    return AddRaftVoterRequest(
        **{
            "cluster_id": None,
            "timeout_ms": 2000,
            "voter_id": voter_id,
            "voter_directory_id": NO_SUCH_ID,
            "listeners": [listener],
            **how,
        }
    )


ADD.bad("of another cluster", lambda _: add(cluster_id="another"))
ADD.bad("no listeners", lambda _: add(listeners=[]))
ADD.bad("a negative voter", lambda _: add(-1))
ADD.bad("one that has a vote", lambda _: add(1))
ADD.bad("no directory", lambda _: add(voter_directory_id=NO_UUID))

REMOVE = Cases(81)


def remove(voter_id: int, **how: Any) -> RemoveRaftVoterRequest:
    return RemoveRaftVoterRequest(**{"cluster_id": None, "voter_id": voter_id, "voter_directory_id": NO_SUCH_ID, **how})


REMOVE.bad("of another cluster", lambda _: remove(9, cluster_id="another"))
REMOVE.bad("an unknown voter", lambda _: remove(9))
REMOVE.bad("a negative voter", lambda _: remove(-1))
REMOVE.bad("no directory", lambda _: remove(9, voter_directory_id=NO_UUID))
REMOVE.bad("a known voter with another directory", lambda _: remove(1))

ALL = (QUORUM, FEATURES, GONE, ADD, REMOVE)
