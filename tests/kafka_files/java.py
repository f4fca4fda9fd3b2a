"""Apache Kafka's own readers of log files, in one JVM: its jars come from Maven Central, pinned in pom.xml."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp

import pytest

HERE = Path(__file__).parent
JARS = HERE / "jars"
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
MOST_S = 300


def classpath() -> str:
    """Returns the jars, brought here once; skips the test where there is no Java, no Maven, or nothing to be had."""
    for program, package in (("javac", "default-jdk-headless"), ("mvn", "maven")):
        if shutil.which(program) is None:
            pytest.skip(f"Kafka's own code is not asked: {program} is missing (Debian: apt-get install {package})")
    folder = JARS / sha256((HERE / "pom.xml").read_bytes()).hexdigest()[:12]
    if not folder.exists():
        JARS.mkdir(exist_ok=True)
        making = Path(mkdtemp(dir=JARS))
        command = ["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), PLUGIN, "-DexcludeTransitive=true"]
        try:
            done = subprocess.run(
                [*command, f"-DoutputDirectory={making}"], capture_output=True, text=True, timeout=MOST_S, check=False
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"Kafka's own code is not asked: Maven has not brought its jars in {MOST_S} s")
        if done.returncode:
            pytest.skip(f"Kafka's own code is not asked: Maven cannot bring its jars: {done.stdout.strip()[:300]}")
        if not folder.exists():  # else another run was quicker
            making.rename(folder)
    return f"{folder}/*"


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
