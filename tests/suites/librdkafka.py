"""librdkafka's own C suite, whose sources an npm package carries: `test-runner`, one process for each test.

As the suite takes single tests only by their numbers, which several share, it is built to take them by name. Its tests
that need no broker are not run: they are about librdkafka alone.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.suites.suite import Run, Setup, ended
from tests.suites.table import Outcome
from tools.foreign.cache import Unavailable, made, run
from tools.foreign.kafka import kafka_jars
from tools.foreign.packages import LIBRDKAFKA, from_pypi, unpack

RAPIDJSON = from_pypi("python-rapidjson", "1.25", "97c1de449552ec28ac5ae89350c2b53e4c5d21a9b4308d7a1630b1099e5db9fc")
"""Carries the headers by which two tests read statistics: without them they skip themselves."""
LEFT_OUT = "left out in quick mode"
CHANGES = {
    "!strstr(tests_to_run, testnum)": "strcmp(tests_to_run, test->name)",
    "if (!is_quick && test_quick)\n                return 0;": "if (!is_quick && test_quick) {\n"
    f'                TEST_SAY("{LEFT_OUT}: %s\\n", func);\n                return 0;\n        }}',
}
"""What is changed in test.c when it is built: tests are chosen by name, and parts are not left out without a word."""
RECIPE = f"{LIBRDKAFKA.digest}: {CHANGES}; unoptimised, without GSSAPI and curl, with RapidJSON {RAPIDJSON.digest}"
LISTED = re.compile(
    r"^    _TEST\((\w+),\s*([A-Z_0-9 |]+)(.*?)(?=^    _TEST\(|^#|^    /\*|^    \{NULL)", re.MULTILINE | re.DOTALL
)
KNOWN_ISSUE = re.compile(r"TEST_F_KNOWN_ISSUE\b")
SCENARIO = re.compile(r'\.scenario\s*=\s*"(\w+)')
KAFKA_VERSION = "4.3.0.0"
PART = re.compile(r"\[ \w+:\d+")
"""How the output says that a part of a test begins."""
NOTHING_S = 0.001
"""A test that says it passed after less has spoken to no broker."""
CALL = re.compile(r"\btest_kafka_(cmd|topics)\(")
"""How a test calls Kafka's own commands."""
SETUPS: Mapping[str, Setup] = {"default": Setup(), "noautocreate": Setup(auto_create=False)}
"""What the suite expects of its brokers in each of its scenarios."""
TOGETHER = ("0089_max_poll_interval", "0102_static_group_rebalance", "0118_commit_rebalance")
"""Tests that count on two new members getting into one first rebalance, as brokers have it that wait for more by
default: without that it is chance. The others do not care, and are quicker if nobody waits."""
KAFKAS_DELAY_MS = 3000
COMMANDS = {
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
    "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
}
"""Those of Kafka's that tests call."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What the suite's own list says of a test."""

    scenario: str
    known_issue: bool


class Librdkafka:
    """The suite."""

    name = "librdkafka"

    def __init__(self, *, quick: bool = True) -> None:
        self._sources = made("librdkafka-tests", RECIPE, _build) / "deps" / "librdkafka"
        self._quick = quick
        tests = self._sources / "tests"
        self._listed = listed((tests / "test.c").read_text(encoding="utf-8"))
        numbered = [path for path in sorted(tests.glob("[0-9]*-*")) if path.suffix in (".c", ".cpp")]
        texts = {path: path.read_text(encoding="utf-8", errors="replace") for path in numbered}
        self._calling = {path.name.partition("-")[0] for path, text in texts.items() if CALL.search(text)}

    def tests(self) -> Sequence[str]:
        return list(self._listed)

    def setup(self, test: str) -> Setup:
        setup = SETUPS[self._listed[test].scenario]
        return replace(setup, rebalance_delay_ms=KAFKAS_DELAY_MS) if test in TOGETHER else setup

    def run(self, test: str, how: Run) -> Outcome:
        """Runs a test, in quick mode if that was asked for and leaves something of the test."""
        outcome = self._run(test, how, quick=self._quick)
        if outcome.state == "skipped" and self._quick:
            return self._run(test, how, quick=False)
        return outcome

    def _run(self, test: str, how: Run, *, quick: bool) -> Outcome:
        report, conf = how.folder / "report.json", how.folder / "test.conf"
        conf.write_text(f"bootstrap.servers={how.bootstrap}\ntest.topic.random=true\n")
        listing = self._listed[test]
        environment = {
            **os.environ,
            "TESTS": test,
            "BROKERS": how.bootstrap,
            "TEST_KAFKA_VERSION": KAFKA_VERSION,
            "TEST_REPORT": str(report),
            "RDKAFKA_TEST_CONF": str(conf),
            "LD_LIBRARY_PATH": f"{self._sources / 'src'}:{self._sources / 'src-cpp'}",
        }
        number = test.partition("_")[0]
        beside = how.folder.parent / "src"  # from where a test reads the schema of statistics
        if not beside.exists():
            beside.symlink_to(self._sources / "src")
        if number in self._calling:
            environment["KAFKA_PATH"] = str(_kafka_home())
        command = [str(self._sources / "tests" / "test-runner"), "-p1", "-s", listing.scenario]
        if listing.known_issue:  # else it would be left out
            command.append("-k")
        if quick:
            command.append("-Q")
        seconds, code = ended(command, environment, how)
        said = how.log.read_text(encoding="utf-8", errors="replace")
        if code is None:
            return Outcome("hung", f"ended after {how.most_s:.0f} s", seconds)
        if not report.exists():
            return Outcome("failed", _failure(said) or f"ended with {code} and without a report", seconds)
        return judged(json.loads(report.read_text(), strict=False)["tests"][test], said, code, seconds)


def judged(told: Mapping[str, object], said: str, code: int, seconds: float) -> Outcome:
    """Returns what a test came to, by its report `told`, what it `said`, and its process's exit code."""
    left_out = LEFT_OUT in said and not PART.search(said)
    match told:
        case {"state": "PASSED", "duration": float(duration)} if left_out or duration < NOTHING_S:
            return Outcome("skipped", "all its parts are left out", seconds)
        case {"state": "PASSED"} if code == 0:
            return Outcome("passed", "", seconds)
        case {"state": "SKIPPED"}:
            return Outcome("skipped", _skip(said), seconds)
    return Outcome("failed", _failure(said) or f"{told['state']}, ended with {code}", seconds)


def listed(source: str) -> dict[str, Listing]:
    """Returns the tests that need a broker, by name, as test.c lists them."""
    found = {}
    for name, flags, more in LISTED.findall(source[source.index("struct test tests[]") :]):
        if "TEST_F_LOCAL" not in flags:
            scenario = SCENARIO.search(more)
            found[name] = Listing(scenario[1] if scenario else "default", bool(KNOWN_ISSUE.search(flags)))
    return found


def _failure(said: str) -> str:
    """Returns the first line in which a test says that it failed."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in said.splitlines()]
    marks = ("### Test", "Test failure", "FAILED", "Assertion", "terminate called", "TEST FAILURE")
    for mark in marks:
        for number, line in enumerate(lines):
            if mark in line:
                return " ".join(line.strip() for line in lines[number : number + 3] if line.strip())[:300]
    return ""


def _skip(said: str) -> str:
    found = re.search(r"SKIPPING TEST: (.*)|Skipping test .* \((.*)\) =", said)
    return (found[1] or found[2]).strip() if found else ""


def _build(folder: Path) -> None:
    """Builds libraries and `test-runner`."""
    unpack(LIBRDKAFKA, folder)
    sources = folder / "deps" / "librdkafka"
    listing = sources / "tests" / "test.c"
    text = listing.read_text(encoding="utf-8")
    for old, new in CHANGES.items():
        if text.count(old) != 1:
            raise Unavailable(f"{listing} is not as known here: {old!r} is in it {text.count(old)} times")
        text = text.replace(old, new)
    listing.write_text(text, encoding="utf-8")
    for script in ("configure", "lds-gen.py"):
        (sources / script).chmod(0o755)
    headers = folder / "rapidjson"
    unpack(RAPIDJSON, headers)
    found = {"CPLUS_INCLUDE_PATH": str(headers / "rapidjson" / "include")}
    run(["./configure", "--disable-optimization", "--disable-gssapi", "--disable-curl"], sources, found)
    run(["make", "-j1", "libs"], sources, found)
    run(["make", "-j1", "-C", "tests", "test-runner"], sources, found)


def _kafka_home() -> Path:
    """Returns a folder with the commands in `bin`, as in Kafka's own distribution."""
    start = f"exec java -XX:TieredStopAtLevel=1 -cp '{kafka_jars()}/*'"

    def write(folder: Path) -> None:
        (folder / "bin").mkdir()
        for name, main_class in COMMANDS.items():
            script = folder / "bin" / name
            script.write_text(f'#!/bin/sh\n{start} {main_class} "$@"\n')
            script.chmod(0o755)

    return made("kafka-home", f"{start} {COMMANDS}", write)
