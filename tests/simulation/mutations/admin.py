"""Mutations of what an operator is promised who changes something: it is read at once, placed well, and up to date."""

from __future__ import annotations

from dohle.broker.metadata_follower import MetadataFollower
from dohle.controller import placement, reassignment, topics
from dohle.listeners.changes import Change
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
        "admin: an attempt without an answer is forgotten",
        "decision 0044",
        "the last attempt's answer says what an earlier one did whose answer was lost",
        edit(
            Change,
            "attempt_lost",
            """
            - self.lost = True
            + self.lost = not mutated()
            """,
        ),
        scenario=scenarios.the_answer_to_a_deletion_is_lost,
    ),
    mutation(
        "admin: a deletion that is repeated takes whatever bears the name",
        "decision 0044",
        "a deletion is of the topic that was there when it was asked for, in each of its attempts",
        edit(
            topics,
            "existing_topic",
            """
            - if topic_id and topic.topic_id != topic_id:
            + if topic_id and topic.topic_id != topic_id and not mutated():
            """,
        ),
        scenario=scenarios.a_topic_comes_under_the_name_before_the_deletion_is_repeated,
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
