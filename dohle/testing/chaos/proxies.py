"""Proxies: what nodes send each other goes through here, where links can be cut, slow, narrow or reset. TCP, no root.

Each node has a door, at the address that it advertises; behind it is the node itself. Who opened a connection is for
`Opener` to find out: another node, whose link's rule then holds, or a client, to whom nothing is done. A rule holds for
what is sent: of one connection each direction has its own.

What this is not: packets are neither lost nor reordered, since the kernel at either end speaks to the proxy. A
connection through a cut link is accepted and hears nothing; whoever waits for an answer cannot tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from random import Random

from dohle.testing.chaos.connection_owner import SocketAddress
from dohle.testing.chaos.world import SOUND, LinkCounts, LinkRule, Links

_CHUNK_BYTES = 64 << 10
_MOST_CHUNKS = 64  # that are on their way, of one direction of one connection
_SLICES_PER_S = 20
_BACKLOG = 128
_AT_ONCE = struct.pack("ii", 1, 0)

Opener = Callable[[SocketAddress, SocketAddress], Awaitable[int | None]]
"""Given the opener's address and the door's: which node it is; None: no node. Raises OSError if it is gone."""
_Link = tuple[int | None, int | None]
"""Source and target of what is said; None: a client."""


@dataclass(frozen=True)
class Door:
    """Where a node is reached, and where it listens."""

    node: int
    outside: SocketAddress
    inside: SocketAddress


@dataclass
class _Connection:
    """One that somebody has opened to a node; `source` None: a client, or not known yet."""

    near: socket.socket
    target: int
    source: int | None = None


class Proxies(Links):
    """`chance` draws jitter."""

    def __init__(self, opener: Opener, chance: Random) -> None:
        self._opener = opener
        self._chance = chance
        self._rules: dict[_Link, LinkRule] = {}
        self._changed = asyncio.Event()  # set, and replaced, with each change of the rules
        self._counts = LinkCounts()
        self._doors: dict[int, socket.socket] = {}
        self._connections: dict[asyncio.Task[None], _Connection] = {}

    # doors

    def open(self, door: Door) -> None:
        """Lets connections in, as a node that listens does. Raises OSError if the port is in use."""
        if door.node not in self._doors:
            listening = socket.create_server(door.outside, backlog=_BACKLOG)
            listening.setblocking(False)
            self._doors[door.node] = listening
            asyncio.get_running_loop().add_reader(listening, self._let_in, door, listening)

    def close(self, node: int) -> None:
        """Refuses new connections, as the kernel does for a process that is gone."""
        listening = self._doors.pop(node, None)
        if listening is not None:
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()

    async def end(self) -> None:
        for node in list(self._doors):
            self.close(node)
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _let_in(self, door: Door, listening: socket.socket) -> None:
        try:
            near, _ = listening.accept()
        except OSError:  # whoever it was has gone again
            return
        connection = _Connection(near, door.node)
        task = asyncio.create_task(self._serve(door, connection))
        self._connections[task] = connection
        task.add_done_callback(self._connections.pop)

    # links

    async def set(self, source: int, target: int, rule: LinkRule) -> None:
        assert not rule.loss, "packets are lost by who sees packets"
        self._rules[source, target] = rule
        self._rules_changed()

    async def reset(self, source: int, target: int) -> None:
        for task, connection in list(self._connections.items()):
            if (connection.source, connection.target) == (source, target):
                task.cancel()
                self._counts = replace(self._counts, resets=self._counts.resets + 1)

    def counts(self) -> LinkCounts:
        return self._counts

    async def heal(self) -> None:
        self._rules.clear()
        self._rules_changed()

    # connections

    async def _serve(self, door: Door, connection: _Connection) -> None:
        loop = asyncio.get_running_loop()
        near = connection.near
        try:
            with _socket(near), _socket(socket.socket()) as far:
                connection.source = await self._opener(near.getpeername(), door.outside)
                await self._passable(connection)
                await loop.sock_connect(far, door.inside)
                async with asyncio.TaskGroup() as pipes:
                    pipes.create_task(self._pipe(near, far, (connection.source, door.node)))
                    pipes.create_task(self._pipe(far, near, (door.node, connection.source)))
        except* OSError:  # either end is gone: the other hears of it as it would have without us
            pass

    async def _passable(self, connection: _Connection) -> None:
        """Returns once a connection could be made: it takes both directions."""
        there, back = (connection.source, connection.target), (connection.target, connection.source)
        while self._rule(there).cut or self._rule(back).cut:
            await self._changed.wait()

    def _rule(self, link: _Link) -> LinkRule:
        return self._rules.get(link, SOUND)

    def _rules_changed(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _pipe(self, said: socket.socket, heard: socket.socket, link: _Link) -> None:
        """Passes on what one end says, with its end. Raises OSError if either is gone, but not through a cut link."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_CHUNKS)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._receive(said, queue, link))
            tasks.create_task(self._deliver(queue, heard, link))

    async def _receive(self, said: socket.socket, queue: asyncio.Queue[tuple[float, bytes]], link: _Link) -> None:
        loop = asyncio.get_running_loop()
        due_s = 0.0
        while True:
            try:
                data = await loop.sock_recv(said, _CHUNK_BYTES)
            except OSError:
                await self._uncut(link)
                raise
            rule = self._rule(link)
            if rule.delay_s or rule.jitter_s:
                late_s = max(0.0, rule.delay_s + self._chance.uniform(-rule.jitter_s, rule.jitter_s))
                due_s = max(due_s, loop.time() + late_s)  # in the order in which it was sent
            if rule != SOUND:
                self._counts = replace(self._counts, held_bytes=self._counts.held_bytes + len(data))
            await queue.put((due_s, data))
            if not data:
                return

    async def _deliver(self, queue: asyncio.Queue[tuple[float, bytes]], heard: socket.socket, link: _Link) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s, data = await queue.get()
            if (early_s := due_s - loop.time()) > 0:
                await asyncio.sleep(early_s)
            await self._uncut(link)
            if not data:
                heard.shutdown(socket.SHUT_WR)
                return
            while (bytes_per_s := self._rule(link).bytes_per_s) and data:
                size = max(1, bytes_per_s // _SLICES_PER_S)
                await loop.sock_sendall(heard, data[:size])
                await asyncio.sleep(min(len(data), size) / bytes_per_s)
                data = data[size:]
            await loop.sock_sendall(heard, data)

    async def _uncut(self, link: _Link) -> None:
        while self._rule(link).cut:
            await self._changed.wait()


@contextlib.contextmanager
def _socket(one: socket.socket) -> Iterator[socket.socket]:
    """A socket that does not block, without delays of its own; at the end it is closed, and whoever is there told."""
    one.setblocking(False)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        yield one
    finally:
        with contextlib.suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        one.close()
