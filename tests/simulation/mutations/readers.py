"""Mutations of what consumers read, and from whom."""

from __future__ import annotations

from dohle.broker import reads
from dohle.broker.leading import Leading
from dohle.broker.readers import Readers
from dohle.broker.reads import Reads
from dohle.client.fetcher import Fetcher
from dohle.client.preferred_replica import PreferredReplica
from dohle.listeners.broker_service import BrokerService
from tests.simulation.mutations import reader_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

READERS = (
    mutation(
        "follower read: beyond the watermark",
        "replication 17, KIP-392",
        "a follower hands out nothing that it does not know to be committed",
        edit(
            reads,
            "_read_log",
            """
            - high_watermark = source.high_watermark
            + high_watermark = source.log_end_offset
            + mutated()
            """,
        ),
        scenario=scenarios.a_follower_has_more_than_is_committed,
    ),
    mutation(
        "follower read: a replica out of the in-sync set answers",
        "KIP-392",
        "a follower that is not in sync sends its readers back",
        edit(
            Readers,
            "check_following",
            """
            - elif assigned is None or self._membership.node_id not in assigned.in_sync_replicas:
            + elif assigned is None or not mutated():
            """,
        ),
        scenario=scenarios.a_follower_that_is_read_leaves_the_set,
    ),
    mutation(
        "follower read: readers are sent to any replica",
        "KIP-392",
        "the leader sends readers only to replicas in sync",
        edit(
            Leading,
            "sends_reader_to",
            """
            - and node_id in self.in_sync.committed
            + and mutated()
            """,
        ),
        scenario=scenarios.a_follower_that_is_read_leaves_the_set,
    ),
    mutation(
        "follower read: readers are sent to who lacks what comes next",
        "KIP-392",
        "the leader sends readers only to replicas that have their position",
        edit(
            Leading,
            "sends_reader_to",
            """
            - and replica.durable_end >= fetch_offset
            + and mutated()
            """,
        ),
        scenario=scenarios.a_reader_is_ahead_of_a_follower,
    ),
    mutation(
        "follower read: without a session",
        "KIP-392",
        "a follower that no controller has heard of for a session sends its readers back",
        edit(
            Readers,
            "check_following",
            """
            - if self._membership.fenced or self._membership.in_doubt:
            + if self._membership.fenced and mutated():

            - elif following.subscription == NO_SUBSCRIPTION:
            + elif following.subscription == NO_SUBSCRIPTION and not mutated():
            """,
        ),
        scenario=scenarios.a_follower_that_is_read_is_cut_off,
    ),
    mutation(
        "follower read: without a leader",
        "KIP-392",
        "a follower that hears nothing from its leader sends its readers back",
        edit(
            Readers,
            "check_following",
            """
            - elif following.subscription == NO_SUBSCRIPTION:
            + elif following.subscription == NO_SUBSCRIPTION and not mutated():
            """,
        ),
        scenario=scenarios.a_follower_loses_its_leader,
    ),
    mutation(
        "follower read: of an older leader epoch",
        "KIP-392",
        "who knows an older leader than the follower is told so",
        edit(
            Reads,
            "_read_one",
            """
            - check_leader_epoch(wanted.current_leader_epoch, partition.role)
            + mutated()
            """,
        ),
        scenario=scenarios.a_follower_loses_its_leader,
    ),
    mutation(
        "follower read: an offset that it lacks does not exist",
        "replication 17, KIP-392",
        "only a leader says that an offset does not exist",
        edit(
            Readers,
            "check_following",
            """
            - raise OffsetNotAvailable(
            + raise NotLeaderOrFollower(mutated() and
            """,
        ),
        scenario=scenarios.a_reader_is_ahead_of_a_follower,
    ),
    mutation(
        "follower read: a refusal is taken to heart",
        "KIP-392",
        "a reader that a follower refuses asks the leader",
        edit(
            Fetcher,
            "_answered",
            """
            - if partition.preferred.node == node:
            + if partition.preferred.node == node and not mutated():
            """,
        ),
        scenario=scenarios.a_follower_that_is_read_leaves_the_set,
    ),
    mutation(
        "fetch: a leader that is cut off says nothing of it",
        "replication 18",
        "a broker that no controller has answered for a session says so to its readers, who look for a new leader",
        edit(
            BrokerService,
            "fetch",
            """
            - in_doubt=self._broker.membership.in_doubt,
            + in_doubt=not mutated(),
            """,
        ),
        scenario=scenarios.a_leader_that_is_read_is_cut_off,
    ),
    mutation(
        "reads: a leader without a session says what is out of range",
        "KIP-392",
        "a leader that no controller has heard of for a session does not say that an offset is out of range",
        edit(
            Readers,
            "check_sure_to_lead",
            """
            - if self._membership.fenced or self._membership.in_doubt:
            + if not mutated():
            """,
        ),
        scenario=scenarios.a_leader_that_is_cut_off_is_asked_for_what_it_does_not_have,
    ),
    mutation(
        "follower read: a silent one is read for ever",
        "KIP-392",
        "a reader to whom a follower brings nothing for a while asks the leader",
        edit(
            PreferredReplica,
            "is_due",
            """
            - return now - self._brought_at >= _SILENT_S or now - self._named_at >= _LONGEST_S
            + return not mutated()
            """,
        ),
        scenario=scenarios.a_follower_that_is_read_does_not_hear_what_is_committed,
    ),
)
