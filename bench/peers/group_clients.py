"""`python -m bench.peers.group_clients LOAD CLIENT BOOTSTRAP TOPIC GROUP …`: one member of a group, by the SDK or by
librdkafka through confluent-kafka (`dohle`, `librdkafka`). Takes and prints what Groups.java does:

first CLIENT BOOTSTRAP TOPIC GROUP PROTOCOL WARM COUNT
gap CLIENT BOOTSTRAP TOPIC GROUP PROTOCOL SECONDS
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any, Protocol

import uvloop
from confluent_kafka import Consumer as LibrdkafkaConsumer
from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition as LibrdkafkaPartition

from dohle.client.consumer import Consumer
from dohle.model.errors import DohleError
from dohle.model.ids import TopicPartition

_PATIENCE_S = 300.0
_EVERY_S = 0.01


class Member(Protocol):
    """A group's only one."""

    async def first_record(self) -> None: ...

    async def commit(self, offset: int) -> bool:
        """Commits for partition 0; returns whether that was done."""
        ...

    async def close(self) -> None: ...


class SdkMember:
    def __init__(self, bootstrap: str, topic: str, group: str, _protocol: str) -> None:
        self._topic = topic
        self._consumer = Consumer(bootstrap, group=group, auto_commit=False)

    async def first_record(self) -> None:
        await self._consumer.subscribe(self._topic)
        await anext(aiter(self._consumer))

    async def commit(self, offset: int) -> bool:
        try:
            await self._consumer.commit({TopicPartition(self._topic, 0): offset})
        except DohleError:
            return False
        return True

    async def close(self) -> None:
        await self._consumer.close()


class LibrdkafkaMember:
    """Its calls block: nothing else runs in this process."""

    def __init__(self, bootstrap: str, topic: str, group: str, protocol: str) -> None:
        settings: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "group.protocol": protocol,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
        self._topic = topic
        self._consumer = LibrdkafkaConsumer(settings)

    async def first_record(self) -> None:
        self._consumer.subscribe([self._topic])
        while True:
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None:
                return

    async def commit(self, offset: int) -> bool:
        try:
            self._consumer.commit(
                offsets=[LibrdkafkaPartition(self._topic, 0, offset)],
                asynchronous=False,
            )
        except KafkaException:
            return False
        return True

    async def close(self) -> None:
        self._consumer.close()


CLIENTS: dict[str, type[SdkMember] | type[LibrdkafkaMember]] = {"dohle": SdkMember, "librdkafka": LibrdkafkaMember}


async def first(client: str, bootstrap: str, topic: str, group: str, protocol: str, warm: int, count: int) -> None:
    taken = []
    for number in range(warm + count):
        began = time.perf_counter()
        member = CLIENTS[client](bootstrap, topic, f"{group}-{number}", protocol)
        await asyncio.wait_for(member.first_record(), _PATIENCE_S)
        taken.append(1000 * (time.perf_counter() - began))
        await member.close()
    print(json.dumps({"ms": taken[warm:]}))


async def gap(client: str, bootstrap: str, topic: str, group: str, protocol: str, seconds: float) -> None:
    member = CLIENTS[client](bootstrap, topic, group, protocol)
    await asyncio.wait_for(member.first_record(), _PATIENCE_S)
    if not await member.commit(0):
        raise SystemExit("the first commit was refused")
    print("ready", flush=True)
    began = last = time.perf_counter()
    longest, failed, offset = 0.0, 0, 0
    while time.perf_counter() - began < seconds:
        await asyncio.sleep(_EVERY_S)
        offset += 1
        if await member.commit(offset):
            at = time.perf_counter()
            longest, last = max(longest, at - last), at
        else:
            failed += 1
    longest = max(longest, time.perf_counter() - last)
    print(json.dumps({"longest_gap_s": longest, "failed": failed}), flush=True)
    await member.close()


def main(arguments: list[str]) -> None:
    match arguments:
        case ["first", client, bootstrap, topic, group, protocol, warm, count]:
            uvloop.run(first(client, bootstrap, topic, group, protocol, int(warm), int(count)))
        case ["gap", client, bootstrap, topic, group, protocol, seconds]:
            uvloop.run(gap(client, bootstrap, topic, group, protocol, float(seconds)))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
