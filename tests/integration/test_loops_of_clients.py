"""Programs that use clients on one event loop after another; gRPC complains there on stderr, so that is compared."""

from __future__ import annotations

import subprocess
import sys

TIMES = 30

RUN_AFTER_RUN = f"""
import asyncio, sys
from dohle import Consumer, Producer, TopicPartition

async def once(bootstrap):
    async with Producer(bootstrap) as producer:
        await producer.send("loops", b"x")
    async with Consumer(bootstrap) as consumer:
        await consumer.assign(TopicPartition("loops", 0))
        await consumer.seek_to_beginning()
        assert await consumer.batch(1, 5000)

for _ in range({TIMES}):
    asyncio.run(once(sys.argv[1]))
"""

SYNCHRONOUS_CLIENTS = f"""
import sys
from dohle import TopicPartition
from dohle.sync import Consumer, Producer

for _ in range({TIMES}):
    with Producer(sys.argv[1]) as producer:
        producer.send("loops", b"x").result()
    with Consumer(sys.argv[1]) as consumer:
        consumer.assign(TopicPartition("loops", 0))
        consumer.seek_to_beginning()
        assert consumer.batch(1, 5000)
"""


def test_each_run_of_asyncio_leaves_nothing_to_the_next(trio):
    says_nothing(trio, RUN_AFTER_RUN)


def test_synchronous_clients_come_and_go(trio):
    says_nothing(trio, SYNCHRONOUS_CLIENTS)


def says_nothing(cluster, program):
    cluster.dohle("topic", "create", "loops")  # or the other test has made it
    outcome = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, cluster.bootstrap],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (outcome.returncode, outcome.stderr) == (0, "")
