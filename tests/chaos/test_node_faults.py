"""Faults of files, limits and members on real nodes under load: each has its effect, and nothing is lost."""

from __future__ import annotations

import asyncio
import itertools
from random import Random

import pytest
import pytest_asyncio

from dohle import Admin
from dohle.testing.chaos.fault import Effect, Fault
from dohle.testing.chaos.faults.files import REBUILT, partition_folders
from dohle.testing.chaos.faults.kinds import SHIPPED
from dohle.testing.chaos.faults.members import assigned
from dohle.testing.chaos.faults.nodes import complaints, log_end
from dohle.testing.chaos.loopback_world import LoopbackWorld
from tests.integration.clusters import healthy
from tests.integration.load import Load

pytestmark = [pytest.mark.processes, pytest.mark.asyncio(loop_scope="module")]
NUMBERS = itertools.count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory):
    made = LoopbackWorld(tmp_path_factory.mktemp("nodes"), 4)
    try:
        await made.begin()
        yield made
    finally:
        await made.end()


async def struck(world, name, meanwhile=None, **arguments) -> Effect:
    """Has a fault happen under load; returns what it did once all is well, and all that was acknowledged is there."""
    kind = SHIPPED.possible(world)[name]
    drawn = kind.draw(Random(2), world.nodes)
    assert arguments.keys() <= drawn.keys()
    fault: Fault = kind(world, {**drawn, **arguments})
    bootstrap = world.bootstrap("dohle")
    async with Load(bootstrap, f"under.{next(NUMBERS)}", records_per_s=400, delivery_timeout_ms=120_000) as load:
        await load.reached(200)
        try:
            await fault.begin()
            if meanwhile is not None:
                await meanwhile(fault)
            await load.reached(200)
        finally:
            await fault.heal()
            await fault.heal()  # more than once does no harm
        await healthy(bootstrap, 90)
        await load.reached(50)
    await load.check()
    return await fault.effect()


async def test_torn_tails_are_cut(world):
    end = log_end(world, 2)
    effect = await struck(world, "torn-tail", nodes=[2])
    assert effect.count > 0
    assert complaints(world, 2, end, "a torn tail of") >= effect.count


async def test_rot_is_found_or_waits_to_be(world):
    effect = await struck(world, "bit-rot", nodes=[3])
    assert effect.count > 0


async def test_lost_indexes_are_built_again(world):
    seen = []

    def files() -> list[str]:
        return [
            path.name
            for folder in partition_folders(world.data_folder(1))
            for path in folder.iterdir()
            if path.name.endswith(REBUILT)
        ]

    async def look(_: Fault) -> None:
        seen.append(files())

    effect = await struck(world, "lost-index", look, nodes=[1])
    assert effect.count > 0
    await world.stop(1)  # which writes down what is only known so far
    assert len(files()) > len(seen[0])
    await world.start(1)


async def test_lost_folders_are_filled_again(world):
    seen: list[set[str]] = []

    def folders() -> set[str]:
        return {path.name for path in partition_folders(world.data_folder(2))}

    async def look(_: Fault) -> None:
        seen.append(folders())

    effect = await struck(world, "lost-folder", look, nodes=[2])
    assert effect.count > 0
    assert len(folders() - seen[0]) == effect.count


@pytest.mark.parametrize("spare", [0, 4])
async def test_a_node_without_descriptors_goes_on_with_those_that_it_has(world, spare):
    async def somebody_is_not_let_in(fault: Fault) -> None:
        async with asyncio.timeout(60):
            while not (await fault.effect()).count:
                await asyncio.sleep(0.1)

    before = world.pid(1)
    effect = await struck(world, "descriptors", somebody_is_not_let_in, nodes=[1], spare=spare)
    assert effect.count > 0
    assert world.pid(1) == before


async def test_replicas_are_reassigned_and_come_back(world):
    async def replicas():
        async with Admin(world.bootstrap("dohle")) as admin:
            return await assigned(admin)

    before, meanwhile = await replicas(), []

    async def look(_: Fault) -> None:
        meanwhile.append(await replicas())

    effect = await struck(world, "reassignment", look)
    after = await replicas()
    assert {name: after[name] for name in before} == before
    moved = [name for name in after if name in meanwhile[0] and meanwhile[0][name] != after[name]]
    assert effect.count == sum(2 * len({*meanwhile[0][name]} ^ {*after[name]}) for name in moved) > 0


async def test_a_node_is_drained_and_takes_replicas_again(world):
    held = []

    async def look(_: Fault) -> None:
        async with Admin(world.bootstrap("dohle")) as admin:
            held.append([replicas for replicas in (await assigned(admin)).values() if 3 in replicas])
            assert next(node for node in (await admin.describe_cluster()).nodes if node.node_id == 3).draining

    effect = await struck(world, "drain", look, nodes=[3])
    assert held == [[]]
    assert effect.count > 0
    async with Admin(world.bootstrap("dohle")) as admin:
        assert [replicas for replicas in (await assigned(admin)).values() if 3 in replicas]
        assert not next(node for node in (await admin.describe_cluster()).nodes if node.node_id == 3).draining


async def voters(world) -> dict[int, bytes]:
    async with Admin(world.bootstrap("dohle")) as admin:
        return {voter.node_id: voter.directory_id for voter in (await admin.describe_quorum()).voters}


async def test_a_vote_goes_and_comes_back(world):
    seen = []

    async def look(_: Fault) -> None:
        seen.append(sorted(await voters(world)))

    effect = await struck(world, "membership", look, nodes=[2])
    assert seen == [[1, 3]]
    assert sorted(await voters(world)) == [1, 2, 3]
    assert effect.count == 2


@pytest.mark.parametrize("node", [1, 4])  # a voter, and a broker alone
async def test_a_wiped_node_joins_anew(world, node):
    before = await voters(world)
    effect = await struck(world, "disk-wipe", nodes=[node])
    assert effect.count > 10_000
    after = await voters(world)
    assert [one for one in (1, 2, 3) if after[one] != before[one]] == [one for one in (node,) if one in before]
