"""What a comparison needs and Dohle does not: Kafka's jars, librdkafka, and the two loads built with them.

All lies in one folder outside of the source tree, is fetched and built with first use, and is built again when what it
is built from changes. `DOHLE_BENCH_CACHE` names another folder than the one in the user's cache. An interrupted build
leaves nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp

HERE = Path(__file__).parent
KAFKA = "4.3.1"
_LIBRDKAFKA = "@confluentinc/kafka-javascript@1.10.1"
"""The package of npm that carries librdkafka's sources, of version 2.15.1."""
_LIBRDKAFKA_SHA256 = "ada7d703bb1d3237e2292bfabf438d663b6160c9f1ac2a2406b5dc4257c81b66"
_CONFIGURE = tuple(f"--disable-{what}" for what in ("ssl", "gssapi", "curl", "zstd", "lz4-ext", "syslog"))
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_QUIET = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=error",)
_POM = f"""<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>dohle</groupId>
  <artifactId>peers</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""


class Unavailable(Exception):
    """A program or package cannot be had here. Says what to do."""


@dataclass(frozen=True, slots=True)
class Software:
    """`clients` are the commands of the two loads, by the client's name; `jars` is a class path."""

    jars: str
    clients: dict[str, list[str]]


def software() -> Software:
    """Returns what is needed, made if it is not there. Raises Unavailable."""
    missing = [name for name in ("java", "javac", "mvn", "npm", "gcc", "make") if shutil.which(name) is None]
    if missing:
        raise Unavailable(f"{', '.join(missing)} missing: install a JDK 17, Maven, npm, a C compiler and make")
    jars = _made("kafka", _POM, _fetch_jars)
    library = _made("librdkafka", _LIBRDKAFKA_SHA256 + " ".join(_CONFIGURE), _build_librdkafka)
    java = (HERE / "Load.java").read_text()
    classes = _made("load-java", KAFKA + java, lambda folder: _compile_java(folder, jars))
    c = (HERE / "load.c").read_text()
    loads = _made("load-c", _LIBRDKAFKA_SHA256 + c, lambda folder: _compile_c(folder, library))
    return Software(
        jars=f"{jars}/*",
        clients={
            "librdkafka": [str(loads / "load")],
            "Java": ["java", *_QUIET, "-Xmx512m", "-cp", f"{classes}:{jars}/*", "Load"],
        },
    )


def cache_folder() -> Path:
    chosen = os.environ.get("DOHLE_BENCH_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dohle-bench"


def _made(name: str, source: str, make: Callable[[Path], None]) -> Path:
    folder = cache_folder() / f"{name}-{sha256(source.encode()).hexdigest()[:12]}"
    if folder.exists():
        return folder
    print(f"  making {folder}", file=sys.stderr, flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(mkdtemp(dir=folder.parent, prefix=f".{name}-"))
    try:
        make(making)
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


def _fetch_jars(folder: Path) -> None:
    (folder / "pom.xml").write_text(_POM)
    _run(["mvn", "-q", "-B", _COPY, "-DincludeScope=runtime", f"-DoutputDirectory={folder}"], folder)
    if not (folder / f"kafka_2.13-{KAFKA}.jar").exists():
        raise Unavailable(f"Maven brought no jar of Kafka's broker into {folder}")


def _build_librdkafka(folder: Path) -> None:
    _run(["npm", "pack", "--silent", _LIBRDKAFKA], folder)
    (archive,) = folder.glob("*.tgz")
    digest = sha256(archive.read_bytes()).hexdigest()
    if digest != _LIBRDKAFKA_SHA256:
        raise Unavailable(f"{archive.name} is not the file that is pinned: its SHA-256 is {digest}")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    sources = folder / "package" / "deps" / "librdkafka"
    _run(["./configure", *_CONFIGURE], sources)
    _run(["make", "-C", "src", "-j1", "librdkafka.a"], sources)
    for name in ("librdkafka.a", "rdkafka.h"):
        shutil.move(sources / "src" / name, folder / name)
    archive.unlink()
    shutil.rmtree(folder / "package")


def _compile_java(folder: Path, jars: Path) -> None:
    _run(["javac", "-cp", f"{jars}/*", "-d", str(folder), str(HERE / "Load.java")], folder)


def _compile_c(folder: Path, library: Path) -> None:
    linked = ["-lz", "-lm", "-ldl", "-lrt", "-lpthread"]
    command = ["gcc", "-O2", "-Wall", f"-I{library}", str(HERE / "load.c"), f"{library}/librdkafka.a", *linked]
    _run([*command, "-o", str(folder / "load")], folder)


def _run(command: Sequence[str], folder: Path) -> None:
    """Runs what fetches or builds, as an unimportant process."""
    done = subprocess.run(
        ["nice", "-n", "19", *command], cwd=folder, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise Unavailable(f"{' '.join(command)} failed with {done.returncode}:\n{last}")
