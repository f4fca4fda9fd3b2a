"""Mutations of rule 13: who is eligible, and who led last."""

from __future__ import annotations

from dohle.broker.leading import Leading
from dohle.controller import eligible, registration, topics
from dohle.controller.elections import Revisions
from tests.simulation.mutations import eligible_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

ELIGIBLE = (
    mutation(
        "eligible: nobody is",
        "replication 13",
        "who leaves an in-sync set below its minimum with all that it acknowledged may lead",
        edit(
            eligible,
            "eligible_after",
            """
            - if len(members) >= minimum or not remembers(image):
            + if mutated():
            """,
        ),
        scenario=scenarios.the_only_member_dies_before_the_others_have_caught_up,
    ),
    mutation(
        "eligible: some are beside enough in sync",
        "replication 13",
        "nobody is eligible while the in-sync set is at its minimum",
        edit(
            eligible,
            "eligible_after",
            """
            - if len(members) >= minimum or not remembers(image):
            + if (len(members) >= minimum and not mutated()) or not remembers(image):
            """,
        ),
        scenario=scenarios.enough_are_in_sync_again_without_one_that_was_eligible,
    ),
    mutation(
        "eligible: the lost last member keeps its place",
        "replication 13",
        "where nobody in sync can lead, an eligible replica does",
        edit(
            Revisions,
            "_first_active",
            """
            - return next((node for node in nodes if self._image.is_active(node)), NO_NODE)
            + return NO_NODE if mutated() else next((node for node in nodes if self._image.is_active(node)), NO_NODE)
            """,
        ),
        scenario=scenarios.the_only_member_is_lost_before_the_others_have_caught_up,
    ),
    mutation(
        "eligible: a fenced one leads",
        "replication 13",
        "an eligible replica leads only if its broker is active",
        edit(
            Revisions,
            "_first_active",
            """
            - return next((node for node in nodes if self._image.is_active(node)), NO_NODE)
            + return next((node for node in nodes if self._image.is_active(node) or mutated()), NO_NODE)
            """,
        ),
        scenario=scenarios.the_eligible_ones_are_down_when_the_only_member_dies,
    ),
    mutation(
        "eligible: a member that has just registered is not waited for",
        "replication 13",
        "an eligible replica does not lead in the change by which a sound member registers",
        edit(
            Revisions,
            "_outcome",
            """
            - waits = self._present in sound
            + waits = not mutated()
            """,
        ),
        scenario=scenarios.the_only_member_dies_before_the_others_have_caught_up,
    ),
    mutation(
        "eligible: beside another minimum",
        "replication 13",
        "a change of min.insync.replicas empties the eligible set",
        edit(
            topics,
            "_consequences",
            """
            - if _MIN_IN_SYNC in changed and partition.eligible_replicas:
            + if _MIN_IN_SYNC in changed and partition.eligible_replicas and not mutated():
            """,
        ),
        scenario=scenarios.another_minimum_is_set_while_some_are_eligible,
    ),
    mutation(
        "eligible: after an unclean stop, whatever is left",
        "replication 13",
        "a broker that stopped uncleanly leaves the eligible set where its durable end is not proven",
        edit(
            registration._Returning,
            "revise",
            """
            - elif doubt is None or self.is_proven():
            + elif doubt is None or self.is_proven() or mutated():
            """,
        ),
        scenario=scenarios.an_eligible_replica_comes_back_without_its_data,
    ),
    mutation(
        "eligible: whoever leaves",
        "replication 13",
        "who had not fsynced all that it acknowledged is not eligible",
        edit(
            eligible,
            "whole",
            """
            - doubtful = {doubt.node_id for doubt in doubts if doubt.lost or doubt.node_id not in proven}
            + doubtful = {doubt.node_id for doubt in doubts if doubt.lost or not (doubt.node_id in proven or mutated())}
            """,
        ),
        scenario=scenarios.of_two_that_sync_late_one_has_less,
    ),
    mutation(
        "eligible: after an unclean election",
        "replication 13",
        "an unclean election empties the eligible set, for whoever follows may have to cut what it has",
        edit(
            Revisions,
            "_alone",
            """
            - return _Outcome(leader, (leader,), (), (), (), NO_NODE, outcome.replicas)
            + mutated()
            + return _Outcome(leader, (leader,), (), (), outcome.eligible, NO_NODE, outcome.replicas)
            """,
        ),
        scenario=scenarios.another_leads_uncleanly_while_some_are_eligible,
    ),
    mutation(
        "eligible: the watermark moves below the minimum",
        "replication 6, 13",
        "the watermark stands still while the in-sync set is below its minimum, so the eligible have all below it",
        edit(
            Leading,
            "advance",
            """
            - if self.live_in_sync >= self.min_in_sync:
            + if self.live_in_sync >= self.min_in_sync or mutated():
            """,
        ),
        scenario=scenarios.records_are_for_the_only_member_alone,
    ),
    mutation(
        "last known leader: it asks nobody's leave",
        "replication 13",
        "who led last leads without being in sync only where the topic allows it",
        edit(
            Revisions,
            "_outcome",
            """
            - allowed = self._image.topics[key.topic_id].config.unclean_leader_election_enable
            + allowed = self._image.is_active(last) and mutated()
            """,
        ),
        scenario=scenarios.who_led_last_comes_back_alone_with_a_doubt,
    ),
    mutation(
        "last known leader: one that has lost its data",
        "replication 13",
        "who led last and has lost its data is not known as the last leader",
        edit(
            eligible,
            "last_known_leader",
            """
            - return last if remembers(image) and last in replicas.assigned and last not in lost else NO_NODE
            + return last if remembers(image) and last in replicas.assigned and mutated() else NO_NODE
            """,
        ),
        scenario=scenarios.who_led_last_has_lost_its_data,
    ),
)
