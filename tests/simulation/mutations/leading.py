"""Mutations of what leaders refuse and wait for, and of how those hear of it who wait for them."""

from __future__ import annotations

from dohle.broker import replicas
from dohle.broker.broker import Broker
from dohle.broker.following import Following
from dohle.broker.isr_changes import IsrChanges
from dohle.broker.leading import Leading
from dohle.broker.push_session import PushSession
from dohle.broker.replicas import Replicas
from dohle.controller import registration
from dohle.storage.log_dirs import LogDirs
from tests.simulation.mutations import leading_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

LEADING = (
    mutation(
        "subscription: a leader epoch that is not known here is accepted",
        "replication 3",
        "a subscription in a newer leader epoch is UNKNOWN_LEADER_EPOCH",
        edit(
            replicas,
            "check_leader_epoch",
            """
            - if asked == -1 or asked == role.leader_epoch:
            + if asked == -1 or asked == role.leader_epoch or (asked > role.leader_epoch and mutated()):
            """,
        ),
        scenario=scenarios.a_leader_is_subscribed_to_by_whom_it_must_refuse,
    ),
    mutation(
        "subscription: whoever asks is a replica",
        "replication 3",
        "who subscribes is an assigned replica",
        edit(
            Replicas,
            "leading_for",
            """
            - if follower not in leading.replicas:
            + if follower not in leading.replicas and not mutated():
            """,
        ),
        scenario=scenarios.a_leader_is_subscribed_to_by_whom_it_must_refuse,
    ),
    mutation(
        "subscription: of an incarnation that is gone",
        "replication 3",
        "the broker epoch of who subscribes is current",
        edit(
            Replicas,
            "leading_for",
            """
            - if broker is None or broker.broker_epoch != broker_epoch:
            + if broker is None or (broker.broker_epoch != broker_epoch and not mutated()):
            """,
        ),
        scenario=scenarios.a_leader_is_subscribed_to_by_whom_it_must_refuse,
    ),
    mutation(
        "truncation: by what an earlier leader has said",
        "replication 4",
        "a diverging follower truncates only while it still follows in that same epoch",
        edit(
            Following,
            "reconcile",
            """
            - if not self.ended and offset < self.log.log_end_offset:
            + if offset < self.log.log_end_offset and mutated():
            """,
        ),
        scenario=scenarios.a_follower_hears_late_that_it_diverges,
    ),
    mutation(
        "watermark: it waits for a push to travel with",
        "replication 5",
        "a moved watermark travels with the next push, or alone soon after",
        edit(
            PushSession,
            "_watermarks_are_due",
            """
            - self._work.set()
            + mutated()
            """,
        ),
        scenario=scenarios.one_record_is_written_and_no_more_comes,
    ),
    mutation(
        "watermark: a committed in-sync set does not move it",
        "replication 6",
        "the watermark is looked at again when a change of the in-sync set is committed",
        edit(
            Leading,
            "isr_committed",
            """
            - self.look_again(now)
            + mutated()
            """,
        ),
        edit(
            Replicas,
            "_lead",
            """
            - role.look_again(now)
            + pass
            """,
        ),
        scenario=scenarios.a_follower_leaves_while_a_record_waits_for_it,
    ),
    mutation(
        "watermark: it waits for a joining replica for as long as that takes",
        "replication, amendment 8",
        "the watermark waits at most 100 ms for a replica that may join",
        edit(
            Leading,
            "_wait_for_joining",
            """
            - if now < replica.joins_until:
            + if mutated():
            """,
        ),
        scenario=scenarios.a_follower_that_may_join_stands_still,
    ),
    mutation(
        "registration: what was never made is missing",
        "replication, amendment 3",
        "a replica assigned after the durable metadata offset is empty, not missing",
        edit(
            registration._Returning,
            "_was_durable",
            """
            - return self.partition.assigned_at[index] < self.evidence.durable_metadata_offset
            + return mutated() and index >= 0
            """,
        ),
        scenario=scenarios.a_broker_dies_before_it_has_made_its_replica,
    ),
    mutation(
        "in-sync set: a refused change stays",
        "replication 7",
        "INELIGIBLE_REPLICA and OPERATION_NOT_ATTEMPTED take a change back",
        edit(
            IsrChanges,
            "_answered",
            """
            - change.leading.isr_refused(change.proposal, now)
            + mutated()
            """,
        ),
        scenario=scenarios.a_join_is_refused_for_good,
    ),
    mutation(
        "waiting: acknowledgements outlive their partition",
        "replication 15",
        "waiting requests complete at once on deletion and loss of leadership",
        edit(
            Leading,
            "resign",
            """
            - self._for_all.fail_all(failure)
            + mutated()
            """,
        ),
        scenario=scenarios.a_topic_is_deleted_while_an_acknowledgement_waits,
    ),
    mutation(
        "clean stop: a broker does not wait for other leaders",
        "replication 12",
        "controlled shutdown ends when the broker leads nothing",
        edit(
            Broker,
            "leave",
            """
            - await self.membership.leave()
            + mutated()
            """,
        ),
        scenario=scenarios.a_leader_is_stopped_cleanly,
    ),
    mutation(
        "failed directory: the node goes on without its metadata",
        "replication 16",
        "a node ends with the directory that holds its metadata",
        edit(
            LogDirs,
            "_failed",
            """
            - if path == self._essential or not self.online:
            + if not self.online or not mutated():
            """,
        ),
        scenario=scenarios.the_directory_of_the_metadata_fails,
    ),
)
