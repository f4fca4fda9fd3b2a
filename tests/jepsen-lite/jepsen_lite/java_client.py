"""JavaClient: Kafka's Java client as a LogClient, in a process of its own (../java), which is asked by lines of JSON.

What is asked is written after the history says so, and what is answered is told to the history afterwards.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from dohle.model.ids import TopicPartition
from dohle.testing.chaos.workloads.log_client import Failure, Headers, ProducerPlan, Record, Settled

ROOT = Path(__file__).resolve().parents[3]
SOURCE = ROOT / "tests" / "jepsen-lite" / "java"
BUILT = ROOT / ".compat" / "jepsen-lite-java"
_REQUEST_TIMEOUT_MS = 10_000
_NEVER_MS = 2**31 - 1
_CONSUMER = {
    "enable.auto.commit": "false",
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
    "session.timeout.ms": "10000",
    "heartbeat.interval.ms": "2000",
    "max.poll.interval.ms": "20000",
    "default.api.timeout.ms": str(2 * _REQUEST_TIMEOUT_MS),
    "request.timeout.ms": str(_REQUEST_TIMEOUT_MS),
}
_SMALL = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_LONGEST_LINE = 64 << 20


def build() -> Path:
    """Builds the program, if it is not built yet. Raises `tests.compat.builds.Missing`, which says what is not here."""
    sys.path.insert(0, str(ROOT))
    from tests.compat.builds import fresh, java

    return fresh(SOURCE, BUILT, java)


class JavaClient:
    """`bootstrap` is of nodes' Kafka listeners. The program was built before."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._program = _Program()
        self._names = count(1)

    def producer(self, plan: ProducerPlan) -> JavaProducer:
        config = {
            "bootstrap.servers": self._bootstrap,
            "acks": "all",
            "enable.idempotence": "true",
            "linger.ms": str(plan.linger_ms),
            "compression.type": plan.compression,
            # Never: when a batch's time is over, those sent after it are sent anew in another epoch, where no broker
            # can know them. What their first attempts had written is there twice then.
            "delivery.timeout.ms": str(_NEVER_MS),
            "request.timeout.ms": str(_REQUEST_TIMEOUT_MS),
        }
        return JavaProducer(self._program, f"producer{next(self._names)}", config)

    def consumer(self, group: str | None = None) -> JavaConsumer:
        config = {"bootstrap.servers": self._bootstrap, **_CONSUMER, **({} if group is None else {"group.id": group})}
        return JavaConsumer(self._program, f"consumer{next(self._names)}", config)

    def stand_still(self, seconds: float) -> None:
        with self._program.stopped():
            time.sleep(seconds)

    async def close(self) -> None:
        await self._program.close()


class JavaProducer:
    def __init__(self, program: _Program, name: str, config: Mapping[str, str]) -> None:
        self._program = program
        self._name = name
        self._config: Mapping[str, str] | None = config

    async def send(
        self,
        partition: TopicPartition,
        value: bytes | None,
        settled: Settled,
        *,
        key: bytes | None = None,
        headers: Headers = (),
    ) -> None:
        if self._config is not None:
            config, self._config = self._config, None
            await self._program.ask(self._name, "producer", config=config)
        told = [[name, _text(one)] for name, one in headers]
        answer = await self._program.begin(
            self._name,
            "send",
            topic=partition.topic,
            partition=partition.partition,
            key=_text(key),
            value=_text(value),
            headers=told,
        )
        answer.add_done_callback(lambda answer: _settle(settled, answer))

    async def flush(self) -> None:
        if self._config is None:
            await self._program.ask(self._name, "flush")
            await asyncio.sleep(0)  # for what it told last

    async def close(self) -> None:
        if self._config is None:
            await self._program.ask(self._name, "close_producer")


class JavaConsumer:
    def __init__(self, program: _Program, name: str, config: Mapping[str, str]) -> None:
        self._program = program
        self._name = name
        self._config: Mapping[str, str] | None = config
        self._changed: Callable[[Sequence[TopicPartition]], None] | None = None

    async def assign(self, starts: Mapping[TopicPartition, int]) -> None:
        await self._ask("assign", partitions=[[*one, start] for one, start in starts.items()])

    async def subscribe(self, topics: Sequence[str], changed: Callable[[Sequence[TopicPartition]], None]) -> None:
        self._changed = changed
        await self._ask("subscribe", topics=list(topics))

    async def poll(self, most: int, timeout_s: float) -> list[Record]:
        """Returns what Java returns, which is at most `max.poll.records`, whatever `most` says."""
        answer = await self._ask("poll", ms=int(timeout_s * 1000))
        if answer["changed"] and self._changed is not None:
            pairs = (one.rsplit(" ", 1) for one in answer["changed"])
            self._changed([TopicPartition(topic, int(partition)) for topic, partition in pairs])
        return [
            Record(
                TopicPartition(topic, partition),
                offset,
                _bytes(key),
                _bytes(value),
                [(name, _bytes(one)) for name, one in headers],
            )
            for topic, partition, offset, key, value, headers in answer["records"]
        ]

    async def ends(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return _offsets(await self._ask("ends", partitions=[[*one] for one in partitions]))

    async def position(self, partition: TopicPartition) -> int:
        return _offsets(await self._ask("positions", partitions=[[*partition]]))[partition]

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> int:
        answer = await self._ask("commit", partitions=[[*one, offset] for one, offset in offsets.items()])
        return int(answer["epoch"])

    async def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int | None]:
        found = _offsets(await self._ask("committed", partitions=[[*one] for one in partitions]))
        return {one: found.get(one) for one in partitions}

    async def close(self) -> None:
        if self._config is None:
            await self._ask("close_consumer")

    async def _ask(self, what: str, **arguments: Any) -> dict[str, Any]:
        if self._config is not None:
            config, self._config = self._config, None
            await self._program.ask(self._name, "consumer", config=config)
        return await self._program.ask(self._name, what, **arguments)


class _Program:
    """The Java process. Whoever waits for its answers when it ends fails, and so does the worker."""

    def __init__(self) -> None:
        classes = ["-cp", f"{BUILT}/classes:{BUILT}/jars/*"]
        self._command = ["java", *_SMALL, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", *classes, "LogClient"]
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._open: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = count(1)

    async def begin(self, name: str, what: str, **arguments: Any) -> asyncio.Future[dict[str, Any]]:
        """Asks; returns what will be the answer."""
        process = await self._started()
        number = next(self._numbers)
        answer = self._open[number] = asyncio.get_running_loop().create_future()
        request = {"id": number, "on": name, "do": what, **arguments}
        assert process.stdin is not None
        process.stdin.write(json.dumps(request, separators=(",", ":")).encode() + b"\n")
        await process.stdin.drain()
        return answer

    async def ask(self, name: str, what: str, **arguments: Any) -> dict[str, Any]:
        """Returns the answer. Raises Failure if it is one."""
        answer = await (await self.begin(name, what, **arguments))
        if "error" in answer:
            raise Failure(answer["error"])
        return answer

    @contextmanager
    def stopped(self) -> Iterator[None]:
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            if self._process is not None:
                os.kill(self._process.pid, signal.SIGCONT)

    async def close(self) -> None:
        if self._process is not None and self._reading is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            await self._reading
            await self._process.wait()

    async def _started(self) -> asyncio.subprocess.Process:
        async with self._starting:
            if self._process is None:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=_LONGEST_LINE
                )
                self._reading = asyncio.create_task(self._read(self._process))
            return self._process

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            answer = json.loads(line)
            asked = self._open.pop(answer["id"])
            if not asked.cancelled():
                asked.set_result(answer)
        for asked in self._open.values():
            if not asked.done():
                asked.set_exception(RuntimeError("the Java program has ended"))


def _settle(settled: Settled, answer: asyncio.Future[dict[str, Any]]) -> None:
    """No failure is definite: it tells of the last attempt, and an earlier one may have been carried out."""
    if answer.cancelled() or answer.exception() is not None:
        settled(None, Failure("the Java program has ended"))
    elif "error" in answer.result():
        settled(None, Failure(answer.result()["error"]))
    else:
        settled(answer.result().get("offset"), None)


def _offsets(answer: Mapping[str, Any]) -> dict[TopicPartition, int]:
    return {TopicPartition(topic, partition): offset for topic, partition, offset in answer["offsets"]}


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("latin-1")


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode("latin-1")
