"""Which process opened a connection of this machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys

import pytest

from dohle.testing.chaos.connection_owner import by_lsof, owner_of

CONNECTS = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as opened:
    opened.recv(1)
"""
OF_BOTH_FAMILIES = """
import socket, sys
with socket.socket(socket.AF_INET6) as opened:
    opened.connect(("::ffff:127.0.0.1", int(sys.argv[1])))
    opened.recv(1)
"""


@pytest.fixture
def door():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def opened(door, program):
    child = subprocess.Popen([sys.executable, "-c", program, str(door.getsockname()[1])])
    near, _ = door.accept()
    return child, near


@pytest.mark.parametrize("program", [CONNECTS, OF_BOTH_FAMILIES], ids=["IPv4", "IPv6 that speaks IPv4"])
async def test_a_connection_is_its_openers(door, program):
    child, near = opened(door, program)
    with child, near:
        ends = near.getpeername(), near.getsockname()
        assert await owner_of(*ends, [os.getpid(), child.pid]) == child.pid
        assert await owner_of(*ends, [os.getpid()]) is None


async def test_one_that_is_gone_has_no_opener(door):
    child, near = opened(door, CONNECTS)
    child.kill()
    child.wait()
    assert near.recv(1) == b""
    ends = near.getpeername(), near.getsockname()
    near.close()
    with pytest.raises(ConnectionResetError):
        await owner_of(*ends, [child.pid])


@pytest.mark.skipif(shutil.which("lsof") is None, reason="there is no lsof here")
async def test_lsof_knows_as_well(door):
    child, near = opened(door, CONNECTS)
    with child, near:
        assert await by_lsof(near.getpeername(), [child.pid, os.getppid()]) == child.pid
        assert await by_lsof(near.getpeername(), [os.getppid()]) is None
