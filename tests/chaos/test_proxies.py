"""Proxies: bytes between two nodes that come late, slowly, later or never, by real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from random import Random

import pytest

from dohle.testing.chaos.proxies import Door, Proxies
from dohle.testing.chaos.world import SOUND, LinkRule

SOURCE, TARGET = 1, 2
CUT = LinkRule(cut=True)
PATIENCE_S = 20.0


class Pair:
    """What node 1, or a client, says to node 2 through the door, and what comes back, which is the same."""

    def __init__(self):
        self.opener = SOURCE
        self.proxies = Proxies(self._opener, Random(1))

    async def _opener(self, opener, door):
        return self.opener

    async def begin(self):
        self.server = await asyncio.start_server(self._echo, "127.0.0.1", 0)
        with socket.create_server(("127.0.0.1", 0)) as free:
            outside = free.getsockname()
        self.door = Door(TARGET, outside, self.server.sockets[0].getsockname())
        self.proxies.open(self.door)

    async def _echo(self, reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connect(self):
        return await asyncio.open_connection(*self.door.outside)

    async def end(self):
        await self.proxies.end()
        self.server.close()


@pytest.fixture
async def pair():
    pair = Pair()
    await pair.begin()
    async with asyncio.timeout(PATIENCE_S):
        yield pair
        await pair.end()


async def said(connection, data=b"hello"):
    reader, writer = connection
    writer.write(data)
    await writer.drain()
    return await reader.readexactly(len(data))


async def nothing_comes(pair, connection, held):
    """Returns once `held` bytes wait in the proxies, and nobody has heard of them."""
    while pair.proxies.counts().held_bytes < held:
        await asyncio.sleep(0.001)
    assert not connection[0]._buffer


async def test_what_is_sound_passes_whatever_its_size_and_so_does_its_end(pair):
    reader, writer = await pair.connect()
    data = bytes(range(256)) * 8000
    writer.write(data)
    writer.write_eof()
    assert await reader.read(-1) == data
    assert pair.proxies.counts().held_bytes == 0
    writer.close()


@pytest.mark.parametrize("link", [(SOURCE, TARGET), (TARGET, SOURCE)])
async def test_what_is_said_through_a_cut_arrives_when_it_is_healed(pair, link):
    connection = await pair.connect()
    await said(connection)
    await pair.proxies.set(*link, CUT)
    connection[1].write(b"later")
    await nothing_comes(pair, connection, 5)
    await pair.proxies.heal()
    assert await connection[0].readexactly(5) == b"later"
    connection[1].close()


async def test_one_direction_is_cut_and_the_other_is_not(pair):
    connection = await pair.connect()
    await said(connection)
    await pair.proxies.set(TARGET, SOURCE, CUT)
    connection[1].write(b"later")
    await nothing_comes(pair, connection, 5)  # held on its way back, so it has come there
    await pair.proxies.set(TARGET, SOURCE, SOUND)
    assert await connection[0].readexactly(5) == b"later"
    connection[1].close()


@pytest.mark.parametrize("link", [(SOURCE, TARGET), (TARGET, SOURCE)])
async def test_no_connection_is_made_through_a_cut_in_either_direction(pair, link):
    await pair.proxies.set(*link, CUT)
    connection = await pair.connect()
    answer = asyncio.create_task(said(connection))
    _, waiting = await asyncio.wait([answer], timeout=0.2)
    assert waiting
    await pair.proxies.heal()
    assert await answer == b"hello"
    connection[1].close()


async def test_nothing_is_done_to_clients(pair):
    pair.opener = None
    await pair.proxies.set(SOURCE, TARGET, CUT)
    connection = await pair.connect()
    assert await said(connection) == b"hello"
    await pair.proxies.reset(SOURCE, TARGET)
    assert await said(connection) == b"hello"
    assert pair.proxies.counts().resets == 0
    connection[1].close()


async def test_a_delay_holds_what_is_said_and_keeps_its_order(pair):
    connection = await pair.connect()
    await said(connection)
    await pair.proxies.set(SOURCE, TARGET, LinkRule(delay_s=0.2, jitter_s=0.2))
    began = asyncio.get_running_loop().time()
    for number in range(20):
        connection[1].write(b"%02d" % number)
        await asyncio.sleep(0)
    assert await connection[0].readexactly(40) == b"".join(b"%02d" % number for number in range(20))
    assert asyncio.get_running_loop().time() > began
    assert pair.proxies.counts().held_bytes == 40
    connection[1].close()


async def test_a_narrow_link_passes_all_of_it_in_the_end(pair):
    connection = await pair.connect()
    await pair.proxies.set(SOURCE, TARGET, LinkRule(bytes_per_s=100_000))
    began = asyncio.get_running_loop().time()
    data = b"x" * 20_000
    assert await said(connection, data) == data
    assert asyncio.get_running_loop().time() - began > 0.14  # four slices, and a rest between
    connection[1].close()


async def test_a_reset_ends_connections_and_new_ones_are_let_in(pair):
    connection = await pair.connect()
    await said(connection)
    await pair.proxies.reset(SOURCE, TARGET)
    with pytest.raises(ConnectionResetError):
        await said(connection)
    assert pair.proxies.counts().resets == 1
    assert await said(await pair.connect()) == b"hello"


async def test_a_closed_door_refuses_and_can_be_opened_at_once(pair):
    pair.proxies.close(TARGET)
    with pytest.raises(ConnectionRefusedError):
        await pair.connect()
    pair.proxies.open(pair.door)
    assert await said(await pair.connect()) == b"hello"


async def test_a_node_that_does_not_listen_ends_the_connection(pair):
    pair.server.close()
    with pytest.raises(ConnectionResetError):
        await said(await pair.connect())


async def test_rules_of_several_faults_come_together_and_go_one_by_one(pair):
    one, other = object(), object()
    link = (SOURCE, TARGET)
    await pair.proxies.impose(one, {link: LinkRule(delay_s=0.5, bytes_per_s=10)})
    await pair.proxies.impose(other, {link: LinkRule(cut=True, delay_s=0.25, jitter_s=0.25, bytes_per_s=5)})
    assert pair.proxies._rule(link) == LinkRule(cut=True, delay_s=0.75, jitter_s=0.25, bytes_per_s=5)
    await pair.proxies.lift(one)
    assert pair.proxies._rule(link) == LinkRule(cut=True, delay_s=0.25, jitter_s=0.25, bytes_per_s=5)
    await pair.proxies.lift(one)
    await pair.proxies.lift(other)
    assert pair.proxies._rule(link) == SOUND
