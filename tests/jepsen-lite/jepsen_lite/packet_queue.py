"""PacketQueue: packets that reach a host wait in the kernel until we say so; that makes a link slow.

The kernel's firewall hands packets to queues by their numbers (target NFQUEUE), and tells of each over netlink (the
protocol of <linux/netfilter/nfnetlink_queue.h>). A verdict lets all of a queue go up to one packet. Their content stays
where it is: we are shown their first bytes. Whoever sends notices nothing but the time, so live connections slow down,
too, and each direction is a matter of its own. Packets of one queue keep their order.

The kernel that this was made on has neither netem nor nft's own word for queues; iptables' target is older than both.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.machine.networks import socket_in

_NETLINK_NETFILTER = 12
_SOL_NETLINK, _NO_ENOBUFS = 270, 5
_QUEUE_SUBSYSTEM = 3 << 8
_PACKET, _VERDICT, _CONFIG, _VERDICTS = (_QUEUE_SUBSYSTEM | kind for kind in range(4))
_ERROR = 2
_REQUEST, _ACK = 1, 4
_COMMAND, _PARAMETERS, _LENGTH, _MASK, _FLAGS = range(1, 6)
_BIND = 1
_COPY_PACKET = 2
_WHOLE_SEGMENTS = 4
_PACKET_HEADER, _VERDICT_HEADER, _PAYLOAD, _UNCUT_LENGTH = 1, 2, 10, 13
_ACCEPT = 1
_SHOWN_BYTES = 20
_MOST_PACKETS = 1 << 16
_RECEIVE_BYTES = 8 << 20
_MESSAGE_BYTES = 1 << 16


@dataclass(frozen=True)
class Pace:
    """How a queue lets packets go: each so much later, and so many bytes a second (0: without bound)."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: int = 0


@dataclass
class _Waiting:
    pace: Pace
    packets: deque[tuple[float, int]] = field(default_factory=deque)
    """When each may go, in the loop's time, and its number."""
    sent_s: float = 0.0
    """When a link of that many bytes a second has sent all that came."""
    timer: asyncio.TimerHandle | None = None


class PacketQueue:
    """The queues of one network namespace, which must be opened and closed on the event loop that they then work on."""

    def __init__(self, namespace: str, chance: random.Random) -> None:
        self.held_bytes = 0
        self._chance = chance
        self._waiting: dict[int, _Waiting] = {}
        self._loop = asyncio.get_running_loop()
        self._netlink = socket_in(namespace, socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        self._netlink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        self._netlink.setsockopt(_SOL_NETLINK, _NO_ENOBUFS, 1)  # what we did not hear of goes on with the next verdict
        self._bound: set[int] = set()

    def slow(self, queue: int, pace: Pace) -> None:
        """Has packets that come to `queue` from now on go at this pace, after those that wait. Raises OSError."""
        if queue not in self._bound:
            self._bind(queue)
        self._waiting.setdefault(queue, _Waiting(pace)).pace = pace

    def release(self, queue: int) -> None:
        """Lets go at once what waits."""
        waiting = self._waiting.pop(queue, None)
        if waiting is None:
            return
        if waiting.timer is not None:
            waiting.timer.cancel()
        if waiting.packets:
            self._let_go(queue, waiting.packets[-1][1])

    def close(self) -> None:
        for queue in tuple(self._waiting):
            self.release(queue)
        self._loop.remove_reader(self._netlink)
        self._netlink.close()

    def _bind(self, queue: int) -> None:
        self._ask(queue, _attribute(_COMMAND, struct.pack(">BxH", _BIND, socket.AF_INET)))
        self._ask(queue, _attribute(_PARAMETERS, struct.pack(">IB", _SHOWN_BYTES, _COPY_PACKET)))
        self._ask(queue, _attribute(_LENGTH, struct.pack(">I", _MOST_PACKETS)))
        whole = struct.pack(">I", _WHOLE_SEGMENTS)
        self._ask(queue, _attribute(_FLAGS, whole) + _attribute(_MASK, whole))
        self._bound.add(queue)
        self._netlink.setblocking(False)
        self._loop.add_reader(self._netlink, self._read)

    def _ask(self, queue: int, attributes: bytes) -> None:
        """Configures a queue. Raises OSError if the kernel will not."""
        self._netlink.setblocking(True)
        self._netlink.send(_message(_CONFIG, _REQUEST | _ACK, queue, attributes))
        while True:
            for kind, body in _messages(self._netlink.recv(_MESSAGE_BYTES)):
                if kind == _ERROR:
                    (code,) = struct.unpack_from("=i", body)
                    if code:
                        raise OSError(-code, f"packet queue {queue}: {os.strerror(-code)}")
                    return
                self._take(body)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                for kind, body in _messages(self._netlink.recv(_MESSAGE_BYTES)):
                    if kind == _PACKET:
                        self._take(body)

    def _take(self, body: bytes) -> None:
        queue, number, length = _packet(body)
        waiting = self._waiting.get(queue)
        if waiting is None:  # it came as its rule went
            self._let_go(queue, number)
            return
        now, pace = self._loop.time(), waiting.pace
        if pace.bytes_per_s:
            waiting.sent_s = max(now, waiting.sent_s) + length / pace.bytes_per_s
        due = max(now, waiting.sent_s) + pace.delay_s + self._chance.uniform(0, pace.jitter_s)
        if waiting.packets:
            due = max(due, waiting.packets[-1][0])
        self.held_bytes += length
        waiting.packets.append((due, number))
        if waiting.timer is None:
            waiting.timer = self._loop.call_at(due, self._go_on, queue)

    def _go_on(self, queue: int) -> None:
        waiting, last = self._waiting[queue], None
        now = self._loop.time()
        while waiting.packets and waiting.packets[0][0] <= now:
            last = waiting.packets.popleft()[1]
        if last is not None:
            self._let_go(queue, last)
        waiting.timer = self._loop.call_at(waiting.packets[0][0], self._go_on, queue) if waiting.packets else None

    def _let_go(self, queue: int, last: int) -> None:
        """All packets of the queue up to this one."""
        verdict = _attribute(_VERDICT_HEADER, struct.pack(">II", _ACCEPT, last))
        self._netlink.send(_message(_VERDICTS, _REQUEST, queue, verdict))


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _message(kind: int, flags: int, queue: int, attributes: bytes) -> bytes:
    body = struct.pack(">BBH", socket.AF_UNSPEC, 0, queue) + attributes
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 0, 0) + body


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields what netlink said: kinds, and what follows the header."""
    at = 0
    while at < len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        yield kind, data[at + 16 : at + length]
        at += (length + 3) & ~3


def _packet(body: bytes) -> tuple[int, int, int]:
    """Returns a packet's queue, its number, and its length in bytes."""
    (queue,) = struct.unpack_from(">H", body, 2)
    number, shown, uncut = 0, 0, 0
    at = 4
    while at < len(body):
        length, kind = struct.unpack_from("=HH", body, at)
        if kind == _PACKET_HEADER:
            (number,) = struct.unpack_from(">I", body, at + 4)
        elif kind == _PAYLOAD:
            shown = length - 4
        elif kind == _UNCUT_LENGTH:
            (uncut,) = struct.unpack_from(">I", body, at + 4)
        at += (length + 3) & ~3
    return queue, number, max(shown, uncut)
