"""How fast the simulator is: what a start of a cluster takes, and how much simulated time a second of a core.

    python -m bench.simulation [SEEDS]

A fault-free cluster of three combined nodes is formatted and started 31 times, until every node serves; the first time
counts apart, since it loads what the others find loaded. Then the first so many seeds (8 by default) run, each with its
storm of 60 simulated seconds. Beside real time stands the time of the CPU, which others on the machine change less.
"""

from __future__ import annotations

import gc
import logging
import statistics
import sys
import time

from dohle.cli.output import print_table
from dohle.testing.campaigns.simulation import simulate
from dohle.testing.world.topology import THREE_COMBINED
from dohle.testing.world.world import World

STARTS = 31


def start(seed: int) -> int:
    """Returns how many events it took."""
    world = World(seed, THREE_COMBINED)

    async def script() -> None:
        await world.format()
        for node_id in world.machines:
            world.start(node_id)
        await world.all_ready()

    world.run(script())
    world.end()
    return world.scheduler.events


def main(seeds: int) -> None:
    logging.disable()
    gc.disable()  # as in a simulation
    real, cpu, events = [], [], []
    for seed in range(STARTS):
        before, cpu_before = time.perf_counter(), time.process_time()
        events.append(start(seed))
        real.append((time.perf_counter() - before) * 1000)
        cpu.append((time.process_time() - cpu_before) * 1000)
    gc.enable()
    rows = [
        ["the first start", f"{real[0]:.0f} ms", f"{cpu[0]:.0f} ms", f"{events[0]} events"],
        [
            "a start, median",
            f"{statistics.median(real[1:]):.0f} ms",
            f"{statistics.median(cpu[1:]):.0f} ms",
            f"{statistics.median(events[1:]):.0f} events",
        ],
    ]
    before, cpu_before, simulated_s, happened, acknowledged = time.perf_counter(), time.process_time(), 0.0, 0, 0
    for seed in range(1, seeds + 1):
        outcome = simulate(seed)
        simulated_s += outcome.simulated_s
        happened += outcome.events
        acknowledged += outcome.acknowledged
    real_s, cpu_s = time.perf_counter() - before, time.process_time() - cpu_before
    per_record = happened / max(acknowledged, 1)
    rows += [
        [
            f"seeds 1 to {seeds}, simulated",
            f"{simulated_s / real_s:.1f} s a second",
            f"{simulated_s / cpu_s:.1f} s a second",
            f"{happened / simulated_s:.0f} events a simulated s, {per_record:.0f} an acknowledged record",
        ]
    ]
    print_table(["what", "real time", "CPU time", "events"], rows)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8)
