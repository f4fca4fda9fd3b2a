"""ClassicMember: a member of the GroupWorld that speaks the classic protocol, eagerly: it gives all up and joins again.

`Generations` judges what it is answered: nobody is in a generation who has not joined since the one before; and none
commits in a generation once a newer one has its assignment. What is not assigned yet
is lost with its coordinator, and so is what is known here of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from dohle.groups.classic.commands import Heartbeat, Join, Joined, Leave, Leaver, NotJoined, Sync, Synced
from dohle.groups.offsets import Commit
from dohle.groups.outcome import Moment, Outcome, Ticket
from dohle.groups.shard import GroupShard
from dohle.model.errors import DohleError
from dohle.model.group_errors import MemberIdRequired, RebalanceInProgress, UnknownMember
from dohle.model.ids import PartitionKey, TopicId
from tests.groups.group_world import GROUP, INTERVAL_S, REBALANCE_S, SESSION_S, GroupWorld, Member, Request


class Generations:
    """What one who sees all knows of the one group."""

    def __init__(self, world: GroupWorld) -> None:
        self._world = world
        self._newest = -1  # that has its assignment
        self._begun_s = world.begun_s
        self._members: dict[str, int] = {}  # by id, the newest generation that it was told to be in
        self._joining: dict[str, None] = {}  # who has asked since

    def joins(self, member_id: str) -> None:
        if self._begun_s != self._world.begun_s:
            self._begun_s = self._world.begun_s
            self._members.clear()
            self._joining.clear()
        self._joining[member_id] = None

    def told(self, joined: Joined) -> None:
        """An answer to a Join is let out."""
        for present in joined.members:
            before = self._members.get(present.member_id, joined.generation)
            if before < joined.generation and present.member_id not in self._joining:
                self._world.violations.append(
                    f"generation {joined.generation} has {present.member_id}, which was in {before} and has not joined"
                )
        self._members[joined.member_id] = joined.generation
        self._joining.pop(joined.member_id, None)

    def assigned(self, generation: int) -> None:
        """An answer to a Sync is let out."""
        self._newest = max(self._newest, generation)

    def commits(self, generation: int, reply: Any) -> None:
        if generation < self._newest and isinstance(reply, tuple | list) and reply[0] is None:
            self._world.violations.append(f"generation {generation} commits, and {self._newest} has its assignment")


class ClassicMember(Member):
    """The leader deals partitions out in turn."""

    def __init__(self, world: GroupWorld, process: str, generations: Generations) -> None:
        super().__init__(world, process)
        self._generations = generations
        self._id = ""
        self._joined: Joined | None = None
        self._synced = False
        self._dealt: list[tuple[TopicId, int]] = []  # in this generation: a Sync sent again must not deal anew
        self._request: Request | None = None
        self._next_s = 0.0
        self._synced_in: dict[Request, int] = {}  # the generation

    @property
    def member_id(self) -> str:
        return self._id

    @property
    def is_restless(self) -> bool:
        return not self._synced or None in self.positions.values()

    def keeps_up(self) -> None:
        if self._request is not None:
            return
        if self._joined is None:
            self._join()
        elif not self._synced:
            self._sync(self._joined)
        elif self._joined.member_id == self._joined.leader and self._dealt != self.world.partitions():
            self._join()  # there are others by now
        elif self._next_s <= self.world.now_s:
            self._next_s = self.world.now_s + INTERVAL_S
            command = Heartbeat(GROUP, self._id, None, self.epoch)
            self._request = self._send(command, self._take_heartbeat)

    def leaves(self) -> None:
        self.world.counts("left")
        self.alive = False
        for key in self.positions:
            self.commits(key)
        if self._id:
            self.world.send(Leave(GROUP, (Leaver(self._id),)), lambda _: None)

    def sees(self, request: Request, reply: Any) -> None:
        if request.member is not self:
            return
        if isinstance(reply, Joined):
            self._generations.told(reply)
        elif isinstance(reply, Synced):
            self._generations.assigned(self._synced_in[request])

    def watched_commit(self, command: Commit) -> Callable[[GroupShard, Ticket, Moment], Outcome]:
        def watched(shard: GroupShard, ticket: Ticket, moment: Moment) -> Outcome:
            outcome = command(shard, ticket, moment)
            self._generations.commits(command.epoch, outcome.replies.get(ticket))
            return outcome

        return watched

    def _send(self, command: Any, take: Any) -> Request:
        return self.world.send(command, take, self)

    def _join(self) -> None:
        self.loses_all()
        self._synced = False
        command = Join(
            GROUP,
            self._id,
            None,
            self.process,
            "here",
            "consumer",
            (("turns", b""),),
            int(SESSION_S * 1000),
            int(REBALANCE_S * 1000),
        )

        def joins(shard: GroupShard, ticket: Ticket, moment: Moment) -> Outcome:
            self._generations.joins(command.member_id)
            return command(shard, ticket, moment)

        self._request = self._send(joins, self._take_joined)

    def _take_joined(self, reply: Any) -> None:
        self._request = None
        match reply:
            case Joined():
                self._id, self.epoch, self._joined = reply.member_id, reply.generation, reply
                self._dealt = self.world.partitions()
            case NotJoined(MemberIdRequired(), member_id):
                self._id = member_id
            case NotJoined(UnknownMember()):
                self._id = ""
            case NotJoined() | DohleError():
                pass
            case _:
                raise AssertionError(f"a Join is answered by {reply!r}")

    def _sync(self, joined: Joined) -> None:
        shares: dict[str, list[tuple[str, int]]] = {one.member_id: [] for one in joined.members}
        if shares:
            names = sorted(shares)
            for place, (topic, number) in enumerate(sorted(self._dealt)):
                shares[names[place % len(names)]].append((topic.hex(), number))
        dealt = tuple((name, json.dumps(share).encode()) for name, share in shares.items())
        command = Sync(GROUP, self._id, None, joined.generation, dealt)
        self._request = self._send(command, self._take_synced)
        self._synced_in[self._request] = joined.generation

    def _take_synced(self, reply: Any) -> None:
        self._request = None
        if isinstance(reply, Synced):
            self._synced = True
            for topic, number in json.loads(reply.assignment or b"[]"):
                self.gains(PartitionKey(TopicId(bytes.fromhex(topic)), number))
        else:
            self._take_error(reply)

    def _take_heartbeat(self, reply: Any) -> None:
        self._request = None
        if reply is None:
            return
        if isinstance(reply, RebalanceInProgress):
            for key in list(self.positions):
                if self.world.chance.random() < 0.5:
                    self.commits(key)
        self._take_error(reply)

    def _take_error(self, reply: Any) -> None:
        assert isinstance(reply, DohleError), reply
        if reply.retriable:
            return
        self.world.counts(f"told: {type(reply).__name__}")
        if isinstance(reply, UnknownMember):
            self._id = ""
        self.loses_all()
        self._joined, self._synced = None, False


def classic_world(number: int) -> GroupWorld:
    """Returns a world whose members speak the classic protocol."""
    generations: list[Generations] = []

    def member(world: GroupWorld, process: str) -> ClassicMember:
        if not generations:
            generations.append(Generations(world))
        return ClassicMember(world, process, generations[0])

    return GroupWorld(number, member)
