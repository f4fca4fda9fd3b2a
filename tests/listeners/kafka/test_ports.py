"""Several ports of one listener: each connection knows by which it came, and limits count over all."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from dohle.kafka.framing import decode_response, encode_request
from dohle.kafka.messages.cluster import MetadataRequest, MetadataResponse
from dohle.listeners.kafka.apis import Apis, Caller, ServedApi
from dohle.listeners.kafka.listener import KafkaListener, KafkaSettings
from dohle.model.errors import ConfigurationError
from dohle.runtime.clock import LoopClock
from dohle.runtime.network import Address

LOOPBACK = Address("127.0.0.1", 0)


async def _by_which(_request: MetadataRequest, caller: Caller) -> MetadataResponse:
    return MetadataResponse(brokers=[], topics=[], cluster_id=f"{caller.listener} {caller.reached}")


APIS: Apis = {3: ServedApi(MetadataRequest, _by_which)}


@contextlib.asynccontextmanager
async def listening(**settings: int) -> AsyncIterator[KafkaListener]:
    failures: list[BaseException] = []
    listener = KafkaListener(KafkaSettings(**settings), LoopClock(), failures.append)
    async with asyncio.timeout(30):
        yield listener
        await listener.close()
    assert not failures


async def asked(address: Address) -> str | None:
    """Returns by which listener, and at which address, a connection came; raises IncompleteReadError if it is cut."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.writelines(encode_request(MetadataRequest(topics=[]), 9, 1, "c"))
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        _, answer = decode_response(MetadataResponse, 9, memoryview(await reader.readexactly(size)))
    finally:
        writer.close()
    return answer.cluster_id


async def test_a_connection_knows_by_which_port_it_came() -> None:
    async with listening() as listener:
        [inside], [outside] = await listener.bind(LOOPBACK, "IN"), await listener.bind(LOOPBACK, "OUT")
        await listener.serve(APIS)
        assert await asked(inside) == f"IN {inside}"
        assert await asked(outside) == f"OUT {outside}"


async def test_limits_count_over_all_ports() -> None:
    async with listening(max_connections=1) as listener:
        [inside], [outside] = await listener.bind(LOOPBACK, "IN"), await listener.bind(LOOPBACK, "OUT")
        await listener.serve(APIS)
        _, writer = await asyncio.open_connection(*inside)
        while not listener.connections:
            await asyncio.sleep(0.001)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asked(outside)
        writer.close()


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["::", "", "localhost"])
async def test_both_families_are_served_and_told_as_they_came(host: str) -> None:
    async with listening() as listener:
        port = _free_port()
        bound = await listener.bind(Address(host, port))
        if host == "localhost" and len(bound) == 1:
            pytest.skip("localhost has one address here")
        await listener.serve(APIS)
        for local in ("127.0.0.1", "::1"):
            assert await asked(Address(local, port)) == f"KAFKA {Address(local, port)}"


async def test_an_address_of_a_name_that_is_not_here_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ::1 of localhost, where the hosts file has it and the machine has no IPv6."""
    found = [(0, 0, 0, "", (host, 0)) for host in ("198.51.100.7", "127.0.0.1")]

    async def getaddrinfo(*_: object, **__: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return found

    async with listening() as listener:
        with monkeypatch.context() as changed:
            changed.setattr("dohle.listeners.kafka.listener._resolved", getaddrinfo)
            [address] = await listener.bind(Address("somewhere", 0))
            assert address.host == "127.0.0.1"
            del found[1]
            with pytest.raises(ConfigurationError, match="cannot listen on somewhere:0"):
                await listener.bind(Address("somewhere", 0))
        await listener.serve(APIS)


async def test_a_port_in_use_is_said_with_what_to_set() -> None:
    async with listening() as listener, listening() as other:
        [taken] = await other.bind(LOOPBACK)
        await other.serve(APIS)
        with pytest.raises(ConfigurationError, match=f"kafka_port {taken.port} is in use.*--kafka-port"):
            await listener.bind(taken)
        with pytest.raises(ConfigurationError, match="give listener OUT another one in kafka_listeners"):
            await listener.bind(taken, "OUT")


async def test_a_host_that_is_not_known_is_said() -> None:
    async with listening() as listener:
        with pytest.raises(ConfigurationError, match="no name or address that is known here"):
            await listener.bind(Address("no-such-host.invalid", 0))
