"""Mutations of what consumers of a group do, and of how brokers take their commits."""

from __future__ import annotations

from dohle.client.group_member import GroupMember
from dohle.client.unfinished import Lent
from dohle.listeners.groups_service import GroupsService
from tests.simulation.mutations import group_client_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

GROUP_CLIENTS = (
    mutation(
        "group consumer: a partition is given up while a record of it is in work",
        "KIP-848, decision 0055",
        "a consumer confirms that it has given a partition up when everything that it began of it is finished",
        edit(
            GroupMember,
            "_give_up",
            """
            - await self._unfinished().until_finished(partition)
            + mutated()
            """,
        ),
        scenario=scenarios.a_partition_moves_while_a_record_is_in_work,
    ),
    mutation(
        "group consumer: what a reader has in hand is committed",
        "decision 0055",
        "what a reader was given is finished when it asks for more, or says so",
        edit(
            Lent,
            "finished_to",
            """
            - return self._from.get(partition, partition.position)
            + return partition.position if mutated() else None
            """,
        ),
        scenario=scenarios.a_reader_ends_with_a_record_in_work,
    ),
    mutation(
        "group commits: a late one takes a later one back",
        "decision 0055",
        "a commit that comes behind a later one of the same client is refused",
        edit(
            GroupsService,
            "_is_next",
            """
            - if sequence <= self._sequences.get(committer_id, 0):
            -     return False
            + mutated()
            """,
        ),
        scenario=scenarios.a_commit_comes_behind_a_later_one,
    ),
)
