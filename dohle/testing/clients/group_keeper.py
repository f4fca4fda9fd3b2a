"""GroupKeeper: has members of a group come, go, stop and die, and sees to it that the group gets to the end.

Once all is calm, whoever is stopped goes on, and somebody is there. A member is killed as a node is: what it was in the
middle of has an outcome that nobody knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from dohle.client.admin import Admin
from dohle.client.consumer import Consumer
from dohle.model.errors import DohleError
from dohle.model.ids import TopicPartition
from dohle.model.internal_topics import OFFSETS_TOPIC
from dohle.testing.clients.group_member import GROUP, Grouped, GroupMember, watch_commits
from dohle.testing.clients.sim_client import SimClient
from dohle.testing.world.world import World

_RETRY_S = 0.5
_LOOK_S = 0.5
_LONGEST_PAUSE = 2.0
"""In sessions."""


@dataclass(slots=True)
class GroupKeeper:
    """`make_client` makes the process of a member. `read`: by log, the offset behind what the group has dealt with;
    `done` counts what became of members."""

    client: SimClient
    world: World
    plan: Grouped
    topic: str
    make_client: Callable[[str], SimClient]
    read: dict[str, int] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    is_ready: bool = False  # there is a topic of offsets
    _members: list[GroupMember] = field(default_factory=list)
    _begun: int = 0

    async def run(self, calm: Callable[[], bool]) -> None:
        """Returns once it is calm, and leaves a group that works."""
        chance, clock = self.client.random, self.client.clock
        await self._keep_offsets_safely()
        self.is_ready = True
        while len(self._members) < self.plan.members - 1:
            self._begin()
        while not calm():
            until = clock.now() + chance.expovariate(1 / self.plan.troubles_every_s)
            while clock.now() < until and not calm():
                await clock.sleep(_LOOK_S)
            if not calm():
                self._trouble()
        for member in self._members:
            self._resume(member)
        self._members = [member for member in self._members if not member.is_leaving]
        if not self._members:
            self._begin()

    def is_behind(self, ends: Mapping[str, int]) -> list[str]:
        """Returns the logs of which the group has not dealt with everything below `ends`."""
        return [log for log, end in sorted(ends.items()) if self.read.get(log, 0) < end]

    def leave(self) -> None:
        """Has all members go."""
        for member in self._members:
            member.is_leaving = True

    def everybody_left(self) -> bool:
        return all(member.has_left for member in self._members)

    async def ask_what_is_committed(self, partitions: int) -> None:
        consumer = Consumer(self.client.bootstrap, group=GROUP, **self.client.seams)
        watch_commits(consumer, self.client)
        async with consumer:
            while True:
                with suppress(DohleError):
                    await consumer.committed(*(TopicPartition(self.topic, number) for number in range(partitions)))
                    return
                await self.client.clock.sleep(_RETRY_S)

    async def _keep_offsets_safely(self) -> None:
        """Has the topic of all offsets made, with as many copies as the others; before, nothing is committed."""
        minimum = str(self.world.topology.min_in_sync_replicas)
        async with (
            Consumer(self.client.bootstrap, group=GROUP, **self.client.seams) as consumer,
            Admin(self.client.bootstrap, **self.client.seams) as admin,
        ):
            while True:
                try:
                    await consumer.committed(TopicPartition(self.topic, 0))
                    await admin.alter_configs(OFFSETS_TOPIC, {"min.insync.replicas": minimum})
                except DohleError:
                    await self.client.clock.sleep(_RETRY_S)
                else:
                    return

    def _begin(self) -> None:
        self._begun += 1
        self.done["began"] += 1
        taken = {member.place for member in self._members}
        place = next(number for number in range(self.plan.members) if number not in taken)
        client = self.make_client(f"member{self._begun}")
        member = GroupMember(client, self.plan, self.topic, self._begun, place, self.read)
        self._members.append(member)
        client.process.spawn(member.run(), "member")

    def _trouble(self) -> None:
        chance = self.client.random
        self._members = [member for member in self._members if not member.has_left]
        if len(self._members) < self.plan.members and (not self._members or chance.random() < 0.4):
            self._begin()
            return
        member = chance.choice(self._members)
        if member.client.process.loop.paused:
            self._resume(member)
            return
        match chance.randrange(4):
            case 0:
                self.done["killed"] += 1
                self.world.kill_client(member.client.process)
                self._members.remove(member)
            case 1:
                self.done["left"] += 1
                member.is_leaving = True
            case _:
                self.done["paused"] += 1
                self.world.pause_client(member.client.process)
                longest_s = _LONGEST_PAUSE * self.plan.session_ms / 1000
                self.client.process.loop.call_later(chance.uniform(0, longest_s), self._resume, member)

    def _resume(self, member: GroupMember) -> None:
        if member.client.process.loop.alive and member.client.process.loop.paused:
            self.world.resume_client(member.client.process)
