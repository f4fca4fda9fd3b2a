"""What comes to a real node's port that should not: it is closed and named, costs little, and harms nobody else."""

from __future__ import annotations

import re
import socket
import ssl
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from dohle.kafka.framing import encode_request
from dohle.kafka.messages.cluster import MetadataRequest
from dohle.model.records import Record, encode_batch
from tests.integration.clusters import Cluster, until
from tests.integration.kafka.raw import RawKafka, fetch_request

MOST_REQUEST_BYTES = 8 << 20
MOST_CONNECTIONS = 500
TOPIC = "unharmed"
CONNECTS = 10_000
_MIB = 1 << 20

FLOOD = """
import socket, struct, sys
address, leaves = ("127.0.0.1", int(sys.argv[1])), struct.pack("ii", 1, 0)
for number in range(int(sys.argv[2])):
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, leaves)  # with a reset, so that no port is kept
        one.connect(address)
        if number % 4 == 0:
            one.send(b"\\0\\0\\1")  # not even a length
"""


@pytest.fixture(scope="module")
def solo(clusters_folder: Path) -> Iterator[Cluster]:
    """One node with limits that can be met, and a topic."""
    cluster = Cluster(clusters_folder / "bad-connections", 1)
    with cluster.config(1).open("a") as file:
        file.write(f"socket_request_max_bytes = {MOST_REQUEST_BYTES}\nqueued_max_request_bytes = {32 << 20}\n")
        file.write(f"max_connections = {MOST_CONNECTIONS}\n")
    cluster.up()
    cluster.done("topic", "create", TOPIC)
    yield cluster
    cluster.end()


@pytest.fixture
def others(solo: Cluster) -> Iterator[RawKafka]:
    """Somebody who has done nothing wrong, and is served before and after."""
    with RawKafka(solo.kafka_port(1)) as connection:
        served(connection)
        yield connection
        served(connection)
    process = solo.local.state.node(1).process
    assert process is not None
    assert process.runs()
    assert "Traceback" not in solo.log(1)
    assert "CRITICAL" not in solo.log(1)


def served(connection: RawKafka) -> None:
    batch = encode_batch([Record(None, b"v", (), int(time.time() * 1000))])
    assert connection.produce(TOPIC, batch).error_code == 0


def rss_bytes(cluster: Cluster) -> int:
    process = cluster.local.state.node(1).process
    assert process is not None
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * 4096


def metric(cluster: Cluster, name: str) -> float:
    url = f"http://127.0.0.1:{cluster.local.state.nodes[0].http_port}/metrics"
    with urllib.request.urlopen(url, timeout=20) as page:
        found = re.search(rf"^{name} (\S+)$", page.read().decode(), re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def client_hello() -> bytes:
    sent = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), sent, server_hostname="dohle").do_handshake()
    return sent.read()


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "looks like HTTP"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), "looks like HTTP/2, as gRPC has it"),
        (client_hello(), "looks like TLS"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "looks like text: b'SSH-'"),
        (struct.pack(">i", MOST_REQUEST_BYTES + 1) + bytes(100), f"a request of {MOST_REQUEST_BYTES + 1} bytes"),
        (struct.pack(">i", -1) + bytes(100), "a request of -1 bytes"),
        (struct.pack(">i", 3) + b"abc", "too short for its header"),
        (struct.pack(">ihhih", 10, 999, 0, 1, -1), "API key 999 version 0 is not served"),
        (struct.pack(">ihhih", 10, 3, 99, 1, -1), "Metadata version 99 is not served"),
    ],
    ids=["http", "grpc", "tls", "ssh", "too large", "negative", "too short", "unknown key", "unknown version"],
)
@pytest.mark.usefixtures("others")
def test_what_is_no_request_is_closed_and_named(solo: Cluster, said: bytes, named: str) -> None:
    before = solo.log(1).count(named)

    def is_named() -> bool:
        """One line a second is written, so it may take another of the kind."""
        with RawKafka(solo.kafka_port(1)) as wrong:
            wrong.send_bytes(said)
            assert wrong.is_closed()
        return solo.log(1).count(named) > before

    until(is_named, f"the log says {named!r}")


@pytest.mark.usefixtures("others")
def test_frames_that_are_cut_short_leave_nothing_behind(solo: Cluster) -> None:
    frame = b"".join(encode_request(MetadataRequest(topics=None), 12, 1, "cut"))
    for length in [*range(1, len(frame)), *[len(frame) - 1] * 200]:
        with RawKafka(solo.kafka_port(1)) as cut:
            cut.send_bytes(frame[:length])
    whole = struct.pack(">i", MOST_REQUEST_BYTES)
    for _ in range(20):  # five times what all may have together
        with RawKafka(solo.kafka_port(1)) as cut:
            cut.send_bytes(whole + bytes(100_000))
    until(lambda: metric(solo, "dohle_kafka_connections") == 1, "all but one are gone")


def test_many_who_send_a_byte_now_and_then_keep_nobody(solo: Cluster, others: RawKafka) -> None:
    frame = b"".join(encode_request(MetadataRequest(topics=[]), 12, 1, "slow"))
    slow = [RawKafka(solo.kafka_port(1)) for _ in range(200)]
    for at in range(len(frame)):
        for one in slow:
            one.send_bytes(frame[at : at + 1])
        served(others)
    for one in slow:
        assert not one.is_closed(), "what comes slowly is answered all the same"
        one.__exit__()


def test_a_client_that_never_reads_costs_a_bounded_amount(solo: Cluster, others: RawKafka) -> None:
    batch = encode_batch([Record(None, bytes(900_000), (), int(time.time() * 1000))])
    for _ in range(4):
        assert others.produce(TOPIC, batch).error_code == 0
    known = others.topic(TOPIC)
    request = b"".join(encode_request(fetch_request(TOPIC, known.topic_id, 0), 18, 1, "deaf"))
    before = rss_bytes(solo)
    deaf = [socket.create_connection(("127.0.0.1", solo.kafka_port(1))) for _ in range(10)]
    for one in deaf:
        one.setblocking(False)
        try:
            while True:  # until nothing of it is read any more
                one.send(request * 100)
        except BlockingIOError:
            pass
    for _ in range(20):
        served(others)
    assert rss_bytes(solo) - before < 200 * _MIB
    for one in deaf:
        one.close()
    until(lambda: metric(solo, "dohle_kafka_connections") == 1, "they are gone")


def test_a_flood_of_connects_harms_nobody(solo: Cluster, others: RawKafka) -> None:
    before = rss_bytes(solo)
    command = [sys.executable, "-c", FLOOD, str(solo.kafka_port(1)), str(CONNECTS)]
    with subprocess.Popen(command) as flooding:
        while flooding.poll() is None:
            served(others)
    assert flooding.returncode == 0
    until(lambda: metric(solo, "dohle_kafka_connections") == 1, "all but one are gone")
    assert rss_bytes(solo) - before < 100 * _MIB
    assert "fenced" not in solo.log(1).replace("unfenced", "")


def test_who_comes_above_the_limit_is_turned_away_and_those_inside_stay(solo: Cluster, others: RawKafka) -> None:
    turned_away = metric(solo, "dohle_kafka_turned_away_total")
    kept = [socket.create_connection(("127.0.0.1", solo.kafka_port(1))) for _ in range(MOST_CONNECTIONS - 1)]
    until(lambda: metric(solo, "dohle_kafka_connections") == MOST_CONNECTIONS, "there is no room left")
    with RawKafka(solo.kafka_port(1)) as one_more:
        assert one_more.is_closed()
    served(others)
    assert metric(solo, "dohle_kafka_turned_away_total") == turned_away + 1
    for one in kept:
        one.close()
    until(lambda: metric(solo, "dohle_kafka_connections") == 1, "there is room again")
