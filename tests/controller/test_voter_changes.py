"""Voters come and go while the cluster runs: real files, a network in memory."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import Any

import pytest

from dohle.controller.controller_service import CONTROLLER
from dohle.controller.joining_mark import JOINING_FILE
from dohle.model.errors import BrokerNotAvailable, DataFolderError, InvalidRequest, NotController, VoterNotFound
from dohle.model.ids import DirectoryId, NodeId
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import admin_pb2
from dohle.runtime.network import Lane
from tests.controller.cluster import Cluster, TestVoter, until
from tests.controller.test_quorum import change

METHODS = methods_of(CONTROLLER)


async def ask(cluster: Cluster, method: str, request: Any) -> Any:
    """Asks whoever is active, and again while nobody is, as brokers do."""
    network = cluster.world.network("asking")
    while True:
        leader = await cluster.leader()
        try:
            return await network.call(leader.address, METHODS[method], request, lane=Lane.CONTROL, timeout_s=5)
        except (NotController, BrokerNotAvailable):
            await asyncio.sleep(0.01)


async def add(cluster: Cluster, node_id: int) -> bool:
    changed: bool = (await ask(cluster, "AddVoter", admin_pb2.AddVoterRequest(node_id=node_id))).changed
    return changed


async def remove(cluster: Cluster, node_id: int) -> bool:
    changed: bool = (await ask(cluster, "RemoveVoter", admin_pb2.RemoveVoterRequest(node_id=node_id))).changed
    return changed


async def described(cluster: Cluster) -> admin_pb2.DescribeQuorumResponse:
    response: admin_pb2.DescribeQuorumResponse = await ask(cluster, "DescribeQuorum", admin_pb2.DescribeQuorumRequest())
    return response


async def learner(cluster: Cluster) -> TestVoter:
    """One more controller, which the active one knows of."""
    joined = await cluster.join()
    await until(lambda: active(cluster).part.quorum.learners())
    return joined


def active(cluster: Cluster) -> TestVoter:
    found = cluster.active()
    assert found is not None
    return found


def voters_of(voter: TestVoter) -> list[int]:
    return [one.node_id for one in voter.part.quorum.voters]


async def test_a_cluster_grows_from_one_to_three_and_outlives_its_first_node(cluster: Cluster) -> None:
    first = await cluster.start(1)
    for _ in range(2):
        joined = await learner(cluster)
        assert await add(cluster, joined.node_id)
        await change(await cluster.leader())
    await cluster.agreed()
    assert [voters_of(voter) for voter in cluster.voters] == [[1, 2, 3]] * 3
    await first.kill()
    second = await cluster.leader(besides=first)
    await change(second)
    await first.start()
    await cluster.agreed()


async def test_a_learner_follows_and_has_no_vote(cluster: Cluster) -> None:
    await cluster.start(1)
    joined = await learner(cluster)
    await cluster.agreed()
    assert not joined.part.quorum.is_leader
    quorum = await described(cluster)
    assert [voter.node_id for voter in quorum.voters] == [1]
    assert [one.node_id for one in quorum.learners] == [2]
    await until(lambda: active(cluster).part.quorum.progress_of(joined.part.quorum.key).durable_end > 0)
    await joined.kill()
    await until(lambda: not active(cluster).part.quorum.learners())


async def test_a_learner_whose_configuration_does_not_name_the_leader_is_found_by_it(cluster: Cluster) -> None:
    leader = await cluster.start(3)
    follower = next(voter for voter in cluster.voters if voter is not leader)
    joined = await cluster.join(bootstrap=[follower.address])
    await until(lambda: joined.part.quorum.key in leader.part.quorum.learners())
    assert await add(cluster, joined.node_id)
    await cluster.agreed()


async def test_one_that_has_joined_and_loses_its_log_does_not_begin_anew(cluster: Cluster) -> None:
    await cluster.start(1)
    joined = await learner(cluster)
    folder = joined.folder / "__cluster_metadata-0"
    await until(lambda: active(cluster).part.quorum.progress_of(joined.part.quorum.key).durable_end > 0)
    assert not (folder / JOINING_FILE).exists(), "who has vouched for its log may no longer be without one"
    await joined.kill()
    for path in folder.glob("0*.log"):
        os.truncate(path, 0)
    with pytest.raises(DataFolderError, match="does not begin with the first voters"):
        await joined.start()


async def test_one_that_is_formatted_to_join_may_start_as_often_as_it_likes(cluster: Cluster) -> None:
    first = await cluster.start(1)
    await first.kill()
    joined = await cluster.join()
    for _ in range(2):
        await joined.kill()
        await joined.start()
    assert (joined.folder / "__cluster_metadata-0" / JOINING_FILE).exists()
    await first.start()
    await until(lambda: first.part.quorum.learners())
    await cluster.agreed()


async def test_a_learner_that_restarts_is_found_again_and_by_a_new_leader_too(cluster: Cluster) -> None:
    old = await cluster.start(3)
    joined = await learner(cluster)
    await cluster.agreed()
    await joined.kill()
    await joined.start()
    await old.kill()
    await cluster.leader(besides=old)
    await until(lambda: active(cluster).part.quorum.learners())
    assert await add(cluster, joined.node_id)
    assert voters_of(active(cluster)) == [1, 2, 3, 4]
    await old.start()
    await cluster.agreed()


async def test_of_two_that_add_one_voter_at_a_time_the_second_finds_it_added(cluster: Cluster) -> None:
    await cluster.start(1)
    joined = await learner(cluster)
    assert sorted(await asyncio.gather(*[add(cluster, joined.node_id) for _ in range(2)])) == [False, True]
    assert voters_of(active(cluster)) == [1, 2]


async def test_a_removed_leader_answers_and_another_leads_at_once(cluster: Cluster) -> None:
    old = await cluster.start(3)
    await remove(cluster, old.node_id)
    took_s = await until(lambda: cluster.active() not in (None, old))
    assert took_s < 0.8
    await change(active(cluster))
    await until(lambda: old.node_id not in voters_of(old))
    await cluster.agreed()  # it follows as a learner
    assert not old.part.quorum.is_leader
    assert await add(cluster, old.node_id)
    assert voters_of(active(cluster)) == [1, 2, 3]


async def test_a_wiped_disk_is_a_new_voter(cluster: Cluster) -> None:
    leader = await cluster.start(3)
    wiped = next(voter for voter in cluster.voters if voter is not leader)
    await wiped.kill()
    await wiped.wipe()
    await wiped.start()
    await until(lambda: leader.part.quorum.learners())
    with pytest.raises(InvalidRequest, match=r"another data folder.*voters remove"):
        await add(cluster, wiped.node_id)
    await remove(cluster, wiped.node_id)
    assert await add(cluster, wiped.node_id)
    await cluster.agreed()
    assert wiped.part.quorum.key in [(voter.node_id, voter.directory_id) for voter in leader.part.quorum.voters]


async def format_with_voters_of_its_own(wiped: TestVoter, leader: TestVoter) -> None:
    """Gives a controller an empty disk, and formats it as a first voter once more, in a folder of another id."""
    await wiped.kill()
    shutil.rmtree(wiped.folder)
    wiped.directory_id = DirectoryId(bytes(16))
    await wiped.format(
        [
            voter._replace(directory_id=wiped.directory_id) if voter.node_id == wiped.node_id else voter
            for voter in leader.part.quorum.voters
        ]
    )
    await wiped.start()
    await asyncio.sleep(0.5)


async def test_one_formatted_with_voters_of_its_own_is_refused(cluster: Cluster) -> None:
    leader = await cluster.start(3)
    wiped = next(voter for voter in cluster.voters if voter is not leader)
    await format_with_voters_of_its_own(wiped, leader)
    assert not leader.part.quorum.learners()
    assert wiped.part.quorum.log_end_offset == 2
    assert leader.part.quorum.is_leader


async def test_what_cannot_be_is_refused_with_what_would_work(cluster: Cluster) -> None:
    leader = await cluster.start(1)
    with pytest.raises(InvalidRequest, match=r"the only voter.*add another one first"):
        await remove(cluster, 1)
    with pytest.raises(VoterNotFound, match=r"no controller that is connected without a vote.*--join"):
        await add(cluster, 7)
    with pytest.raises(VoterNotFound, match="has no vote, so it cannot decide"):
        await ask(cluster, "TransferController", admin_pb2.TransferControllerRequest(node_id=7))
    assert not await add(cluster, 1)
    joined = await learner(cluster)
    await add(cluster, joined.node_id)
    assert voters_of(leader) == [1, 2]


async def test_what_was_done_may_be_asked_for_again(cluster: Cluster) -> None:
    await cluster.start(3)
    assert await remove(cluster, 3)
    assert not await remove(cluster, 3)
    await until(lambda: active(cluster).part.quorum.learners())
    assert await add(cluster, 3)
    assert not await add(cluster, 3)


async def test_a_voter_whose_loss_would_leave_no_majority_stays(cluster: Cluster) -> None:
    leader = await cluster.start(3)
    dead, alive = (voter for voter in cluster.voters if voter is not leader)
    await dead.kill()
    await asyncio.sleep(1.1)
    with pytest.raises(InvalidRequest, match=f"2 of the 2 voters.*{dead.node_id} does not answer"):
        await remove(cluster, alive.node_id)
    await remove(cluster, dead.node_id)
    assert len(voters_of(leader)) == 2
    await change(leader)


async def test_a_second_change_while_one_is_in_flight_is_refused(cluster: Cluster) -> None:
    leader = await cluster.start(3)
    others = [voter for voter in cluster.voters if voter is not leader]
    for voter in cluster.voters:
        voter.disk.gate.clear()
    first = asyncio.ensure_future(remove(cluster, others[0].node_id))
    await until(lambda: not leader.part.quorum.may_change_voters)
    with pytest.raises(InvalidRequest, match="another change of the voters is under way"):
        leader.part.voter_changes._check_settled()
    for voter in cluster.voters:
        voter.disk.gate.set()
    await first


async def test_the_office_goes_to_whom_it_is_given(cluster: Cluster) -> None:
    leader = await cluster.start(3)
    heir = next(voter for voter in cluster.voters if voter is not leader)
    request = admin_pb2.TransferControllerRequest(node_id=heir.node_id)
    assert (await ask(cluster, "TransferController", request)).leader_id == heir.node_id
    await until(lambda: cluster.active() is heir)
    assert (await ask(cluster, "TransferController", request)).leader_id == heir.node_id
    await change(heir)
    await leader.kill()
    with pytest.raises(InvalidRequest, match=r"node . did not take over"):
        await ask(cluster, "TransferController", admin_pb2.TransferControllerRequest(node_id=NodeId(leader.node_id)))
    await change(await cluster.leader())
