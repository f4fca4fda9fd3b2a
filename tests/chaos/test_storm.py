"""Storms: what happens when, what waits for what, and that all of it is healed."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from dohle.model.errors import DohleError
from dohle.testing.chaos.fault import Effect, Fault, Kinds
from dohle.testing.chaos.run_folder import Lines, RunFolder
from dohle.testing.chaos.schedule import Schedule, Step
from dohle.testing.chaos.storm import Storm

PATIENCE_S = 20.0


class Told(Fault):
    """Writes down what is done to it, into the list that is its world's."""

    name = "told"
    needs = frozenset(())
    count = 1

    @classmethod
    def draw(cls, chance, nodes):
        return {"who": "a"}

    async def begin(self):
        self.world.told.append(f"{self.arguments['who']} begins")
        if self.arguments["who"] == "bad":
            raise DohleError("it cannot be")

    async def heal(self):
        await asyncio.sleep(0)
        self.world.told.append(f"{self.arguments['who']} is healed")
        if self.arguments["who"] == "sore":
            raise DohleError("it cannot be mended")

    async def effect(self):
        return Effect(self.count, "things done")


class Destroys(Told):
    name = "destroys"
    destroys = True


class Taking(Told):
    name = "taking"
    takes_nodes = True

    @classmethod
    def draw(cls, chance, nodes):
        return {"who": "a", "nodes": [1]}


class World:
    nodes = (1, 2, 3)

    def __init__(self):
        self.told = []
        self.whole = True


@pytest.fixture
def world():
    return World()


@pytest.fixture
def storm_of(world, tmp_path):
    def storm(*steps):
        folder = RunFolder(tmp_path, time.monotonic())

        async def whole():
            world.told.append("whole?")
            return world.whole

        schedule = Schedule(1, world.nodes, 1.0, tuple(steps))
        kinds = Kinds(Told, Destroys, Taking)
        return Storm(world, kinds, schedule, folder, Lines(folder.events), whole, lambda line: None)

    return storm


def step(who, at_s=0.0, for_s=0.0, fault="told", **arguments):
    return Step(at_s, for_s, fault, {"who": who, **arguments})


async def blown(storm):
    async with asyncio.timeout(PATIENCE_S):
        await storm.blow(storm.folder.now_s())
    return [json.loads(line) for line in storm.folder.events.read_text().splitlines()]


async def test_a_fault_begins_is_healed_and_tells_what_it_did(storm_of, world):
    storm = storm_of(step("a"))
    events = await blown(storm)
    assert world.told == ["a begins", "a is healed"]
    assert [event["what"] for event in events] == ["begin", "heal", "effect"]
    assert events[0] | {"time": 0} == {
        "time": 0,
        "what": "begin",
        "step": 0,
        "fault": "told",
        "arguments": {"who": "a"},
    }
    assert (events[2]["count"], events[2]["counted"]) == (1, "things done")
    assert storm.effects == {0: Effect(1, "things done")}
    assert not storm.failures


async def test_who_destroys_waits_for_the_others_and_they_for_him(storm_of, world):
    await blown(storm_of(step("a", for_s=0.3), step("b", at_s=0.1, for_s=0.1, fault="destroys"), step("c", at_s=0.2)))
    alone = ["whole?", "b begins", "b is healed", "whole?"]
    assert world.told == ["a begins", "a is healed", *alone, "c begins", "c is healed"]


async def test_what_comes_after_one_that_was_late_keeps_its_distance(storm_of, world):
    storm = storm_of(step("a", for_s=0.1, fault="destroys"), step("b", at_s=0.2), step("c", at_s=0.5))
    whole = storm.whole

    async def slowly():
        await asyncio.sleep(0.25)
        return await whole()

    storm.whole = slowly
    events = await blown(storm)
    begun = {event["arguments"]["who"]: event["time"] for event in events if event["what"] == "begin"}
    assert begun["c"] - begun["b"] > 0.2, begun  # 0.3 by the schedule


async def test_nothing_is_destroyed_before_all_is_whole(storm_of, world):
    world.whole = False
    storm = storm_of(step("a", fault="destroys"))
    await blown(storm)
    assert world.told == ["whole?"]
    assert storm.failures == ["destroys (step 0) did not begin: the cluster was not whole before it"]


async def test_one_node_is_taken_by_one_at_a_time(storm_of, world):
    await blown(
        storm_of(
            step("a", for_s=0.2, fault="taking", nodes=[1, 2]),
            step("b", at_s=0.05, fault="taking", nodes=[2]),
            step("c", at_s=0.05, fault="taking", nodes=[3]),
        )
    )
    assert world.told == ["a begins", "c begins", "c is healed", "a is healed", "b begins", "b is healed"]


async def test_what_could_not_be_made_is_healed_and_told(storm_of, world):
    storm = storm_of(step("bad"), step("sore", at_s=0.1))
    await blown(storm)
    assert world.told == ["bad begins", "bad is healed", "sore begins", "sore is healed"]
    assert storm.failures == [
        "told (step 0) could not be made: it cannot be",
        "told (step 1) could not be healed: it cannot be mended",
    ]
    assert list(storm.effects) == [0]


async def test_a_storm_that_is_cancelled_more_than_once_heals_all_the_same(storm_of, world):
    storm = storm_of(step("a", for_s=600), step("b", for_s=600), step("c", at_s=600))
    blowing = asyncio.create_task(blown(storm))
    async with asyncio.timeout(PATIENCE_S):
        while len(world.told) < 2:
            await asyncio.sleep(0)
        blowing.cancel()
        await asyncio.sleep(0)
        blowing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await blowing
    assert sorted(world.told) == ["a begins", "a is healed", "b begins", "b is healed"]
