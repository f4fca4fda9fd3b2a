"""Mutations of what an operator is promised who changes something: it is read at once, placed well, and up to date."""

from __future__ import annotations

from dohle.broker.metadata_follower import MetadataFollower
from dohle.controller import placement, reassignment
from tests.simulation.mutations import leading_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

ADMIN = (
    mutation(
        "admin: a change is answered before it can be read",
        "read your writes",
        "the broker that passes a change on answers when its own metadata has it",
        edit(
            MetadataFollower,
            "reached",
            """
            - while self.image.next_offset < offset:
            + while self.image.next_offset < offset and not mutated():
            """,
        ),
        scenario=scenarios.who_makes_a_topic_asks_for_it,
    ),
    mutation(
        "placement: racks do not matter",
        "placement",
        "a partition's replicas are in as many racks as can be",
        edit(
            placement,
            "_replicas",
            """
            - index = min(range(len(waiting)), key=lambda index: used[waiting[index][1]])
            + index = 0 if mutated() else 1
            """,
        ),
        scenario=scenarios.a_topic_is_made_where_there_are_racks,
    ),
    mutation(
        "reassignment: a plan of another state is carried out",
        "decision 0021",
        "a move that names the partition epoch it was planned in is refused in any other",
        edit(
            reassignment,
            "_alter",
            """
            - if wanted.partition_epoch not in (ANY_EPOCH, before.partition_epoch):
            + if wanted.partition_epoch not in (ANY_EPOCH, before.partition_epoch) and not mutated():
            """,
        ),
        scenario=scenarios.a_plan_is_carried_out_that_is_out_of_date,
    ),
)
