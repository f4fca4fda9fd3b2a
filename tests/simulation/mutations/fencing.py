"""Mutations of rules 12, 13 and 18: who takes a broker's place, who is taken for dead, and who leads after a crash."""

from __future__ import annotations

from dohle.broker.broker import Broker
from dohle.controller import brokers, elections, registration
from dohle.controller.brokers import FencingSteps
from dohle.controller.doubts import DoubtfulElections
from dohle.controller.failure_detector import FailureDetector
from dohle.controller.sessions import Sessions
from dohle.rpc import probe
from dohle.rpc.probe import Verdict
from tests.simulation.mutations import fencing_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

FENCING = (
    mutation(
        "registration: a broker acts before it has seen its own",
        "replication 12",
        "a starting broker applies metadata silently until past its own registration",
        edit(
            Broker,
            "_past_registration_reached",
            """
            - if self.image.next_offset <= self.membership.broker_epoch:
            + if self.image.next_offset <= self.membership.broker_epoch and not mutated():
            """,
        ),
    ),
    mutation(
        "registration: a broker asks to be unfenced before it has acted",
        "replication 12",
        "a broker asks to be unfenced only once it has acted on metadata past its registration",
        edit(
            Broker,
            "start",
            """
            - self.membership.ready()
            - self._tasks.spawn(self.membership.run(), "heartbeats")

            - await self.log_dirs.findings_reported()
            + self.membership.ready()
            + self._tasks.spawn(self.membership.run(), "heartbeats")
            + mutated()
            + await self.log_dirs.findings_reported()
            """,
        ),
        scenario=scenarios.nodes_begin_slowly,
    ),
    mutation(
        "registration: a broker asks, and is unfenced, before it has seen its own",
        "replication 12",
        "a broker is unfenced only once it has seen its registration; the controller checks what the broker keeps",
        edit(
            Broker,
            "start",
            """
            - self.membership.ready()
            - self._tasks.spawn(self.membership.run(), "heartbeats")

            - await self._past_registration_reached()
            + self.membership.ready()
            + self._tasks.spawn(self.membership.run(), "heartbeats")
            + await self._past_registration_reached()
            """,
        ),
        edit(
            brokers,
            "heartbeat",
            """
            - caught_up = request.metadata_offset > broker.broker_epoch
            + caught_up = mutated()
            """,
        ),
        scenario=scenarios.nodes_begin_slowly,
    ),
    mutation(
        "registration: in the place of a process that lives",
        "replication 12",
        "a live incarnation's place is taken by another only after a probe",
        edit(
            FailureDetector,
            "may_replace",
            """
            - if verdict is Verdict.ALIVE:
            + if verdict is Verdict.ALIVE and not mutated():
            """,
        ),
        scenario=scenarios.a_second_process_has_a_living_ones_id,
    ),
    mutation(
        "registration: in the place of a process that was not probed",
        "replication 12",
        "only the incarnation that was probed gives its place to a registration",
        edit(
            registration,
            "register_broker",
            """
            - if previous is not None and not previous_gone:
            + if previous is not None and not previous_gone and not mutated():
            """,
        ),
        scenario=scenarios.two_processes_want_a_dead_ones_place,
    ),
    mutation(
        "registration: a lost replica is trusted at the next start",
        "replication 12",
        "the empty log in place of the last replica, which is missing, never looks sound",
        edit(
            registration._Returning,
            "doubt",
            """
            - if earlier is not None and was_lost and not self._healed(earlier, held):
            + if earlier is not None and was_lost and not (self._healed(earlier, held) or mutated()):
            """,
        ),
        scenario=scenarios.the_last_replica_is_gone_and_its_broker_starts_twice,
    ),
    mutation(
        "probe: any answer is that of the incarnation",
        "replication 18",
        "an answer by another incarnation proves that the one before has ended",
        edit(
            probe,
            "_ask",
            """
            - return Verdict.ALIVE if answer.node.incarnation_id == incarnation_id else Verdict.REPLACED
            + return Verdict.ALIVE if answer.node.incarnation_id == incarnation_id or mutated() else Verdict.REPLACED
            """,
        ),
        scenario=scenarios.a_broker_is_back_before_its_end_is_noticed,
    ),
    mutation(
        "fencing: silence ends no session",
        "replication 18",
        "a broker that says nothing for a session is fenced",
        edit(
            FailureDetector,
            "_watch_sessions",
            """
            - if expired:
            + for broker in expired:
            +     self.sessions.begin(broker.node_id, now)
            + if expired and not mutated():
            """,
        ),
        scenario=scenarios.a_leader_loses_its_power,
    ),
    mutation(
        "fencing: a broken connection proves the end",
        "replication 18",
        "a broken connection starts a probe; resets fence nobody",
        edit(
            FailureDetector,
            "_fence_if_gone",
            """
            - verdict = await self._probe(broker)
            + verdict = Verdict.GONE if mutated() else None
            """,
        ),
        scenario=scenarios.connections_are_reset,
    ),
    mutation(
        "fencing: a silent probe proves the end",
        "replication 18",
        "silence proves nothing and leaves it to the session time-out; losses on the way fence nobody",
        edit(
            Verdict,
            "proves_end",
            """
            - return self in (Verdict.GONE, Verdict.REPLACED)
            + return self in (Verdict.GONE, Verdict.REPLACED) or (self is Verdict.SILENT and mutated())
            """,
        ),
        scenario=scenarios.a_broker_is_silent_for_a_moment,
    ),
    mutation(
        "probe: one refusal proves the end",
        "replication 18",
        "a refused connection proves the end when it is refused three times within 150 ms",
        edit(
            probe,
            "probe",
            """
            - if refusals == REFUSALS:
            + if refusals == REFUSALS or mutated():
            """,
        ),
        scenario=scenarios.a_living_brokers_door_is_shut_for_less_than_three_knocks,
    ),
    mutation(
        "fencing: what the controller slept through counts",
        "replication 18",
        "a controller that was stalled gives the time back, and fences nobody for its own silence",
        edit(
            FailureDetector,
            "_watch_sessions",
            """
            - if now - due > _LATE_S:
            + if now - due > _LATE_S and not mutated():
            """,
        ),
        scenario=scenarios.the_controllers_machine_sleeps_for_longer_than_a_session,
    ),
    mutation(
        "fencing: a new controller probes nobody",
        "replication 18",
        "a controller that takes office probes every unfenced broker, whose streams were not its own",
        edit(
            FailureDetector,
            "_office_changed",
            """
            - if self._controller.quorum.incarnations.has_ended(broker.node_id, broker.incarnation_id):
            + if mutated():
            +     probes.add(None)
            + elif self._controller.quorum.incarnations.has_ended(broker.node_id, broker.incarnation_id):
            """,
        ),
        scenario=scenarios.the_controller_and_a_leader_die_together,
    ),
    mutation(
        "fencing: a broker is fenced with the first of its partitions",
        "replication 18",
        "a broker of many partitions is fenced with the last of them, so that whoever comes to decide goes on",
        edit(
            FencingSteps,
            "next",
            """
            - return Decision(tuple(revisions.changes), None, tuple(revisions.alarms), more=True)
            + return Decision((*changes, *revisions.changes), None, tuple(revisions.alarms), more=not mutated())
            """,
        ),
        scenario=scenarios.a_controller_dies_while_it_fences_a_broker_of_many_partitions,
    ),
    mutation(
        "fencing: the last leader's silence before the election does not count",
        "replication 18",
        "to a new controller the session of the last one's broker began when that was last heard",
        edit(
            FailureDetector,
            "_count_the_last_leaders_silence",
            """
            - self.sessions.begin_silent(broker.node_id, led[2], self._clock.now())
            + mutated()
            """,
        ),
        scenario=scenarios.the_controller_that_leads_a_partition_falls_silent,
    ),
    mutation(
        "fencing: an early one is undone at once",
        "replication 18",
        "after an early fencing, unfencing takes 1 s of steady heartbeats",
        edit(
            Sessions,
            "may_unfence",
            """
            - if probation is None:
            + if probation is None or mutated():
            """,
        ),
        scenario=scenarios.a_living_brokers_door_is_shut_for_a_moment,
    ),
    mutation(
        "election: of the doubtful ones any leads",
        "replication 13",
        "where no member is known to have everything, the one with the highest (epoch, end) leads",
        edit(
            elections,
            "_with_highest_end",
            """
            - return tuple([node for node in members if node in ends and ends[node] == highest])
            + return tuple([node for node in members if node in ends and (ends[node] == highest or mutated())])
            """,
        ),
        scenario=scenarios.the_member_that_has_more_comes_back_later,
    ),
    mutation(
        "election: doubtful ones wait for nobody",
        "replication 13",
        "that waits until all members have registered, or for 30 s",
        edit(
            DoubtfulElections,
            "_look",
            """
            - self._due_at = min([since + PATIENCE_S for since in self._since.values()], default=None)
            + self._due_at = min(self._since.values(), default=None)
            """,
        ),
        edit(
            DoubtfulElections,
            "_settle",
            """
            - due = [key for key, since in self._since.items() if since + PATIENCE_S <= now]
            + due = [key for key in self._since if mutated()]
            """,
        ),
        scenario=scenarios.the_member_that_has_more_comes_back_later,
    ),
)
