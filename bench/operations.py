"""What faults and an operator's work cost: real nodes under 1,000 records/s to six partitions, acks=all.

    python -m bench.operations [NAME ...]

One row for each event: the longest time without an acknowledgement in one partition, the p99 of the records' latency
while it lasted, and how long the metadata took no change (a configuration is changed every 20 ms). At the end
everything is read back: what was acknowledged and is gone, or stands there twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import uvloop

from bench import measures
from bench.steady import SteadyLoad, p99
from dohle.cli.output import print_table
from dohle.client.admin import Admin
from dohle.cluster.local import LocalCluster
from dohle.model.errors import DohleError

TOPIC = "steady"
SESSION_S = 3.0


@dataclass(frozen=True)
class Row:
    """What one event cost; times in seconds."""

    name: str
    seconds: float
    longest_gap_s: float
    p99_s: float
    metadata_gap_s: float


class Site:
    """A cluster under load, and what may happen to it."""

    def __init__(self, made: LocalCluster, admin: Admin) -> None:
        self.made = made
        self.admin = admin

    async def active(self) -> int:
        return (await self.admin.describe_quorum()).leader_id

    async def leader(self, *, controller: bool) -> int:
        """Returns a node that leads partitions, which is the active controller or is not."""
        active = await self.active()
        nodes = (await self.admin.describe_cluster()).nodes
        return next(node.node_id for node in nodes if node.leaders and (node.node_id == active) == controller)

    async def balance(self) -> None:
        """Every node leads what it is preferred for, so that the next kill hits a leader."""
        await self.admin.elect_leaders()

    async def nothing(self) -> None:
        await asyncio.sleep(10.0)

    async def kill_leader(self) -> None:
        await self._kill(await self.leader(controller=False))

    async def kill_controller(self) -> None:
        await self._kill(await self.leader(controller=True))

    async def _kill(self, node_id: int) -> None:
        await asyncio.to_thread(self.made.kill, node_id)
        await asyncio.sleep(3.0)
        await asyncio.to_thread(self.made.start, [node_id])
        await measures.whole(self.made)

    async def pause_leader(self) -> None:
        await self._pause(await self.leader(controller=False), 2 * SESSION_S)
        await measures.whole(self.made)

    async def pause_controller(self) -> None:
        await self._pause(await self.leader(controller=True), 2 * SESSION_S)
        await measures.whole(self.made)

    async def short_stops(self) -> None:
        for node in self.made.state.nodes:
            await self._pause(node.node_id, 0.5)
            await asyncio.sleep(1.0)

    async def _pause(self, node_id: int, seconds: float) -> None:
        process = self.made.state.node(node_id).process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            os.kill(process.pid, signal.SIGCONT)

    async def restart_all(self) -> None:
        for node in self.made.state.nodes:
            await asyncio.to_thread(self.made.stop, [node.node_id])
            await asyncio.to_thread(self.made.start, [node.node_id])
            await measures.whole(self.made)

    async def grow(self) -> None:
        await self.dohle("up", "--nodes", "5")
        await self.dohle("cluster", "rebalance", "--yes")
        await measures.whole(self.made)

    async def shrink(self) -> None:
        for node in ("5", "4"):
            await self.dohle("cluster", "drain", node)
            await self.dohle("cluster", "voters", "remove", node)
            await self.dohle("down", node, "--remove")
        await measures.whole(self.made)

    async def dohle(self, *arguments: str) -> None:
        environment = {**os.environ, "DOHLE_DIR": self.made.state.folder}
        command = [sys.executable, "-m", "dohle", *arguments]
        await asyncio.to_thread(subprocess.run, command, env=environment, check=True, capture_output=True)
        reopened = LocalCluster.open(self.made.state.folder)
        assert reopened is not None
        self.made.state = reopened.state


EVENTS: dict[str, Callable[[Site], Awaitable[None]]] = {
    "nothing, 10 s": Site.nothing,
    "kill -9 of a leader": Site.kill_leader,
    "kill -9 of the active controller": Site.kill_controller,
    "a leader is stopped for 6 s": Site.pause_leader,
    "the active controller is stopped for 6 s": Site.pause_controller,
    "every node is stopped for 500 ms": Site.short_stops,
    "rolling restart": Site.restart_all,
    "3 to 5 nodes, rebalanced": Site.grow,
    "5 to 3 nodes": Site.shrink,
}


async def happen(site: Site, load: SteadyLoad, name: str, event: Callable[[Site], Awaitable[None]]) -> Row:
    await site.balance()
    await asyncio.sleep(1.0)
    changes = MetadataChanges(site.made.state.bootstrap, TOPIC)
    load.mark()
    began = time.perf_counter()
    async with changes:
        await event(site)
        seconds = time.perf_counter() - began
        await asyncio.sleep(1.0)  # a gap that is open ends
    gaps = load.gaps_s
    return Row(name, seconds, gaps[-1] if gaps else 0.0, p99(load.latencies_s), changes.longest_s)


class MetadataChanges:
    """Changes a topic's configuration again and again, which places no replicas that would be in an operator's way."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.longest_s = 0.0
        self._last = 0.0
        self._bootstrap = bootstrap
        self._topic = topic
        self._changing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> MetadataChanges:
        self._changing = asyncio.create_task(self._change())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._changing is not None
        self._changing.cancel()
        await asyncio.gather(self._changing, return_exceptions=True)
        self._note(time.perf_counter())  # a gap that has not ended counts as far as it goes

    def _note(self, now: float) -> None:
        self.longest_s, self._last = max(self.longest_s, now - self._last), now

    async def _change(self) -> None:
        async with Admin(self._bootstrap) as admin:
            self._last = time.perf_counter()
            for number in range(100_000):
                with contextlib.suppress(DohleError):
                    await admin.alter_configs(self._topic, {"retention.ms": str(1_000_000_000 + number)})
                    self._note(time.perf_counter())
                await asyncio.sleep(0.02)


async def run(made: LocalCluster, names: Sequence[str]) -> tuple[list[Row], int, int]:
    """Returns a row for each event, the count of records, and how many were lost or doubled."""
    await measures.make_topic(made, TOPIC)
    rows = []
    async with Admin(made.state.bootstrap) as admin, SteadyLoad(made.state.bootstrap, TOPIC) as load:
        site = Site(made, admin)
        await asyncio.sleep(3.0)
        for name, event in EVENTS.items():
            if not names or any(part in name for part in names):
                print(f"  {name}", file=sys.stderr, flush=True)
                rows.append(await happen(site, load, name, event))
    return rows, load.records, await load.lost_or_doubled()


def main(arguments: Sequence[str]) -> int:
    with measures.cluster() as made:
        rows, records, wrong = uvloop.run(run(made, arguments))
    print_table(
        ("EVENT", "LASTED, S", "LONGEST GAP, S", "P99, MS", "NO METADATA CHANGE, S"),
        [
            (
                row.name,
                f"{row.seconds:.1f}",
                f"{row.longest_gap_s:.3f}",
                f"{row.p99_s * 1000:.1f}",
                f"{row.metadata_gap_s:.3f}",
            )
            for row in rows
        ],
    )
    print(f"{records:,} records acknowledged, {wrong} lost or doubled")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
