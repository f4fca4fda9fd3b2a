"""A client in another language: a program that answers requests, a line of JSON for each, by a line of JSON.

A request names what is to be done as the methods of `KafkaClient` are called, and has their arguments. An answer has
`values` or `configs` where those are asked for; `cannot` says why the client has no way to do it, `error` what it says
when it failed. Halfway through `produce` the program says {"half": true} and goes on at the next line. Who is to `join`
a group says {"read": [partition, value]} for each record; at the next line it leaves, and answers.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.compat.client import PATIENCE_S, CannotDo, Told
from tests.compat.members import Note, Reading

_MEMBERSHIP_S = 600.0
"""A member leaves by itself after that."""
_MORE_PATIENCE_S = 30.0
"""A program gives up by itself before the one who asks it does."""


class Program:
    """A program that runs, started by `command` with the brokers' addresses behind it."""

    def __init__(self, command: Sequence[str], bootstrap: str) -> None:
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 -- what it says aside; a pipe would have to be read
        self._start, self._bootstrap = command, bootstrap
        self._command = [*command, bootstrap]
        self._process = self._started()
        self._unread = b""

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._words, bufsize=0
        )

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._words.close()

    def create_topic(self, topic: str, partitions: int) -> None:
        self._ask("create_topic", topic=topic, partitions=partitions)

    def grow_topic(self, topic: str, partitions: int) -> None:
        self._ask("grow_topic", topic=topic, partitions=partitions)

    def alter_topic(self, topic: str, configs: Mapping[str, str]) -> None:
        self._ask("alter_topic", topic=topic, configs=dict(configs))

    def topic_configs(self, topic: str) -> Mapping[str, str]:
        return self._ask("topic_configs", topic=topic)["configs"]

    def delete_topic(self, topic: str) -> None:
        self._ask("delete_topic", topic=topic)

    def produce(self, topic: str, values: Sequence[bytes], codec: str, interrupted: Callable[[], None]) -> None:
        texts = [value.decode() for value in values]
        self._ask("produce", interrupted, topic=topic, values=texts, codec=codec)

    def consume(self, topic: str, offset: int, count: int) -> Sequence[bytes]:
        return _bytes(self._ask("consume", topic=topic, offset=offset, count=count))

    def consume_since(self, topic: str, timestamp_ms: int, count: int) -> Sequence[bytes]:
        return _bytes(self._ask("consume_since", topic=topic, timestamp_ms=timestamp_ms, count=count))

    def subscribe(self, topic: str, group: str, count: int, seconds: float) -> Sequence[bytes]:
        return _bytes(self._ask("subscribe", topic=topic, group=group, count=count, seconds=seconds))

    def join(self, topic: str, group: str) -> Reading:
        beside = Program(self._start, self._bootstrap)  # one that does nothing else
        return Reading(lambda note, _leaving: beside._member(topic, group, note), lambda: beside._say({}))

    def _member(self, topic: str, group: str, note: Note) -> None:
        try:
            self._ask("join", note=note, topic=topic, group=group, seconds=_MEMBERSHIP_S)
        finally:
            self.close()

    def _ask(
        self, what: str, halfway: Callable[[], None] | None = None, note: Note | None = None, **arguments: Any
    ) -> dict[str, Any]:
        if self._process.poll() is not None:  # an earlier scenario, which failed of it, was its end
            self._process, self._unread = self._started(), b""
        began = self._words.seek(0, os.SEEK_END)
        self._say({"do": what, **arguments})
        answer = self._answer()
        while "read" in answer:
            assert note is not None
            partition, value = answer["read"]
            note(partition, value.encode())
            answer = self._answer()
        if answer.get("half"):
            assert halfway is not None
            halfway()
            self._say({})
            answer = self._answer()
        if "cannot" in answer:
            raise CannotDo(answer["cannot"])
        if "error" in answer:
            self._words.seek(began)
            raise Told(f"{answer['error']}\n{self._words.read().decode(errors='replace')}")
        return answer

    def _say(self, request: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # that it has ended is seen where its answer is missing
            self._process.stdin.write(json.dumps(request).encode() + b"\n")

    def _answer(self) -> dict[str, Any]:
        line = self._line()
        answer = json.loads(line)
        assert isinstance(answer, dict), line
        return answer

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        deadline = time.monotonic() + PATIENCE_S + _MORE_PATIENCE_S
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                chunk = self._process.stdout.read(1 << 16) if ready else b""
                if not chunk:
                    why = "it ended" if ready else "it did not answer"
                    self._process.kill()
                    self._process.wait()
                    self._words.seek(0)
                    said = self._words.read().decode(errors="replace")
                    raise AssertionError(f"{why}: {self._process.args}\n{said[-5000:]}")
                self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return line


def _bytes(answer: Mapping[str, Any]) -> list[bytes]:
    return [value.encode() for value in answer.get("values", ())]
