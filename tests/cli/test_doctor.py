"""`dohle doctor` before brokers that are made as wrong as operators make them: each failure, and what it advises."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import ssl
import struct
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import pytest

from dohle.cli import doctor_walk, kafka_probe
from dohle.cli.doctor_walk import Visit, failures, walk
from dohle.cli.main import run
from dohle.cluster.http import HttpServer
from dohle.kafka.messages.cluster import (
    ApiVersionsRequest,
    DescribeClusterRequest,
    DescribeClusterResponse,
    MetadataRequest,
    MetadataResponse,
)
from dohle.kafka.messages.configs import DescribeConfigsRequest, DescribeConfigsResponse
from dohle.listeners.kafka.apis import Apis, Caller, ServedApi
from dohle.listeners.kafka.clients import SoftwareCounts
from dohle.listeners.kafka.listener import KafkaListener, KafkaSettings
from dohle.listeners.kafka.versions import Versions
from dohle.model.errors import InvalidRequest, ListenerNotFound
from dohle.model.image import EMPTY_IMAGE
from dohle.rpc.grpc_network import GrpcNetwork
from dohle.runtime.clock import LoopClock
from dohle.runtime.network import Address

TIMEOUT_S = 20.0
LOOPBACK = Address("127.0.0.1", 0)


@dataclass
class Broker:
    """A broker that says what it is told to."""

    node_id: int
    cluster_id: str = "the-cluster"
    told: dict[int, Address] = field(default_factory=dict)
    fenced: dict[int, Address] = field(default_factory=dict)
    partition_errors: tuple[int, ...] = ()
    says_who_it_is: bool = True

    @property
    def apis(self) -> Apis:
        table: dict[int, ServedApi] = {
            3: ServedApi(MetadataRequest, self._metadata),
            60: ServedApi(DescribeClusterRequest, self._cluster),
        }
        if self.says_who_it_is:
            table[32] = ServedApi(DescribeConfigsRequest, self._configs)
        table[18] = ServedApi(ApiVersionsRequest, Versions(table, lambda: EMPTY_IMAGE, SoftwareCounts()).answer)
        return table

    async def _metadata(self, request: MetadataRequest, _caller: Caller) -> MetadataResponse:
        kind = MetadataResponse.Topic.Partition
        partitions = [
            kind(error_code=code, partition_index=0, leader_id=-1, replica_nodes=[], isr_nodes=[])
            for code in self.partition_errors
        ]
        return MetadataResponse(
            brokers=[
                MetadataResponse.Broker(node_id=node, host=at.host, port=at.port) for node, at in self.told.items()
            ],
            cluster_id=self.cluster_id,
            topics=[MetadataResponse.Topic(error_code=0, name="t", partitions=partitions)] if partitions else [],
        )

    async def _cluster(self, _request: DescribeClusterRequest, _caller: Caller) -> DescribeClusterResponse:
        kind = DescribeClusterResponse.Broker
        brokers = [
            kind(broker_id=node, host=at.host, port=at.port, is_fenced=fenced)
            for known, fenced in ((self.told, False), (self.fenced, True))
            for node, at in known.items()
        ]
        return DescribeClusterResponse(error_code=0, cluster_id=self.cluster_id, brokers=brokers)

    async def _configs(self, request: DescribeConfigsRequest, _caller: Caller) -> DescribeConfigsResponse:
        results = [
            DescribeConfigsResponse.Result(
                error_code=0 if one.resource_name == str(self.node_id) else InvalidRequest.code,
                error_message=None,
                resource_type=one.resource_type,
                resource_name=one.resource_name,
                configs=[],
            )
            for one in request.resources
        ]
        return DescribeConfigsResponse(results=results)


@contextlib.asynccontextmanager
async def up(*brokers: Broker) -> AsyncIterator[list[Address]]:
    """The brokers, which tell of each other unless they are told otherwise."""
    failures: list[BaseException] = []
    listeners = [KafkaListener(KafkaSettings(), LoopClock(), failures.append) for _ in brokers]
    addresses = [(await listener.bind(LOOPBACK))[0] for listener in listeners]
    everybody = {broker.node_id: address for broker, address in zip(brokers, addresses, strict=True)}
    for broker, listener in zip(brokers, listeners, strict=True):
        broker.told = broker.told or everybody
        await listener.serve(broker.apis)
    yield addresses
    for listener in listeners:
        await listener.close()
    assert not failures


def complaints(visits: list[Visit]) -> list[tuple[int | None, str, str, str]]:
    return [(visit.node_id, step.name, step.found, step.advice) for visit, step in failures(visits)]


async def the_complaint(start: Address, timeout_s: float = TIMEOUT_S) -> tuple[int | None, str, str, str]:
    [found] = complaints(await walk(start, timeout_s))
    return found


async def test_all_is_well() -> None:
    async with up(Broker(1), Broker(2)) as [one, _]:
        first, *others = await walk(one, TIMEOUT_S)
        assert (first.node_id, first.answers_as, first.cluster_id) == (None, 1, "the-cluster")
        assert [(visit.node_id, visit.answers_as, visit.ok) for visit in others] == [(1, 1, True), (2, 2, True)]
        assert [step.name for step in first.steps] == ["resolve", "connect", "versions", "metadata", "identity"]


async def test_a_broker_that_does_not_say_who_it_is_is_not_wrong() -> None:
    async with up(Broker(1, says_who_it_is=False)) as [one]:
        visits = await walk(one, TIMEOUT_S)
        assert not failures(visits)
        assert [visit.answers_as for visit in visits] == [None, None]


# the address that the client is given


async def test_a_name_that_does_not_resolve() -> None:
    node, step, found, advice = await the_complaint(Address("no-such-host.invalid", 9092))
    assert (node, step) == (None, "resolve")
    assert "no-such-host.invalid does not resolve here" in found
    assert "spelling" in advice


async def test_a_port_where_nothing_listens() -> None:
    async with up(Broker(1)) as [gone]:
        pass
    _, step, found, advice = await the_complaint(gone)
    assert (step, found) == ("connect", f"nothing listens on {gone}")
    assert "kafka_port" in advice
    assert "host is 127.0.0.1" in advice


async def test_an_address_that_keeps_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr("asyncio.open_connection", never)
    _, step, found, advice = await the_complaint(Address("127.0.0.1", 9092), 0.05)
    assert (step, found) == ("connect", "127.0.0.1:9092 does not answer within 0.05 s")
    assert "firewall" in advice


async def test_an_address_without_a_way_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_way(*_: object, **__: object) -> None:
        raise OSError(113, "No route to host")

    monkeypatch.setattr("asyncio.open_connection", no_way)
    _, step, found, advice = await the_complaint(Address("127.0.0.1", 9092))
    assert (step, found) == ("connect", "127.0.0.1:9092 cannot be reached (No route to host)")
    assert "network" in advice


async def test_a_second_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a client does with localhost, which is ::1 first."""
    async with up(Broker(1)) as [one]:

        async def two(*_: object) -> list[str]:
            return ["127.0.0.9", "127.0.0.1"]

        monkeypatch.setattr(doctor_walk, "resolve", two)
        first, *_ = await walk(Address("localhost", one.port), TIMEOUT_S)
        assert first.ok
        assert first.reached == "127.0.0.1"
        assert f"nothing listens on 127.0.0.9:{one.port}" in first.steps[1].found


async def test_an_http_port() -> None:
    server = HttpServer({})
    address = await server.start(LOOPBACK)
    _, step, found, advice = await the_complaint(address, 1.0)
    assert step == "versions"
    assert "speaks HTTP" in found
    assert "http_port" in advice
    await server.stop()


async def test_a_grpc_port() -> None:
    network = GrpcNetwork(client_id="test")
    server = await network.serve(LOOPBACK, [], listener="GRPC")
    _, step, found, advice = await the_complaint(server.address)
    assert step == "versions"
    assert "speaks gRPC" in found
    assert "Dohle's own clients" in advice
    await server.stop(0)
    await network.close()


async def _answers(reply: Callable[[bytes], bytes | None]) -> asyncio.Server:
    """A server that answers what it reads first; None: it closes the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            answer = reply(await reader.read(1024))
            if answer:
                writer.write(answer)
            if answer is not None:
                await reader.read()
            writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


def _address(server: asyncio.Server) -> Address:
    return Address(*server.sockets[0].getsockname()[:2])


async def test_a_tls_port_that_refuses_the_handshake() -> None:
    server = await _answers(lambda _: b"\x15\x03\x03\0\2\2\x28")  # an alert: handshake_failure
    _, step, found, advice = await the_complaint(_address(server), 1.0)
    assert step == "versions"
    assert "speaks TLS" in found
    assert "clear text" in advice
    server.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_a_tls_port_that_takes_the_handshake(tmp_path: object) -> None:
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out cert -days 2 -subj /CN=x"
    )
    subprocess.run(command.split(), cwd=str(tmp_path), check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{tmp_path}/cert", f"{tmp_path}/key")
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
    _, _, found, _ = await the_complaint(_address(server), 2.0)
    assert "speaks TLS" in found
    server.close()


async def test_a_port_of_something_else() -> None:
    server = await _answers(lambda _: b"SSH-2.0-OpenSSH_9.2\r\n")
    _, _, found, advice = await the_complaint(_address(server), 1.0)
    assert "it answers b'SSH-2.0-', which is not Kafka's protocol" in found
    assert "another program" in advice
    server.close()


async def test_a_port_that_closes_the_connection() -> None:
    server = await _answers(lambda _: None)
    _, _, found, advice = await the_complaint(_address(server), 1.0)
    assert found == "it closes the connection without an answer"
    assert "max_connections" in advice
    server.close()


async def test_a_port_that_takes_everything_and_says_nothing() -> None:
    server = await _answers(lambda _: b"")
    _, _, found, advice = await the_complaint(_address(server), 0.1)
    assert found == "it takes the connection, and does not answer within 0.1 s"
    assert "stopped" in advice
    server.close()


async def test_a_kafka_of_another_age() -> None:
    def answer(request: bytes) -> bytes:
        body = request[8:12] + struct.pack(">hi", 35, 0)
        return struct.pack(">i", len(body)) + body

    server = await _answers(answer)
    _, _, found, _ = await the_complaint(_address(server))
    assert "error 35" in found
    server.close()


# what the metadata tells


async def test_a_cluster_that_tells_of_nobody() -> None:
    lonely = Broker(1)
    async with up(lonely) as [one]:
        lonely.told.clear()
        _, step, found, _ = await the_complaint(one)
    assert (step, found) == ("metadata", "no node is told of")


async def test_a_fenced_node() -> None:
    async with up(Broker(1, fenced={3: Address("broker-3", 9092)})) as [one]:
        _, step, found, advice = await the_complaint(one)
        assert step == "metadata"
        assert "node 3 (at broker-3:9092) is registered and fenced" in found
        assert "dohle status" in advice


async def test_leaders_without_the_listener() -> None:
    async with up(Broker(1, partition_errors=(0, ListenerNotFound.code, ListenerNotFound.code))) as [one]:
        _, step, found, advice = await the_complaint(one)
        assert step == "metadata"
        assert found.startswith("2 partitions led by nodes without a listener")
        assert "kafka_listeners" in advice


async def _told_of_two(address: Address) -> tuple[int | None, str, str, str]:
    """Returns the complaint where node 2 is said to be at `address`."""
    first = Broker(1)
    async with up(first) as [one]:
        first.told[2] = address
        return await the_complaint(one, 2.0)


async def test_an_advertised_name_that_does_not_resolve() -> None:
    node, step, found, advice = await _told_of_two(Address("dohle-2.invalid", 9092))
    assert (node, step) == (2, "resolve")
    assert "dohle-2.invalid does not resolve" in found
    assert "clients are told that node 2 is at dohle-2.invalid:9092: set kafka_advertised_address of node 2" in advice


async def test_an_advertised_address_where_nothing_listens() -> None:
    async with up(Broker(9)) as [gone]:
        pass
    node, step, found, advice = await _told_of_two(gone)
    assert (node, step, found) == (2, "connect", f"nothing listens on {gone}")
    assert "if that is wrong, set kafka_advertised_address of node 2" in advice


async def test_an_advertised_address_of_another_protocol() -> None:
    server = HttpServer({})
    address = await server.start(LOOPBACK)
    node, step, found, advice = await _told_of_two(address)
    assert (node, step) == (2, "versions")
    assert "speaks HTTP" in found
    assert "kafka_advertised_address of node 2" in advice
    await server.stop()


async def test_an_advertised_address_of_another_node() -> None:
    async with up(Broker(1), Broker(2), Broker(3)) as [one, two, three]:
        brokers = {1: one, 2: three, 3: three}
        async with up(Broker(1, told=brokers)) as [start]:
            # who answers at `one` is a broker that tells the truth; what counts is what the first one tells
            node, step, found, advice = await the_complaint(start)
    assert (node, step) == (2, "identity")
    assert found == f"at {three} there is node 3, and not node 2"
    assert "each node has its own" in advice
    assert two != three


async def test_an_advertised_address_of_another_cluster() -> None:
    async with up(Broker(2, cluster_id="elsewhere")) as [other]:
        node, step, found, _ = await _told_of_two(other)
    assert (node, step) == (2, "cluster")
    assert "another cluster, elsewhere, and not the-cluster" in found


async def test_localhost_told_to_a_client_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    async with up(Broker(1)) as [one]:
        walked = await walk(one, TIMEOUT_S)
        assert not failures(walked), "here it is right"
        connect = kafka_probe.KafkaProbe.connect

        async def by_lan(hosts: list[str], port: int, timeout_s: float) -> tuple[kafka_probe.KafkaProbe, list[str]]:
            if hosts != ["192.0.2.77"]:
                return await connect(hosts, port, timeout_s)
            probe, failed = await connect(["127.0.0.1"], port, timeout_s)
            probe.host = "192.0.2.77"
            return probe, failed

        monkeypatch.setattr(kafka_probe.KafkaProbe, "connect", by_lan)
        node, step, found, advice = await the_complaint(Address("192.0.2.77", one.port))
    assert (node, step) == (1, "advertised")
    assert f"clients are told {one} of node 1" in found
    assert "192.0.2.77" in found
    assert "DOHLE_EXTERNAL_HOST" in advice


# the command


@pytest.fixture
def served() -> Iterator[Address]:
    """A broker in a thread, for the command has a loop of its own."""
    loop, ready, over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    found: list[Address] = []

    async def serve() -> None:
        try:
            async with up(Broker(1, fenced={3: Address("broker-3", 9092)})) as [address]:
                found.append(address)
                ready.set()
                await over.wait()
        finally:
            ready.set()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait()
    assert found, "the broker did not start"
    yield found[0]
    loop.call_soon_threadsafe(over.set)
    thread.join()
    loop.close()


def test_the_command_says_what_failed_and_what_to_do(served: Address, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--from", str(served)]) == 1
    said = capsys.readouterr().out
    assert "FAILED" in said
    assert said.splitlines()[-1].startswith("  node 3 does not run, or reaches no controller")
    assert run(["doctor", "--from", str(served), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["cluster_id"], told["fenced"]) == (False, "the-cluster", [3])
    assert [(one["node_id"], one["answers_as"], one["ok"]) for one in told["visits"]] == [
        (None, 1, False),
        (1, 1, True),
    ]


@pytest.mark.parametrize("text", ["", ":9092", "a:b", "a:0", "a:70000", "[::1]:x"])
def test_an_address_that_is_none_is_wrong_usage(text: str) -> None:
    assert run(["doctor", "--from", text]) == 2


def test_the_port_is_kafkas_unless_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Address] = []

    async def note(start: Address, _timeout_s: float) -> list[Visit]:
        asked.append(start)
        return [Visit(start)]

    monkeypatch.setattr(doctor_walk, "walk", note)
    for text in ("a", "a:1", "::1", "[::1]", "[::1]:2"):
        assert run(["doctor", "--from", text]) == 0
    assert asked == [("a", 9092), ("a", 1), ("::1", 9092), ("::1", 9092), ("::1", 2)]
