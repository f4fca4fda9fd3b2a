"""Scenarios of brokers with several disks, of which one fails or is not there."""

from __future__ import annotations

from dohle import Admin, Producer
from dohle.model.errors import DohleError
from dohle.model.ids import NodeId
from dohle.testing.clients.sim_client import seams_of
from dohle.testing.world.topology import DIRECTORIES, NodePlan, Topology
from tests.simulation.mutations.stage import Stage, scenario_in

TWO_DISKS = Topology(tuple(NodePlan(number, True, True, "", 2) for number in (1, 2, 3)), 3, 2)
THREE_DISKS = Topology(tuple(NodePlan(number, True, True, "", 3) for number in (1, 2, 3)), 3, 2)
SECOND, THIRD = DIRECTORIES[1:]


async def many_partitions(stage: Stage, *, replicas: int = 3, topic: str = "t", partitions: int = 4) -> None:
    async def create(admin: Admin) -> None:
        await admin.create_topic(topic, partitions=partitions, replication_factor=replicas)

    await stage.asks(create)


def where(stage: Stage, node_id: int, path: str, topic: str = "t") -> list[int]:
    """Returns the partitions whose folder is in this directory of a node."""
    entries = stage.world.machines[node_id].disk._root.entries.get(path)
    names = sorted(getattr(entries, "entries", {}))
    numbers = [name.removeprefix(f"{topic}-") for name in names if name.startswith(f"{topic}-")]
    return [int(number) for number in numbers if number.isdecimal()]


def image(stage: Stage, topic: str = "t"):  # type: ignore[no-untyped-def]
    return next(one for one in stage.topics() if one.name == topic).partitions


def all_in_sync(stage: Stage) -> bool:
    return all(
        stage.is_active(node) and set(one.in_sync_replicas) == set(one.assigned_replicas)
        for one in image(stage)
        for node in one.assigned_replicas
    )


def offline_replicas(stage: Stage, node_id: int) -> int:
    return len(list(stage._invariants.newest.brokers[NodeId(node_id)].offline_replicas))


@scenario_in(TWO_DISKS)
async def a_directory_fails(stage: Stage) -> None:
    await many_partitions(stage)
    await stage.written(40)
    victim = image(stage)[1].leader
    hit, spared = where(stage, victim, SECOND), where(stage, victim, DIRECTORIES[0])
    assert len(hit) == len(spared) == 2
    machine = stage.world.machines[victim]
    led = [number for number in spared if image(stage)[number].leader == victim]
    process = machine.process
    machine.disk.faults.failed[SECOND] = None
    await stage.until(
        lambda: all(
            image(stage)[number].leader not in (victim, -1) and victim not in image(stage)[number].in_sync_replicas
            for number in hit
        ),
        "others lead what lay there, and it is out of the in-sync sets",
        within_s=5.0,
    )
    await stage.written(40)
    assert machine.process is process, "the node goes on"
    assert process is not None
    assert not process.over
    assert all(image(stage)[number].leader == victim for number in led)
    assert all(victim in image(stage)[number].in_sync_replicas for number in spared)
    assert where(stage, victim, DIRECTORIES[0]) == spared
    machine.disk.faults.failed.clear()
    stage.world.kill(victim)
    stage.world.start(victim)
    await stage.until(lambda: all_in_sync(stage), "all is in sync again")
    assert where(stage, victim, SECOND) == hit


@scenario_in(TWO_DISKS)
async def a_directory_is_missing_at_a_start(stage: Stage) -> None:
    await many_partitions(stage)
    await stage.written(40)
    victim = stage.follower()
    hit, spared = where(stage, victim, SECOND), where(stage, victim, DIRECTORIES[0])
    machine = stage.world.machines[victim]
    for _ in range(2):  # the second start must not take for new what the first one left alone
        stage.world.kill(victim)
        if not machine.disk.unmounted:
            machine.disk.unmount(SECOND)
        stage.world.start(victim)
        await stage.until(lambda: stage.is_active(victim), "it serves without it")
        await stage.written(20)
        await stage.until(
            lambda: all((victim in image(stage)[n].in_sync_replicas) == (n in spared) for n in (*hit, *spared)),
            "what is there is in sync, what is not is not",
        )
        assert where(stage, victim, DIRECTORIES[0]) == spared
        assert offline_replicas(stage, victim) == len(hit)
    stage.world.kill(victim)
    machine.disk.mount(SECOND)
    stage.world.start(victim)
    await stage.until(lambda: all_in_sync(stage), "all is in sync again")
    assert where(stage, victim, SECOND) == hit
    assert not offline_replicas(stage, victim)


@scenario_in(TWO_DISKS)
async def the_last_replicas_directory_is_missing_and_comes_back(stage: Stage) -> None:
    await many_partitions(stage, replicas=1, partitions=6)
    await stage.written(60)
    victim = image(stage)[0].leader
    mine = [number for number in range(6) if image(stage)[number].assigned_replicas == (victim,)]
    hit = where(stage, victim, SECOND)
    assert hit
    assert len(hit) < len(mine)
    machine = stage.world.machines[victim]
    stage.world.kill(victim)
    machine.disk.unmount(SECOND)
    stage.world.start(victim)
    await stage.until(lambda: stage.is_active(victim), "it serves without it")
    await stage.until(
        lambda: all((image(stage)[n].leader == -1) == (n in hit) for n in mine), "nobody leads what is away"
    )
    await stage.passes(2)
    assert not set(hit) & set(where(stage, victim, DIRECTORIES[0]))
    stage.world.kill(victim)
    machine.disk.mount(SECOND)
    stage.world.start(victim)
    await stage.until(lambda: all(image(stage)[n].leader == victim for n in mine), "all of it is led again")
    stage.looks_at_disks()


@scenario_in(TWO_DISKS)
async def a_directory_fails_under_the_first_batches_of_an_epoch(stage: Stage) -> None:
    await many_partitions(stage, replicas=1, partitions=6)
    await stage.written(60)
    victim = image(stage)[0].leader
    machine = stage.world.machines[victim]
    hit = where(stage, victim, SECOND)
    assert hit
    epochs = [one.leader_epoch for one in image(stage)]
    stage.world.kill(victim)
    stage.world.start(victim)
    await stage.until(lambda: all(image(stage)[n].leader_epoch > epochs[n] for n in hit), "it leads in a new epoch")
    await stage.until(lambda: stage.has_replicas(victim), "it is back")
    logs = [one.log for one in stage.broker(victim).replicas.partitions.values() if one.log.folder.startswith(SECOND)]
    machine.disk.faults.syncs_hang = True
    await stage.writes(60)
    await stage.until(lambda: all(log.last_batch_epoch > log.durable_epoch for log in logs), "a new epoch has batches")
    machine.disk.faults.failed[SECOND] = None
    machine.disk.faults.syncs_hang = False
    await stage.until(lambda: all(image(stage)[n].leader == -1 for n in hit), "nobody leads what has failed")
    machine.disk.faults.failed.clear()
    stage.world.kill(victim)
    stage.world.start(victim)
    await stage.until(lambda: all(image(stage)[n].leader == victim for n in hit), "all of it is led again")


@scenario_in(THREE_DISKS)
async def what_was_made_without_a_directory_is_missing_when_that_is_back(stage: Stage) -> None:
    await many_partitions(stage, partitions=3)
    victim = stage.follower()
    machine = stage.world.machines[victim]
    machine.disk.faults.failed[SECOND] = None
    await stage.until(lambda: offline_replicas(stage, victim) == 1, "it has failed")
    await many_partitions(stage, topic="later", partitions=6)
    await stage.until(lambda: len(where(stage, victim, THIRD, "later")) >= 2, "its replicas are elsewhere")
    hit = where(stage, victim, THIRD, "later")
    await stage.passes(2)
    stage.world.kill(victim)
    machine.disk.faults.failed.clear()
    machine.disk.unmount(THIRD)
    stage.world.start(victim)
    await stage.until(lambda: stage.is_active(victim), "it serves")
    await stage.passes(1)
    for number in hit:
        assert victim not in image(stage, "later")[number].in_sync_replicas, "what is missing is not in sync"
        assert number not in where(stage, victim, SECOND, "later"), "nor made anew"
    stage.world.kill(victim)
    machine.disk.mount(THIRD)
    stage.world.start(victim)
    await stage.until(lambda: all_in_sync(stage) and not offline_replicas(stage, victim), "all is in sync again")


@scenario_in(TWO_DISKS)
async def a_directory_fails_at_a_start_before_its_broker_has_begun(stage: Stage) -> None:
    await many_partitions(stage)
    await stage.written(40)
    victim = stage.others(stage.controller())[0]
    machine, hit = stage.world.machines[victim], where(stage, victim, SECOND)
    assert len(hit) == 2
    stage.world.kill(victim)
    await many_partitions(stage, replicas=2, topic="other")
    stage.world.start(victim)

    def has_opened() -> bool:
        return machine.process is not None and machine.process.node is not None and bool(machine.process.node.broker)

    def fails() -> None:
        machine.disk.faults.failed[SECOND] = None
        dirs = stage.broker(victim).replicas._dirs
        dirs.folders[1]._commit._fail(OSError(5, "it has failed"))

    await stage.in_the_turn(has_opened, fails, "its directories are open")
    await stage.until(lambda: offline_replicas(stage, victim) == 2, "the controller knows what lies there")
    await stage.passes(2)
    assert not set(where(stage, victim, DIRECTORIES[0])) & set(hit), "what lies in the failed directory was made anew"


@scenario_in(TWO_DISKS)
async def a_directory_is_full_for_a_while(stage: Stage) -> None:
    await many_partitions(stage)
    await stage.written(40)
    victim = image(stage)[1].leader
    machine = stage.world.machines[victim]
    process, faults = machine.process, machine.disk.faults
    spared = where(stage, victim, DIRECTORIES[0])
    hit = [number for number in where(stage, victim, SECOND) if image(stage)[number].leader == victim]
    assert hit
    faults.given_up_bytes = 0
    faults.full_folders[SECOND] = None

    refused: dict[int, bool] = {}
    client = stage.world.client("impatient")

    async def write() -> None:
        times = {"delivery_timeout_ms": 2000, "request_timeout_ms": 1000}
        async with Producer(stage.world.bootstrap, **times, **seams_of(client)) as producer:
            for number in (*spared, hit[0]):
                try:
                    await producer.send_and_wait("t", b"x", partition=number)
                except DohleError:
                    refused[number] = True
                else:
                    refused[number] = False

    client.spawn(write(), "write")
    await stage.until(lambda: len(refused) == len(spared) + 1, "all have been tried")
    assert refused == {**dict.fromkeys(spared, False), hit[0]: True}
    await stage.passes(3.0)  # checkpoints are due meanwhile
    assert not stage.broker(victim).log_dirs.offline
    faults.full_folders.clear()
    await stage.written(40)
    await stage.until(lambda: all_in_sync(stage), "all is in sync again")
    assert machine.process is process, "nobody had to start it again"
