"""What judging a history takes: real time, CPU time and memory, of a history and of one that is a quarter of it.

    python -m bench.checker [OPERATIONS [FILE]]

Writes a sound history of so many operations as clients of a chaos run would: writers whose sends overlap, some of
unknown outcome, readers along the way, members of groups that commit, a final read. With FILE that one is judged. Each
is judged in a process of its own, a quarter of the operations first: the same time per operation says that it is
linear.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dohle.cli.output import print_table

_LOGS = 12
_WRITERS = 16
_READERS = 4
_MEMBERS = 6
_IN_FLIGHT = 20
_MOST_POLLED = 40
_UNKNOWN = 0.003
_COMMITS = 0.25
_ASKS = 0.05
_FINAL_POLL = 2000
_LIMIT_S = 60.0


class Clients:
    """Makes up what clients do and see: `lines` is the history."""

    def __init__(self, operations: int, chance: random.Random) -> None:
        self._left = operations
        self._chance = chance
        self._logs = [f"append-{number}" for number in range(_LOGS)]
        self._records: dict[str, list[list[Any]]] = {log: [] for log in self._logs}
        self._ends = dict.fromkeys(self._logs, 0)
        self._open: list[tuple[int, str, str, str]] = []
        self._positions: dict[tuple[str, str], int] = {}
        self._committed: dict[str, int] = {}
        self._number = 0
        self._now_s = 0.0

    def lines(self) -> Iterator[str]:
        for reader in range(_READERS):
            yield from self._at_once(f"reader{reader}", ["assign", dict.fromkeys(self._logs, 0)])
        for member in range(_MEMBERS):
            yield from self._at_once(f"member{member}", ["subscribe", ["append"], "group"])
        while self._number < self._left:
            if self._chance.random() < 0.75:
                yield from self._send()
            elif self._chance.random() < 0.5:
                reader = self._chance.randrange(_READERS)
                yield from self._poll(f"reader{reader}", self._chance.choice(self._logs))
            else:
                place = self._chance.randrange(_LOGS)
                yield from self._read_in_group(f"member{place % _MEMBERS}", self._logs[place])
        while self._open:
            yield self._settled()
        yield from self._at_once("final", ["assign", dict.fromkeys(self._logs, 0)])
        for log in self._logs:
            while self._positions.get(("final", log), 0) < len(self._records[log]):
                yield from self._poll("final", log, _FINAL_POLL)

    def _event(self, number: int, process: str, kind: str, *micro: list[Any], **more: Any) -> str:
        self._now_s += 0.0002
        event: dict[str, Any] = {"operation": number, "process": process, "type": kind, "time": round(self._now_s, 6)}
        if micro:
            event["value"] = list(micro)
        return json.dumps(event | more, separators=(",", ":"))

    def _at_once(self, process: str, asked: list[Any], told: list[Any] | None = None) -> Iterator[str]:
        self._number += 1
        yield self._event(self._number, process, "invoke", asked)
        yield self._event(self._number, process, "ok", *([] if told is None else [told]))

    def _send(self) -> Iterator[str]:
        self._number += 1
        writer, log = f"writer{self._chance.randrange(_WRITERS)}", self._chance.choice(self._logs)
        value = f"append-sdk-0.{writer}:{self._number}"
        self._open.append((self._number, writer, log, value))
        yield self._event(self._number, writer, "invoke", ["send", log, value])
        if len(self._open) > _IN_FLIGHT:
            yield self._settled()

    def _settled(self) -> str:
        """Has the oldest of the open sends written."""
        number, writer, log, value = self._open.pop(0)
        offset = self._ends[log]
        self._ends[log] = offset + self._chance.choice((1, 1, 1, 2))
        if self._chance.random() < _UNKNOWN:
            if self._chance.random() < 0.5:
                self._records[log].append([offset, value])
            return self._event(number, writer, "info", why="DeliveryTimedOut: no acknowledgement came in time")
        self._records[log].append([offset, value])
        return self._event(number, writer, "ok", ["send", log, [offset, value]])

    def _poll(self, process: str, log: str, most: int = _MOST_POLLED) -> Iterator[str]:
        position = self._positions.get((process, log), 0)
        records = self._records[log][position : position + most]
        self._positions[process, log] = position + len(records)
        yield from self._at_once(process, ["poll", {}], ["poll", {log: records} if records else {}])

    def _read_in_group(self, member: str, log: str) -> Iterator[str]:
        yield from self._poll(member, log)
        position = self._positions[member, log]
        if position and self._chance.random() < _COMMITS:
            self._committed[log] = self._records[log][position - 1][0] + 1
            yield from self._at_once(member, ["commit", "group", {log: self._committed[log]}, 7])
        if self._chance.random() < _ASKS:
            told = {log: self._committed.get(log)}
            yield from self._at_once("asker", ["committed", "group", {}], ["committed", "group", told])


def write(path: Path, operations: int) -> None:
    with path.open("w") as file:
        file.writelines(f"{line}\n" for line in Clients(operations, random.Random(operations)).lines())


def judge(path: str) -> None:
    """Judges a history, and prints as JSON what that took."""
    from dohle.testing.history.checker import judge as judge_operations
    from dohle.testing.history.history_lines import read_lines

    began, began_cpu = time.monotonic(), time.process_time()
    with open(path, encoding="utf-8") as file:
        history = read_lines(file)
    read_s = time.monotonic() - began
    verdict = judge_operations(history.operations)
    took = {
        "operations": len(history.operations),
        "anomalies": len(verdict.anomalies),
        "read_s": read_s,
        "seconds": time.monotonic() - began,
        "cpu_s": time.process_time() - began_cpu,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(took))


def judged_apart(path: Path) -> dict[str, Any]:
    command = [sys.executable, "-c", f"from bench.checker import judge; judge({str(path)!r})"]
    told: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return told | {"file_mb": path.stat().st_size / 1e6}


def main() -> int:
    operations = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        if len(sys.argv) > 2:
            files = [Path(sys.argv[2])]
        else:
            files = [Path(folder) / f"{count}.jsonl" for count in (operations // 4, operations)]
            for file, count in zip(files, (operations // 4, operations), strict=True):
                write(file, count)
        rows = [judged_apart(file) for file in files]
    print_table(
        ("operations", "file MB", "read s", "s", "CPU s", "CPU us each", "RSS MB", "anomalies"),
        [
            (
                str(row["operations"]),
                f"{row['file_mb']:.0f}",
                f"{row['read_s']:.1f}",
                f"{row['seconds']:.1f}",
                f"{row['cpu_s']:.1f}",
                f"{row['cpu_s'] / row['operations'] * 1e6:.1f}",
                f"{row['rss_mb']:.0f}",
                str(row["anomalies"]),
            )
            for row in rows
        ],
    )
    print(f"load average {os.getloadavg()[0]:.1f}")
    return int(rows[-1]["cpu_s"] > _LIMIT_S or any(row["anomalies"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
