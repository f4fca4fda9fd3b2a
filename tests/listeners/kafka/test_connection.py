"""Connections on real sockets, with APIs that do what the test says: order, back-pressure, limits, the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from dohle.kafka.declaration import Request, Response
from dohle.kafka.framing import decode_response, encode_request
from dohle.kafka.messages.cluster import ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse
from dohle.kafka.messages.fetch import FetchRequest, FetchResponse
from dohle.kafka.messages.produce import ProduceRequest, ProduceResponse
from dohle.kafka.messages.topics import DeleteTopicsRequest, DeleteTopicsResponse
from dohle.listeners.kafka import connection
from dohle.listeners.kafka.apis import Caller, ServedApi
from dohle.listeners.kafka.clients import SoftwareCounts
from dohle.listeners.kafka.connection import MOST_IN_FLIGHT
from dohle.listeners.kafka.listener import KafkaListener, KafkaSettings
from dohle.listeners.kafka.versions import Versions
from dohle.model.errors import InvalidRecord
from dohle.model.image import EMPTY_IMAGE
from dohle.runtime.clock import LoopClock
from dohle.runtime.network import Address


class Scripted:
    """APIs that note what is asked, and answer when the test lets them."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.answers: dict[str, asyncio.Future[None]] = {}
        self.fetched = b""
        table: dict[int, ServedApi] = {
            0: ServedApi(ProduceRequest, begin=self._produce, advertised_from=0),
            1: ServedApi(FetchRequest, self._fetch, is_large=True),
            3: ServedApi(MetadataRequest, self._metadata),
        }
        table[18] = ServedApi(ApiVersionsRequest, Versions(table, lambda: EMPTY_IMAGE, SoftwareCounts()).answer)
        table[20] = ServedApi(DeleteTopicsRequest, self._change, is_change=True)
        self.table = table

    def let(self, name: str) -> None:
        self._gate(name).set_result(None)

    def _gate(self, name: str) -> asyncio.Future[None]:
        return self.answers.setdefault(name, asyncio.get_running_loop().create_future())

    async def _produce(self, request: ProduceRequest, caller: Caller) -> Coroutine[Any, Any, Response] | None:
        name = str(caller.client_id)
        await self._gate(f"append {name}")
        self.begun.append(name)
        if request.acks == 0:
            if name == "bad":
                raise InvalidRecord("not a batch")
            return None
        return self._acknowledge(name)

    async def _acknowledge(self, name: str) -> ProduceResponse:
        await self._gate(name)
        return ProduceResponse(responses=[])

    async def _fetch(self, _request: FetchRequest, caller: Caller) -> FetchResponse:
        self.begun.append(str(caller.client_id))
        partition = FetchResponse.Topic.Partition(
            partition_index=0, error_code=0, high_watermark=0, aborted_transactions=None, records=[self.fetched]
        )
        return FetchResponse(responses=[FetchResponse.Topic(topic="t", partitions=[partition])])

    async def _change(self, _request: DeleteTopicsRequest, caller: Caller) -> DeleteTopicsResponse:
        self.begun.append(str(caller.client_id))
        await self._gate(str(caller.client_id))
        return DeleteTopicsResponse(responses=[])

    async def _metadata(self, request: MetadataRequest, caller: Caller) -> MetadataResponse:
        name = str(caller.client_id)
        self.begun.append(name)
        if name == "bug":
            raise ZeroDivisionError
        if name.startswith("wait"):
            await self._gate(name)
        return MetadataResponse(brokers=[], topics=[], cluster_id=name)


class Client:
    """Sends frames, and reads them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._sent = 0

    def send(self, request: Request, version: int, name: str) -> int:
        self._sent += 1
        self.writer.writelines(encode_request(request, version, self._sent, name))
        return self._sent

    async def frame(self) -> memoryview:
        (size,) = struct.unpack(">i", await self.reader.readexactly(4))
        return memoryview(await self.reader.readexactly(size))

    async def answer(self, kind: type[Response], version: int) -> tuple[int, Response]:
        return decode_response(kind, version, await self.frame())

    async def is_closed(self) -> bool:
        with contextlib.suppress(ConnectionError):
            return await self.reader.read(1) == b""
        return True


class Door:
    def __init__(self, listener: KafkaListener, address: Address, apis: Scripted) -> None:
        self.listener, self.address, self.apis = listener, address, apis

    async def client(self) -> Client:
        return Client(*await asyncio.open_connection(*self.address))


@contextlib.asynccontextmanager
async def opened(**settings: int) -> AsyncIterator[Door]:
    failures: list[BaseException] = []
    listener = KafkaListener(KafkaSettings(**settings), LoopClock(), failures.append)
    [address] = await listener.bind(Address("127.0.0.1", 0))
    apis = Scripted()
    await listener.serve(apis.table)
    async with asyncio.timeout(30):
        yield Door(listener, address, apis)
        await listener.close()
    assert not listener.connections
    assert listener.requests.free_bytes == KafkaSettings(**settings).queued_max_request_bytes, "all was given back"
    assert not failures


async def until(holds: Any) -> None:
    while not holds():
        await asyncio.sleep(0.001)


def produce(acks: int = -1) -> ProduceRequest:
    return ProduceRequest(acks=acks, timeout_ms=1000, topic_data=[])


def fetch() -> FetchRequest:
    return FetchRequest(max_wait_ms=0, min_bytes=0, topics=[])


async def test_appends_are_in_order_and_acknowledged_side_by_side_and_answers_keep_the_order() -> None:
    async with opened() as door:
        client = await door.client()
        for name in ("a", "b", "c"):
            client.send(produce(), 9, name)
        last = client.send(MetadataRequest(topics=[]), 9, "m")
        await until(lambda: "append a" in door.apis.answers)
        door.apis.let("append b")
        door.apis.let("append c")
        await asyncio.sleep(0.01)
        assert door.apis.begun == [], "b waits for a"
        door.apis.let("append a")
        await until(lambda: len(door.apis.begun) == 4)
        assert door.apis.begun == ["a", "b", "c", "m"]
        for name in ("c", "b", "a"):
            door.apis.let(name)
        for expected in (1, 2, 3):
            correlation, _ = await client.answer(ProduceResponse, 9)
            assert correlation == expected
        assert (await client.answer(MetadataResponse, 9))[0] == last


async def test_one_that_waits_keeps_no_other_from_being_worked_on() -> None:
    async with opened() as door:
        client = await door.client()
        client.send(MetadataRequest(topics=[]), 9, "wait 1")
        client.send(MetadataRequest(topics=[]), 9, "quick")
        await until(lambda: door.apis.begun == ["wait 1", "quick"])
        door.apis.let("wait 1")
        first, second = await client.answer(MetadataResponse, 9), await client.answer(MetadataResponse, 9)
        assert [first[0], second[0]] == [1, 2]


async def test_what_follows_a_change_sees_it() -> None:
    async with opened() as door:
        client = await door.client()
        client.send(MetadataRequest(topics=[]), 9, "wait before")
        client.send(DeleteTopicsRequest(timeout_ms=1), 5, "change")
        client.send(MetadataRequest(topics=[]), 9, "look")
        await until(lambda: sorted(door.apis.begun) == ["change", "wait before"])
        await asyncio.sleep(0.01)
        assert len(door.apis.begun) == 2, "what looks waits for the change"
        door.apis.let("change")
        await until(lambda: door.apis.begun[2:] == ["look"])
        door.apis.let("wait before")
        kinds: list[tuple[type[Response], int]] = [
            (MetadataResponse, 9),
            (DeleteTopicsResponse, 5),
            (MetadataResponse, 9),
        ]
        for number, (kind, version) in enumerate(kinds, 1):
            assert (await client.answer(kind, version))[0] == number


async def test_no_more_than_so_many_are_in_flight() -> None:
    async with opened() as door:
        client = await door.client()
        for number in range(2 * MOST_IN_FLIGHT):
            client.send(MetadataRequest(topics=[]), 9, f"wait {number}")
        await until(lambda: len(door.apis.begun) == MOST_IN_FLIGHT)
        await asyncio.sleep(0.02)
        assert len(door.apis.begun) == MOST_IN_FLIGHT
        for number in range(2 * MOST_IN_FLIGHT):
            await until(lambda number=number: f"wait {number}" in door.apis.answers)
            door.apis.let(f"wait {number}")
            assert (await client.answer(MetadataResponse, 9))[0] == number + 1


async def test_acks_0_is_not_answered_and_an_error_closes_the_connection() -> None:
    async with opened() as door:
        client = await door.client()
        for name in ("append good", "append bad"):
            door.apis.let(name)
        client.send(produce(acks=0), 9, "good")
        known = client.send(MetadataRequest(topics=[]), 9, "m")
        assert (await client.answer(MetadataResponse, 9))[0] == known
        client.send(produce(acks=0), 9, "bad")
        assert await client.is_closed()


async def test_an_unknown_version_of_api_versions_is_answered_in_version_0() -> None:
    async with opened() as door:
        client = await door.client()
        start = struct.pack(">hhih", 18, 99, 7, -1)
        client.writer.write(struct.pack(">i", len(start)) + start)
        correlation, answer = await client.answer(ApiVersionsResponse, 0)
        assert isinstance(answer, ApiVersionsResponse)
        assert (correlation, answer.error_code) == (7, 35)
        assert [(one.api_key, one.min_version, one.max_version) for one in answer.api_keys] == [(18, 0, 4)]
        client.send(ApiVersionsRequest(client_software_name="a", client_software_version="1.0"), 3, "x")
        _, known = await client.answer(ApiVersionsResponse, 3)
        assert isinstance(known, ApiVersionsResponse)
        assert [(one.api_key, one.min_version, one.max_version) for one in known.api_keys] == [
            (0, 0, 13),
            (1, 4, 18),
            (3, 0, 13),
            (18, 0, 4),
            (20, 1, 6),
        ]


@pytest.mark.parametrize("name", ["", "-a", "a b", "a-"])
async def test_a_client_that_gives_no_proper_name_is_told(name: str) -> None:
    async with opened() as door:
        client = await door.client()
        client.send(ApiVersionsRequest(client_software_name=name, client_software_version="1"), 3, "x")
        _, answer = await client.answer(ApiVersionsResponse, 3)
        assert isinstance(answer, ApiVersionsResponse)
        assert answer.error_code == 42


@pytest.mark.parametrize(("key", "version"), [(999, 0), (-1, 0), (3, 99), (3, -1), (0, 2), (11, 5)])
async def test_what_is_not_served_closes_the_connection(key: int, version: int) -> None:
    async with opened() as door:
        client = await door.client()
        start = struct.pack(">hhih", key, version, 7, -1)
        client.writer.write(struct.pack(">i", len(start)) + start)
        assert await client.is_closed()


@pytest.mark.parametrize("body", [b"", b"\0", b"\0\3\0\t", b"\0\3\0\t\0\0\0\1\0\5ab", bytes(9)])
async def test_a_malformed_request_closes_the_connection(body: bytes) -> None:
    async with opened() as door:
        client, other = await door.client(), await door.client()
        client.writer.write(struct.pack(">i", len(body)) + body)
        assert await client.is_closed()
        other.send(MetadataRequest(topics=[]), 9, "m")
        await other.answer(MetadataResponse, 9)


async def test_another_protocol_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as door:
        client = await door.client()
        with caplog.at_level(logging.WARNING):
            client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert await client.is_closed()
        assert "looks like HTTP" in caplog.text


async def test_a_bug_costs_one_connection(caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as door:
        client, other = await door.client(), await door.client()
        with caplog.at_level(logging.CRITICAL):
            client.send(MetadataRequest(topics=[]), 9, "bug")
            assert await client.is_closed()
        other.send(MetadataRequest(topics=[]), 9, "m")
        await other.answer(MetadataResponse, 9)


async def test_a_client_that_takes_no_answers_gets_no_more_made_and_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as door:
        door.apis.fetched = bytes(8 << 20)
        client = await door.client()
        for number in range(20):
            client.send(fetch(), 11, f"f{number}")
        [served] = door.listener.connections
        await until(lambda: served._taken_by is not None)
        await asyncio.sleep(0.02)
        assert len(door.apis.begun) <= 3, "the sockets take some, and one waits to be taken"
        assert door.listener.answers.free_bytes < 256 << 20
        served.look_at_the_time(door.listener.now() + connection.PATIENCE_S, 600)
        assert door.listener.connections, "so much takes longer than that"
        served.look_at_the_time(door.listener.now() + 3600, 600)
        await until(lambda: not door.listener.connections)
        assert door.listener.answers.free_bytes == 256 << 20
        client.writer.close()


async def test_a_client_that_takes_its_answers_late_gets_them_all() -> None:
    async with opened() as door:
        door.apis.fetched = bytes(range(256)) * 4096 * 4
        client = await door.client()
        for number in range(6):
            client.send(fetch(), 11, f"f{number}")
        await until(lambda: len(door.apis.begun) >= 2)
        for number in range(6):
            correlation, answer = await client.answer(FetchResponse, 11)
            assert isinstance(answer, FetchResponse)
            assert correlation == number + 1
            records = answer.responses[0].partitions[0].records
            assert records is not None
            assert b"".join(records) == door.apis.fetched


async def test_a_frame_that_dawdles_is_cut() -> None:
    async with opened() as door:
        client = await door.client()
        client.writer.write(struct.pack(">i", 1 << 20) + b"\0" * 100)
        await until(lambda: door.listener.requests.free_bytes < 256 << 20)
        [served] = door.listener.connections
        served.look_at_the_time(door.listener.now() + connection.PATIENCE_S, 1e9)
        assert door.listener.connections
        served.look_at_the_time(door.listener.now() + connection.PATIENCE_S + 70, 1e9)
        assert await client.is_closed()


async def test_frames_wait_for_room_in_the_nodes_budget() -> None:
    async with opened(queued_max_request_bytes=1 << 20) as door:
        holder, waiter = await door.client(), await door.client()
        holder.writer.write(struct.pack(">i", 900_000) + b"\0" * 100)
        await until(lambda: door.listener.requests.free_bytes < 200_000)
        frame = b"".join(bytes(part) for part in encode_request(produce(), 9, 1, "w" * 30_000))
        big = struct.pack(">i", len(frame) - 4 + 300_000) + frame[4:] + bytes(300_000)
        waiter.writer.write(big)
        door.apis.let("append " + "w" * 30_000)
        door.apis.let("w" * 30_000)
        await asyncio.sleep(0.05)
        assert not door.apis.begun
        holder.writer.close()
        assert (await waiter.answer(ProduceResponse, 9))[0] == 1


async def test_a_silent_connection_is_closed_and_one_that_waits_is_not() -> None:
    async with opened() as door:
        silent, waiting = await door.client(), await door.client()
        waiting.send(MetadataRequest(topics=[]), 9, "wait")
        await until(lambda: door.apis.begun == ["wait"])
        for served in list(door.listener.connections):
            served.look_at_the_time(door.listener.now() + 601, 600)
        assert await silent.is_closed()
        door.apis.let("wait")
        await waiting.answer(MetadataResponse, 9)


async def test_connections_have_limits() -> None:
    async with opened(max_connections=3, max_connections_per_ip=2) as door:
        kept = [await door.client(), await door.client()]
        assert await (await door.client()).is_closed()
        kept[0].writer.close()
        await until(lambda: len(door.listener.connections) == 1)
        third = await door.client()
        third.send(MetadataRequest(topics=[]), 9, "m")
        await third.answer(MetadataResponse, 9)
    async with opened(max_connections=1) as door:
        await door.client()
        assert await (await door.client()).is_closed()


async def test_the_end_waits_a_moment_for_answers() -> None:
    async with opened() as door:
        client = await door.client()
        client.send(MetadataRequest(topics=[]), 9, "wait")
        await until(lambda: door.apis.begun == ["wait"])
        closing = asyncio.ensure_future(door.listener.close())
        await asyncio.sleep(0.01)
        door.apis.let("wait")
        await client.answer(MetadataResponse, 9)
        await closing
        assert await client.is_closed()
