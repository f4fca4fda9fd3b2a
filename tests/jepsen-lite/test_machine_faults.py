"""Each fault of machines on nodes of a real cluster under load: its effect is counted, and nothing is lost."""

from __future__ import annotations

import itertools
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio

from dohle.testing.chaos.fault import Effect
from jepsen_lite.disk_faults import DiskFull, PowerCut, PowerCutAll, disk_of
from jepsen_lite.machine_faults import OF_MACHINES
from jepsen_lite.namespace_world import NamespaceWorld, why_not
from jepsen_lite.shim import Shim
from tests.integration.clusters import healthy
from tests.integration.load import Load

pytestmark = [pytest.mark.processes, pytest.mark.asyncio(loop_scope="module")]
NUMBERS = itertools.count()
STANDS_STILL = ("power-cut-all", "disk-full")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("machines")
    if reason := why_not(folder):
        pytest.skip(reason)
    made = NamespaceWorld(folder / "run", disk_mib=512)
    for kind in OF_MACHINES.possible(made).values():
        kind.prepare(made)
    try:
        await made.begin()
        yield made
    finally:
        await made.end()


async def struck(world, name, *, records: int = 200, **arguments) -> Effect:
    """Has a fault happen under load; returns what it did once all is well, and all that was acknowledged is there."""
    kind = OF_MACHINES.possible(world).get(name)
    if kind is None:
        pytest.skip(OF_MACHINES.impossible(world)[name])
    drawn = kind.draw(Random(1), world.nodes)
    assert arguments.keys() <= drawn.keys()
    fault = kind(world, {**drawn, **arguments})
    bootstrap = world.bootstrap("dohle")
    async with Load(bootstrap, f"under.{next(NUMBERS)}", records_per_s=400, delivery_timeout_ms=120_000) as load:
        await load.reached(100)
        try:
            await fault.begin()
            if name not in STANDS_STILL:  # else nothing, or hardly anything, is written meanwhile
                await load.reached(records)
        finally:
            await fault.heal()
            await fault.heal()  # more than once does no harm
        await healthy(bootstrap, 60)
        await load.reached(50)
    await load.check()
    return await fault.effect()


@pytest.mark.parametrize("kind", [PowerCut, PowerCutAll])
async def test_a_cut_of_power_loses_what_was_not_synced(world, kind):
    before = {node: world.pid(node) for node in world.nodes}
    effect = await struck(world, kind.name)
    hit = kind.draw(Random(1), world.nodes)["nodes"]
    assert effect.count >= len(hit) << 20
    assert {node for node in world.nodes if world.pid(node) != before[node]} == set(hit)


async def test_a_full_disk_is_full_to_the_last_byte(world):
    fault = DiskFull(world, {"nodes": [2]})
    await fault.begin()
    try:
        with pytest.raises(OSError, match="No space left"), (disk_of(world, 2).folder / "one-more").open("wb") as file:
            file.write(bytes(1 << 16))
    finally:
        await fault.heal()
    (disk_of(world, 2).folder / "one-more").unlink()
    effect = await struck(world, "disk-full", nodes=[2])
    assert effect.count > 100 << 20


@pytest.mark.parametrize(
    ("name", "one_of"), [("write-error", 1), ("write-error", 3), ("sync-error", 1), ("sync-error", 3)]
)
async def test_a_disk_that_fails_is_the_end_of_its_node(world, name, one_of):
    before = world.pid(3)
    effect = await struck(world, name, nodes=[3], one_of=one_of)
    assert effect.count > 0
    if name == "sync-error":
        assert world.pid(3) != before, "what a failed sync has lost is nobody's to say"
    assert not Shim(world, 3).ask("failing_writes")


async def test_a_slow_disk_is_waited_for(world):
    before = world.pid(1)
    effect = await struck(world, "slow-disk", nodes=[1], sync_ms=20, write_ms=1)
    assert effect.count > 10
    assert world.pid(1) == before


@pytest.mark.parametrize("by_s", [3000, -3000])
async def test_a_clock_jumps(world, by_s):
    before = world.pid(2)
    effect = await struck(world, "clock-jump", records=800, nodes=[2], by_s=by_s)
    assert effect.count > 0
    assert abs(Shim(world, 2).ask("skew_ms") - by_s * 1000) < 5000
    assert world.pid(2) == before


async def test_a_clock_drifts(world):
    effect = await struck(world, "clock-skew", records=1600, nodes=[2], rate=10.0)
    assert effect.count > 0


async def test_memory_runs_out(world):
    effect = await struck(world, "memory", nodes=[1], spare_kib=64)
    assert effect.count > 0
    assert not list(Path("/sys/fs/cgroup").glob("**/dohle-jx-*-1"))
