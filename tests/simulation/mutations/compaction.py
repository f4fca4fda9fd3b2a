"""Mutations of compaction: what a swap rests on, and what may go."""

from __future__ import annotations

from dohle.broker.compaction import Compaction
from dohle.storage.compaction.cleaning import Cleaning
from dohle.storage.compaction.compactor import Compactor
from dohle.storage.compaction.swap_files import CleanedFiles
from tests.simulation.mutations import compaction_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

COMPACTION = (
    mutation(
        "compaction: what was compacted is not synced before it is swapped in",
        "storage, compaction",
        "swap files atomically, crash-safe at every step",
        edit(
            CleanedFiles,
            "sync",
            """
            - await self._disk.sync(self._files, [self._folder])
            + mutated()
            """,
        ),
        scenario=scenarios.power_goes_at_each_step_of_a_swap,
    ),
    mutation(
        "compaction: what takes the others' place is not named durably before they go",
        "storage, compaction",
        "swap files atomically, crash-safe at every step",
        edit(
            CleanedFiles,
            "commit",
            """
            - await self._disk.sync([], [self._folder])
            + mutated()
            """,
        ),
        scenario=scenarios.power_goes_at_each_step_of_a_swap,
    ),
    mutation(
        "compaction: what is not committed replaces what is",
        "storage, compaction",
        "never compact at or above the high watermark",
        edit(
            Compactor,
            "_look_at",
            """
            - end = min(log.high_watermark, self._checkpoints.sure_end(log.key))
            + mutated()
            + end = self._checkpoints.sure_end(log.key)
            """,
        ),
        scenario=scenarios.a_deposed_leader_compacts,
    ),
    mutation(
        "compaction: a tombstone goes before its horizon",
        "storage, compaction",
        "tombstones survive delete.retention.ms",
        edit(
            Cleaning,
            "_has_passed",
            """
            - return self._terms.tombstones_go and header.base_timestamp <= self._terms.now_ms
            + return self._terms.tombstones_go and mutated()
            """,
        ),
        scenario=scenarios.a_tombstone_stays_until_its_horizon,
    ),
    mutation(
        "compaction: a tombstone goes while a replica does not know it",
        "storage, compaction",
        "replicas of a compacted log never differ in a key's last value",
        edit(
            Compaction,
            "_tombstones_go",
            """
            - return set(image.assigned_replicas) <= set(image.in_sync_replicas)
            + return mutated()
            """,
        ),
        scenario=scenarios.leaders_change_between_compactions,
    ),
    mutation(
        "compaction: a producer's last batch goes",
        "storage, compaction",
        "keep an empty batch header for a live producer's last sequence",
        edit(
            Cleaning,
            "_drop",
            """
            - if last is not None and last in (ANY_BATCH, header.last_offset):
            + if last is not None and last in (ANY_BATCH, header.last_offset) and not mutated():
            """,
        ),
        scenario=scenarios.a_replica_is_filled_from_a_compacted_one,
    ),
)
