"""A real Apache Kafka on this machine: one node, broker and controller at once, its jars from Maven Central."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp

HERE = Path(__file__).parent
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
HEAP = ("-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
NODE_ID = 1
_MAVEN_S = 300
_START_S = 60
_STOP_S = 20
_NICENESS = 5
_PR_SET_PDEATHSIG = 1

PROPERTIES = """\
process.roles=broker,controller
node.id={node_id}
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
"""
LOGGING = """\
rootLogger.level=ERROR
rootLogger.appenderRef.o.ref=o
appender.o.type=Console
appender.o.name=o
appender.o.layout.type=PatternLayout
appender.o.layout.pattern=%d %p %c %m%n
"""


class NotHere(Exception):
    """There is no Apache Kafka to be had on this machine."""


def jars() -> Path:
    """Returns the folder of the jars, which Maven fills once, outside the source tree. Raises NotHere."""
    for program, package in (("java", "default-jdk-headless"), ("mvn", "maven")):
        if shutil.which(program) is None:
            raise NotHere(f"{program} is missing (Debian: apt-get install {package})")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dohle-tests" / "kafka"
    folder = cache / sha256((HERE / "pom.xml").read_bytes()).hexdigest()[:12]
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        making = Path(mkdtemp(dir=cache))
        command = ["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), PLUGIN, "-DincludeScope=runtime"]
        try:
            done = subprocess.run(
                [*command, f"-DoutputDirectory={making}"],
                capture_output=True,
                text=True,
                timeout=_MAVEN_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise NotHere(f"Maven has not brought its jars in {_MAVEN_S} s") from None
        if done.returncode:
            raise NotHere(f"Maven cannot bring its jars: {done.stdout.strip()[:300]}")
        if not folder.exists():  # else another run was quicker
            making.rename(folder)
    return folder


@contextlib.contextmanager
def running(folder: Path) -> Iterator[int]:
    """Formats a node in `folder`, runs it for a while, and yields the port at which it serves. Raises NotHere."""
    classpath = f"{jars()}/*"
    folder.mkdir(parents=True)
    port, controller_port = _free_ports(2)
    properties = folder / "server.properties"
    properties.write_text(PROPERTIES.format(node_id=NODE_ID, port=port, controller_port=controller_port, folder=folder))
    (folder / "log4j2.properties").write_text(LOGGING)
    java = ["java", *HEAP, f"-Dlog4j2.configurationFile=file:{folder}/log4j2.properties", "-cp", classpath]
    formatted = subprocess.run(
        [
            *java,
            "kafka.tools.StorageTool",
            "format",
            "--standalone",
            "-c",
            str(properties),
            "-t",
            "MkU3OEVBNTcwNTJENDM2Qg",
        ],
        capture_output=True,
        text=True,
        timeout=_START_S,
        check=False,
    )
    assert formatted.returncode == 0, formatted.stdout + formatted.stderr
    log = folder / "kafka.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*java, "kafka.Kafka", str(properties)],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_aside_and_not_for_ever,
        )
    try:
        _until_it_listens(process, port, log)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_S)


def _aside_and_not_for_ever() -> None:
    """Lets others have the machine first, and ends with whoever has started this."""
    os.nice(_NICENESS)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None, f"Kafka has ended: {log.read_text()[-2000:]}"
        assert time.monotonic() < deadline, f"Kafka does not listen: {log.read_text()[-2000:]}"
        time.sleep(0.05)


def _free_ports(count: int) -> list[int]:
    """Returns ports that nobody uses; all are held until the last is found, so that they differ."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]
