"""Who opened a TCP connection of this machine: found by its ports, among processes of the same user. No root needed.

Linux tells of one socket over netlink (sock_diag(7)), and in /proc which process has it open; elsewhere lsof knows,
which macOS has.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator

SocketAddress = tuple[str, int]

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_NLMSG_ERROR = 2
_HEADER = struct.Struct("=IHHII")  # of netlink: length, type, flags, sequence, port
_QUESTION = struct.Struct("=BBBBI")  # family, protocol, extensions, padding, states
_ENDS = struct.Struct("!HH4s12x4s12x")  # ports and addresses, IPv4's in the first of 16 bytes
_ANY = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)  # interface, and a cookie that says "whichever it is"
_INODE = struct.Struct("=I")
_INODE_AT = _HEADER.size + 4 + _ENDS.size + len(_ANY) + 16
_ALL_STATES = 0xFFFFFFFF
_ANSWER_BYTES = 4096


async def owner_of(opener: SocketAddress, door: SocketAddress, pids: Iterable[int]) -> int | None:
    """Returns which of these processes connected from `opener` to `door`; None: none of them.

    Raises ConnectionResetError if it is gone already.
    """
    if sys.platform != "linux":
        return await by_lsof(opener, pids)
    socket_name = f"socket:[{_inode(opener, door)}]"
    return next((pid for pid in pids if socket_name in _open_files(pid)), None)


def _inode(opener: SocketAddress, door: SocketAddress) -> int:
    """Returns the number that the kernel has for the opener's socket."""
    ends = _ENDS.pack(opener[1], door[1], socket.inet_aton(opener[0]), socket.inet_aton(door[0]))
    question = _QUESTION.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0, _ALL_STATES) + ends + _ANY
    header = _HEADER.pack(_HEADER.size + len(question), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.send(header + question)
        answer = netlink.recv(_ANSWER_BYTES)
    kind = _HEADER.unpack_from(answer)[1]
    inode = 0 if kind == _NLMSG_ERROR else int(_INODE.unpack_from(answer, _INODE_AT)[0])
    if not inode:  # the kernel knows it no more, or nobody has it open
        raise ConnectionResetError(f"the connection from {opener} is gone")
    return inode


def _open_files(pid: int) -> Iterator[str]:
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:  # it has ended
        return
    for name in names:
        try:
            yield os.readlink(f"{folder}/{name}")
        except OSError:  # closed since
            continue


async def by_lsof(opener: SocketAddress, pids: Iterable[int]) -> int | None:
    """The same by lsof, which takes some 50 ms."""
    asked = ["-nP", "-a", "-p", ",".join(map(str, pids)), f"-iTCP@{opener[0]}:{opener[1]}", "-Fp"]
    process = await asyncio.create_subprocess_exec(
        "lsof", *asked, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    said, _ = await process.communicate()
    return next((int(line[1:]) for line in said.decode().splitlines() if line.startswith("p")), None)
