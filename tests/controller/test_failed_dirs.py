"""Brokers with several log directories: one fails, or is not there at a start, and the controller acts on it."""

from __future__ import annotations

import pytest

from dohle.controller.failed_dirs import fail_log_dirs
from dohle.controller.reassignment import alter_partition_reassignments
from dohle.model.errors import InvalidRegistration, InvalidRequest, StaleBrokerEpoch, UnsupportedVersion
from dohle.model.ids import NO_NODE, NodeId, SnapshotId
from dohle.model.metadata import METADATA_VERSION, UNKNOWN_END, FeatureLevel
from dohle.model.snapshot import SnapshotReader, encode_snapshot
from dohle.rpc.v1.admin_pb2 import AlterPartitionReassignmentsRequest
from dohle.rpc.v1.controller_pb2 import FailLogDirsRequest, RegisteredLogDir
from tests.controller.decided_cluster import DecidedCluster

A, B = b"a" * 16, b"b" * 16


def log_dir(directory_id: bytes, offset: int, clean_broker_epoch: int = -1) -> RegisteredLogDir:
    return RegisteredLogDir(
        directory_id=directory_id, durable_metadata_offset=offset, clean_broker_epoch=clean_broker_epoch
    )


class Disks(DecidedCluster):
    """A cluster whose brokers have two directories, A and B, unless a registration says otherwise."""

    def registration(self, node_id, **changes):
        dirs = changes.pop("dirs", [log_dir(A, self.image.next_offset), log_dir(B, self.image.next_offset)])
        offline = changes.pop("offline", 0)
        self.directories[node_id] = A
        request = super().registration(node_id, **changes)
        request.log_dirs.extend(dirs)
        request.offline_log_dirs = offline
        return request

    def fail(self, node_id, directory_id, *names, end=100, **changes):
        request = FailLogDirsRequest(
            broker_id=node_id,
            broker_epoch=self.image.brokers[NodeId(node_id)].broker_epoch,
            log_dirs=[directory_id],
            replicas=[self.held(self.key(name), durable_end=end) for name in names],
        )
        for name, value in changes.items():
            if name == "replicas":
                request.replicas.extend(value)
            else:
                setattr(request, name, value)
        decision = fail_log_dirs(self.image, request)
        self.take(decision)
        return decision

    def offline(self, node_id):
        return {self.image.topics[key.topic_id].name for key in self.image.brokers[NodeId(node_id)].offline_replicas}


def test_what_lies_in_a_failed_directory_is_led_by_others_and_the_rest_stays():
    cluster = Disks(3)
    cluster.topic("gone", [1, 2, 3])
    cluster.topic("follows", [2, 1, 3])
    cluster.topic("stays", [1, 2, 3])
    assert cluster.fail(1, B, "gone", "follows").records
    assert cluster.led("gone") == (2, 1, (2, 3))
    assert cluster.led("follows") == (2, 0, (2, 3))
    assert cluster.led("stays") == (1, 0, (1, 2, 3))
    assert cluster.offline(1) == {"gone", "follows"}
    assert not cluster.fail(1, B, "gone", "follows").records, "the same report again says nothing new"
    assert cluster.propose("gone", [1, 2, 3]).failure.code, "an offline replica joins nothing"


def test_below_the_minimum_a_failed_replica_leaves_all_the_same():
    cluster = Disks(2)
    cluster.topic("t", [1, 2], min_insync_replicas="2")
    cluster.fail(1, A, "t")
    assert cluster.led("t") == (2, 1, (2,))


@pytest.mark.parametrize(("end", "leader"), [(100, 1), (99, NO_NODE)])
def test_the_last_replica_leads_again_if_its_directory_is_back_with_all_that_was_durable(end, leader):
    cluster = Disks(2)
    cluster.topic("t", [1])
    cluster.fail(1, B, "t", end=100)
    assert cluster.led("t") == (NO_NODE, 1, (1,))
    assert any("failed directory" in alarm for alarm in cluster.alarms)
    cluster.start(1, held=[cluster.held(cluster.key("t"), durable_end=end, log_dir=1)])
    assert cluster.partition("t").leader == leader
    assert not cluster.offline(1)


def test_the_last_replica_leads_again_with_nothing_where_it_had_nothing():
    cluster = Disks(2)
    cluster.topic("t", [1])
    empty = {"last_epoch": -1, "durable_end": 0}
    cluster.fail(1, B, replicas=[cluster.held(cluster.key("t"), **empty)])
    assert cluster.led("t") == (NO_NODE, 1, (1,))
    cluster.start(1, held=[cluster.held(cluster.key("t"), **empty, log_dir=1)])
    assert cluster.partition("t").leader == 1


def test_the_last_replica_whose_directory_is_not_there_waits_for_it():
    cluster = Disks(2)
    cluster.topic("t", [1])
    for _ in range(2):
        cluster.start(1, held=[], dirs=[log_dir(A, cluster.image.next_offset)], offline=1)
        assert cluster.partition("t").leader == NO_NODE
        assert cluster.partition("t").doubts[0].durable_end == UNKNOWN_END
        assert cluster.offline(1) == {"t"}
    cluster.start(1, held=[cluster.held(cluster.key("t"), log_dir=1)])
    assert cluster.partition("t").leader == 1


def test_a_directory_that_comes_back_empty_or_damaged_is_not_trusted():
    for held in ([], [{"damaged": True, "log_dir": 1}]):
        cluster = Disks(2)
        cluster.topic("t", [1])
        cluster.start(1, held=[], dirs=[log_dir(A, cluster.image.next_offset)], offline=1)
        cluster.start(1, held=[cluster.held(cluster.key("t"), **one) for one in held])
        assert cluster.partition("t").leader == NO_NODE
        cluster.start(1, held=[cluster.held(cluster.key("t"), durable_end=0, last_epoch=-1)])
        assert cluster.partition("t").leader == NO_NODE, "the empty log that was made in its place is no better"


def test_a_directory_that_was_away_does_not_speak_for_what_was_made_meanwhile():
    cluster = Disks(2)
    before = cluster.image.next_offset
    cluster.fail(1, B)
    cluster.topic("t", [1, 2])  # made in A
    cluster.start(1, held=[], dirs=[log_dir(B, before)], offline=1)
    assert cluster.led("t") == (2, 1, (2,))
    assert cluster.offline(1) == {"t"}


def test_a_new_directory_that_holds_a_replica_is_not_trusted():
    cluster = Disks(2)
    cluster.topic("t", [1, 2])
    dirs = [log_dir(A, cluster.image.next_offset), log_dir(b"c" * 16, cluster.image.next_offset)]
    cluster.start(1, held=[cluster.held(cluster.key("t"), log_dir=1)], dirs=dirs)
    assert cluster.led("t") == (2, 1, (2,))


def test_a_clean_stop_counts_for_each_directory_by_itself():
    cluster = Disks(2)
    for name in ("clean", "unclean"):
        cluster.topic(name, [1, 2], flush_messages="100")
    epoch, offset = cluster.image.brokers[NodeId(1)].broker_epoch, cluster.image.next_offset
    held = [cluster.held(cluster.key(name), proven=False, log_dir=n) for n, name in enumerate(("clean", "unclean"))]
    cluster.start(1, held=held, dirs=[log_dir(A, offset, epoch), log_dir(B, offset)])
    assert cluster.partition("clean").in_sync_replicas == (1, 2)
    assert cluster.partition("unclean").in_sync_replicas == (2,)


def test_an_unclean_election_takes_no_offline_replica():
    cluster = Disks(2)
    cluster.topic("t", [1, 2], unclean_leader_election_enable="true")
    cluster.fail(2, B, "t")
    assert cluster.led("t") == (1, 0, (1,))
    cluster.fence(1)
    assert cluster.partition("t").leader == NO_NODE
    assert cluster.elect("t", unclean=True).failure.code


def test_a_replica_that_is_taken_away_is_offline_no_longer():
    cluster = Disks(3)
    cluster.topic("t", [1, 2])
    cluster.fail(1, B, "t")
    assert not cluster.reassign("t", [2, 3]).code
    cluster.propose("t", [2, 3])
    assert cluster.sets("t") == ((2, 3), (), ())
    assert not cluster.offline(1)
    cluster.take(alter_partition_reassignments(cluster.image, AlterPartitionReassignmentsRequest()))


def test_reports_that_make_no_sense_are_refused():
    cluster = Disks(2)
    cluster.topic("t", [1, 2])
    with pytest.raises(StaleBrokerEpoch):
        cluster.fail(1, A, broker_epoch=0)
    cluster.fail(1, A)
    with pytest.raises(InvalidRequest, match="all of its log directories"):
        cluster.fail(1, B)
    with pytest.raises(InvalidRegistration, match="same id"):
        cluster.start(2, dirs=[log_dir(A, 0), log_dir(A, 0)])


def test_before_their_version_is_finalised_several_directories_are_refused():
    cluster = Disks()
    cluster.commit((FeatureLevel(METADATA_VERSION, 2),))
    with pytest.raises(UnsupportedVersion, match="several log directories"):
        cluster.start(1)
    cluster.start(1, dirs=[log_dir(A, 0)])


def test_offline_replicas_are_in_snapshots():
    cluster = Disks(2)
    cluster.topic("t", [1, 2])
    cluster.fail(1, B, "t")
    snapshot_id = SnapshotId(cluster.image.next_offset, 3)
    reader = SnapshotReader(snapshot_id, "test")
    for batch in encode_snapshot(cluster.image, 3):
        for _ in reader.feed(batch):
            pass
    assert reader.finish() == cluster.image
