"""A quorum whose log was cut, and who votes in it: what the log no longer says, the snapshots do."""

from __future__ import annotations

from tests.controller.cluster import Cluster, TestVoter, until
from tests.controller.test_snapshots import changed, file_of, spoil, taken
from tests.controller.test_voter_changes import active, add, format_with_voters_of_its_own, learner, remove, voters_of


async def cut(cluster: Cluster) -> None:
    """Has every running controller cut its log past all that it ever said of the voters."""
    for _ in range(2):
        await changed(active(cluster))
        await cluster.agreed()
        for voter in cluster.running:
            await taken(voter)
    await changed(active(cluster))
    await cluster.agreed()


async def restart(voter: TestVoter) -> None:
    await voter.kill()
    await voter.start()


async def test_a_new_controller_joins_by_snapshot_is_promoted_and_knows_the_voters_after_a_restart(
    cluster: Cluster,
) -> None:
    first = await cluster.start(1)
    await cut(cluster)
    for _ in range(2):
        joined = await learner(cluster)
        await cluster.agreed()
        assert joined.part.quorum.log_start_offset > 0, "it was sent the log, and not a snapshot"
        assert voters_of(joined) == voters_of(first)
        assert await add(cluster, joined.node_id)
        await cluster.agreed()
        await restart(joined)
        assert voters_of(joined) == voters_of(first)
        await cluster.agreed()
    await first.kill()  # the two that came by snapshot decide
    await changed(await cluster.leader(besides=first))


async def test_a_learner_that_has_nothing_but_a_snapshot_knows_the_voters_after_a_restart(cluster: Cluster) -> None:
    await cluster.start(3)
    await cut(cluster)
    joined = await learner(cluster)
    await cluster.agreed()
    await restart(joined)
    assert voters_of(joined) == [1, 2, 3]
    assert not joined.part.quorum.is_leader
    await until(lambda: active(cluster).part.quorum.learners())
    await cluster.agreed()


async def test_changes_that_were_cut_off_the_log_hold_after_a_restart_of_all(cluster: Cluster) -> None:
    leader = await cluster.start(3)
    gone = next(voter for voter in cluster.voters if voter is not leader)
    await remove(cluster, gone.node_id)
    await gone.stop()
    await cut(cluster)
    left = sorted(voter.node_id for voter in cluster.running)
    for voter in list(cluster.running):
        await voter.kill()
    for voter in cluster.voters:
        if voter is not gone:
            await voter.start()
            assert voter.part.quorum.log_start_offset > 0
            assert voters_of(voter) == left
    await changed(await cluster.leader())


async def test_a_voter_that_slept_through_changes_and_cuts_learns_of_them_by_snapshot(cluster: Cluster) -> None:
    leader = await cluster.start(3)
    away, stays = (voter for voter in cluster.voters if voter is not leader)
    await away.kill()
    joined = await learner(cluster)
    assert await add(cluster, joined.node_id)
    await remove(cluster, away.node_id)
    await cut(cluster)
    await away.start()
    await until(lambda: voters_of(away) == sorted([leader.node_id, stays.node_id, joined.node_id]))
    await cluster.agreed()
    assert not away.part.quorum.is_leader
    assert await add(cluster, away.node_id)
    await until(lambda: away.node_id in voters_of(away))


async def test_changes_after_a_snapshot_are_read_from_the_log(cluster: Cluster) -> None:
    first = await cluster.start(1)
    await cut(cluster)
    joined = await learner(cluster)
    await add(cluster, joined.node_id)
    await cluster.agreed()
    for voter in (first, joined):
        await restart(voter)
        assert voters_of(voter) == [1, 2]
    await changed(await cluster.leader())


async def test_where_the_newest_snapshot_is_damaged_the_one_before_and_the_log_say_who_votes(cluster: Cluster) -> None:
    first = await cluster.start(1)
    await cut(cluster)
    joined = await learner(cluster)
    await add(cluster, joined.node_id)
    await cluster.agreed()
    await changed(active(cluster))
    path = file_of(first, await taken(first))
    await first.kill()
    spoil(path)
    await first.start()
    assert voters_of(first) == [1, 2]
    await changed(await cluster.leader())


async def test_whose_log_was_cut_refuses_one_formatted_with_voters_of_its_own_by_what_snapshots_say(
    cluster: Cluster,
) -> None:
    first = await cluster.start(3)
    crc = first.part.quorum.first_batch_crc
    assert crc
    await cut(cluster)
    joined = await learner(cluster)
    await cluster.agreed()
    for voter in cluster.running:
        await restart(voter)
        assert voter.part.quorum.log_start_offset > 0
        assert voter.part.quorum.first_batch_crc == crc
    assert joined.part.quorum.first_batch_crc == crc, "it came with the snapshot"
    leader = await cluster.leader()
    wiped = next(voter for voter in cluster.voters if voter not in (leader, joined))
    await format_with_voters_of_its_own(wiped, leader)
    assert [key.node_id for key in leader.part.quorum.learners()] == [joined.node_id]
    assert wiped.part.quorum.log_end_offset == 2
