"""Apache Kafka's console tools, each run as its script in Kafka's distribution does: a class in a JVM of its own."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.compat.client import PATIENCE_S, Told, halves, never
from tests.compat.members import Reading
from tests.compat.python_clients import reading_by

_QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
_CLASSES = {
    "kafka-topics": "org.apache.kafka.tools.TopicCommand",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "kafka-console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
}


class ConsoleTools:
    """Each call starts a tool. `folder` is what builds.py makes of Java."""

    def __init__(self, folder: Path, bootstrap: str) -> None:
        self._java = ["java", *_QUICK_START, "-cp", f"{folder}/jars/*"]
        self._bootstrap = bootstrap

    def close(self) -> None:
        """Nothing outlasts a call."""

    def create_topic(self, topic: str, partitions: int) -> None:
        self._topics("--create", topic, "--partitions", str(partitions), "--replication-factor", "3")

    def grow_topic(self, topic: str, partitions: int) -> None:
        self._topics("--alter", topic, "--partitions", str(partitions))

    def delete_topic(self, topic: str) -> None:
        self._topics("--delete", topic)

    def alter_topic(self, topic: str, configs: Mapping[str, str]) -> None:
        changes = ",".join(f"{name}={value}" for name, value in configs.items())
        self._done("kafka-configs", "--alter", "--topic", topic, "--add-config", changes)

    def topic_configs(self, topic: str) -> Mapping[str, str]:
        said = self._done("kafka-configs", "--describe", "--all", "--topic", topic)
        return dict(re.findall(r"^ +([a-z.]+)=(\S*) sensitive", said, re.MULTILINE))

    def produce(self, topic: str, values: Sequence[bytes], codec: str, interrupted: Callable[[], None]) -> None:
        command = self._command(
            *("kafka-console-producer", "--topic", topic, "--compression-codec", codec, "--sync"),
            *("--timeout", "20", "--command-property", "acks=all"),
        )
        first, second = halves(values)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as tool:
            assert tool.stdin is not None
            tool.stdin.write(b"".join(value + b"\n" for value in first))
            tool.stdin.flush()
            if interrupted is not never:
                self._until_written(topic, len(first))
                interrupted()
            said, _ = tool.communicate(b"".join(value + b"\n" for value in second), PATIENCE_S)
        if tool.returncode or b"ERROR" in said:
            raise Told(said.decode())

    def consume(self, topic: str, offset: int, count: int) -> Sequence[bytes]:
        command = self._command(
            *("kafka-console-consumer", "--topic", topic, "--partition", "0", "--offset", str(offset)),
            *("--max-messages", str(count), "--timeout-ms", str(int(PATIENCE_S * 1000))),
        )
        return self._lines(command)

    def consume_since(self, topic: str, timestamp_ms: int, count: int) -> Sequence[bytes]:
        said = self._done("kafka-get-offsets", "--topic-partitions", f"{topic}:0", "--time", str(timestamp_ms))
        return self.consume(topic, int(said.strip().rpartition(":")[2]), count)

    def subscribe(self, topic: str, group: str, count: int, seconds: float) -> Sequence[bytes]:
        command = self._command(
            *("kafka-console-consumer", "--topic", topic, "--group", group, "--from-beginning"),
            *("--max-messages", str(count), "--timeout-ms", str(int(seconds * 1000))),
            logging="debug",
        )
        return self._lines(command, count)

    def join(self, topic: str, group: str) -> Reading:
        command = self._command(
            *("kafka-console-consumer", "--topic", topic, "--group", group, "--from-beginning"),
            *("--command-property", "auto.commit.interval.ms=200", "--formatter-property", "print.partition=true"),
        )
        return reading_by(command)

    def _topics(self, what: str, topic: str, *more: str) -> None:
        self._done("kafka-topics", what, "--topic", topic, *more)

    def _until_written(self, topic: str, count: int) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            said = self._done("kafka-get-offsets", "--topic-partitions", f"{topic}:0").strip()
            if said and int(said.rpartition(":")[2]) >= count:
                return
            assert time.monotonic() < deadline, f"the first {count} are not written: {said!r}"

    def _command(self, tool: str, *arguments: str, logging: str = "off") -> list[str]:
        quiet = f"-Dorg.slf4j.simpleLogger.defaultLogLevel={logging}"  # onto stderr
        return [*self._java, quiet, _CLASSES[tool], "--bootstrap-server", self._bootstrap, *arguments]

    def _done(self, tool: str, *arguments: str) -> str:
        done = subprocess.run(
            self._command(tool, *arguments, logging="warn"), capture_output=True, text=True, timeout=90, check=False
        )
        if done.returncode:
            raise Told(done.stdout + done.stderr)
        return done.stdout

    def _lines(self, command: list[str], count: int = 0) -> list[bytes]:
        done = subprocess.run(command, capture_output=True, timeout=90, check=False)
        lines = done.stdout.splitlines()
        if done.returncode or len(lines) < count:
            raise Told((done.stdout + done.stderr).decode())
        return lines
