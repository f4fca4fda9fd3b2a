"""Who is watched ends with who had him watched, however that one ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from dohle.cluster.process_identity import ProcessIdentity

HARNESS = """
import subprocess, sys, time
from dohle.testing.chaos.watchman import Watchman
watchman = Watchman()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
watchman.watch(child.pid)
print(child.pid, flush=True)
if sys.argv[1] == "dismiss":
    watchman.dismiss()
    sys.exit(child.poll() is None and child.wait(20) != -9)
time.sleep(600)
"""
PATIENCE_S = 20.0


def ends(identity):
    deadline = time.monotonic() + PATIENCE_S
    while identity.runs():
        assert time.monotonic() < deadline, "it still runs"
        time.sleep(0.01)
    return True


def test_a_harness_that_is_killed_leaves_nobody():
    with subprocess.Popen([sys.executable, "-c", HARNESS, "wait"], stdout=subprocess.PIPE, text=True) as harness:
        watched = ProcessIdentity.of(int(harness.stdout.readline()))
        assert watched.runs()
        harness.send_signal(signal.SIGKILL)
    assert ends(watched)


def test_who_is_dismissed_has_looked_before():
    done = subprocess.run([sys.executable, "-c", HARNESS, "dismiss"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
