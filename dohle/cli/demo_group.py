"""The demo's last act: three consumers of one group count flights by carrier, one of them is killed, and one joins.

The verdict rests on what the group has committed: every flight is counted once, whoever counted it.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from dohle.cli.demo_clients import TOPIC
from dohle.cli.demo_counter import GROUP, counts_in
from dohle.cli.flights import Flight
from dohle.cli.group_words import cause_words
from dohle.cli.output import counted
from dohle.client.admin import Admin
from dohle.client.group_values import GroupDescription
from dohle.cluster.local import LocalCluster
from dohle.model.errors import DohleError

QUICK_SESSIONS: Final = {
    "group_consumer_min_heartbeat_interval_ms": 200,
    "group_consumer_heartbeat_interval_ms": 500,
    "group_consumer_min_session_timeout_ms": 3000,
    "group_consumer_session_timeout_ms": 3000,
}
"""Settings of the nodes by which a killed member is missed within seconds."""
_COUNTER: Final = "dohle.cli.demo_counter"
_LOOK_EVERY_S: Final = 0.25
_SAY_EVERY_S: Final = 1.0
_PATIENCE_S: Final = 120.0

Say = Callable[[str], object]


@dataclass(slots=True)
class GroupReport:
    """What the group counted, by carrier, and how long that took. `killed` and `joined`: names of members.
    `rebalances`: why there were any, in words."""

    totals: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    killed: str = ""
    joined: str = ""
    rebalances: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


class Counters:
    """The members' processes, by name."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        self._processes[name] = subprocess.Popen(  # noqa: S603 - this interpreter, and this package
            [sys.executable, "-m", _COUNTER, self._bootstrap, TOPIC, name], stdin=subprocess.DEVNULL
        )

    def kill(self, name: str) -> None:
        """Ends it as a crash does: it says goodbye to nobody."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def ended(self) -> list[str]:
        """Returns who has ended without being told."""
        return [name for name, process in self._processes.items() if process.poll() is not None]

    def close(self) -> None:
        for name in list(self._processes):
            self.kill(name)


async def count_by_group(cluster: LocalCluster, flights: Sequence[Flight], say: Say) -> GroupReport:
    """Runs this act on a cluster that has all flights."""
    report = GroupReport()
    counters = Counters(cluster.state.bootstrap)
    try:
        for name in ("anna", "berta", "clara"):
            counters.start(name)
        async with Admin(cluster.state.bootstrap, client_id="dohle-demo") as admin:
            await _watch(admin, counters, len(flights), say, report)
    finally:
        await asyncio.to_thread(counters.close)
    report.complaints += wrong_counts(report.totals, flights)
    return report


def wrong_counts(totals: Mapping[str, int], flights: Sequence[Flight]) -> list[str]:
    """Returns, in words, of which carriers the counts are wrong; nothing if all are right."""
    truth = Counter(flight.carrier.decode() for flight in flights)
    wrong = [
        f"{carrier} ({totals.get(carrier, 0)} of {truth[carrier]})"
        for carrier in sorted({*truth, *totals})
        if truth[carrier] != totals.get(carrier, 0)
    ]
    return [f"the group counted wrong: {', '.join(wrong)}"] if wrong else []


async def _watch(admin: Admin, counters: Counters, total: int, say: Say, report: GroupReport) -> None:
    """Returns once all is counted, or something is wrong; kills a member and lets one join on the way."""
    began = said = time.monotonic()
    while True:
        found = await _group(admin)
        totals = _totals(found)
        count = sum(totals.values())
        now = time.monotonic()
        report.totals, report.seconds = dict(sorted(totals.items())), now - began
        if count >= total or now - said >= _SAY_EVERY_S:
            said = now
            say(_progress(found, count, total))
        if count >= total and found is not None and report.joined in [member.client_id for member in found.members]:
            report.rebalances = [cause_words(one) for one in found.rebalances]
            return
        if not report.killed and count >= total // 3 and found is not None and len(found.members) == 3:
            busiest = max(found.members, key=lambda member: (len(member.assigned), member.client_id))
            report.killed, report.joined = busiest.client_id, "dora"
            await asyncio.to_thread(counters.kill, report.killed)
            counters.start(report.joined)
            say(f"killed {report.killed} after {count:,} flights, and {report.joined} joins")
        ended = counters.ended()
        if ended:
            report.complaints.append(f"{', '.join(ended)} ended")
            return
        if now - began > _PATIENCE_S:
            report.complaints.append(f"only {count} of {total} flights were counted within {_PATIENCE_S:.0f} s")
            return
        await asyncio.sleep(_LOOK_EVERY_S)


async def _group(admin: Admin) -> GroupDescription | None:
    try:
        found = (await admin.describe_groups([GROUP], with_history=True))[GROUP]
    except DohleError:
        return None
    return None if isinstance(found, DohleError) else found


def _totals(found: GroupDescription | None) -> Counter[str]:
    """Returns what is committed, by carrier."""
    totals: Counter[str] = Counter()
    for one in () if found is None else found.partitions:
        totals += counts_in(one.metadata)
    return totals


def _progress(found: GroupDescription | None, count: int, total: int) -> str:
    who = [] if found is None else sorted((one.client_id, len(one.assigned)) for one in found.members)
    shares = ", ".join(f"{name} has {counted(number, 'partition')}" for name, number in who) or "nobody has joined yet"
    return f"{count:,} of {total:,} flights counted; {shares}"
