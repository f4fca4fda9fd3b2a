"""Three brokers under random faults lose nothing: kills, power losses, cut and silent connections, changes of leaders.

Checked all the time: everything below any presumed leader's watermark is durable on every member of the in-sync set
that the controller has committed. Checked at the end: what was acknowledged is there once, at the offset that was told;
the replicas are byte-identical; nothing is left counted in the streams' budgets.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from dohle.broker import catch_up_window, push_session
from dohle.broker.leading import ACKS_ALL
from dohle.model.batch import split_batches
from dohle.model.errors import DohleError, OutOfOrderSequenceNumber
from dohle.model.ids import TopicPartition
from dohle.model.records import decode_records
from tests.broker.brokers import KEY, Cluster, Node, prefix_bytes
from tests.broker.logs import PATH, TOPIC_ID, batch
from tests.broker.virtual_time import in_virtual_time

STEPS = 40
PRODUCERS = 4
NAME = TopicPartition("t", 0)
SEGMENT = f"{PATH}/t-0/{0:020d}.log"


class Producer:
    """An idempotent producer: one batch at a time, again and again until it is acknowledged."""

    def __init__(self, cluster: Cluster, producer_id: int) -> None:
        self._cluster = cluster
        self._id = producer_id
        self.offsets: list[int] = []
        self.tries = 0
        self.stopping = False

    def mark(self, sequence: int) -> bytes:
        return b"producer %d, batch %d" % (self._id, sequence)

    async def run(self) -> None:
        random = self._cluster.random
        while not self.stopping:
            sequence = len(self.offsets)
            size = random.choice([10, 100, 1000])
            data = batch(size=size, producer=self._id, sequence=sequence, mark=self.mark(sequence))
            self.offsets.append(await self._until_acknowledged(data))
            await asyncio.sleep(random.choice([0, 0, 0.01, 0.2]))

    async def _until_acknowledged(self, data: bytes) -> int:
        while True:
            await asyncio.sleep(self._cluster.random.uniform(0, 0.05))
            leaders = [node for node in self._cluster.nodes.values() if node.leading() is not None]
            if not leaders:
                continue
            self.tries += 1
            node = self._cluster.random.choice(leaders)
            try:
                future = await node.broker.produce(KEY, data, ACKS_ALL, 0.7)
                assert future is not None
                async with asyncio.timeout(1.0):  # a killed broker answers nothing at all
                    return (await future).base_offset
            except OutOfOrderSequenceNumber:
                assert node.broker.replicas.image.partition(KEY) != self._cluster.controller.image.partition(KEY), (
                    "only a leader of the past may lack what was acknowledged"
                )
            except (DohleError, TimeoutError):
                continue


class Faults:
    """One step at a time, by the cluster's dice."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._random = cluster.random
        self.done: Counter[str] = Counter()

    async def step(self) -> None:
        nodes = list(self._cluster.nodes.values())
        node = self._random.choice(nodes)
        fault = self._random.choice(
            ["kill", "power", "start", "start", "start", "cut", "cut", "silence", "speak", "speak", "fence", "wait"]
        )
        self.done[fault] += await self._inject(fault, node)
        await asyncio.sleep(self._random.choice([0, 0.02, 0.1, 0.5]))

    async def _inject(self, fault: str, node: Node) -> bool:
        world, controller = self._cluster.world, self._cluster.controller
        match fault:
            case "kill" | "power" if node.running is not None:
                await node.kill(power=fault == "power")
                await asyncio.sleep(self._random.choice([0, 0.2]))
                controller.fence(node.node_id)
            case "start" if node.running is None:
                world.silent.discard(node.name)
                await node.start()
            case "cut":
                world.break_streams(node.name)
            case "silence" if not world.silent and node.running is not None:
                world.silent.add(node.name)
                world.break_streams(node.name)
                await asyncio.sleep(self._random.choice([0, 0.3]))
                if self._random.random() < 0.7:
                    controller.fence(node.node_id)
            case "speak" if world.silent:
                world.silent.clear()
            case "fence":
                controller.fence(node.node_id)
            case _:
                return False
        return True


def check(cluster: Cluster) -> None:
    """The invariant of replication."""
    for leader in cluster.nodes.values():
        leading = leader.leading()
        if leading is None:
            continue
        mine = prefix_bytes(bytes(leader.disk.files[SEGMENT].cached), leading.log.high_watermark)
        for member in cluster.isr():
            theirs = cluster.nodes[member].synced_bytes(NAME)
            assert theirs[: len(mine)] == mine, (
                f"broker {leader.node_id} leads in epoch {leading.leader_epoch} with watermark"
                f" {leading.log.high_watermark}, which is not all durable on broker {member} of ISR {cluster.isr()}"
            )


async def checked(cluster: Cluster) -> None:
    while True:
        check(cluster)
        await asyncio.sleep(0.02)


async def run(seed: int) -> Counter[str]:
    cluster = await Cluster.started(seed=seed, disk_s=0.01, network_s=0.005, lag_ms=2000)
    cluster.controller.topic(TOPIC_ID, [[1, 2, 3]], overrides={"min.insync.replicas": "2"})
    await cluster.led()
    producers = [Producer(cluster, number) for number in range(PRODUCERS)]
    producing = [asyncio.ensure_future(producer.run()) for producer in producers]
    checking = asyncio.ensure_future(checked(cluster))
    faults = Faults(cluster)
    for _ in range(STEPS):
        await faults.step()
        for task in (checking, *producing):
            if task.done():
                task.result()
    cluster.world.silent.clear()
    for node in cluster.nodes.values():
        if node.running is None:
            await node.start()
    for producer in producers:
        producer.stopping = True
    async with asyncio.timeout(60):
        await asyncio.gather(*producing)
    await cluster.healed()
    checking.cancel()
    check(cluster)
    await _all_is_there(cluster, producers)
    _budgets_are_even(cluster)
    assert not cluster.failures, cluster.failures
    faults.done["retries"] = sum(producer.tries - len(producer.offsets) for producer in producers)
    faults.done["acknowledged"] = sum(len(producer.offsets) for producer in producers)
    return faults.done


async def _all_is_there(cluster: Cluster, producers: list[Producer]) -> None:
    logs = [node.log() for node in cluster.nodes.values()]
    contents = [await log.read(0, 1 << 30, up_to=log.log_end_offset) for log in logs]
    assert contents[0] == contents[1] == contents[2]
    found: dict[bytes, list[int]] = {}
    for position, _ in split_batches(contents[0]):
        for record in decode_records(contents[0], position):
            found.setdefault((record.value or b"").rstrip(b"."), []).append(record.offset)
    for producer in producers:
        for sequence, offset in enumerate(producer.offsets):
            assert found.get(producer.mark(sequence)) == [offset], producer.mark(sequence)


def _budgets_are_even(cluster: Cluster) -> None:
    for node in cluster.nodes.values():
        leading = node.leading()
        for replica in leading.replicas.values() if leading is not None else ():
            feed = replica.subscriber
            assert isinstance(feed, push_session.Feed)
            assert feed.session._queued_bytes == 0
            assert feed.session._catch_up_window.under_way_bytes == 0
            assert feed.is_live


@pytest.mark.parametrize("seed", range(8))
def test_nothing_acknowledged_is_lost(
    seed: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if seed % 2:  # so little memory that feeds fall back to the log and join again all the time
        monkeypatch.setattr(push_session, "QUEUE_BYTES", 3000)
        monkeypatch.setattr(push_session, "PUSH_BYTES", 1500)
        monkeypatch.setattr(catch_up_window, "LEAST_BYTES", 1500)
        monkeypatch.setattr(catch_up_window, "MOST_BYTES", 3000)

    @in_virtual_time
    async def scenario() -> None:
        done = await run(seed)
        assert done["acknowledged"] > PRODUCERS

    scenario()
    refused = [record.getMessage() for record in caplog.records if "was not taken" in record.getMessage()]
    assert not refused, "a follower found a gap in what it was pushed, which only saves it from a leader's fault"
