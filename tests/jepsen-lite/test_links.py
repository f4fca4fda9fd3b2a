"""What rules do to packets between hosts that have networks of their own, and to connections that are open."""

from __future__ import annotations

import asyncio
import random
import socket
import time

import pytest

from dohle.testing.chaos.world import SOUND, LinkCounts, LinkRule
from jepsen_lite import links as links_module
from jepsen_lite.links import NamespaceLinks
from tests.machine import networks
from tests.machine.networks import Network, socket_in, unmake
from tests.machine.slots import Slot
from tests.means import lacks

pytestmark = pytest.mark.processes

PORT = 7092
SOME = 400
NEVER = LinkRule(delay_s=3600)
CUT = LinkRule(cut=True)


@pytest.fixture
def network(tmp_path):
    if reason := networks.why_not() or links_module.why_not():
        lacks("root", reason)
    slot = Slot.take(tmp_path)
    made = Network(slot, (1, 2, 3))
    try:
        made.make()
        yield made
    finally:
        unmake(slot)
        slot.give_back()


@pytest.fixture
async def links(network):
    made = NamespaceLinks(network, random.Random(1))
    yield made
    made.close()


class Hosts:
    """Hosts that send each other datagrams, and read what came."""

    def __init__(self, network):
        self._network = network
        self._sockets = {}
        for host in network.hosts:
            made = socket_in(network.namespace(host), socket.AF_INET, socket.SOCK_DGRAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            made.bind((network.address(host), PORT))
            made.setblocking(False)
            self._sockets[host] = made

    def send(self, source, target, content=b"."):
        self._sockets[source].sendto(content, (self._network.address(target), PORT))

    def came(self, host):
        """Returns what lies there."""
        found = []
        while True:
            try:
                found.append(self._sockets[host].recv(65_535))
            except BlockingIOError:
                return found

    async def comes(self, host):
        """Returns what comes next."""
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._sockets[host], 65_535), 20)

    async def know_each_other(self):
        """Each has the other's hardware address: from now on a packet is there once it was sent."""
        for source in self._network.hosts:
            for target in self._network.hosts:
                if source != target:
                    self.send(source, target, b"hello")
                    assert await self.comes(target) == b"hello"

    def close(self):
        for one in self._sockets.values():
            one.close()


@pytest.fixture
async def hosts(network):
    made = Hosts(network)
    await made.know_each_other()
    yield made
    made.close()


async def until(holds):
    """The kernel does things by and by, and tells of them later."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


async def connected(network, source, target):
    """Returns both ends of a connection from one host to another, and what listens there."""
    loop = asyncio.get_running_loop()
    listening = socket_in(network.namespace(target), socket.AF_INET, socket.SOCK_STREAM)
    listening.bind((network.address(target), PORT))
    listening.listen()
    near = socket_in(network.namespace(source), socket.AF_INET, socket.SOCK_STREAM)
    for one in (listening, near):
        one.setblocking(False)
    await loop.sock_connect(near, (network.address(target), PORT))
    far, _ = await loop.sock_accept(listening)
    far.setblocking(False)
    return near, far, listening


async def test_a_cut_holds_in_one_direction_and_counts_what_it_dropped(hosts, links):
    await links.set(1, 2, CUT)
    hosts.send(1, 2)
    hosts.send(2, 1)
    hosts.send(3, 2)
    assert await hosts.comes(1) == b"."
    assert await hosts.comes(2) == b"."  # of 3
    await until(lambda: links.counts() == LinkCounts(dropped_packets=1))
    assert hosts.came(2) == []
    await links.set(1, 2, SOUND)
    hosts.send(1, 2)
    assert await hosts.comes(2) == b"."
    assert links.counts() == LinkCounts(dropped_packets=1)


async def test_rules_of_several_links_to_one_host_do_not_touch_each_other(hosts, links):
    await links.set(1, 3, CUT)
    await links.set(2, 3, CUT)
    await links.set(1, 3, SOUND)
    hosts.send(2, 3, b"two")
    hosts.send(1, 3, b"one")
    assert await hosts.comes(3) == b"one"
    await until(lambda: links.counts().dropped_packets == 1)
    assert hosts.came(3) == []


async def test_a_loss_drops_some_and_counts_each(hosts, links):
    await links.set(1, 2, LinkRule(loss=0.3))
    for _ in range(SOME):
        hosts.send(1, 2)
    arrived = []
    await until(lambda: arrived.extend(hosts.came(2)) or len(arrived) + links.counts().dropped_packets == SOME)
    assert SOME * 0.1 < links.counts().dropped_packets < SOME * 0.6


async def test_what_is_delayed_waits_and_comes_in_order_once_it_is_healed(hosts, links):
    await links.set(1, 2, NEVER)
    for number in range(10):
        hosts.send(1, 2, b"%d" % number)
    hosts.send(3, 2, b"of another")
    assert await hosts.comes(2) == b"of another"
    await until(lambda: links.counts().held_bytes == 10 * (20 + 8 + 1))
    assert hosts.came(2) == []
    await links.heal()
    assert [await hosts.comes(2) for _ in range(10)] == [b"%d" % number for number in range(10)]
    assert links.counts() == LinkCounts(held_bytes=290)
    hosts.send(1, 2, b"later")
    assert await hosts.comes(2) == b"later"
    assert links.counts() == LinkCounts(held_bytes=290)


async def test_a_delay_is_no_shorter_than_it_says_and_jitter_changes_no_order(hosts, links):
    await links.set(1, 2, LinkRule(delay_s=0.05, jitter_s=0.05))
    began = time.monotonic()
    for number in range(20):
        hosts.send(1, 2, b"%d" % number)
    assert await hosts.comes(2) == b"0"
    assert time.monotonic() - began >= 0.05
    assert [await hosts.comes(2) for _ in range(19)] == [b"%d" % number for number in range(1, 20)]


async def test_a_narrow_link_lets_no_more_through_than_it_says(hosts, links):
    await links.set(1, 2, LinkRule(bytes_per_s=40_000))
    began = time.monotonic()
    for _ in range(10):
        hosts.send(1, 2, bytes(1000 - 28))
    for _ in range(10):
        assert len(await hosts.comes(2)) == 972
    assert time.monotonic() - began >= 10 * 1000 / 40_000
    assert links.counts().held_bytes == 10_000


async def test_a_slow_link_that_is_cut_lets_nothing_more_through(hosts, links):
    await links.set(1, 2, NEVER)
    await links.set(1, 2, CUT)
    hosts.send(1, 2)
    hosts.send(3, 2, b"of another")
    assert await hosts.comes(2) == b"of another"
    await until(lambda: links.counts().dropped_packets == 1)
    assert hosts.came(2) == []


async def test_a_rule_takes_the_place_of_the_one_before_and_lets_go_what_waited(hosts, links):
    await links.set(1, 2, NEVER)
    hosts.send(1, 2, b"waits")
    await until(lambda: links.counts().held_bytes == 20 + 8 + 5)
    await links.set(1, 2, LinkRule(loss=0.000_001))
    assert await hosts.comes(2) == b"waits"


async def test_an_open_connection_stalls_and_loses_nothing(network, links):
    loop = asyncio.get_running_loop()
    near, far, listening = await connected(network, 1, 2)
    await links.set(1, 2, NEVER)
    content = random.Random(2).randbytes(300_000)
    sending = asyncio.ensure_future(loop.sock_sendall(near, content))
    await until(lambda: links.counts().held_bytes > 0)
    with pytest.raises(BlockingIOError):
        far.recv(1)
    await links.heal()
    received = b""
    while len(received) < len(content):
        received += await asyncio.wait_for(loop.sock_recv(far, 1 << 16), 20)
    assert received == content
    await sending
    for one in (near, far, listening):
        one.close()


async def test_a_reset_ends_what_a_host_has_opened_and_nothing_else(network, links):
    loop = asyncio.get_running_loop()
    near, far, listening = await connected(network, 1, 2)
    others = await connected(network, 2, 1)
    await links.reset(1, 2)
    assert links.counts() == LinkCounts(resets=1)
    for end in (near, far):
        with pytest.raises((ConnectionResetError, ConnectionAbortedError)):
            await asyncio.wait_for(loop.sock_recv(end, 1), 20)
    await loop.sock_sendall(others[0], b".")
    assert await asyncio.wait_for(loop.sock_recv(others[1], 1), 20) == b"."
    await links.reset(3, 2)  # which has opened none
    assert links.counts() == LinkCounts(resets=1)
    for one in (near, far, listening, *others):
        one.close()


async def test_healing_is_safe_at_any_time_and_keeps_the_counts(hosts, links):
    await links.heal()
    await links.set(1, 2, CUT)
    hosts.send(1, 2)
    await until(lambda: links.counts().dropped_packets == 1)
    await links.heal()
    await links.heal()
    assert links.counts() == LinkCounts(dropped_packets=1)


async def test_a_change_that_is_cancelled_is_made_whole(hosts, links):
    change = asyncio.ensure_future(links.set(1, 2, CUT))
    await asyncio.sleep(0)
    change.cancel()
    with pytest.raises(asyncio.CancelledError):
        await change
    hosts.send(1, 2)
    hosts.send(3, 2, b"of another")
    assert await hosts.comes(2) == b"of another"
    await links.heal()
    hosts.send(1, 2, b"healed")
    assert await hosts.comes(2) == b"healed"
    await until(lambda: links.counts().dropped_packets == 1)


async def test_this_process_and_its_clients_are_on_no_link(network, hosts, links):
    for source in network.hosts:
        for target in network.hosts:
            if source != target:
                await links.set(source, target, CUT)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((network.own_address, 0))
        client.sendto(b"from here", (network.address(1), PORT))
        assert await hosts.comes(1) == b"from here"
