"""The two loads, built with Kafka's jars and with librdkafka as a static library."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from bench.peers.loads import Client
from tools.foreign.cache import made, needed, run
from tools.foreign.kafka import kafka_jars
from tools.foreign.packages import LIBRDKAFKA, unpack

HERE = Path(__file__).parent
_CONFIGURE = tuple(f"--disable-{what}" for what in ("ssl", "gssapi", "curl", "zstd", "lz4-ext", "syslog"))
_QUIET = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"


def clients() -> Sequence[Client]:
    """Returns those that bear the loads, made if they are not there. Raises Unavailable."""
    needed("java", "javac", "mvn", "npm", "gcc", "make")
    jars = kafka_jars()
    library = made("librdkafka-static", LIBRDKAFKA.digest + " ".join(_CONFIGURE), _build_librdkafka)
    java = (HERE / "Load.java").read_text()
    classes = made("load-java", jars.name + java, lambda folder: _compile_java(folder, jars, HERE / "Load.java"))
    c = (HERE / "load.c").read_text()
    loads = made("load-c", library.name + c, lambda folder: _compile_c(folder, library))
    return [
        Client("librdkafka", [str(loads / "load")]),
        Client("Java", ["java", _QUIET, "-Xmx512m", "-cp", f"{classes}:{jars}/*", "Load"]),
    ]


def group_load() -> Sequence[str]:
    """Returns the command of the Java client's loads of groups. Raises Unavailable."""
    needed("java", "javac", "mvn")
    jars = kafka_jars()
    source = HERE / "Groups.java"
    classes = made("groups-java", jars.name + source.read_text(), lambda folder: _compile_java(folder, jars, source))
    return ["java", _QUIET, "-Xmx1g", "-cp", f"{classes}:{jars}/*", "Groups"]


def _build_librdkafka(folder: Path) -> None:
    unpack(LIBRDKAFKA, folder / "package")
    sources = folder / "package" / "deps" / "librdkafka"
    run(["./configure", *_CONFIGURE], sources)
    run(["make", "-C", "src", "-j1", "librdkafka.a"], sources)
    for name in ("librdkafka.a", "rdkafka.h"):
        shutil.move(sources / "src" / name, folder / name)
    shutil.rmtree(folder / "package")


def _compile_java(folder: Path, jars: Path, source: Path) -> None:
    run(["javac", "-cp", f"{jars}/*", "-d", str(folder), str(source)], folder)


def _compile_c(folder: Path, library: Path) -> None:
    linked = ["-lz", "-lm", "-ldl", "-lrt", "-lpthread"]
    command = ["gcc", "-O2", "-Wall", f"-I{library}", str(HERE / "load.c"), f"{library}/librdkafka.a", *linked]
    run([*command, "-o", str(folder / "load")], folder)
