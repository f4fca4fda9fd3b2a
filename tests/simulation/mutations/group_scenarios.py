"""Scenarios of groups: many small worlds without brokers, and clusters whose coordinator is in trouble."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from dohle import Consumer
from dohle.broker.groups.coordinator import GroupCoordinator
from dohle.groups.classic.commands import Heartbeat, Join, Joined, Sync
from dohle.groups.consumer.commands import ConsumerHeartbeat, HeartbeatAnswer
from dohle.groups.offsets import Commit, FetchOffsets, OffsetToCommit
from dohle.groups.records import Assignment
from dohle.model.errors import DohleError
from dohle.model.group_errors import IllegalGeneration, NotCoordinator, StaleMemberEpoch, UnknownMember
from dohle.model.ids import TopicPartition
from dohle.testing.clients.sim_client import seams_of
from dohle.testing.world.topology import Topology
from tests.groups.classic_member import classic_world
from tests.groups.consumer_member import consumer_world
from tests.groups.group_world import REBALANCE_S, SESSION_S, SETTINGS, GroupWorld
from tests.groups.harness import Asked, Harness
from tests.simulation.mutations.mutation import Scenario
from tests.simulation.mutations.stage import Stage, scenario_in

_WORLDS = 80
_STEPS = 250
_GROUP = "g"
_FIRST = TopicPartition("t", 0)


def _violations(make: Callable[[int], GroupWorld]) -> tuple[str, ...]:
    for number in range(_WORLDS):
        world = make(number)
        try:
            world.storm(_STEPS)
            world.heal()
        except AssertionError as failure:
            return (str(failure),)
        if found := world.judge():
            return tuple(found)
    return ()


def groups_of_kip_848_in_many_worlds() -> tuple[str, ...]:
    return _violations(consumer_world)


def classic_groups_in_many_worlds() -> tuple[str, ...]:
    return _violations(classic_world)


# clusters: one partition of offsets, one group


def _groups(stage: Stage, node_id: int) -> GroupCoordinator:
    return stage.broker(node_id).groups


def _coordinator(stage: Stage) -> int:
    found = [
        node_id for node_id in stage.world.machines if stage.has_replicas(node_id) and _groups(stage, node_id)._led
    ]
    assert found, "nobody coordinates"
    return found[0]


def _commits(stage: Stage, offset: int) -> list[str]:
    """Returns at once what "committed" will be in, or the error."""
    process = stage.world.client("committer")
    outcome: list[str] = []

    async def commit() -> None:
        consumer = Consumer(stage.world.bootstrap, group=_GROUP, auto_commit=False, **seams_of(process))
        async with consumer:
            await consumer.assign("t")
            try:
                await consumer.commit({_FIRST: offset})
                outcome.append("committed")
            except DohleError as error:
                outcome.append(str(error))

    process.spawn(commit(), "commit")
    return outcome


async def _committed(stage: Stage, offset: int) -> None:
    outcome = _commits(stage, offset)
    await stage.until(lambda: bool(outcome), "the commit has its answer")
    assert outcome == ["committed"], outcome


def _asks_at(stage: Stage, node_id: int) -> list[Any]:
    """Returns at once what this node's answer will be in: the committed offset, None, or an error."""
    process, answer = stage.world.machines[node_id].process, list[Any]()
    assert process is not None

    async def ask() -> None:
        try:
            (told,) = await _groups(stage, node_id).ask(_GROUP, FetchOffsets(_GROUP, (("t", (0,)),)))
            answer.append(None if told.value is None else told.value.offset)
        except DohleError as error:
            answer.append(error)

    process.spawn(ask(), "ask")
    return answer


_in_cluster = scenario_in(Topology.combined(3), offsets_topic_num_partitions=1)


@_in_cluster
async def a_commit_does_not_reach_the_followers(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(10)
    await _committed(stage, 1)
    coordinator = _coordinator(stage)
    stage.cut(coordinator, *stage.others(coordinator))
    outcome = _commits(stage, 5)
    await stage.passes(1)
    assert not outcome, f"a commit that one node has is answered: {outcome}"
    answer = _asks_at(stage, coordinator)
    await stage.passes(0.5)
    assert answer != [5], "somebody is told of a commit that one node has"


@_in_cluster
async def the_coordinator_dies_right_after_a_commit(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(10)
    for offset in range(1, 6):
        await _committed(stage, offset)
    coordinator = _coordinator(stage)
    outcome = _commits(stage, 7)
    await stage.in_the_turn(
        lambda: outcome == ["committed"], lambda: stage.world.kill(coordinator), "the coordinator has died"
    )
    await stage.until(
        lambda: any(
            led.is_coordinating for node in stage.others(coordinator) for led in _groups(stage, node)._led.values()
        ),
        "another one coordinates",
    )
    answer = _asks_at(stage, _coordinator(stage))
    await stage.until(lambda: bool(answer), "it answers")
    assert answer == [7], f"7 was committed, and {answer[0]} is told"


@_in_cluster
async def the_coordinator_loses_its_office(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(10)
    await _committed(stage, 3)
    former = _coordinator(stage)
    (led,) = _groups(stage, former)._led.values()
    stage.world.pause(former)
    await stage.until(
        lambda: any(one.is_coordinating for node in stage.others(former) for one in _groups(stage, node)._led.values()),
        "another one coordinates",
        60.0,
    )
    stage.world.resume(former)
    await stage.until(lambda: led.partition.role is not led.leading, "the former one knows of it")
    await _committed(stage, 7)
    await stage.until(lambda: stage.is_active(former), "it has a session again")
    await stage.passes(2)
    answer = _asks_at(stage, former)
    await stage.until(lambda: bool(answer), "the former one answers")
    assert isinstance(answer[0], NotCoordinator), (
        f"who coordinates no more has answered {answer[0]}, and 7 is committed"
    )


# one shard, step by step


def _shard_scenario(script: Callable[[Harness], None]) -> Scenario:
    def run() -> tuple[str, ...]:
        harness = Harness(SETTINGS)
        harness.make_topic("t", 2)
        try:
            script(harness)
        except AssertionError as failure:
            return (str(failure),)
        return ()

    return functools.wraps(script)(run)


def _beats(member: str, epoch: int, owned: Assignment | None = None, *, tells_all: bool = False) -> ConsumerHeartbeat:
    topics = ("t",) if tells_all else None
    timeout_ms = int(REBALANCE_S * 1000) if tells_all else -1
    return ConsumerHeartbeat(_GROUP, member, epoch, rebalance_timeout_ms=timeout_ms, topics=topics, owned=owned)


def _joins(harness: Harness, member: str) -> HeartbeatAnswer:
    answer: HeartbeatAnswer = harness.call(_beats(member, 0, (), tells_all=True))
    return answer


def _commit(member: str, epoch: int) -> Commit:
    return Commit(_GROUP, (OffsetToCommit("t", 1, 5),), member, None, epoch)


@_shard_scenario
def a_member_commits_late_what_it_has_given_up(harness: Harness) -> None:
    first = _joins(harness, "m1")
    _joins(harness, "m2")
    answer = harness.call(_beats("m1", first.member_epoch, first.assignment))
    harness.call(_beats("m1", answer.member_epoch, answer.assignment))
    (refusal,) = harness.call(_commit("m1", first.member_epoch))
    assert isinstance(refusal, StaleMemberEpoch), "a member commits in an epoch that it has left"


@_shard_scenario
def a_member_is_back_before_its_leaving_is_committed(harness: Harness) -> None:
    _joins(harness, "m1")
    harness.hold()
    harness.ask(_beats("m1", -1))
    harness.ask(_beats("m1", 0, (), tells_all=True))
    harness.commit()
    harness.pass_time(2 * SESSION_S)
    assert harness.shard.state.groups[_GROUP].state == "Empty", "a member that is silent has no session that ends"


@_shard_scenario
def a_coordinator_finds_a_member_that_does_not_give_up(harness: Harness) -> None:
    first = _joins(harness, "m1")
    _joins(harness, "m2")
    epoch = harness.call(_beats("m1", first.member_epoch, first.assignment)).member_epoch
    harness.restart()
    for _ in range(int(2 * REBALANCE_S)):
        harness.ask(_beats("m1", epoch))
        harness.ask(_beats("m2", 2))
        harness.pass_time(1)
    refusal = harness.ask(_beats("m1", epoch)).reply
    assert isinstance(refusal, UnknownMember), "a member that keeps what it is to give up holds the others up for ever"


def _classic_join(harness: Harness, name: str, member_id: str = "") -> Asked:
    """Joins as a member that is given its id at once."""
    session_ms, rebalance_ms = int(SESSION_S * 1000), int(REBALANCE_S * 1000)
    protocols = (("turns", b""),)
    return harness.ask(
        Join(_GROUP, member_id, None, name, "", "consumer", protocols, session_ms, rebalance_ms, needs_member_id=False)
    )


def _classic_member(harness: Harness) -> Joined:
    """Returns the one member of a stable group."""
    asked = _classic_join(harness, "m1")
    harness.pass_time(2)
    joined: Joined = asked.reply
    harness.call(Sync(_GROUP, joined.member_id, None, joined.generation, ((joined.member_id, b"all"),)))
    return joined


@_shard_scenario
def a_classic_member_commits_in_a_generation_that_is_over(harness: Harness) -> None:
    joined = _classic_member(harness)
    other = _classic_join(harness, "m2")
    again = _classic_join(harness, "m1", joined.member_id).reply
    harness.call(Sync(_GROUP, again.member_id, None, again.generation, ((other.reply.member_id, b"all"),)))
    (refusal,) = harness.call(_commit(joined.member_id, joined.generation))
    assert isinstance(refusal, IllegalGeneration), "a member commits in a generation that is over"


@_shard_scenario
def a_coordinator_finds_a_classic_member_that_is_dead(harness: Harness) -> None:
    _classic_member(harness)
    harness.restart()
    harness.pass_time(2 * SESSION_S)
    assert harness.shard.state.groups[_GROUP].state == "Empty", "a dead member is never missed"


@_shard_scenario
def a_classic_member_lives_and_does_not_join_again(harness: Harness) -> None:
    former = _classic_member(harness)
    asked = _classic_join(harness, "m2")
    for _ in range(int(2 * REBALANCE_S)):
        harness.ask(Heartbeat(_GROUP, former.member_id, None, former.generation))
        harness.pass_time(1)
    joined: Joined = asked.reply
    assert [one.member_id for one in joined.members] == [joined.member_id], "who has not joined again is a member"
