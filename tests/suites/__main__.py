"""Runs foreign suites, one test at a time, and holds the outcomes against their tables: `make suites`.

    python -m tests.suites [--quick] [--update] [--kafka] [--whole] [TEST ...]

A TEST is a part of names. Exit code 1: a test that stands as passing did not pass, or a table is not right.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

from tests.suites.brokers import dohle_nodes, kafka_nodes, watched
from tests.suites.kafka_python import KafkaPython
from tests.suites.librdkafka import Librdkafka
from tests.suites.suite import Run, Setup, Suite
from tests.suites.table import Outcome, Row, Table, complaints, inconsistent, matched, news, summary, unlike, updated
from tools.foreign.cache import Unavailable, cache_folder

HERE = Path(__file__).parent
PASSES_S = 300.0
"""How long a test may take that stands as passing."""
OTHERS_S = 90.0
"""How long any other: most of them wait for what is not there until they are ended."""
Brokers = Callable[[Setup, Path], AbstractContextManager[str]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be run: the short form, the suite's tests whose name holds one of `names`, against what, how."""

    quick: bool
    update: bool
    kafka: bool
    whole: bool
    most_s: float | None
    stands: str | None
    names: Sequence[str]

    @property
    def column(self) -> str:
        return "kafka" if self.kafka else "dohle"

    @property
    def brokers(self) -> Brokers:
        return kafka_nodes if self.kafka else dohle_nodes

    def wants(self, row: Row) -> bool:
        if (self.quick and not row.quick) or self.stands not in (None, row.stands):
            return False
        return not self.names or any(name in row.test for name in self.names)

    def seconds(self, row: Row) -> float:
        return self.most_s or (PASSES_S if self.kafka or row.stands == "passes" else OTHERS_S)


def outcomes(suite: Suite, rows: Sequence[Row], asked: Asked, folder: Path) -> Iterator[tuple[str, Outcome]]:
    """Runs the tests, those of one set-up on the same brokers; yields each one's outcome as it ends."""
    for number, setup in enumerate(dict.fromkeys(suite.setup(row.test) for row in rows)):
        place = folder / f"{suite.name}-{number}"
        place.mkdir()
        with asked.brokers(setup, place) as bootstrap:
            for row in rows:
                if suite.setup(row.test) == setup:
                    own = place / row.test.replace("/", "-").replace("::", "-")
                    own.mkdir()
                    yield row.test, suite.run(row.test, Run(bootstrap, own, asked.seconds(row)))


def run_suite(suite: Suite, asked: Asked, folder: Path) -> list[str]:
    """Returns what is wrong."""
    page = HERE / f"{suite.name}.md"
    table = Table.read(page)
    tests = suite.tests()
    if asked.update:
        table = matched(table, tests)
        table.write(page)
    wrong = unlike(table, tests)
    if wrong:
        return wrong
    rows = [row for row in table.rows.values() if asked.wants(row)]
    found: dict[str, Outcome] = {}
    for test, outcome in outcomes(suite, rows, asked, folder):
        found[test] = outcome
        print(f"{outcome.state:8}{outcome.seconds:7.1f} s  {suite.name} {test}  {outcome.why}", flush=True)
        if asked.update:  # at once: what was measured is kept if the run is broken off
            table = updated(Table.read(page), {test: outcome}, asked.column)
            table.write(page)
    if asked.column == "dohle":
        wrong = complaints(table, found)
        for line in news(table, found):
            print(f"{line}: make suites UPDATE=1 writes it down")
    wrong += inconsistent(table)
    took = sum(outcome.seconds for outcome in found.values())
    passed = sum(outcome.state == "passed" for outcome in found.values())
    print(
        f"{suite.name}: {passed} of {len(found)} passed in {took:.0f} s; of the suite, {summary(table.rows.values())}"
    )
    return wrong


def parsed(arguments: Sequence[str]) -> Asked:
    parser = argparse.ArgumentParser(prog="make suites", description="Runs the suites of Kafka's clients.")
    parser.add_argument("--quick", action="store_true", help="only what the tables mark so: two minutes at most")
    parser.add_argument("--update", action="store_true", help="writes what is measured into the tables")
    parser.add_argument("--kafka", action="store_true", help="against a real Apache Kafka instead of Dohle")
    parser.add_argument("--whole", action="store_true", help="librdkafka's suite without its quick mode")
    parser.add_argument("--most", type=float, dest="most_s", metavar="SECONDS", help="how long each test may take")
    parser.add_argument("--stands", choices=("passes", "waits", "cannot"), help="only tests that stand so")
    parser.add_argument("names", nargs="*", metavar="TEST", help="parts of the names of tests")
    return Asked(**vars(parser.parse_args(arguments)))


def main(arguments: Sequence[str]) -> int:
    asked = parsed(arguments)
    runs = cache_folder() / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    folder = Path(mkdtemp(dir=runs))
    print(f"logs: {folder}")
    wrong: list[str] = []
    with watched(folder):
        for make in (partial(Librdkafka, quick=not asked.whole), KafkaPython):
            try:
                wrong += run_suite(make(), asked, folder)
            except Unavailable as missing:
                if not asked.quick:
                    wrong.append(f"a suite cannot be had: {missing}")
                print(f"SKIPPED, a suite cannot be had: {missing}")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that brokers are ended
    sys.exit(main(sys.argv[1:]))
