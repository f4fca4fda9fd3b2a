"""The shim in a process of its own: what it fails, delays and counts, and that all else goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from dohle.model.errors import ConfigurationError
from dohle.testing.chaos.world import World
from jepsen_lite import shim as module
from jepsen_lite.shim import Shim, why_no_clocks, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "there is a compiler")

PROGRAM = """
import ctypes, os, sys
inside = os.open(sys.argv[1] + "/inside", os.O_RDWR | os.O_CREAT)
outside = os.open(sys.argv[1] + "-outside", os.O_RDWR | os.O_CREAT)
folder = os.open(sys.argv[1], os.O_RDONLY)
syncfs = ctypes.CDLL(None, use_errno=True).syncfs
def tried(call, *arguments):
    try:
        outcome = call(*arguments)
        print("ok" if outcome in (None, 0, 4) else ctypes.get_errno(), end=" ")
    except OSError as error:
        print(error.errno, end=" ")
for descriptor in (inside, outside):
    for call in (os.write, lambda fd, data: os.writev(fd, [data]), lambda fd, data: os.pwrite(fd, data, 0),
                 lambda fd, data: os.pwritev(fd, [data], 0)):
        tried(call, descriptor, b"data")
    for call in (os.fsync, os.fdatasync, syncfs):
        tried(call, descriptor)
    print()
tried(os.fsync, folder)
"""


@pytest.fixture
def shim(tmp_path: Path) -> Shim:
    (tmp_path / "data").mkdir()
    world = SimpleNamespace(folder=tmp_path, nodes=(1,), data_folder=lambda _: tmp_path / "data")
    return Shim(cast("World", world), 1)


def run(shim: Shim, program: str = PROGRAM, *, clock: bool = False) -> list[list[str]]:
    command = [sys.executable, "-c", program, str(shim.world.data_folder(1))]
    done = subprocess.run(command, env=shim.environment(clock=clock), capture_output=True, text=True, check=True)
    return [line.split() for line in done.stdout.splitlines()]


def test_told_nothing_it_does_nothing(shim):
    assert run(shim) == [["ok"] * 7, ["ok"] * 7, ["ok"]]
    assert not any(shim.ask(field) for field in ("writes", "syncs", "failed_writes", "failed_syncs", "delayed_calls"))


def test_writes_below_the_folder_fail_and_are_counted(shim):
    shim.tell("failing_writes", 1)
    assert run(shim) == [["5"] * 4 + ["ok"] * 3, ["ok"] * 7, ["ok"]]
    assert (shim.ask("failed_writes"), shim.ask("failed_syncs")) == (4, 0)
    assert (shim.world.data_folder(1) / "inside").read_bytes() == b""


def test_syncs_below_the_folder_and_of_itself_fail_and_are_counted(shim):
    shim.tell("failing_syncs", 1)
    assert run(shim) == [["ok"] * 4 + ["5"] * 3, ["ok"] * 7, ["5"]]
    assert (shim.ask("failed_writes"), shim.ask("failed_syncs")) == (0, 4)


def test_one_of_so_many_fails(shim):
    shim.tell("failing_writes", 3)
    assert run(shim)[0][:4] == ["ok", "ok", "5", "ok"]
    assert (shim.ask("writes"), shim.ask("failed_writes")) == (4, 1)


def test_calls_are_delayed(shim):
    shim.tell("sync_delay_us", 2000)
    shim.tell("write_delay_us", 1000)
    timed = "import time; began = time.monotonic()\n" + PROGRAM + "\nprint(time.monotonic() - began)"
    [*_, [_, seconds]] = run(shim, timed)
    assert shim.ask("delayed_calls") == 8
    assert float(seconds) >= 4 * 0.001 + 4 * 0.002


@pytest.mark.skipif(bool(why_no_clocks()), reason=why_no_clocks() or "there is libfaketime")
def test_a_clock_jumps_and_the_one_that_measures_does_not(shim):
    times = "import time; print(time.time(), time.monotonic())"

    def clocks() -> tuple[float, float]:
        [[wall, monotonic]] = run(shim, times, clock=True)
        return float(wall), float(monotonic)

    before = clocks()
    assert shim.ask("skewed_reads") == 0
    shim.set_clock(3600)
    jumped = clocks()
    assert 3600 <= jumped[0] - before[0] < 3700
    assert 0 < jumped[1] - before[1] < 100
    assert shim.ask("skewed_reads") > 0
    assert abs(shim.ask("skew_ms") - 3_600_000) < 100
    shim.set_clock(0.0)
    assert clocks()[0] < jumped[0]


@pytest.mark.skipif(bool(why_no_clocks()), reason=why_no_clocks() or "there is libfaketime")
def test_a_process_that_is_killed_leaves_nothing_behind(shim):
    dies = "import os, time; [time.time() for _ in range(1000)]; os.kill(os.getpid(), 9)"
    process = subprocess.Popen([sys.executable, "-c", dies], env=shim.environment(clock=True))
    assert process.wait() == -9
    assert not list(Path("/dev/shm").glob(f"*faketime_*_{process.pid}"))


def test_a_machine_without_a_compiler_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "Debian: gcc" in module.why_not()
    with pytest.raises(ConfigurationError, match="no C compiler"):
        module.compile_into(tmp_path)
