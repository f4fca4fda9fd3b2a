"""Every client that is tried: what it is called, which version, and how it is started."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.compat.builds import HERE, Missing, built
from tests.compat.client import KafkaClient
from tests.compat.console_tools import ConsoleTools
from tests.compat.programs import Program
from tests.compat.python_clients import Aiokafka, KafkaPython, Kcat, Librdkafka

_ROOT = HERE.parent.parent


@dataclass(frozen=True)
class Tried:
    """A client."""

    key: str
    """What it is called by `make compat CLIENTS=`."""
    name: str
    language: str
    version: Callable[[], str]
    """Returns the version that a run here tries. May raise Missing."""
    start: Callable[[str], KafkaClient]
    """Starts it with the brokers' addresses. May raise Missing."""
    built_as: str = ""
    """The language of builds.py that must be built for it."""
    repeats: bool = False
    """Whether it has no idempotent producer: what it writes while a leader dies may come twice."""


def _from_pypi(package: str) -> str:
    return _pinned(_ROOT / "constraints.txt", rf"^{package}==(.+)$")


def _from_go(module: str) -> str:
    return _pinned(HERE / "go" / "go.mod", rf"^\s*{module} v(\S+)")


def _from_npm(package: str) -> str:
    lock = json.loads((HERE / "javascript" / "package-lock.json").read_text())
    return lock["packages"][f"node_modules/{package}"]["version"]


def _from_maven() -> str:
    return _pinned(HERE / "java" / "pom.xml", r"<kafka>(.+)</kafka>")


def _from_crates(crate: str) -> str:
    return _pinned(HERE / "rust" / "Cargo.lock", rf'name = "{crate}"\nversion = "(.+)"')


def _of_kcat() -> str:
    if shutil.which("kcat") is None:
        raise Missing("kcat is not installed: Debian's kcat")
    said = subprocess.run(["kcat", "-V"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"Version (\S+).*librdkafka (\d+\.\d+\.\d+)", said, re.DOTALL)
    assert found, said
    return f"{found[1]} (librdkafka {found[2]})"


def _pinned(path: Path, pattern: str) -> str:
    found = re.search(pattern, path.read_text(), re.MULTILINE)
    assert found, f"{path} does not pin {pattern}"
    return found[1]


def _kcat(bootstrap: str) -> KafkaClient:
    _of_kcat()
    return Kcat(bootstrap)


def _console_tools(bootstrap: str) -> KafkaClient:
    return ConsoleTools(built("java"), bootstrap)


def _java(bootstrap: str) -> KafkaClient:
    folder = built("java")
    logging = "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.clients.consumer.internals=debug"
    return Program(["java", logging, "-cp", f"{folder}/classes:{folder}/jars/*", "Client"], bootstrap)


def _go(program: str, bootstrap: str) -> KafkaClient:
    return Program([str(built("go") / program)], bootstrap)


def _javascript(program: str, bootstrap: str) -> KafkaClient:
    return Program(["node", str(built("javascript") / program)], bootstrap)


def _rust(bootstrap: str) -> KafkaClient:
    return Program([str(built("rust") / "debug" / "compat")], bootstrap)


CLIENTS = (
    Tried("kcat", "kcat", "shell", _of_kcat, _kcat, repeats=True),
    Tried("librdkafka", "confluent-kafka", "Python", partial(_from_pypi, "confluent-kafka"), Librdkafka),
    Tried("kafka-python", "kafka-python", "Python", partial(_from_pypi, "kafka-python"), KafkaPython),
    Tried("aiokafka", "aiokafka", "Python", partial(_from_pypi, "aiokafka"), Aiokafka),
    Tried("java", "kafka-clients", "Java", _from_maven, _java, "java"),
    Tried("tools", "Kafka's console tools", "Java", _from_maven, _console_tools, "java"),
    Tried("franz", "franz-go", "Go", partial(_from_go, "github.com/twmb/franz-go"), partial(_go, "franz"), "go"),
    Tried("sarama", "Sarama", "Go", partial(_from_go, "github.com/IBM/sarama"), partial(_go, "sarama"), "go"),
    Tried(
        *("kafka-go", "kafka-go", "Go", partial(_from_go, "github.com/segmentio/kafka-go")),
        *(partial(_go, "segmentio"), "go", True),
    ),
    Tried(
        *("kafkajs", "KafkaJS", "JavaScript", partial(_from_npm, "kafkajs")),
        *(partial(_javascript, "kafkajs.mjs"), "javascript"),
    ),
    Tried(
        *("platformatic", "@platformatic/kafka", "JavaScript", partial(_from_npm, "@platformatic/kafka")),
        *(partial(_javascript, "platformatic.mjs"), "javascript"),
    ),
    Tried("rskafka", "rskafka", "Rust", partial(_from_crates, "rskafka"), _rust, "rust", repeats=True),
)
