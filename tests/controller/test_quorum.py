from __future__ import annotations

import asyncio

import pytest

from dohle.controller.decision import Decision
from dohle.controller.raft_wire import CONVERSE
from dohle.model.errors import (
    ConfigurationError,
    CorruptLog,
    DataFolderError,
    InconsistentClusterId,
    InvalidRequest,
    NotController,
)
from dohle.model.ids import ClusterId, DirectoryId, IncarnationId, NodeId
from dohle.model.image import ClusterImage
from dohle.model.metadata import NoOp, Voter
from dohle.rpc.identity import NodeIdentity
from dohle.rpc.v1 import raft_pb2
from dohle.runtime.network import Lane
from tests.controller.cluster import CLUSTER, Cluster, TestVoter, until


def no_op(_: ClusterImage) -> Decision[str]:
    return Decision((NoOp(),), "done")


async def change(voter: TestVoter) -> str:
    return await voter.part.controller.change(no_op)


async def test_every_voter_is_formatted_with_the_same_bytes(cluster: Cluster) -> None:
    await cluster.make(3)
    assert len({voter.log_bytes for voter in cluster.voters}) == 1
    assert cluster.voters[0].log_bytes


async def test_one_voter_elects_itself_and_keeps_what_it_committed(cluster: Cluster) -> None:
    leader = await cluster.start(1)
    for _ in range(10):
        assert await change(leader) == "done"
    before = leader.part.controller.committed
    term = leader.part.quorum.term
    await leader.kill()
    await leader.start()
    await cluster.leader()
    after = leader.part.controller.committed
    assert leader.part.quorum.term > term
    assert after.next_offset == before.next_offset + 1  # the no-op of the new term
    assert after.cluster_id == CLUSTER


async def test_three_voters_elect_one_leader_and_agree(cluster: Cluster) -> None:
    leader = await cluster.start(3)
    await asyncio.gather(*(change(leader) for _ in range(50)))
    await cluster.agreed()
    assert [voter for voter in cluster.voters if voter.part.quorum.is_leader] == [leader]
    assert {voter.part.quorum.leader_id for voter in cluster.voters} == {leader.node_id}
    assert len({voter.log_bytes for voter in cluster.voters}) == 1


async def test_a_killed_leader_is_replaced_in_a_fraction_of_a_second(cluster: Cluster) -> None:
    old = await cluster.start(3)
    await change(old)
    await cluster.agreed()
    await old.kill()
    took_s = await until(lambda: cluster.active() is not None)
    assert took_s < 0.8
    new = await cluster.leader()
    await change(new)
    await old.start()
    await cluster.agreed()
    assert len({voter.log_bytes for voter in cluster.voters}) == 1


async def test_a_restarted_leader_is_replaced_without_an_election_timeout(cluster: Cluster) -> None:
    old = await cluster.start(3)
    term = old.part.quorum.term
    await old.kill()
    await old.start()
    took_s = await until(lambda: cluster.active() is not None)
    assert took_s < 0.8
    assert (await cluster.leader()).part.quorum.term > term


async def test_connections_that_break_depose_nobody(cluster: Cluster) -> None:
    leader = await cluster.start(3)
    term = leader.part.quorum.term
    for _ in range(5):
        cluster.world.break_streams(leader.name)
        await change(leader)
    assert leader.part.quorum.is_leader
    assert {voter.part.quorum.term for voter in cluster.voters} == {term}


async def test_what_a_cut_off_leader_appended_is_refused_and_truncated(cluster: Cluster) -> None:
    old = await cluster.start(3)
    await change(old)
    await cluster.agreed()
    cluster.world.silent.add(old.name)
    cluster.world.break_streams(old.name)
    lost = asyncio.gather(*(change(old) for _ in range(3)), return_exceptions=True)
    new = await cluster.leader(besides=old)
    await change(new)
    assert [type(outcome) for outcome in await lost] == [NotController] * 3  # it steps down by itself
    cluster.world.silent.clear()
    await cluster.agreed()
    assert len({voter.log_bytes for voter in cluster.voters}) == 1
    assert (await cluster.leader()) is new


async def test_a_vote_is_on_disk_before_it_is_given(cluster: Cluster) -> None:
    await cluster.make(3)
    for voter in cluster.voters:
        voter.disk.gate.clear()
        await voter.start()
    one, two, three = cluster.voters
    one.disk.gate.set()
    await until(lambda: one.part.quorum.term >= 1)
    with pytest.raises(TimeoutError):
        await until(lambda: cluster.active(), timeout_s=1.0)
    two.disk.gate.set()
    await cluster.leader()
    three.disk.gate.set()
    await cluster.agreed()


async def test_nothing_commits_before_a_majority_has_fsynced_it(cluster: Cluster) -> None:
    leader = await cluster.start(3)
    followers = [voter for voter in cluster.voters if voter is not leader]
    for follower in followers:
        follower.disk.gate.clear()
    waiting = asyncio.ensure_future(change(leader))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.3)
    assert leader.part.quorum.is_leader  # heartbeats do not wait for the disks
    followers[0].disk.gate.set()
    assert await waiting == "done"
    followers[1].disk.gate.set()
    await cluster.agreed()


async def test_a_read_barrier_needs_a_leader(cluster: Cluster) -> None:
    leader = await cluster.start(3)
    await change(leader)
    assert await leader.part.quorum.read_barrier() == leader.part.quorum.commit_offset
    follower = next(voter for voter in cluster.voters if voter is not leader)
    with pytest.raises(NotController, match=f"the active controller is node {leader.node_id}"):
        await follower.part.quorum.read_barrier()


async def test_proposals_are_the_leaders_alone(cluster: Cluster) -> None:
    leader = await cluster.start(3)
    follower = next(voter for voter in cluster.voters if voter is not leader)
    with pytest.raises(NotController, match=f"node {leader.node_id}"):
        follower.part.quorum.propose([NoOp()], 1)


async def test_strangers_are_refused(cluster: Cluster) -> None:
    await cluster.start(1)
    voter = cluster.voters[0]
    incarnation = IncarnationId(bytes(16))
    stranger = NodeIdentity(ClusterId("another"), NodeId(2), incarnation, DirectoryId(bytes(16)))
    with pytest.raises(InconsistentClusterId, match="belongs to cluster another"):
        await say(cluster, voter, stranger)
    wiped = NodeIdentity(CLUSTER, voter.node_id, incarnation, DirectoryId(bytes(16)))
    with pytest.raises(InvalidRequest, match="an id of its own"):
        await say(cluster, voter, wiped)


async def say(cluster: Cluster, voter: TestVoter, identity: NodeIdentity) -> None:
    stream = cluster.world.network("stranger").stream(voter.address, CONVERSE, lane=Lane.CONTROL)
    await stream.send(raft_pb2.RaftEnvelope(hello=identity.hello()))
    await stream.receive()


async def test_a_folder_that_was_never_formatted_does_not_vote(cluster: Cluster) -> None:
    await cluster.make(1)
    voter = cluster.voters[0]
    (voter.folder / "__cluster_metadata-0").rename(voter.folder / "gone")
    with pytest.raises(DataFolderError, match="was not formatted for a controller, or was wiped"):
        await voter.start()


async def test_a_folder_that_was_formatted_anew_has_no_vote(cluster: Cluster) -> None:
    await cluster.make(1)
    voter = cluster.voters[0]
    voter.directory_id = DirectoryId(bytes(16))
    await voter.start()
    await asyncio.sleep(0.5)
    assert (voter.part.quorum.term, voter.part.quorum.is_leader) == (0, False)


async def test_a_damaged_log_neither_votes_nor_leads(cluster: Cluster) -> None:
    voter = await cluster.start(1)
    for _ in range(3):
        await change(voter)
    await voter.stop()
    path = voter.folder / "__cluster_metadata-0" / f"{0:020d}.log"
    content = bytearray(path.read_bytes())
    content[30] ^= 0xFF
    path.write_bytes(content)
    (voter.folder / "__cluster_metadata-0" / "recovery-point-offset-checkpoint").unlink(missing_ok=True)
    with pytest.raises(CorruptLog, match="neither votes nor leads"):
        await voter.start()


@pytest.mark.parametrize("count", [0, 2, 4, 7])
async def test_a_quorum_has_one_three_or_five_voters(cluster: Cluster, count: int) -> None:
    with pytest.raises(ConfigurationError, match="give 1, 3 or 5"):
        await cluster.make(count) if count else await TestVoter(cluster, 1, DirectoryId(bytes(16))).format([])


async def test_two_voters_need_two_directories(cluster: Cluster) -> None:
    voters = [Voter(NodeId(node_id), DirectoryId(bytes(16)), "host", 1) for node_id in (1, 2, 3)]
    with pytest.raises(ConfigurationError, match="same directory id"):
        await TestVoter(cluster, 1, DirectoryId(bytes(16))).format(voters)


async def test_a_folder_is_formatted_once(cluster: Cluster) -> None:
    await cluster.make(1)
    voter = cluster.voters[0]
    described = Voter(voter.node_id, voter.directory_id, voter.address.host, voter.address.port)
    (voter.folder).rename(voter.folder.with_name("aside"))
    voter.folder.mkdir()
    (voter.folder / "__cluster_metadata-0").mkdir()
    voter_folder = voter.folder
    voter_folder.rmdir() if not any(voter_folder.iterdir()) else None
    with pytest.raises((DataFolderError, FileExistsError)):
        await voter.format([described])


async def test_an_answer_that_commits_nothing_is_confirmed_by_a_majority(cluster: Cluster) -> None:
    leader = await cluster.start(3)
    cluster.world.silent.add(leader.name)
    cluster.world.break_streams(leader.name)
    answer = asyncio.ensure_future(leader.part.controller.change(lambda _: Decision((), "of a moment ago")))
    with pytest.raises(NotController):
        await answer
    assert not leader.part.quorum.is_leader
    cluster.world.silent.clear()


async def test_a_leader_hands_over_and_whoever_asks_meanwhile_is_told_to_whom(cluster: Cluster) -> None:
    leader = await cluster.start(3)
    term = leader.part.quorum.term
    handing_over = asyncio.ensure_future(leader.part.hand_over())
    await asyncio.sleep(0)
    with pytest.raises(NotController, match="handing over"):
        await change(leader)
    await handing_over
    other = await cluster.leader(besides=leader)
    assert other.part.quorum.term == term + 1
    assert leader.part.quorum.leader_id == other.node_id
    await change(other)
    await cluster.agreed()
