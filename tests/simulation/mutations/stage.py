"""Stage: what a scenario is played on, which finds a mutation where chance takes too long or no invariant sees it.

A scenario runs a small world, brings about the one situation in which a rule matters, and asserts what it promises.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from dohle import Admin, Producer
from dohle.broker.broker import Broker
from dohle.broker.leading import Leading
from dohle.client.producer import Receipt
from dohle.cluster.node import Node
from dohle.controller.quorum import Quorum
from dohle.model.errors import DohleError
from dohle.model.ids import NodeId, TopicId
from dohle.model.image import PartitionImage, TopicImage
from dohle.raft.leader import Leader
from dohle.raft.quorum import ReplicaKey
from dohle.storage.log import Log
from dohle.testing.clients.sim_client import seams_of
from dohle.testing.invariants.invariants import Invariants
from dohle.testing.world.process import SimProcess
from dohle.testing.world.process_loop import ProcessLoop
from dohle.testing.world.scheduler import SimulationStuck
from dohle.testing.world.topology import Topology
from dohle.testing.world.world import World
from tests.simulation.mutations.mutation import Scenario

T = TypeVar("T")

Script = Callable[["Stage"], Awaitable[None]]


class Stage:
    """A running world of combined nodes, and what scripts ask of it."""

    def __init__(self, world: World, invariants: Invariants) -> None:
        self.world = world
        self._invariants = invariants
        self._writers: dict[str, tuple[SimProcess, Producer]] = {}
        self._moment: tuple[Callable[[], bool], Callable[[], None]] | None = None
        world.scheduler.on_turn = self._after_turn

    def _after_turn(self, loop: ProcessLoop) -> None:
        self._invariants.after_turn(loop)
        if self._moment is not None and self._moment[0]():
            act = self._moment[1]
            self._moment = None
            act()

    def node(self, node_id: int) -> Node:
        process = self.world.machines[node_id].process
        assert process is not None, f"node {node_id} does not run"
        assert process.node is not None, f"node {node_id} has not begun"
        return process.node

    def term(self, node_id: int) -> int:
        return quorum_of(self.node(node_id)).term

    def leads_quorum(self, node_id: int) -> bool:
        """Whether it leads in its own eyes."""
        process = self.world.machines[node_id].process
        part = None if process is None or process.node is None else process.node.controller
        return part is not None and isinstance(part.quorum._node._role, Leader)

    def controller(self) -> int:
        leading = [node_id for node_id in self.world.machines if self.leads_quorum(node_id)]
        assert leading, "no controller is active"
        return leading[0]

    def others(self, node_id: int) -> list[int]:
        return [other for other in self.world.machines if other != node_id]

    def voters(self, node_id: int) -> list[int]:
        """Who votes by this node's log."""
        return [voter.node_id for voter in quorum_of(self.node(node_id))._node.voters.voters]

    def learners(self, node_id: int) -> list[int]:
        return [key.node_id for key in quorum_of(self.node(node_id)).learners()]

    def removes_voter(self, at: int, node_id: int) -> None:
        """Asks one controller, and takes no answer."""
        process, part = self.world.machines[at].process, self.node(at).controller
        assert process is not None
        assert part is not None

        async def remove() -> None:
            with contextlib.suppress(DohleError):
                await part.voter_changes.remove(NodeId(node_id))

        process.spawn(remove(), "remove voter")

    def hands_over(self, node_id: int, successor: ReplicaKey | None = None) -> list[bool]:
        """Has the active controller hand over; what comes of it will be in the list that it returns."""
        process, quorum = self.world.machines[node_id].process, quorum_of(self.node(node_id))
        assert process is not None
        outcome: list[bool] = []

        async def hand_over() -> None:
            outcome.append(await quorum.transfer(successor))

        process.spawn(hand_over(), "hand over")
        return outcome

    def cut(self, one: int | str, *others: int) -> None:
        """Cuts a node, or a client's machine, from others, both ways."""
        here = one if isinstance(one, str) else self.world.machines[one].name
        for other in others:
            there = self.world.machines[other].name
            self.world.links.cut(here, there)
            self.world.links.cut(there, here)

    def mend(self, one: int, *others: int) -> None:
        names = {node_id: machine.name for node_id, machine in self.world.machines.items()}
        for other in others:
            self.world.links.mend(names[one], names[other])
            self.world.links.mend(names[other], names[one])

    def detour(self, source: int, target: int, longer_s: float) -> None:
        """What a node sends another from now on takes so much longer."""
        self.world.links.detour(self.world.machines[source].name, self.world.machines[target].name, longer_s)

    def looks_at_disks(self) -> None:
        """As if all power went now."""
        self._invariants.look()

    async def compares(self) -> None:
        """Compares all replicas, and looks at all records of the metadata."""
        await self._invariants.replicas_agree()

    async def passes(self, seconds: float) -> None:
        await self.world.clock.sleep(seconds)
        assert not self._invariants.violations, "an invariant fell"

    async def until(self, condition: Callable[[], bool], what: str, within_s: float = 30.0) -> None:
        """For what stays as it is: looks every 50 ms. What has to be met at once is for the next two."""
        await self.world.until(condition, within_s, what)

    async def at_once(self, condition: Callable[[], bool], what: str, within_s: float = 30.0) -> None:
        """As `until`, but returns before anything else happens, or nearly so."""
        deadline = self.world.scheduler.now + within_s
        while not condition():
            assert self.world.scheduler.now < deadline, f"after {within_s:g} s not yet: {what}"
            await self.passes(0.0001)

    async def in_the_turn(
        self, condition: Callable[[], bool], act: Callable[[], None], what: str, within_s: float = 30.0
    ) -> None:
        """Does `act` after the very turn in which `condition` begins to hold, before anything else can happen."""
        assert self._moment is None, "one moment is awaited already"
        self._moment = condition, act
        await self.until(lambda: self._moment is None, what, within_s)

    def log(self, node_id: int) -> Log:
        """The log of the topic's first partition."""
        partitions = self.broker(node_id).replicas.partitions.values()
        return next(partition.log for partition in partitions if partition.log.name == "t-0")

    def topics(self) -> list[TopicImage]:
        """All topics, as they are committed."""
        return list(self._invariants.newest.topics_in_order())

    def partition(self) -> PartitionImage:
        """The topic's first partition, as it is committed."""
        return self._topic().partitions[0]

    def topic_id(self) -> TopicId:
        return self._topic().topic_id

    def _topic(self) -> TopicImage:
        return next(topic for topic in self.topics() if topic.name == "t")

    def broker(self, node_id: int) -> Broker:
        broker = self.node(node_id).broker
        assert broker is not None
        return broker

    def has_replicas(self, node_id: int) -> bool:
        """Whether its broker has begun to act."""
        process = self.world.machines[node_id].process
        broker = None if process is None or process.node is None else process.node.broker
        return broker is not None and bool(broker.replicas.partitions)

    def followers(self) -> list[int]:
        """The first partition's, in their assigned order."""
        partition = self.partition()
        return [node_id for node_id in partition.assigned_replicas if node_id != partition.leader]

    def is_active(self, node_id: int) -> bool:
        """Whether the broker is unfenced, and means to stay."""
        return self._invariants.newest.is_active(NodeId(node_id))

    def leading(self) -> Leading:
        """The leading role of the first partition."""
        partitions = self.broker(self.partition().leader).replicas.partitions.values()
        return next(partition.leading() for partition in partitions if partition.log.name == "t-0")

    def follower(self) -> int:
        """The last of them, but for the active controller, whose death would end more."""
        return next(node_id for node_id in reversed(self.followers()) if not self.leads_quorum(node_id))

    async def writes_steadily(self, pause_s: float, *, acks: Literal["all", 1] = "all") -> None:
        """From now on, to the end."""
        process = self.world.client("steady")

        async def write() -> None:
            async with Producer(self.world.bootstrap, acks=acks, **seams_of(process)) as producer:
                while True:
                    await producer.send("t", b"steady")
                    await process.clock.sleep(pause_s)

        process.spawn(write(), "write")

    async def asks(self, work: Callable[[Admin], Awaitable[T]], *node_ids: int) -> T:
        """Returns what an admin client, that knows these nodes or all, gets; raises what it meets."""
        outcome = self.tells(work, *node_ids)
        await self.until(lambda: bool(outcome), "the admin client has its answer", 60.0)
        if isinstance(outcome[0], DohleError):
            raise outcome[0]
        return outcome[0]

    def tells(self, work: Callable[[Admin], Awaitable[T]], *node_ids: int) -> list[T | DohleError]:
        """As `asks`, but returns at once what the outcome will be in."""
        process = self.world.client("admin")
        outcome: list[T | DohleError] = []

        async def ask() -> None:
            names = [self.world.machines[node_id].name for node_id in node_ids or self.world.machines]
            async with Admin([f"{name}:7092" for name in names], **seams_of(process)) as admin:
                try:
                    outcome.append(await work(admin))
                except DohleError as error:
                    outcome.append(error)

        process.spawn(ask(), "ask")
        return outcome

    async def make_topic(self, configs: dict[str, str] | None = None, *, replicas: int = 3) -> None:
        await self.asks(lambda admin: admin.create_topic("t", replication_factor=replicas, configs=configs))

    async def writes(
        self, count: int, value: bytes = b"x", *, client: str = "writer", request_timeout_ms: int = 60_000
    ) -> list[Receipt]:
        """Sends records one by one; returns when all receipts are there, not when they are done."""
        if client not in self._writers:
            process = self.world.client(client)
            producer = Producer(self.world.bootstrap, request_timeout_ms=request_timeout_ms, **seams_of(process))
            self._writers[client] = process, producer
        process, producer = self._writers[client]
        receipts: list[Receipt] = []

        async def write() -> None:
            for number in range(count):
                receipt = await producer.send("t", b"%d %s" % (number, value))
                receipts.append(receipt)

        process.spawn(write(), "write")
        await self.until(lambda: len(receipts) == count, "everything is sent")
        return receipts

    async def written(self, count: int, value: bytes = b"x", *, client: str = "writer") -> None:
        receipts = await self.writes(count, value, client=client)
        await self.until(lambda: all(receipt.done() for receipt in receipts), "everything is acknowledged")


def quorum_of(node: Node) -> Quorum:
    assert node.controller is not None
    return node.controller.quorum


def scenario(script: Script) -> Scenario:
    """Makes `script` a scenario in a world of three nodes, each broker and controller."""
    return scenario_in(Topology.combined(3))(script)


def scenario_in(topology: Topology, **options: int) -> Callable[[Script], Scenario]:
    """Makes a script a scenario: it runs in a world of its own; what falls are assertions, invariants and bugs.

    `options` are the World's.
    """
    return lambda script: functools.wraps(script)(functools.partial(_run, script, topology, options))


def _run(script: Script, topology: Topology, options: dict[str, int]) -> tuple[str, ...]:
    world = World(script.__name__, topology, **options)
    invariants = Invariants(world)
    stage = Stage(world, invariants)
    violations: list[str] = []

    async def whole() -> None:
        await world.format()
        for node_id in world.machines:
            world.start(node_id)
        await world.all_ready()
        await script(stage)

    try:
        world.run(whole())
    except (AssertionError, SimulationStuck, DohleError) as failure:
        violations.append(str(failure))
    finally:
        world.end()
    return (*violations, *invariants.violations, *world.bugs)
