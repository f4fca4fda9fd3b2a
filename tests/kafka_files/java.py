"""Apache Kafka's own readers of log files, in one JVM: its jars come from Maven Central."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tools.foreign.cache import Unavailable, needed
from tools.foreign.kafka import kafka_jars

HERE = Path(__file__).parent
QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
MOST_S = 300


def classpath() -> str:
    """Returns the jars; skips the test where there is no Java, no Maven, or nothing to be had."""
    try:
        needed("javac")
        return f"{kafka_jars()}/*"
    except Unavailable as missing:
        pytest.skip(f"Kafka's own code is not asked: {missing}")


@dataclass(slots=True)
class Reading:
    """What ReadFiles.java says: each line's fields by its first one, and by folder where it is about one."""

    offsets: list[list[str]] = field(default_factory=list)
    folders: dict[str, dict[str, list[list[str]]]] = field(default_factory=dict)


def read_files(directory: Path) -> Reading:
    """Returns what Kafka's own code finds in a node's directory; skips the test where it cannot be asked."""
    command = ["java", *QUICK_START, "-cp", classpath(), str(HERE / "ReadFiles.java"), str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=MOST_S, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    reading = Reading()
    lines: dict[str, list[list[str]]] = {}
    for line in done.stdout.splitlines():
        kind, *fields = line.split("\t")
        if kind == "offset":
            reading.offsets.append(fields)
        elif kind == "folder":
            lines = reading.folders.setdefault(fields[0], {})
            lines["topic_id"] = [fields[1:]]
        elif kind in ("epoch", "batch", "record", "end", "producer"):
            lines.setdefault(kind, []).append(fields)
        elif kind == "dump":
            dumped = lines.setdefault(fields[0], [])
        else:
            dumped.append([line])
    return reading
