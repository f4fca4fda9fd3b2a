"""Mutations of batches that keep their offsets."""

from __future__ import annotations

from dohle.model import produced
from tests.simulation.mutations import placing_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

PLACING = (
    mutation(
        "import: a batch is appended where the log ends, whatever its offset",
        "decision 0036",
        "a batch that keeps its offset is appended there or not at all",
        edit(
            produced,
            "validate_placed_batch",
            """
            - if header.base_offset != end_offset:
            + if header.base_offset != end_offset and not mutated():
            """,
        ),
        scenario=scenarios.a_batch_that_keeps_its_offset_comes_again,
    ),
    mutation(
        "import: a batch keeps its producer",
        "decision 0036",
        "a batch that keeps its offset is no producer's of this cluster",
        edit(
            produced,
            "validate_placed_batch",
            """
            - if header.is_control or header.is_transactional or header.is_idempotent:
            + if (header.is_control or header.is_transactional or header.is_idempotent) and not mutated():
            """,
        ),
        scenario=scenarios.a_batch_that_keeps_its_offset_has_a_producer,
    ),
)
