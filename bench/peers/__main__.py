"""`python -m bench.peers [PART ...]`: Dohle and Apache Kafka in turn, and the table of what was to be reached.

A part that fails is said, and the others go on; the exit code is 1 then. Ctrl-C ends whatever was started.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

from bench import yardsticks
from bench.peers import figures, nodes
from bench.peers.asking import NotInTime, Refused
from bench.peers.parts import PARTS, SMOKE, Comparison, Size
from bench.peers.software import clients
from dohle.cli.output import print_table
from dohle.model.errors import DohleError
from tools.foreign.cache import Unavailable

RESULTS = Path(__file__).parent / "results.json"
_FAILURES = (AssertionError, NotInTime, Refused, OSError, subprocess.SubprocessError, DohleError, Unavailable)


class Yardsticks:
    """What the machine does, read before each part."""

    def __init__(self) -> None:
        self._read: dict[str, list[float]] = {}

    def read(self) -> None:
        with nodes.scratch() as folder:
            for name, value in (
                ("MB/s written to the page cache", yardsticks.page_cache_write_mb_s(folder)),
                ("ms, p99 of append + fdatasync of 4 KiB", yardsticks.append_and_sync_p99_ms(folder)),
                ("MB/s over a loopback connection", yardsticks.loopback_mb_s()),
                ("s, a Python process that imports gRPC and ends", yardsticks.interpreter_start_s()),
                ("processes that want a core, on average of a minute", os.getloadavg()[0]),
            ):
                self._read.setdefault(name, []).append(value)

    def medians(self) -> dict[str, float]:
        return {name: statistics.median(values) for name, values in self._read.items()}


def parsed(arguments: Sequence[str]) -> tuple[list[str], Size]:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="Dohle and Apache Kafka side by side.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--smoke", action="store_true", help="small sizes: shows that it runs, measures nothing")
    for field in fields(Size):
        kind = int if isinstance(field.default, int) else float
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", type=kind, metavar="N", help=f"{field.default} by default"
        )
    asked = vars(parser.parse_args(arguments))
    parts: list[str] = asked.pop("parts")
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        parser.error(f"no part is named {' or '.join(unknown)}: there are {', '.join(PARTS)}")
    size = SMOKE if asked.pop("smoke") else Size()
    size = replace(size, **{name: value for name, value in asked.items() if value is not None})
    if (
        size.rounds < 1
        or size.seconds <= 0
        or size.idle_s <= 0
        or size.warm_up < 0
        or size.warm_s < 0
        or min(size.beating, size.waiting) < 1
    ):
        parser.error("all must be above 0, but warm-s and warm-up, which may be 0")
    return [part for part in PARTS if not parts or part in parts], size


def report(comparison: Comparison, yardstick: Yardsticks) -> None:
    medians = yardstick.medians()
    said = {"size": asdict(comparison.size), "yardsticks": medians, "figures": comparison.figures.as_rows()}
    RESULTS.write_text(json.dumps(said, indent=2) + "\n")
    print_table(figures.COLUMNS, figures.rows(comparison.figures))
    print("medians of the rounds (least-most), the better client's; yardsticks of this run:")
    for name, value in medians.items():
        print(f"  {value:.4g} {name}")


def main(arguments: Sequence[str]) -> int:
    wanted, size = parsed(arguments)
    try:
        comparison = Comparison(clients(), size)
    except Unavailable as missing:
        print(missing, file=sys.stderr)
        return 2
    yardstick, failed = Yardsticks(), []
    try:
        for part in wanted:
            yardstick.read()
            try:
                PARTS[part](comparison)
            except _FAILURES:
                traceback.print_exc()
                failed.append(part)
                comparison.close()
    finally:
        comparison.close()
        report(comparison, yardstick)
    if failed:
        print(f"failed, and not whole in this table: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
