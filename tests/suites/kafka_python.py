"""kafka-python's integration tests, from its source distribution: pytest, one process for each test.

The distribution leaves two files out which its tests import: `test/__init__.py`, and `test/service.py`, whose services
here are somebody else's, neither started nor stopped.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from tests.suites.suite import Run, Setup, ended
from tests.suites.table import Outcome
from tools.foreign.cache import Unavailable, made
from tools.foreign.packages import from_pypi, unpack

PACKAGE = from_pypi("kafka-python", "3.0.12", "4ccda3616b9aa5c353d74a97f2770d6cd1b950890d77ab0e8890e09a48eeed65")
KAFKA_VERSION = "4.2.0"
SERVICE = '''"""Stands in for what the source distribution leaves out: brokers that somebody else runs."""


class ExternalService:
    def __init__(self, host, port):
        self.host, self.port = host, port

    def start(self):
        pass

    def stop(self):
        pass

    def wait_for(self, pattern, timeout=None):
        return True

    def dump_logs(self):
        pass


class SpawnedService:
    def __init__(self, *arguments):
        raise RuntimeError("this test starts a broker of its own")
'''
PYTEST = (*(sys.executable, "-m", "pytest", "-q"), *("-p", "no:cacheprovider", "-p", "no:dohle", "-o", "addopts="))


class KafkaPython:
    """The suite."""

    name = "kafka_python"

    def __init__(self) -> None:
        self._sources = made("kafka-python", PACKAGE.digest + SERVICE, _complete)

    def tests(self) -> Sequence[str]:
        """Returns `file::test`, both without what they all have in common."""
        listing = subprocess.run(
            [*PYTEST, "--collect-only", "test/integration"],
            cwd=self._sources,
            env=self._environment("127.0.0.1:9092"),
            capture_output=True,
            text=True,
            check=False,
        )
        if listing.returncode:
            raise Unavailable(f"pytest cannot list kafka-python's tests:\n{listing.stdout}{listing.stderr}")
        return [_short(line) for line in listing.stdout.splitlines() if "::" in line]

    def setup(self, test: str) -> Setup:
        return Setup(nodes=1, least_session_ms=1000)  # as its own fixtures start a broker

    def run(self, test: str, how: Run) -> Outcome:
        report = how.folder / "report.xml"
        command = [*PYTEST, f"--junit-xml={report}", _long(test)]
        seconds, code = ended(command, self._environment(how.bootstrap), how, within=self._sources)
        if code is None:
            return Outcome("hung", f"ended after {how.most_s:.0f} s", seconds)
        cases = ElementTree.parse(report).getroot().iter("testcase") if report.exists() else ()
        for case in cases:
            for element in case:
                if element.tag in ("failure", "error", "skipped"):
                    state = "skipped" if element.tag == "skipped" else "failed"
                    return Outcome(state, " ".join(element.get("message", "").split())[:300], seconds)
            return Outcome("passed" if code == 0 else "failed", "", seconds)
        return Outcome("failed", f"pytest ended with {code} and without a report", seconds)

    def _environment(self, bootstrap: str) -> dict[str, str]:
        return {
            **os.environ,
            "KAFKA_URI": f"tcp://{bootstrap.partition(',')[0]}",
            "KAFKA_VERSION": KAFKA_VERSION,
            "KAFKA_ROOT": str(self._sources),
            "PYTHONPATH": str(self._sources),
        }


def _short(node_id: str) -> str:
    return node_id.removeprefix("test/integration/test_").replace("_integration.py", "")


def _long(test: str) -> str:
    file, _, name = test.partition("::")
    return f"test/integration/test_{file}_integration.py::{name}"


def _complete(folder: Path) -> None:
    unpack(PACKAGE, folder)
    (folder / "test" / "__init__.py").touch()
    (folder / "test" / "service.py").write_text(SERVICE)
