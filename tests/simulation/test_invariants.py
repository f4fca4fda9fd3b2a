"""Each invariant falls when what it forbids is planted in a cluster that was sound until then."""

from __future__ import annotations

import copy
import dataclasses
import struct
from collections.abc import Callable, Iterator
from random import Random

import pytest
from crc32c import crc32c

from dohle import Admin, Producer
from dohle.broker.broker import Broker
from dohle.broker.leading import Leading
from dohle.broker.partition import Partition
from dohle.broker.push_session import QUEUE_BYTES, Feed
from dohle.controller.part import ControllerPart
from dohle.controller.quorum import metadata_folder
from dohle.controller.vote_file import VOTE_FILE, Vote, _encode
from dohle.model.batch import CRC_AT, CRC_END, LENGTH_END
from dohle.model.ids import NodeId
from dohle.model.records import Record, encode_batch
from dohle.raft.core import Core
from dohle.raft.leader import Leader
from dohle.storage.checkpoints import RECOVERY_POINTS
from dohle.storage.epoch_cache import EpochStart
from dohle.testing.clients.sim_client import seams_of
from dohle.testing.invariants.invariants import Invariants
from dohle.testing.world.entries import Content
from dohle.testing.world.world import World


class Cluster:
    """Three nodes, a partition with a few records on all of them, and eyes that have seen all of it; time stands."""

    def __init__(self) -> None:
        self.world = World(1)
        self.eyes = Invariants(self.world)
        self.world.scheduler.on_turn = self.eyes.after_turn
        self.world.run(self._begin())
        assert not self.eyes.violations

    async def _begin(self) -> None:
        world = self.world
        await world.format()
        for node_id in world.machines:
            world.start(node_id)
        await world.all_ready()
        client = world.client("client")
        done: list[None] = []

        async def write() -> None:
            async with Admin(world.bootstrap, **seams_of(client)) as admin:
                await admin.create_topic("t", partitions=1, replication_factor=3, configs={"min.insync.replicas": "2"})
            async with Producer(world.bootstrap, linger_ms=0, **seams_of(client)) as producer:
                for number in range(10):
                    await producer.send_and_wait("t", b"%d" % number)
            done.append(None)

        client.spawn(write(), "write")
        await world.until(lambda: bool(done), 10, "everything is written")
        await world.clock.sleep(1.0)

    def look_at(self, node_id: int) -> list[str]:
        """Returns what falls when the node has had a turn in which nothing happened."""
        process = self.world.machines[node_id].process
        assert process is not None
        self.eyes.after_turn(process.loop)
        return self.eyes.violations

    def run(self, for_s: float) -> list[str]:
        async def pass_time() -> None:
            await self.world.clock.sleep(for_s)

        self.world.run(pass_time())
        return self.eyes.violations

    def part(self, node_id: int) -> ControllerPart:
        process = self.world.machines[node_id].process
        assert process is not None
        assert process.node is not None
        assert process.node.controller is not None
        return process.node.controller

    def core(self, node_id: int) -> Core:
        return self.part(node_id).quorum._node._core

    def broker(self, node_id: int) -> Broker:
        process = self.world.machines[node_id].process
        assert process is not None
        assert process.node is not None
        assert process.node.broker is not None
        return process.node.broker

    def replica(self, node_id: int) -> Partition:
        (partition,) = self.broker(node_id).replicas.partitions.values()
        return partition

    @property
    def controller(self) -> int:
        return next(n for n in self.world.machines if self.part(n).quorum.is_leader)

    @property
    def leader(self) -> int:
        return next(n for n in self.world.machines if isinstance(self.replica(n).role, Leading))

    def role(self) -> Leading:
        role = self.replica(self.leader).role
        assert isinstance(role, Leading)
        return role

    def others(self, node_id: int) -> list[int]:
        return [other for other in self.world.machines if other != node_id]

    def log_path(self, node_id: int) -> str:
        return f"{self.replica(node_id).log.folder}/{0:020d}.log"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    found = Cluster()
    yield found
    found.world.end()


def fell(violations: list[str], words: str) -> bool:
    return any(words in violation for violation in violations)


def test_a_sound_cluster_is_found_sound(cluster: Cluster) -> None:
    for node_id in cluster.world.machines:
        cluster.eyes._seen.clear()  # everything is looked at once more
        assert not cluster.look_at(node_id)
    cluster.eyes.look()
    cluster.world.run(cluster.eyes.replicas_agree())
    assert not cluster.eyes.violations


# the quorum


def test_a_term_that_falls(cluster: Cluster) -> None:
    cluster.core(1).term -= 1
    assert fell(cluster.look_at(1), "the term of node1.1 fell")


def test_a_commit_index_that_falls(cluster: Cluster) -> None:
    cluster.core(1).commit_offset -= 1
    assert fell(cluster.look_at(1), "the commit index of node1.1 fell")


def test_a_second_vote_in_a_term(cluster: Cluster) -> None:
    voter = next(n for n in cluster.world.machines if cluster.core(n).voted_for is not None)
    core = cluster.core(voter)
    core.voted_for = next(key for key in core.voters.voters if key != core.voted_for)
    assert fell(cluster.look_at(voter), f"node{voter}.1 voted for")


def test_a_vote_that_is_counted_on_before_it_is_on_the_disk(cluster: Cluster) -> None:
    cluster.core(1).term += 1
    assert fell(cluster.look_at(1), "which is not on its disk")


def test_a_vote_that_is_forgotten_over_a_restart(cluster: Cluster) -> None:
    voter = next(n for n in cluster.world.machines if cluster.core(n).voted_for is not None)
    core = cluster.core(voter)
    someone_else = next(key for key in core.voters.voters if key != core.voted_for)
    content = cluster.world.machines[voter].disk._find(f"{metadata_folder('data')}/{VOTE_FILE}")
    assert isinstance(content, Content)
    content.cached = bytearray(_encode(Vote(core.term, someone_else)).encode())
    cluster.world.kill(voter)
    cluster.world.start(voter)
    assert fell(cluster.run(0.5), f"node{voter}.2 voted for")


def test_a_metadata_log_that_is_shorter_after_a_restart(cluster: Cluster) -> None:
    log = cluster.core(1).log
    log.durable_end_offset += 1
    cluster.look_at(1)
    cluster.world.kill(1)
    cluster.world.start(1)
    assert fell(cluster.run(0.5), "node1.2 begins in term")


def test_a_leader_for_whom_nobody_voted(cluster: Cluster) -> None:
    follower = cluster.others(cluster.controller)[0]
    core = cluster.core(follower)
    core.term += 1
    cluster.part(follower).quorum._node._role = Leader(core, 0.0)
    assert fell(cluster.look_at(follower), "by votes that are only on the disks of []")


def test_a_second_leader_in_a_term(cluster: Cluster) -> None:
    follower = cluster.others(cluster.controller)[0]
    cluster.part(follower).quorum._node._role = Leader(cluster.core(follower), 0.0)
    assert fell(cluster.look_at(follower), "has two leaders")


def test_a_leader_that_lacks_what_was_committed(cluster: Cluster) -> None:
    follower = cluster.others(cluster.controller)[0]
    core = cluster.core(follower)
    core.log.truncate(core.log.log_end_offset - 1)
    core.term += 1
    cluster.part(follower).quorum._node._role = Leader(core, 0.0)
    assert fell(cluster.look_at(follower), "without what is committed")


def test_a_commit_that_only_a_minority_has(cluster: Cluster) -> None:
    controller = cluster.controller
    for other in cluster.others(controller):
        cluster.world.kill(other)
    cluster.run(0.8)  # the controller notices, writes that down, and cannot commit it
    core = cluster.core(controller)
    assert core.commit_offset < core.log.durable_end_offset
    core.commit_offset = core.log.durable_end_offset
    assert fell(cluster.look_at(controller), f"only the disks of [{controller}] of the voters")


def test_a_committed_offset_with_another_term(cluster: Cluster) -> None:
    follower = cluster.others(cluster.controller)[0]
    core = cluster.core(follower)
    cluster.eyes._seen.clear()
    core.log._terms[-1] += 5
    assert fell(cluster.look_at(follower), "has another term")


def test_a_metadata_log_that_counts_what_is_not_on_the_disk(cluster: Cluster) -> None:
    cluster.core(1).log.durable_end_offset += 1
    assert fell(cluster.look_at(1), "node1.1 counts its metadata log")


def test_a_leader_that_counts_what_an_earlier_term_wrote(cluster: Cluster) -> None:
    controller = cluster.controller
    for other in cluster.others(controller):
        cluster.world.kill(other)
    cluster.run(0.8)
    core = cluster.core(controller)
    core.commit_offset = core.log.durable_end_offset
    core.term += 1
    assert fell(cluster.look_at(controller), "commits by counting up to")


def test_a_metadata_log_that_counts_what_another_term_has_on_the_disk(cluster: Cluster) -> None:
    log = cluster.core(1).log
    log._terms[-1] += 5
    log.generation += 1
    assert fell(cluster.look_at(1), "node1.1 counts what term")


def test_images_that_differ_at_one_offset(cluster: Cluster) -> None:
    controller = cluster.part(1).controller
    controller.committed = dataclasses.replace(controller.committed, next_producer_id=12345)
    assert fell(cluster.look_at(1), "differs from another's at offset")


def test_an_image_that_goes_back(cluster: Cluster) -> None:
    metadata = cluster.broker(1).metadata
    metadata.image = dataclasses.replace(metadata.image, next_offset=metadata.image.next_offset - 1)
    assert fell(cluster.look_at(1), "the image of the broker of node1.1 went back")


# partitions


def test_two_leaders_in_an_epoch(cluster: Cluster) -> None:
    follower = cluster.others(cluster.leader)[0]
    cluster.replica(follower).role = cluster.role()
    assert fell(cluster.look_at(follower), "epoch 0: ")


def test_a_leader_in_an_epoch_that_is_older_than_its_registration(cluster: Cluster) -> None:
    leader = cluster.leader
    cluster.broker(leader).membership.broker_epoch = cluster.eyes.newest.next_offset + 1
    cluster.replica(leader).role = copy.copy(cluster.role())
    assert fell(cluster.look_at(leader), "though it was registered only at")


def test_a_watermark_that_falls(cluster: Cluster) -> None:
    cluster.replica(cluster.leader).log._high_watermark -= 1
    assert fell(cluster.look_at(cluster.leader), "the watermark of node")


def test_a_watermark_beyond_the_log(cluster: Cluster) -> None:
    cluster.replica(cluster.leader).log._high_watermark += 1
    assert fell(cluster.look_at(cluster.leader), "has its watermark at 11, is durable below 10, and ends at 10")


def test_a_followers_watermark_beyond_every_leaders(cluster: Cluster) -> None:
    follower = cluster.others(cluster.leader)[0]
    log = cluster.replica(follower).log
    log._end = log._high_watermark = 11
    assert fell(cluster.look_at(follower), "past that of every leader")


def test_a_watermark_that_followers_have_not_reached(cluster: Cluster) -> None:
    leader, role = cluster.leader, cluster.role()
    log = role.log
    for other in cluster.others(leader):
        cluster.world.kill(other)
    batch = encode_batch([Record(None, b"for one disk only", (), 0)])
    process = cluster.world.machines[leader].process
    assert process is not None
    process.loop.call_soon(log.append_as_leader, batch, role.leader_epoch, 0)
    cluster.run(0.05)
    assert log.durable_end == 11
    log._high_watermark = 11
    assert fell(cluster.look_at(leader), f"only the disks of nodes [{leader}] have it, of at least 2")


def test_an_append_that_counts_and_is_not_on_the_disk(cluster: Cluster) -> None:
    follower = cluster.others(cluster.leader)[0]
    log = cluster.replica(follower).log
    log._end = log._durable_end = 11
    assert fell(cluster.look_at(follower), "counts as durable below 11, and its disk has 10")


def test_a_log_that_is_shorter_after_a_restart(cluster: Cluster) -> None:
    follower = cluster.others(cluster.leader)[0]
    log = cluster.replica(follower).log
    log._end = log._durable_end = 11
    cluster.look_at(follower)
    cluster.world.kill(follower)
    cluster.world.start(follower)
    assert fell(cluster.run(1.0), "has vouched for everything below 11")


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([(0, 0), (1, 10)], "epoch 1 begins at 10, and there is nothing"),
        ([(0, 0), (1, 9)], "epoch 1 is said to reach from 9 to 10, and the batches there, from 9 on, are of [0]"),
        ([(0, 1)], "it knows no epoch of the batches from 0 on"),
        ([(1, 0)], "are of [0]"),
        ([], "it knows no epoch of the batches from 0 on"),
    ],
)
def test_an_epoch_cache_that_contradicts_the_batches(
    cluster: Cluster, entries: list[tuple[int, int]], words: str
) -> None:
    follower = cluster.others(cluster.leader)[0]
    epochs = cluster.replica(follower).log.epochs
    epochs._entries = [EpochStart(*entry) for entry in entries]
    epochs.version += 1
    cluster.replica(follower).role = copy.copy(cluster.replica(follower).role)
    assert fell(cluster.look_at(follower), words)


def test_a_leader_that_has_not_noted_its_epoch(cluster: Cluster) -> None:
    role = copy.copy(cluster.role())
    role.leader_epoch = 1
    cluster.replica(cluster.leader).role = role
    assert fell(cluster.look_at(cluster.leader), "its newest epoch is 0, and it leads in 1")


def test_a_recovery_point_above_what_is_on_the_disk(cluster: Cluster) -> None:
    follower = cluster.others(cluster.leader)[0]
    written = cluster.broker(follower).log_dirs.folders[0]._checkpoints._written
    written[RECOVERY_POINTS] = {("t", 0): 11}
    assert fell(cluster.look_at(follower), "everything below 11 is noted to be durable, and its disk has 10")


def test_members_that_leave_below_the_minimum_with_all_their_data(cluster: Cluster) -> None:
    controller = cluster.part(1).controller
    image, key = controller.committed, cluster.replica(1).key
    topic = image.topics[key.topic_id]
    before = topic.partitions[0]
    alone = dataclasses.replace(before, in_sync_replicas=(before.leader,), partition_epoch=before.partition_epoch + 1)
    topics = image.topics.insert(key.topic_id, dataclasses.replace(topic, partitions=(alone,)))
    controller.committed = dataclasses.replace(image, topics=topics, next_offset=image.next_offset + 1)
    assert fell(cluster.look_at(1), "have left the in-sync set")


def commit(cluster: Cluster, *, members: list[int] | None = None, fenced: int | None = None) -> list[str]:
    """Returns what falls when the first partition gets these members, or one broker and no other is fenced."""
    controller, key = cluster.part(1).controller, cluster.replica(1).key
    image = controller.committed
    if members is not None:
        topic = image.topics[key.topic_id]
        before = topic.partitions[0]
        in_sync = tuple(node_id for node_id in before.assigned_replicas if node_id in members)
        after = dataclasses.replace(before, in_sync_replicas=in_sync, partition_epoch=before.partition_epoch + 1)
        topics = image.topics.insert(key.topic_id, dataclasses.replace(topic, partitions=(after,)))
        image = dataclasses.replace(image, topics=topics)
    brokers = image.brokers
    for broker in image.brokers_in_order():
        if broker.fenced != (broker.node_id == fenced):
            brokers = brokers.insert(broker.node_id, dataclasses.replace(broker, fenced=broker.node_id == fenced))
    controller.committed = dataclasses.replace(image, brokers=brokers, next_offset=image.next_offset + 1)
    return cluster.look_at(1)


def test_a_fenced_broker_that_joins(cluster: Cluster) -> None:
    late = cluster.others(cluster.leader)[0]
    others = cluster.others(late)
    assert not commit(cluster, members=others)
    assert not commit(cluster, fenced=late)
    assert fell(commit(cluster, members=[*others, late], fenced=late), "and is fenced or leaving")


def test_a_leader_that_does_not_count_a_member(cluster: Cluster) -> None:
    leader = cluster.leader
    late = cluster.others(leader)[0]
    others = cluster.others(late)
    cluster.role().in_sync.committed_as([NodeId(node_id) for node_id in others], 99)
    assert fell(commit(cluster, members=[1, 2, 3]), f"does not count nodes [{late}]")


def test_a_broker_that_is_unfenced_before_it_has_acted(cluster: Cluster) -> None:
    late = cluster.others(cluster.leader)[0]
    assert not commit(cluster, fenced=late)
    cluster.broker(late)._active = False
    assert fell(commit(cluster), "has not acted on its registration yet")


def alter(cluster: Cluster, node_id: int, change: Callable[[bytearray], None]) -> None:
    """Changes the node's log on its disk, behind the back of all."""
    content = cluster.world.machines[node_id].disk._find(cluster.log_path(node_id))
    assert isinstance(content, Content)
    change(content.cached)
    content.durable = bytearray(content.cached)
    content.shared = len(content.cached)


def without_last_byte(content: bytearray) -> None:
    del content[-1]


def with_another_first_record(content: bytearray) -> None:
    end = struct.unpack_from(">i", content, 8)[0] + LENGTH_END
    content[end - 2] ^= 1
    struct.pack_into(">I", content, CRC_AT, crc32c(content[CRC_END:end]))


def test_a_member_of_the_in_sync_set_that_lacks_what_was_committed(cluster: Cluster) -> None:
    follower = cluster.others(cluster.leader)[0]
    alter(cluster, follower, without_last_byte)
    log = cluster.replica(follower).log
    log._durable_end = 9
    assert fell(cluster.look_at(follower), "in sync with [")


def test_a_committed_batch_that_is_on_too_few_disks(cluster: Cluster) -> None:
    cluster.eyes.look()
    assert not cluster.eyes.violations
    for follower in cluster.others(cluster.leader):
        alter(cluster, follower, without_last_byte)
    cluster.eyes.look()
    assert fell(cluster.eyes.violations, f"only on the disks of nodes [{cluster.leader}]")


def test_what_a_harmed_machine_lost_is_held_against_nobody(cluster: Cluster) -> None:
    for follower in cluster.others(cluster.leader):
        alter(cluster, follower, without_last_byte)
        cluster.world.machines[follower].note_rot("data/t-0")
        cluster.replica(follower).log.generation += 1
        cluster.look_at(follower)
    cluster.eyes.look()
    assert not cluster.eyes.violations


def test_what_is_still_missing_once_the_harm_is_seen_to_counts(cluster: Cluster) -> None:
    follower = cluster.others(cluster.leader)[0]
    alter(cluster, follower, without_last_byte)
    machine = cluster.world.machines[follower]
    machine.note_rot("data/t-0")
    cluster.replica(follower).log.generation += 1
    assert not cluster.look_at(follower)
    machine._rotten.clear()
    cluster.replica(follower).log.generation += 1
    assert fell(cluster.look_at(follower), "and its disk has 9")


def test_replicas_that_differ_within_an_epoch(cluster: Cluster) -> None:
    follower = cluster.others(cluster.leader)[0]
    alter(cluster, follower, with_another_first_record)
    cluster.replica(follower).log.generation += 1
    assert fell(cluster.look_at(follower), "is not everywhere the same")


def test_replicas_that_differ_when_they_are_read(cluster: Cluster) -> None:
    alter(cluster, cluster.others(cluster.leader)[0], with_another_first_record)
    cluster.world.run(cluster.eyes.replicas_agree())
    assert fell(cluster.eyes.violations, "differ below 10")


def test_a_controller_that_never_learns_what_was_committed(cluster: Cluster) -> None:
    follower = cluster.others(cluster.controller)[0]
    controller = cluster.part(follower).controller
    controller.committed = dataclasses.replace(controller.committed, next_offset=controller.committed.next_offset - 1)
    cluster.world.scheduler.on_turn = None
    cluster.world.run(cluster.eyes.replicas_agree())
    assert fell(cluster.eyes.violations, f"node{follower}.1 still lacks")


def test_a_queue_that_outgrows_its_limit(cluster: Cluster) -> None:
    feed = next(replica.subscriber for replica in cluster.role().replicas.values())
    assert isinstance(feed, Feed)
    feed.session._queued_bytes = QUEUE_BYTES + 1
    for _ in range(100):
        cluster.look_at(cluster.leader)
    assert fell(cluster.eyes.violations, "keeps too much: bytes queued for follower")


def test_eyes_change_nothing_of_what_happens() -> None:
    def trace(watched: bool) -> str:
        world = World(2)
        if watched:
            world.scheduler.on_turn = Invariants(world).after_turn

        async def script() -> None:
            await world.format()
            for node_id in world.machines:
                world.start(node_id)
            await world.all_ready()
            world.kill(Random(2).choice(list(world.machines)))
            await world.clock.sleep(2)

        world.run(script())
        world.end()
        return world.scheduler.trace.digest()

    assert trace(watched=True) == trace(watched=False)
