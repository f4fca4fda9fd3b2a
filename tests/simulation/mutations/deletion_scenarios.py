"""Scenarios of logs that begin later: what was deleted stays gone, and retention lets go what it may."""

from __future__ import annotations

from dohle.client.values import DeletedRecords
from dohle.model.ids import TopicPartition
from dohle.testing.world.disk import Moment
from dohle.testing.world.world import DATA
from tests.simulation.mutations.replication_scenarios import APART, comes_back
from tests.simulation.mutations.stage import Stage, scenario_in

RECORDS = 10
BEFORE = 7
OFTEN_MS = 500
_DELETED = {("t", 0): BEFORE}
_SHORT_SEGMENTS = {"segment.ms": "100", "file.delete.delay.ms": "60000"}


async def _written(stage: Stage, configs: dict[str, str] | None = None) -> int:
    """Returns the leader; all are in sync, and have all records."""
    await stage.make_topic(configs)
    await stage.until(lambda: len(stage.partition().in_sync_replicas) == 3, "all are in sync")
    await stage.written(RECORDS)
    return stage.partition().leader


async def _delete(stage: Stage) -> None:
    outcomes = await stage.asks(lambda admin: admin.delete_records(_DELETED))
    outcome = outcomes[TopicPartition("t", 0)]
    assert isinstance(outcome, DeletedRecords), outcome


def _noted(stage: Stage, *node_ids: int) -> None:
    for node_id in node_ids:
        noted = stage.log(node_id).durable_start
        assert noted >= BEFORE, f"what lies below {BEFORE} is deleted, and node {node_id} would show it from {noted} on"


@scenario_in(APART)
async def a_follower_is_slow_to_note_a_deletion(stage: Stage) -> None:
    leader = await _written(stage)
    stage.world.machines[stage.follower()].disk.faults.least_sync_s = 3.0
    await _delete(stage)
    _noted(stage, leader, *stage.followers())


@scenario_in(APART)
async def a_leader_is_slow_to_note_a_deletion(stage: Stage) -> None:
    leader = await _written(stage)
    stage.world.machines[leader].disk.faults.least_sync_s = 3.0
    await _delete(stage)
    _noted(stage, leader, *stage.followers())


@scenario_in(APART)
async def a_member_that_is_down_may_lead_after_a_deletion(stage: Stage) -> None:
    """It stays in the in-sync set, which would be too small without it."""
    leader = await _written(stage, {"min.insync.replicas": "2"})
    first, second = stage.followers()
    stage.world.kill(first)
    await stage.until(lambda: first not in stage.partition().in_sync_replicas, "one follower has left")
    stage.world.kill(second)
    await stage.until(lambda: not stage.is_active(second), "the other is fenced")
    assert second in stage.partition().in_sync_replicas, "it has left as well"
    outcome = stage.tells(lambda admin: admin.delete_records(_DELETED))
    await stage.passes(5)
    assert not outcome, "it is answered before all have noted it that may lead"
    assert stage.log(leader).log_start_offset == BEFORE, "it was not even begun"
    stage.world.start(second)
    await stage.until(lambda: bool(outcome), "it is answered", 60.0)
    _noted(stage, leader, second)


@scenario_in(APART)
async def a_replica_comes_back_after_a_deletion(stage: Stage) -> None:
    await _written(stage)
    away = stage.follower()
    stage.world.kill(away)
    await stage.until(lambda: away not in stage.partition().in_sync_replicas, "it has left")
    await _delete(stage)
    stage.world.start(away)
    await stage.at_once(lambda: away in stage.partition().in_sync_replicas, "it is in sync again")
    _noted(stage, away)


@scenario_in(APART, log_retention_check_interval_ms=OFTEN_MS)
async def power_goes_once_segments_were_let_go(stage: Stage) -> None:
    leader = await _written(stage, {**_SHORT_SEGMENTS, "retention.ms": "3000"})
    await stage.at_once(lambda: stage.log(leader).first_offset > 0, "its first segment is part of the log no more")
    start = stage.log(leader).first_offset
    stage.world.lose_power(leader)
    stage.world.start(leader)
    await stage.until(lambda: stage.has_replicas(leader), "it is back")
    assert stage.log(leader).damage is None, f"it is damaged: {stage.log(leader).damage}"
    assert stage.log(leader).log_start_offset >= start, "it begins earlier again"


@scenario_in(APART, log_retention_check_interval_ms=OFTEN_MS)
async def a_leader_is_cut_off_and_the_topic_retains_more_meanwhile(stage: Stage) -> None:
    leader = await _written(stage, {**_SHORT_SEGMENTS, "retention.ms": "15000"})
    stage.cut(leader, *stage.others(leader))
    others = stage.others(leader)
    await stage.until(lambda: stage.partition().leader != leader, "another leads")
    await stage.asks(lambda admin: admin.alter_configs("t", {"retention.ms": "-1"}), *others)
    await stage.passes(20)
    for node_id in stage.partition().assigned_replicas:
        start = stage.log(node_id).log_start_offset
        assert start == 0, f"everything is retained, and the log of node {node_id} begins at {start}"


@scenario_in(APART, log_retention_check_interval_ms=OFTEN_MS)
async def power_goes_while_a_log_begins_anew_below_its_start(stage: Stage) -> None:
    """Whoever leads then, uncleanly, has nothing but what the others have let go."""
    await stage.make_topic({**_SHORT_SEGMENTS, "unclean.leader.election.enable": "true", "min.insync.replicas": "1"})
    await stage.written(2)
    behind = stage.follower()
    stage.world.kill(behind)
    await stage.until(lambda: behind not in stage.partition().in_sync_replicas, "one has left")
    for _ in range(3):
        await stage.passes(0.2)
        await stage.written(2)
    leader, other = stage.partition().leader, next(node for node in stage.followers() if node != behind)
    await _delete(stage)
    await stage.until(lambda: stage.log(other).first_offset > 2, "its first segments have gone")
    await stage.passes(2)  # all is noted
    stage.world.kill(leader)
    stage.world.kill(other)
    stage.world.start(behind)
    await stage.until(lambda: stage.partition().leader == behind, "it leads uncleanly", 60.0)
    disk = stage.world.machines[other].disk
    struck: list[int] = []

    def strike() -> None:
        struck.append(other)
        disk.faults.forgetful = True
        stage.world.lose_power(other)

    disk.faults.traps.append((Moment.ROLL, strike))
    stage.world.start(other)
    await stage.until(lambda: bool(struck), "its log begins anew")
    stage.world.start(other)
    stage.world.start(leader)
    await comes_back(stage, other)


async def _emptied_behind_an_unclean_election(stage: Stage) -> tuple[int, int]:
    """Returns who leads uncleanly, and never heard of what the others have let go, and one of those, which is down."""
    await stage.make_topic({**_SHORT_SEGMENTS, "unclean.leader.election.enable": "true", "min.insync.replicas": "1"})
    await stage.written(2)
    behind = stage.follower()
    stage.world.kill(behind)
    await stage.until(lambda: behind not in stage.partition().in_sync_replicas, "one has left")
    await stage.written(4)
    leader, other = stage.partition().leader, next(node for node in stage.followers() if node != behind)
    await stage.asks(lambda admin: admin.delete_records({("t", 0): 6}))
    await stage.until(lambda: stage.log(other).first_offset == 6, "nothing is left of its log")
    await stage.passes(2)  # all is noted
    for node_id in (leader, other):
        stage.world.kill(node_id)
    stage.world.start(behind)
    await stage.until(lambda: stage.partition().leader == behind, "it leads uncleanly", 60.0)
    return behind, other


async def _has_all(stage: Stage, leader: int, other: int) -> None:
    stage.world.start(other)
    await stage.until(lambda: other in stage.partition().in_sync_replicas, "it is in sync", 60)
    mine, its = stage.log(leader), stage.log(other)
    assert its.first_offset <= mine.log_start_offset, f"it has nothing below {its.first_offset}, and may lead"


@scenario_in(APART, log_retention_check_interval_ms=OFTEN_MS)
async def a_log_that_was_emptied_ends_behind_the_leaders(stage: Stage) -> None:
    leader, other = await _emptied_behind_an_unclean_election(stage)
    await _has_all(stage, leader, other)


@scenario_in(APART, log_retention_check_interval_ms=OFTEN_MS)
async def a_log_that_was_emptied_ends_within_the_leaders(stage: Stage) -> None:
    leader, other = await _emptied_behind_an_unclean_election(stage)
    await stage.written(8, client="another")
    await _has_all(stage, leader, other)


@scenario_in(APART, log_retention_check_interval_ms=OFTEN_MS)
async def a_topic_retains_less_than_waits_for_its_followers(stage: Stage) -> None:
    """Neither follower has made durable what the leader has, which is old by then."""
    leader = await _written(stage, {**_SHORT_SEGMENTS, "retention.ms": "2000", "min.insync.replicas": "3"})
    for follower in stage.followers():
        stage.world.machines[follower].disk.faults.slow_logs[f"{DATA}/t-0"] = 8.0
    for _ in range(3):
        await stage.writes(2)
        await stage.passes(0.3)
    await stage.passes(4)
    log = stage.log(leader)
    assert log.high_watermark < log.log_end_offset, "it is committed"
    assert log.log_start_offset <= log.high_watermark, "what is not committed is let go"
    await stage.until(lambda: log.high_watermark == log.log_end_offset, "it is committed", 60.0)


@scenario_in(APART, log_retention_check_interval_ms=OFTEN_MS)
async def a_follower_returns_to_a_log_that_begins_later(stage: Stage) -> None:
    leader = await _written(stage, _SHORT_SEGMENTS)
    away = stage.follower()
    stage.world.kill(away)
    await stage.until(lambda: away not in stage.partition().in_sync_replicas, "it has left")
    for _ in range(3):
        await stage.written(RECORDS)
        await stage.passes(0.2)
    outcomes = await stage.asks(lambda admin: admin.delete_records({("t", 0): 3 * RECORDS}))
    assert isinstance(outcomes[TopicPartition("t", 0)], DeletedRecords), outcomes
    await stage.until(lambda: stage.log(leader).first_offset > RECORDS, "the segments have gone that follow its end")
    stage.world.start(away)
    await comes_back(stage, away)
    assert stage.log(away).first_offset > RECORDS, "it has kept what ends before the leader's begins"
