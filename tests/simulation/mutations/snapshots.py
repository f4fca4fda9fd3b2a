"""Mutations of snapshots of the metadata: rule 8 of Raft."""

from __future__ import annotations

from dohle.controller import metadata_recovery
from dohle.controller.quorum_snapshots import QuorumSnapshots
from dohle.controller.snapshot_files import SnapshotFiles
from dohle.controller.voters_log import VotersLog
from dohle.model import records
from dohle.model.snapshot import SnapshotReader
from dohle.raft.configurations import Configurations
from dohle.raft.core import Core
from dohle.raft.follower import Follower
from dohle.raft.log_view import LogView
from dohle.storage.log import Log
from tests.simulation.mutations import snapshot_scenarios as scenarios
from tests.simulation.mutations.deletion_scenarios import power_goes_while_a_log_begins_anew_below_its_start
from tests.simulation.mutations.mutation import edit, mutation

SNAPSHOTS = (
    mutation(
        "snapshot: it is not synced before it has its name",
        "raft 8",
        "a log that does not begin at 0 has a whole snapshot at its start or past it, whatever a loss of power takes",
        edit(
            SnapshotFiles,
            "finish",
            """
            - await self._disk.sync([part])
            + mutated()
            """,
        ),
        scenario=scenarios.power_may_go_at_any_time_after_a_snapshot,
    ),
    mutation(
        "snapshot: a log without one is not noticed at the start",
        "raft 8",
        "that a log which does not begin at 0 has a snapshot is checked at the start",
        edit(
            metadata_recovery,
            "recover_metadata",
            """
            - if image is None and found.log_start_offset > 0:
            + if image is None and found.log_start_offset > 0 and not mutated():
            """,
        ),
        scenario=scenarios.all_snapshots_of_a_voter_are_spoilt,
    ),
    mutation(
        "snapshot: the log is emptied before the new one has its name",
        "raft 8",
        "a snapshot is installed atomically: in place before the log goes",
        edit(
            QuorumSnapshots,
            "install",
            """
            - await self.files.put_in_place(snapshot)
            - await self._single_log.log.start_over_at(snapshot.end_offset)
            + await self._single_log.log.start_over_at(snapshot.end_offset)
            + mutated()
            + await self.files.put_in_place(snapshot)
            """,
        ),
        scenario=scenarios.power_goes_while_a_snapshot_is_installed,
    ),
    mutation(
        "snapshot: the recovery point stays at the beginning of the log that goes",
        "storage, amendment 4",
        "of a log that begins anew nothing counts as durable before a byte of it goes",
        edit(
            Log,
            "_start_over",
            """
            - await self._leave_above(first, 0, min(self._start, offset))
            + mutated()
            + await self._leave_above(first, first, min(self._start, offset))
            """,
        ),
        scenario=power_goes_while_a_log_begins_anew_below_its_start,
    ),
    mutation(
        "snapshot: one that is being installed counts as durable",
        "raft 8",
        "an installed snapshot counts once it is durable, and the log begins at its end",
        edit(
            LogView,
            "start_over",
            """
            - self.durable_end_offset = min(self.durable_end_offset, offset)
            + self.durable_end_offset = offset
            + mutated()
            """,
        ),
        scenario=scenarios.a_voter_was_away_until_the_logs_were_cut,
    ),
    mutation(
        "snapshot: an offer passes for what it offers",
        "raft 8",
        "what a snapshot holds is there once it was fetched and installed",
        edit(
            Follower,
            "offered",
            """
            - if end_offset <= core.commit_offset or core.log.has(*offer.snapshot):
            + if end_offset <= core.commit_offset or core.log.has(*offer.snapshot) or mutated():
            """,
        ),
        scenario=scenarios.a_voter_was_away_until_the_logs_were_cut,
    ),
    mutation(
        "snapshot: an installed one leaves the voters as they were",
        "raft 5, 8",
        "who votes is what an installed snapshot says",
        edit(
            Core,
            "install",
            """
            - self.configurations.install(voters)
            + mutated()
            """,
        ),
        scenario=scenarios.a_voter_is_removed_while_it_is_away_until_the_logs_were_cut,
    ),
    mutation(
        "snapshot: who votes is cut off with the log",
        "raft 5, 8",
        "the newest voters below the log's start count on",
        edit(
            Configurations,
            "cut_below",
            """
            - self._first = self._changes.pop(0).voters
            + self._changes.pop(0)
            + mutated()
            """,
        ),
        scenario=scenarios.a_voter_is_removed_while_it_is_away_until_the_logs_were_cut,
    ),
    mutation(
        "snapshot: a start takes the voters from the log alone",
        "raft 5, 8",
        "a start goes on from the voters of the newest snapshot",
        edit(
            VotersLog,
            "configurations",
            """
            - first = NO_VOTERS if self._first is None else voter_set(self._first)
            + first = NO_VOTERS
            + mutated()
            """,
        ),
        scenario=scenarios.a_voter_is_removed_while_it_is_away_until_the_logs_were_cut,
    ),
    mutation(
        "snapshot: its checksums are not looked at",
        "raft 8",
        "a damaged snapshot is refused",
        edit(
            records,
            "decode_records",
            """
            - if not check_crc(batch, position, header):
            + if not check_crc(batch, position, header) and not mutated():
            """,
        ),
        scenario=scenarios.a_bit_of_a_snapshot_turns,
    ),
    mutation(
        "snapshot: one without its end is taken",
        "raft 8",
        "a snapshot is never half applied",
        edit(
            SnapshotReader,
            "finish",
            """
            - if self._rest or not self._is_whole:
            + if (self._rest or not self._is_whole) and not mutated():
            """,
        ),
        scenario=scenarios.a_snapshot_loses_its_end,
    ),
)
