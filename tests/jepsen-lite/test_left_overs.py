"""What an interrupted run leaves behind on this machine goes with the next one, by its own names, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dohle.cluster.process_identity import ProcessIdentity
from jepsen_lite import memory_faults
from jepsen_lite.memory_faults import MemoryGroup
from tests.machine import commands, disks, networks
from tests.machine.commands import missing, runs
from tests.machine.left_overs import control_group, tidy_up
from tests.machine.networks import Network, unmake
from tests.machine.slots import PREFIX, Slot, abandoned
from tests.means import lacks

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[2]
LEAVES_IT_ALL = """
import subprocess, sys
from pathlib import Path
from tests.machine.disks import Disk
from tests.machine.networks import Network
from tests.machine.slots import Slot

folder = Path(sys.argv[1])
slot = Slot.take(folder)
network = Network(slot, (1, 2))
network.make()
disk = Disk(folder / "disk", 16)
disk.folder.mkdir()
disk.make()
disk.mount()
(disk.folder / "file").write_text("kept")
child = subprocess.Popen(network.within(2, "sleep", "1000"), start_new_session=True, cwd=disk.folder)
print(slot.number, child.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def able(tmp_path):
    if reason := networks.why_not() or disks.why_not(tmp_path):
        lacks("root", reason)


@pytest.fixture
def killed(able, tmp_path):
    """A run that is killed amid everything; returns its slot's number and the process that it left."""
    command = [sys.executable, "-c", LEAVES_IT_ALL, str(tmp_path)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as run:
        number, child = run.stdout.readline().split()
        run.kill()
    yield int(number), int(child)
    tidy_up()


def left_of(number):
    """Returns the names on this machine that bear a slot's number."""
    spaces = [line.split()[0] for line in runs("ip", "netns", "list").stdout.splitlines()]
    links = [line.split(":")[1].strip().partition("@")[0] for line in runs("ip", "-o", "link").stdout.splitlines()]
    return [
        name for name in (*spaces, *links) if name == f"{PREFIX}-{number}" or name.startswith(f"{PREFIX}-{number}-")
    ]


def test_a_killed_run_leaves_nothing_once_it_is_tidied_up(killed, tmp_path):
    number, child = killed
    process = ProcessIdentity.of(child)
    assert process is not None
    assert len(left_of(number)) == 4  # the hub, two hosts, the link here
    assert (tmp_path / "disk").is_mount()
    tidy_up()
    assert left_of(number) == []
    assert not process.runs()
    assert not (tmp_path / "disk").is_mount()
    assert runs("losetup", "--associated", str(tmp_path / "disk.img")).stdout == ""
    assert (tmp_path / "disk.img").exists()  # in the run's own folder: for who wants to look into it


def test_a_killed_run_s_control_group_goes_too(able):
    if reason := memory_faults.why_not():
        lacks("root", reason)
    dead = killed_process()
    group, own = (MemoryGroup.for_process(os.getpid(), control_group(pid, 1)).folder for pid in (dead, os.getpid()))
    group.mkdir()
    own.mkdir()
    try:
        tidy_up()
        assert not group.exists()
        assert own.exists()
    finally:
        own.rmdir()


def killed_process():
    """Returns the number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_runs_that_live_are_left_alone(able, tmp_path):
    slot = Slot.take(tmp_path)
    network = Network(slot, (1,))
    try:
        network.make()
        made = left_of(slot.number)
        tidy_up()
        assert left_of(slot.number) == made
        assert slot.number not in [other.number for other in abandoned()]
    finally:
        unmake(slot)
        slot.give_back()
    assert left_of(slot.number) == []


def test_a_network_that_was_half_made_is_taken_away(able, tmp_path, monkeypatch):
    slot = Slot.take(tmp_path)
    calls = []

    def fails_late(*command, stdin=""):
        calls.append(command)
        if len(calls) == 9:
            raise commands.CommandFailed("no more")
        return commands.run(*command, stdin=stdin)

    with monkeypatch.context() as patched:
        patched.setattr(networks, "run", fails_late)
        with pytest.raises(commands.CommandFailed):
            Network(slot, (1, 2)).make()
    assert left_of(slot.number)
    unmake(slot)
    assert left_of(slot.number) == []
    slot.give_back()
    slot.give_back()


def test_two_runs_never_have_the_same_slot(able, tmp_path):
    one, other = Slot.take(tmp_path), Slot.take(tmp_path)
    assert one.number != other.number
    assert one.folder == other.folder == tmp_path.resolve()
    one.give_back()
    other.give_back()


def test_a_missing_program_is_named_with_its_package(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: None if name in ("ss", "iptables-restore") else f"/bin/{name}")
    assert missing("ip") == ""
    assert missing("ss", "ip", "iptables-restore") == (
        "there is no ss, no iptables-restore here: apt-get install iproute2 iptables"
    )


def test_who_is_not_root_is_told_so(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert networks.why_not() == "network namespaces: it takes root: run it with sudo"
    assert disks.why_not(tmp_path) == "disks whose power can be cut: it takes root: run it with sudo"


def test_where_a_machine_must_have_it_a_skip_is_a_failure(monkeypatch):
    monkeypatch.setenv("MUST_HAVE", "engine,root")
    with pytest.raises(pytest.fail.Exception, match="no root here"):
        lacks("root", "no root here")
    monkeypatch.setenv("MUST_HAVE", "engine")
    with pytest.raises(pytest.skip.Exception):
        lacks("root", "no root here")
