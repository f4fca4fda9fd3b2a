"""`python -m bench.peers.heartbeats PORT TOPIC MEMBERS`: members of KIP-848 groups that do nothing but send heartbeats.

100 members a group, some connections a broker, each heartbeat as long after the last as the coordinator says. Prints
`ready` once all are in and nothing changes any more, goes on until standard input ends, and then says how many
heartbeats were answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import sys
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import uvloop

from bench.peers import asking
from dohle.kafka.declaration import Request
from dohle.kafka.framing import decode_response, encode_request
from dohle.kafka.messages.consumer_groups import ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse
from dohle.kafka.messages.groups import FindCoordinatorRequest, FindCoordinatorResponse

A_GROUP: Final = 100
CONNECTIONS_A_BROKER: Final = 4
_VERSION: Final = 1
_REBALANCE_TIMEOUT_MS: Final = 300_000
_JOINING_AT_ONCE: Final = 50
_QUIET_S: Final = 12.0
"""Longer than two intervals: whoever has something to tell has told it by then."""
_GONE: Final = (25, 110)  # UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH
_WAIT: Final = (14, 15, 16)  # the coordinator loads, is not there, is elsewhere
_STALE: Final = 113

Held = list[ConsumerGroupHeartbeatRequest.TopicPartitions]


class Connection:
    """Requests in a row; a broker answers in their order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._asked: dict[int, asyncio.Future[memoryview]] = {}
        self._numbers = count(1)
        self._task = asyncio.create_task(self._read(reader))

    @classmethod
    async def to(cls, port: int) -> Connection:
        return cls(*await asyncio.open_connection(asking.HOST, port))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                frame = await reader.readexactly(size)
                self._asked.pop(struct.unpack_from(">i", frame)[0]).set_result(memoryview(frame))
        except (OSError, asyncio.IncompleteReadError) as error:
            for asked in self._asked.values():
                asked.set_exception(ConnectionResetError(f"the broker closed the connection: {error}"))

    async def ask(self, request: Request, kind: Any, version: int) -> Any:
        number = next(self._numbers)
        future: asyncio.Future[memoryview] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        self._writer.write(b"".join(encode_request(request, version, number, "heartbeats")))
        return decode_response(kind, version, await future)[1]


@dataclass(slots=True)
class Totals:
    answered: int = 0
    failed: int = 0
    changed_s: float = 0.0
    joined: int = 0


@dataclass(slots=True)
class Member:
    group_id: str
    member_id: str
    topic: str
    connection: Connection
    totals: Totals
    epoch: int = 0
    held: Held = field(default_factory=list)

    async def run(self, joining: asyncio.Semaphore) -> None:
        now = asyncio.get_running_loop().time
        async with joining:
            interval_s = await self._beat(joins=True)
            while self.epoch == 0:
                await asyncio.sleep(interval_s)
                interval_s = await self._beat(joins=True)
            self.totals.joined += 1
        while True:
            await asyncio.sleep(interval_s)
            before = self.epoch
            interval_s = await self._beat(joins=self.epoch == 0)
            if self.epoch != before:
                self.totals.changed_s = now()

    async def _beat(self, *, joins: bool, tells: bool = False) -> float:
        """Returns after how many seconds the next one is due."""
        request = ConsumerGroupHeartbeatRequest(
            group_id=self.group_id, member_id=self.member_id, member_epoch=self.epoch
        )
        if joins:
            request.rebalance_timeout_ms = _REBALANCE_TIMEOUT_MS
            request.subscribed_topic_names = [self.topic]
        if joins or tells:
            request.topic_partitions = self.held
        answer = await self.connection.ask(request, ConsumerGroupHeartbeatResponse, _VERSION)
        if answer.error_code in _GONE:
            self.epoch, self.held = 0, []
        elif answer.error_code == _STALE or answer.error_code in _WAIT:
            return 0.1
        elif answer.error_code:
            raise AssertionError(f"a heartbeat was answered with error {answer.error_code}: {answer.error_message}")
        if answer.error_code:
            self.totals.failed += 1
            return 0.1
        self.totals.answered += 1
        self.epoch = answer.member_epoch
        if answer.assignment is not None:
            self.held = [
                ConsumerGroupHeartbeatRequest.TopicPartitions(topic_id=one.topic_id, partitions=one.partitions)
                for one in answer.assignment.topic_partitions
            ]
            return await self._beat(joins=False, tells=True)
        return answer.heartbeat_interval_ms / 1000


async def coordinators(port: int, groups: list[str]) -> dict[str, int]:
    """Returns the ports of the groups' coordinators. Raises NotInTime."""
    found: dict[str, int] = {}

    def all_known() -> bool:
        request = FindCoordinatorRequest(key_type=0, coordinator_keys=[one for one in groups if one not in found])
        for one in asking.ask(port, request, FindCoordinatorResponse, 4).coordinators:
            if one.error_code == 0:
                found[one.key] = one.port
        return len(found) == len(groups)

    await asyncio.to_thread(asking.until, "all groups have coordinators", all_known)
    return found


async def run(port: int, topic: str, members: int) -> None:
    groups = [f"beating-{topic}-{number}" for number in range(-(-members // A_GROUP))]
    ports = await coordinators(port, groups)
    connections = {
        one: [await Connection.to(one) for _ in range(CONNECTIONS_A_BROKER)] for one in sorted(set(ports.values()))
    }
    totals, joining = Totals(), asyncio.Semaphore(_JOINING_AT_ONCE)
    loop = asyncio.get_running_loop()
    ended = loop.run_in_executor(None, sys.stdin.read)
    tasks = []
    for number in range(members):
        group_id = groups[number % len(groups)]
        connection = connections[ports[group_id]][number % CONNECTIONS_A_BROKER]
        member = Member(group_id, f"member-{number:05}", topic, connection, totals)
        tasks.append(asyncio.create_task(member.run(joining)))
    gathered = asyncio.gather(*tasks)

    async def until_quiet() -> None:
        # Nothing tells when events have stopped.
        while totals.joined < members or loop.time() - totals.changed_s < _QUIET_S:  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    quiet = asyncio.create_task(until_quiet())
    await asyncio.wait([quiet, gathered], return_when=asyncio.FIRST_COMPLETED)
    if gathered.done():
        gathered.result()  # raises what has ended it
    answered, failed, began = totals.answered, totals.failed, loop.time()
    print("ready", flush=True)
    await asyncio.wait([ended, gathered], return_when=asyncio.FIRST_COMPLETED)
    if gathered.done():
        gathered.result()
    per_s = (totals.answered - answered) / (loop.time() - began)
    print(json.dumps({"per_s": per_s, "failed": totals.failed - failed}), flush=True)
    gathered.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await gathered


if __name__ == "__main__":
    uvloop.run(run(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
