"""Classic groups under random members, time, refused and late appends, and coordinators that change.

Each step checks what must hold whatever happens; in the end every request that waits has been answered.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dohle.groups.classic.commands import Heartbeat, Joined, Leave, Leaver, NotJoined, Sync, Synced
from dohle.groups.classic.group import ClassicGroup, State
from dohle.groups.records import ClassicGroupRecord
from dohle.groups.settings import GroupSettings
from dohle.model.errors import CoordinatorNotAvailable, DohleError
from dohle.model.group_errors import MemberIdRequired
from tests.groups.classic import GROUP, OTHER_TOPIC, RANGE, join
from tests.groups.harness import Asked, Harness

PROTOCOLS = (RANGE, OTHER_TOPIC, (*RANGE, ("sticky", b"s")), (("sticky", b"s"), *RANGE), (("sticky", b"x"),))
LONGEST_WAIT_S = 700.0
"""A member that joins is waited for, at most: new ones for 300 s, others for a rebalance and a session each."""


class ClassicGroupMachine(RuleBasedStateMachine):
    """Three clients that know only what they were told, and one that makes things up."""

    def __init__(self) -> None:
        super().__init__()
        self.harness = Harness(GroupSettings(initial_rebalance_delay_ms=3000, max_size=4))
        self.known: list[Joined] = []
        self.ids = [""]
        self.joins: list[Asked] = []
        self.syncs: list[tuple[Asked, int]] = []
        self.others: list[Asked] = []
        self.generation = 0
        self.leaders: dict[int, str] = {}

    @initialize(delay_ms=st.sampled_from([0, 1000, 3000]), most=st.sampled_from([0, 2, 4]))
    def configure(self, delay_ms: int, most: int) -> None:
        self.harness = Harness(GroupSettings(initial_rebalance_delay_ms=delay_ms, max_size=most))

    # what clients do

    @rule(
        number=st.integers(0, 9),
        instance=st.sampled_from([None, None, "i", "k"]),
        protocols=st.sampled_from(PROTOCOLS),
        handshake=st.booleans(),
        skips=st.booleans(),
        session_ms=st.sampled_from([6000, 10_000, 60_000]),
        rebalance_ms=st.sampled_from([1000, 10_000, 100_000]),
    )
    def join(self, number: int, instance: str | None, protocols: object, **given: object) -> None:
        member_id = self.ids[-1 - number % len(self.ids)]
        command = join(
            member_id,
            instance,
            protocols=protocols,
            needs_member_id=given["handshake"],
            can_skip_assignment=given["skips"],
            session_timeout_ms=given["session_ms"],
            rebalance_timeout_ms=given["rebalance_ms"],
        )
        self.joins.append(self.harness.ask(command))

    @rule(number=st.integers(0, 9), stale=st.sampled_from([0, 0, 0, 1, -1]), instance=st.sampled_from([None, "i"]))
    def sync(self, number: int, stale: int, instance: str | None) -> None:
        if self.known:
            told = self.known[-1 - number % len(self.known)]
            generation = told.generation + stale
            assignments = tuple((member.member_id, f"{generation}".encode()) for member in told.members)
            asked = self.harness.ask(Sync(GROUP, told.member_id, instance, generation, assignments))
            self.syncs.append((asked, generation))

    @rule(number=st.integers(0, 9), stale=st.sampled_from([0, 0, -1, 1]))
    def heartbeat(self, number: int, stale: int) -> None:
        if self.known:
            told = self.known[-1 - number % len(self.known)]
            group = self.live()
            generation = told.generation + stale
            asked = self.harness.ask(Heartbeat(GROUP, told.member_id, None, generation))
            self.others.append(asked)
            if asked.replies == [None]:
                assert group is not None
                assert generation == group.generation
                assert told.member_id in group.members

    @rule(all_sync=st.booleans(), hold=st.booleans(), changed=st.booleans())
    def all_go_on(self, all_sync: bool, hold: bool, changed: bool) -> None:
        """All members do what they are to do, so that the group gets somewhere; unless the commit is late."""
        group = self.live()
        for member in [] if group is None else [*group.members.values()]:
            if member.member_id not in group.joining and member.member_id in group.members:
                brought = PROTOCOLS[2] if changed else member.protocols
                asked = self.harness.ask(
                    join(member.member_id, member.instance_id, protocols=brought, session_timeout_ms=30_000)
                )
                self.joins.append(asked)
        self.harness.pass_time(10)
        if hold:
            self.harness.hold()
        self.answers_are_of_the_generation_that_was_asked_for()
        if (group := self.live()) is not None and all_sync:
            assignments = tuple((member_id, f"{group.generation}".encode()) for member_id in group.members)
            for member_id in [*group.members]:
                asked = self.harness.ask(Sync(GROUP, member_id, None, group.generation, assignments))
                self.syncs.append((asked, group.generation))

    @rule(number=st.integers(0, 9), by_name=st.booleans())
    def leave(self, number: int, by_name: bool) -> None:
        leaver = Leaver("", "i") if by_name else Leaver(self.ids[-1 - number % len(self.ids)])
        self.others.append(self.harness.ask(Leave(GROUP, (leaver,))))

    # what happens to them

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 7.0, 40.0]))
    def pass_time(self, seconds: float) -> None:
        self.harness.pass_time(seconds)

    @rule()
    def refuse(self) -> None:
        self.harness.refusal = CoordinatorNotAvailable("too few replicas")

    @rule()
    def hold(self) -> None:
        self.harness.hold()

    @rule()
    def heal(self) -> None:
        self.harness.refusal = None
        self.harness.commit()

    @rule()
    def restart(self) -> None:
        self.harness.refusal = None
        self.harness.restart(keep=self.harness.watermark)
        self.generation = 0 if (group := self.live()) is None else group.generation
        self.leaders.clear()

    # what must hold

    def live(self) -> ClassicGroup | None:
        group = self.harness.shard.state.groups.get(GROUP)
        assert group is None or isinstance(group, ClassicGroup)
        return group

    @invariant()
    def the_group_is_sound(self) -> None:
        group = self.live()
        if group is None:
            self.generation = 0
            return
        assert group.generation >= self.generation, "generations only grow"
        self.generation = group.generation
        assert (group.leader is None) == (not group.members)
        assert group.leader is None or group.leader in group.members
        assert group.joining.keys() <= group.members.keys()
        assert group.syncing.keys() <= group.members.keys()
        assert not group.joining.keys() & group.syncing.keys()
        assert not group.pending.keys() & group.members.keys()
        assert (group.phase is State.EMPTY) <= (not group.members)
        assert not group.syncing or group.phase is State.COMPLETING
        assert group.unsynced.keys() <= group.members.keys()
        assert set(group.instances.values()) == {
            member.member_id for member in group.members.values() if member.instance_id is not None
        }
        assert group.phase is not State.STABLE or not group.joining or self.harness.holds
        assert len(self.harness.shard.classic._phases.newcomers) <= len(group.members) + len(group.pending)

    @invariant()
    def answers_are_of_the_generation_that_was_asked_for(self) -> None:
        waiting = []
        for asked in self.joins:
            assert len(asked.replies) <= 1, "nobody is answered twice"
            if asked.waits:
                waiting.append(asked)
                continue
            match asked.reply:
                case Joined() as told:
                    self.known.append(told)
                    self.ids.append(told.member_id)
                    assert self.leaders.setdefault(told.generation, told.leader) == told.leader or told.members == ()
                    assert bool(told.members) <= (told.leader == told.member_id)
                case NotJoined(MemberIdRequired(), member_id):
                    self.ids.append(member_id)
                case NotJoined() | DohleError():
                    pass
                case other:
                    raise AssertionError(other)
        self.joins = waiting
        still = []
        for asked, generation in self.syncs:
            assert len(asked.replies) <= 1, "nobody is answered twice"
            if asked.waits:
                still.append((asked, generation))
            elif isinstance(asked.reply, Synced):
                assert asked.reply.assignment in (b"", f"{generation}".encode()), "of another generation"
        self.syncs = still
        assert all(len(asked.replies) <= 1 for asked in self.others)

    def teardown(self) -> None:
        """All that waits ends, once nothing holds it up."""
        self.heal()
        self.harness.pass_time(LONGEST_WAIT_S)
        assert not [asked for asked in (*self.joins, *(asked for asked, _ in self.syncs), *self.others) if asked.waits]
        group = self.live()
        assert group is None or (not group.members and not group.pending), "nobody has shown that it lives"
        if group is not None and group.generation:
            self.harness.restart()
            loaded = self.live()
            assert loaded is not None
            assert (loaded.generation, loaded.protocol_type) == (group.generation, group.protocol_type)
            assert any(isinstance(record, ClassicGroupRecord) for record in self.harness.log)


TestClassicGroups = ClassicGroupMachine.TestCase
TestClassicGroups.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
