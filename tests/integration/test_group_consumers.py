"""Members of a group are processes, killed as their coordinator is: every record is handled, each key in its order."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from dohle import Admin, Consumer, Producer, TopicPartition
from dohle.broker.groups.coordinator import partition_in
from dohle.model.internal_topics import OFFSETS_TOPIC
from tests.integration.clusters import until_async

TOPIC, GROUP = "work", "workers"
PARTITIONS, KEYS, RECORDS = 6, 20, 3000
MEMBER = f"""
import asyncio, signal, sys
from dohle import Consumer

async def main():
    async with Consumer(sys.argv[1], group="{GROUP}", auto_commit_interval_ms=200) as consumer:
        async def handle(record):
            await asyncio.sleep(0.001)
            print(record.partition, record.offset, record.key.decode(), record.value.decode(), flush=True)

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, consumer.stop)
        await consumer.subscribe("{TOPIC}")
        await consumer.run(handle, workers=8)

asyncio.run(main())
"""


@pytest.fixture
def cluster(make_cluster):
    made = make_cluster(3)
    for node in made.node_ids:  # a session that ends while a test waits for it
        with made.config(node).open("a") as file:
            file.write("group_consumer_session_timeout_ms = 3000\ngroup_consumer_min_session_timeout_ms = 3000\n")
            file.write("group_consumer_heartbeat_interval_ms = 300\ngroup_consumer_min_heartbeat_interval_ms = 300\n")
    made.up()
    made.until_healthy()
    return made


class Members:
    """Processes, and what each of them said that it handled."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self._bootstrap = bootstrap
        self._folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> int:
        number = len(self.processes)
        with self._path(number).open("wb") as said, self._path(number, "err").open("wb") as complained:
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", MEMBER, self._bootstrap],
                    stdout=said,
                    stderr=complained,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                )
            )
        return number

    def kill(self, number: int) -> None:
        self.processes[number].kill()
        self.processes[number].wait()

    def end(self, number: int) -> None:
        """As an operator would; it must have nothing to complain of but what happened to its coordinator."""
        self.processes[number].send_signal(signal.SIGTERM)
        assert self.processes[number].wait(30) == 0, self._path(number, "err").read_text()

    def handled(self, number: int) -> list[tuple[int, int, str, int]]:
        lines = self._path(number).read_text().splitlines(keepends=True)
        words = [line.split() for line in lines if line.endswith("\n")]  # of a killed one the last may be torn
        return [(int(partition), int(offset), key, int(value)) for partition, offset, key, value in words]

    def distinct(self) -> dict[int, set[int]]:
        found: dict[int, set[int]] = defaultdict(set)
        for number in range(len(self.processes)):
            for partition, offset, _, _ in self.handled(number):
                found[partition].add(offset)
        return found

    def count(self) -> int:
        return sum(map(len, self.distinct().values()))

    def _path(self, number: int, kind: str = "out") -> Path:
        return self._folder / f"member-{number}.{kind}"


async def produce(bootstrap: str) -> None:
    async with Producer(bootstrap) as producer:
        for number in range(RECORDS):
            await producer.send(TOPIC, b"%d" % number, key=b"k%d" % (number % KEYS))
            await asyncio.sleep(0.004)


async def test_every_record_is_handled_while_members_and_their_coordinator_are_killed(cluster, tmp_path, say):
    members = Members(cluster.bootstrap, tmp_path)
    async with Admin(cluster.bootstrap) as admin:
        await admin.create_topic(TOPIC, partitions=PARTITIONS, configs={"min.insync.replicas": "2"})
    try:
        first, second = members.start(), members.start()
        producing = asyncio.create_task(produce(cluster.bootstrap))
        await until_async(lambda: members.handled(first) and members.handled(second), "both share the work", 60)
        async with Admin(cluster.bootstrap) as admin:
            offsets = await admin.describe_topic(OFFSETS_TOPIC)
        coordinator = offsets.partitions[partition_in(len(offsets.partitions), GROUP)].leader
        cluster.kill(coordinator)
        known = members.count()
        await until_async(lambda: members.count() > known + 200, "work goes on without the coordinator", 60)
        third = members.start()
        await until_async(lambda: members.handled(third), "who joins is given work", 60)
        members.kill(first)
        cluster.up(coordinator)
        await producing
        await until_async(lambda: members.count() == RECORDS, "every record is handled", 90)
        members.end(second)
        members.end(third)
    finally:
        for process in members.processes:
            process.kill()
            process.wait()
    ends = {number: max(offsets) + 1 for number, offsets in members.distinct().items()}
    assert sum(ends.values()) == RECORDS
    async with Consumer(cluster.bootstrap, group=GROUP) as consumer:
        found = await consumer.committed(*(TopicPartition(TOPIC, number) for number in ends))
    assert {name.partition: one.offset for name, one in found.items() if one is not None} == ends
    for number in range(len(members.processes)):
        by_key: dict[str, list[int]] = defaultdict(list)
        for _, _, key, value in members.handled(number):
            if value not in by_key[key]:  # else it was begun again, by who had lost it and got it back
                assert not by_key[key] or value > by_key[key][-1]
                by_key[key].append(value)
    repeated = sum(len(members.handled(number)) for number in range(len(members.processes))) - RECORDS
    say(f"{RECORDS} records, {repeated} handled again after kills")
