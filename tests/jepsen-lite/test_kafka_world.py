"""Apache Kafka in a world of namespaces, for real: it takes root and Java, and is skipped without."""

from __future__ import annotations

import asyncio
import sys

import pytest

from dohle.cluster.local import NodeFailed
from dohle.testing.chaos.node_process import NodeProcess
from dohle.testing.chaos.workload import Topic
from jepsen_lite import ready
from jepsen_lite.kafka_world import KafkaWorld
from jepsen_lite.namespace_world import why_not
from tools.foreign.cache import Unavailable
from tools.foreign.kafka import kafka_jars

LISTENS = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(60)"


def node_of(tmp_path, port, *program):
    command = (sys.executable, ready.__file__, "127.0.0.1", str(port), *program)
    return NodeProcess(1, command, tmp_path / "log", lambda pid: None)


async def test_a_program_that_says_nothing_is_ready_once_it_listens(tmp_path, unused_tcp_port):
    node = node_of(tmp_path, unused_tcp_port, sys.executable, "-c", LISTENS, str(unused_tcp_port))
    try:
        await node.start()
        _, writer = await asyncio.open_connection("127.0.0.1", unused_tcp_port)
        writer.close()
    finally:
        node.kill()


async def test_a_program_that_ends_before_it_listens_has_failed(tmp_path, unused_tcp_port):
    node = node_of(tmp_path, unused_tcp_port, sys.executable, "-c", "print('no room')")
    with pytest.raises(NodeFailed, match="no room"):
        await node.start()


@pytest.mark.processes
async def test_kafka_serves_and_says_who_leads(tmp_path):
    if reason := why_not(tmp_path):
        pytest.skip(reason)
    try:
        kafka_jars()
    except Unavailable as missing:
        pytest.skip(str(missing))
    world = KafkaWorld(tmp_path / "run")
    try:
        await world.begin()
        async with world.view() as view, asyncio.timeout(60):
            await view.create_topic("append", Topic(3))
            while (state := await view.state()) is None or len(state.partitions) < 3 or not state.whole:
                await asyncio.sleep(0.1)
            assert state.serving == (1, 2, 3)
            assert state.controller in state.serving
            world.kill(1)
            while (state := await view.state()) is None or {one.leader for one in state.partitions.values()} != {2, 3}:
                await asyncio.sleep(0.1)
    finally:
        await world.end()
    assert "INFO" in world.log_file(1).read_text()
