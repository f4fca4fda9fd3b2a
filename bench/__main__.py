"""`python -m bench [NAME ...]`: measures, prints a table, and writes bench/results.json."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from bench import measures, yardsticks
from dohle.cli.output import print_table

RESULTS = Path(__file__).parent / "results.json"


@dataclass(frozen=True)
class Result:
    """One figure. `ratio` is `value` / `yardstick`; `better` says which way it should go."""

    name: str
    value: float
    unit: str
    better: str
    yardstick: float
    ratio: float


class Run:
    """Collects the figures of one run; `wanted` empty means all."""

    def __init__(self, wanted: set[str]) -> None:
        self._wanted = wanted
        self.results: list[Result] = []

    def wants(self, *names: str) -> bool:
        return not self._wanted or bool(self._wanted & set(names))

    def add(self, name: str, value: float, unit: str, better: str, yardstick: float) -> None:
        if self.wants(name):
            self.results.append(Result(name, round(value, 4), unit, better, round(yardstick, 4), value / yardstick))
            print(f"  {name}: {value:.4g} {unit}", file=sys.stderr, flush=True)


def throughput(run: Run, scratch: Path) -> None:
    if not run.wants("produce_1kb_mb_s", "produce_100b_records_s", "consume_mb_s"):
        return
    with measures.cluster() as made:
        write = yardsticks.page_cache_write_mb_s(scratch)
        large = [uvloop.run(measures.produce(made, f"large-{i}", 1000, 150_000)).mb_per_s for i in range(3)]
        run.add("produce_1kb_mb_s", statistics.median(large), "MB/s", "higher", write)
        small = [uvloop.run(measures.produce(made, f"small-{i}", 100, 600_000)).records_per_s for i in range(3)]
        run.add("produce_100b_records_s", statistics.median(small), "records/s", "higher", write * 1e6 / 100)
        loopback = yardsticks.loopback_mb_s()
        read = [uvloop.run(measures.consume(made, f"large-{i}")).mb_per_s for i in range(3)]
        run.add("consume_mb_s", statistics.median(read), "MB/s", "higher", loopback)


def latency(run: Run, scratch: Path) -> None:
    if not run.wants("latency_1000_p99_ms", "latency_5000_p99_ms"):
        return
    with measures.cluster() as made:
        for rate in (1000, 5000):
            sync = yardsticks.append_and_sync_p99_ms(scratch)
            p99 = [uvloop.run(measures.latency_p99_ms(made, f"rate-{rate}-{i}", rate, 8.0)) for i in range(3)]
            run.add(f"latency_{rate}_p99_ms", statistics.median(p99), "ms", "lower", sync)


def failover(run: Run, _scratch: Path) -> None:
    if not run.wants("failover_gap_s"):
        return
    with measures.cluster() as made:
        gaps = [uvloop.run(measures.failover_gap_s(made, f"failover-{i}")) for i in range(3)]
    run.add("failover_gap_s", max(gaps), "s", "lower", yardsticks.interpreter_start_s())


def start(run: Run, _scratch: Path) -> None:
    if run.wants("start_first_ack_s"):
        taken = [measures.start_to_first_ack_s() for _ in range(5)]
        run.add("start_first_ack_s", statistics.median(taken), "s", "lower", yardsticks.interpreter_start_s())


def idle(run: Run, _scratch: Path) -> None:
    if not run.wants("idle_rss_mb", "idle_cpu_percent"):
        return
    with measures.cluster() as made:
        rss, cpu = measures.idle_node(made, 20.0)
    yard_rss, yard_cpu = yardsticks.idle_loop()
    run.add("idle_rss_mb", rss, "MB", "lower", yard_rss)
    run.add("idle_cpu_percent", cpu, "%", "lower", yard_cpu)


def opening(run: Run, scratch: Path) -> None:
    if run.wants("open_1000_partitions_s"):
        value = asyncio.run(measures.open_partitions_s(1000))
        run.add("open_1000_partitions_s", value, "s", "lower", yardsticks.open_files_s(scratch))


STEPS: tuple[Callable[[Run, Path], None], ...] = (throughput, latency, failover, start, idle, opening)


def main() -> int:
    run = Run(set(sys.argv[1:]))
    with tempfile.TemporaryDirectory(prefix="dohle-bench-") as scratch:
        for step in STEPS:
            step(run, Path(scratch))
    if not run.results:
        print(f"no measure is named {' or '.join(sys.argv[1:])}; see bench/README.md", file=sys.stderr)
        return 2
    RESULTS.write_text(json.dumps([asdict(result) for result in run.results], indent=2) + "\n")
    print_table(
        ("NAME", "VALUE", "UNIT", "BETTER", "YARDSTICK", "RATIO"),
        [(r.name, f"{r.value:.4g}", r.unit, r.better, f"{r.yardstick:.4g}", f"{r.ratio:.3g}") for r in run.results],
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
