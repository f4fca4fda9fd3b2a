"""Mutations of what a plan to rebalance leaves alone."""

from __future__ import annotations

from dohle.client import rebalance_plan
from tests.simulation.mutations import rebalance_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

REBALANCE = (
    mutation(
        "rebalance: partitions that lack a replica move",
        "decision 0021",
        "a plan moves only partitions whose replicas are all in sync",
        edit(
            rebalance_plan,
            "_why_left",
            """
            - return "" if whole else SHORT
            + return "" if whole or mutated() else SHORT
            """,
        ),
        scenario=scenarios.a_replica_lags_while_a_plan_is_made,
    ),
    mutation(
        "rebalance: what others have moved since is moved all the same",
        "decision 0021",
        "a plan goes on only where replicas are still those that were shown",
        edit(
            rebalance_plan,
            "bound_anew",
            """
            - if move.name in now and now[move.name].assigned_replicas == move.before
            + if move.name in now and mutated()
            """,
        ),
        scenario=scenarios.a_partition_is_moved_by_another_after_it_was_shown,
    ),
)
