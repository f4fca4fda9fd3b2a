"""Scenarios of disks that are full, or nearly."""

from __future__ import annotations

from dohle import Admin, Producer
from dohle.model.errors import DohleError
from dohle.testing.clients.sim_client import seams_of
from dohle.testing.world.topology import DIRECTORIES, Topology
from tests.simulation.mutations.directory_scenarios import many_partitions, where
from tests.simulation.mutations.stage import Stage, scenario_in

LITTLE_BYTES = 1 << 25
ONE_DISK = Topology.combined(3)


async def outcomes(stage: Stage, client: str) -> list[DohleError | None]:
    """Returns why a record cannot be written to the first partition, or None, once that is known."""
    found: list[DohleError | None] = []
    process = stage.world.client(client)

    async def write() -> None:
        times = {"delivery_timeout_ms": 2000, "request_timeout_ms": 1000}
        async with Producer(stage.world.bootstrap, **times, **seams_of(process)) as producer:
            try:
                await producer.send_and_wait("t", b"x", partition=0)
            except DohleError as error:
                found.append(error)
            else:
                found.append(None)

    process.spawn(write(), "write")
    await stage.until(lambda: bool(found), "it is known what became of it")
    return found


@scenario_in(ONE_DISK)
async def a_leaders_disk_has_little_room(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(40)
    faults = stage.world.machines[stage.partition().leader].disk.faults
    faults.low_folders[DIRECTORIES[0]] = LITTLE_BYTES
    await stage.passes(2.0)
    end = stage.leading().log.log_end_offset
    [refused] = await outcomes(stage, "first")
    assert refused is not None
    assert "storage_min_free_bytes" in refused.message
    assert stage.leading().log.log_end_offset == end
    faults.low_folders.clear()
    await stage.passes(2.0)
    assert await outcomes(stage, "second") == [None], "producers go on by themselves"


@scenario_in(ONE_DISK)
async def a_new_topic_finds_no_room(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(40)
    victim = stage.follower()
    machine = stage.world.machines[victim]
    process, faults = machine.process, machine.disk.faults
    faults.given_up_bytes = 0
    faults.full_folders[DIRECTORIES[0]] = None
    await many_partitions(stage, topic="other", partitions=2)
    await stage.passes(3.0)
    assert machine.process is process
    assert process is not None
    assert not process.over, "the node goes on"
    assert not where(stage, victim, DIRECTORIES[0], "other")
    faults.full_folders.clear()
    await stage.until(lambda: where(stage, victim, DIRECTORIES[0], "other") == [0, 1], "they are made by themselves")


@scenario_in(ONE_DISK)
async def a_node_starts_on_a_full_disk(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(40)
    victim = stage.follower()
    stage.world.kill(victim)
    stage.world.machines[victim].disk.faults.full_folders[DIRECTORIES[0]] = None
    await stage.until(lambda: not stage.is_active(victim), "it is fenced")
    stage.world.start(victim)
    await stage.until(lambda: stage.is_active(victim) and stage.has_replicas(victim), "it serves what it has")

    async def delete(admin: Admin) -> None:
        await admin.delete_topic("t")

    await stage.asks(delete)
    await stage.until(lambda: not where(stage, victim, DIRECTORIES[0]), "what is deleted goes there, too")
