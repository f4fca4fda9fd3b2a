"""Mutations of the storage: what is durable, what a recovery believes, and what a truncation leaves."""

from __future__ import annotations

from dohle.broker.replicas import Replicas
from dohle.controller import vote_file
from dohle.storage import checkpoints, clean_stop, recovery, single_log
from dohle.storage.checkpoints import Checkpoints
from dohle.storage.group_commit import GroupCommit
from dohle.storage.log import Log
from dohle.storage.log_folder import LogFolder
from dohle.storage.recovery import LogFiles
from dohle.storage.segment import Segment
from dohle.storage.unsynced import Unsynced
from tests.simulation.mutations import divergence_scenarios
from tests.simulation.mutations import storage_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

STORAGE = (
    mutation(
        "durable end: what was received counts",
        "storage, durable end",
        "only the durable end is acknowledged or counted",
        edit(
            Log,
            "counted_end",
            """
            - return self._end if self._unsynced.counts_at_once else self._durable_end
            + mutated()
            + return self._end
            """,
        ),
    ),
    mutation(
        "seals: a truncation leaves those of what it cuts",
        "storage, recovery",
        "no seal tells of batches in whose place others may come",
        edit(
            Segment,
            "_unseal",
            """
            - kept = [seal for seal in there if seal.size <= position]
            + kept = [seal for seal in there if seal.size <= position or mutated()]
            """,
        ),
        scenario=scenarios.a_node_is_killed_after_a_truncation_below_a_seal,
    ),
    mutation(
        "durable end: what was appended during the sync counts",
        "storage, durable end",
        "a group commit captures the end before the sync",
        edit(
            Log,
            "finish_flush",
            """
            - self._durable_moved_to(flush.end)
            + if flush.end < self._end:
            +     mutated()
            + self._durable_moved_to(self._end)
            """,
        ),
    ),
    mutation(
        "durable end: a sync of an older generation counts",
        "storage, durable end",
        "a finished fsync of an older generation is ignored",
        edit(
            Log,
            "finish_flush",
            """
            - if flush.generation == self.generation:
            + if flush.generation == self.generation or mutated():
            """,
        ),
        scenario=scenarios.a_sync_is_under_way_at_a_truncation,
    ),
    mutation(
        "roll: the folder is not fsynced",
        "storage, files",
        "the folder is fsynced when a segment is made",
        edit(
            Unsynced,
            "add",
            """
            - self._names_changed = True
            + mutated()
            """,
        ),
    ),
    mutation(
        "new log: its files are not fsynced before the rename",
        "storage, files",
        "a new folder is whole before it gets its name",
        edit(
            LogFolder,
            "_create_group",
            """
            - await self._disk.sync(files, folders)
            + mutated()
            """,
        ),
    ),
    mutation(
        "checkpoint: it is not fsynced",
        "storage, files",
        "checkpoints are fsynced before they are renamed",
        edit(
            checkpoints,
            "write_files",
            """
            - await disk.sync(files)
            + mutated()
            """,
        ),
    ),
    mutation(
        "checkpoint: the folder is not fsynced after the rename",
        "storage, files",
        "the folder is fsynced after a rename",
        edit(
            checkpoints,
            "write_files",
            """
            - await disk.sync([], list(folders))
            + mutated()
            """,
        ),
    ),
    mutation(
        "recovery point: ahead of the fsync",
        "storage, recovery",
        "a written recovery point never lies above what is durable",
        edit(
            Checkpoints,
            "_write",
            """
            - key: (log.durable_end, log.high_watermark, log.log_start_offset, log.cleaned_to)
            + key: (
            +     log.log_end_offset if log.log_end_offset == log.durable_end or mutated() else 0,
            +     log.high_watermark,
            +     log.log_start_offset,
            +     log.cleaned_to,
            + )
            """,
        ),
        scenario=scenarios.power_goes_after_a_checkpoint_and_before_a_sync,
    ),
    mutation(
        "recovery point: not lowered before a truncation",
        "storage, amendment 4",
        "before truncating below it, the lowered recovery point is made durable",
        edit(
            Log,
            "_leave_above",
            """
            - await self._checkpoints.lower(self.key, recovery_point, border, start)
            + mutated()
            """,
        ),
        scenario=scenarios.power_goes_after_a_truncation,
    ),
    mutation(
        "truncation: not fsynced before the next append",
        "storage, amendment 4",
        "a truncation is fsynced before the next append",
        edit(
            Unsynced,
            "sync_all",
            """
            - await self._disk.sync(files, [self._folder])
            + mutated()
            """,
        ),
        scenario=scenarios.power_goes_in_the_first_sync_after_a_truncation,
    ),
    mutation(
        "recovery: a torn tail passes for sound",
        "storage, recovery",
        "a batch of the tail that was not wholly written is cut",
        edit(
            recovery,
            "batch_fault",
            """
            - if not check_crc(chunk, offset, header):
            + if not check_crc(chunk, offset, header) and not mutated():
            """,
        ),
        scenario=scenarios.power_goes_in_syncs,
    ),
    mutation(
        "recovery: what it read is not fsynced",
        "storage, recovery",
        "what was read is fsynced before its end is told, since after a kill it may be in the page cache alone",
        edit(
            LogFolder,
            "_open",
            """
            - await self._disk.sync(unsure, [self.path, *(self._folder_of(key) for key in group)])
            + mutated()
            """,
        ),
        edit(
            single_log,
            "open_single_log",
            """
            - await disk.sync(files.unsure_files(), [path])
            + mutated()
            """,
        ),
        edit(
            LogFiles,
            "_check_segment",
            """
            - await file.drop_cache()
            + pass
            """,
        ),
        scenario=scenarios.a_node_is_killed_in_a_sync,
    ),
    mutation(
        "recovery: the page cache is believed",
        "storage, recovery",
        "after an unclean stop the device is read: the page cache may have what a failed fsync did not write",
        edit(
            LogFiles,
            "_check_segment",
            """
            - await file.drop_cache()
            + mutated()
            """,
        ),
        scenario=scenarios.a_node_comes_back_after_a_failed_sync,
    ),
    mutation(
        "clean stop: the mark outlives the start",
        "storage, files",
        "the clean-shutdown mark is deleted before loading begins",
        edit(
            clean_stop,
            "take_mark",
            """
            - disk.delete(path)
            + mutated()
            """,
        ),
        scenario=scenarios.power_goes_some_time_after_a_clean_stop,
    ),
    mutation(
        "failed fsync: it passes for done",
        "storage, recovery",
        "a failed fsync fails the folder for the life of the process, and is never retried",
        edit(
            GroupCommit,
            "_round",
            """
            - await self._disk.sync(files, folders, lambda file: self._synced(run, file))
            + try:
            +     await self._disk.sync(files, folders, lambda file: self._synced(run, file))
            + except OSError:
            +     mutated()
            """,
        ),
        scenario=scenarios.a_sync_fails,
    ),
    mutation(
        "checkpoint: recovery points go ahead of the epochs",
        "storage, recovery",
        "a recovery point is written only when the epochs below it are",
        edit(
            Checkpoints,
            "_write",
            """
            - await self._write_epochs(logs)
            + mutated()

            - self._written.update(changed)
            + self._written.update(changed)
            + await self._write_epochs(logs)
            """,
        ),
        scenario=scenarios.a_node_is_killed_at_the_first_checkpoint_of_an_epoch,
    ),
    mutation(
        "checkpoint: epochs are cut while the recovery point is above the cut",
        "storage, amendment 4",
        "of a log that is truncated the epochs are written once its lowered recovery point is durable",
        edit(
            Log,
            "_leave_above",
            """
            - await self._checkpoints.lower(self.key, recovery_point, border, start)
            + mutated()
            + self.epochs.truncate_to(border)
            + await self._checkpoints.lower(self.key, recovery_point, border, start)
            """,
        ),
        scenario=divergence_scenarios.a_node_is_killed_while_a_truncation_begins,
    ),
    mutation(
        "new log: the checkpoints of a former one stay",
        "storage, recovery",
        "a log that is made under a former one's name begins with no recovery point and no watermark",
        edit(
            LogFolder,
            "_create_group",
            """
            - await self._checkpoints.forget_former(keys)
            + mutated()
            """,
        ),
        scenario=scenarios.a_node_is_killed_with_a_topic_that_is_made_again,
    ),
    mutation(
        "recovery: what is missing below the recovery point passes for torn",
        "storage, recovery",
        "torn is only what lies past the recovery point: below it everything was durable",
        edit(
            LogFiles,
            "_check_segment",
            """
            - await self._judge_batch(segment, position, chunk[offset:], fault, found, recovery_point)
            + mutated()
            + await self._judge_batch(segment, position, chunk[offset:], fault, found, 0)
            """,
        ),
        edit(
            LogFiles,
            "_recover",
            """
            - if found.end_offset < recovery_point and found.damage is None:
            + if False:
            """,
        ),
        scenario=scenarios.a_replica_is_cut_short_below_its_recovery_point,
    ),
    mutation(
        "recovery: a metadata log that rots is cut",
        "raft 9",
        "anything but a torn tail is corruption: the node neither votes nor leads, and nothing is deleted",
        edit(
            recovery,
            "is_explained_by_a_crash",
            """
            - return size > bytes_left or is_torn(rest[:size], position)
            + return size > bytes_left or is_torn(rest[:size], position) or mutated()
            """,
        ),
        edit(
            LogFiles,
            "_check_segment",
            """
            - await self._judge_batch(segment, position, chunk[offset:], fault, found, recovery_point)
            + await self._judge_batch(segment, position, chunk[offset:], fault, found, 0)
            """,
        ),
        edit(
            LogFiles,
            "_recover",
            """
            - if found.end_offset < recovery_point and found.damage is None:
            + if False:
            """,
        ),
        scenario=scenarios.a_metadata_log_rots,
    ),
    mutation(
        "durable end: only the newest segment is synced",
        "storage, durable end",
        "a group commit syncs every dirty segment",
        edit(
            Unsynced,
            "take",
            """
            - taken = [*(segment.file() for segment in segments.unsynced), *self._files]
            + if len(segments.unsynced) > 1:
            +     mutated()
            + taken = [*[segment.file() for segment in segments.unsynced][-1:], *self._files]
            """,
        ),
        scenario=scenarios.power_goes_once_several_segments_were_synced_together,
    ),
    mutation(
        "recovery: a batch that rots passes for torn",
        "storage, amendment 5",
        "a bad batch that is whole and has no sector of zeros is damage, and is never cut",
        edit(
            recovery,
            "is_explained_by_a_crash",
            """
            - return size > bytes_left or is_torn(rest[:size], position)
            + return size > bytes_left or is_torn(rest[:size], position) or mutated()
            """,
        ),
        scenario=scenarios.a_batch_rots_above_the_recovery_point,
    ),
    mutation(
        "recovery: after a clean stop anything is believed",
        "storage, recovery",
        "what does not fit together after a clean stop is read as after a crash",
        edit(
            LogFiles,
            "open",
            """
            - if as_left and epochs is not None and await self._ends_at(written.recovery_point, epochs, begin, clean):
            + if as_left and epochs is not None and (
            +     await self._ends_at(written.recovery_point, epochs, begin, clean) or mutated()
            + ):
            """,
        ),
        scenario=scenarios.the_recovery_point_is_lost_after_a_clean_stop,
    ),
    mutation(
        "recovery: lost epochs are not gathered from the batches",
        "replication 1",
        "the epoch cache is rebuilt from batch headers",
        edit(
            LogFiles,
            "_read_epochs",
            """
            - if not any(segment.size for segment in self._segments):
            + if not any(segment.size for segment in self._segments) or mutated():
            """,
        ),
        scenario=scenarios.the_epochs_are_lost,
    ),
    mutation(
        "recovery: what the epochs say is believed against the batches",
        "replication 1",
        "a start holds the epochs, which have no checksum, against the batches that it reads",
        edit(
            LogFiles,
            "_has_epoch_of",
            """
            - if header.base_offset < begin or noted == header.partition_leader_epoch:
            + if header.base_offset < begin or noted == header.partition_leader_epoch or mutated():
            """,
        ),
        scenario=scenarios.a_number_in_the_epochs_rots,
    ),
    mutation(
        "recovery: the epochs of the tail are not gathered",
        "replication 1",
        "after a crash the epochs past the recovery point are rebuilt from batch headers",
        edit(
            LogFiles,
            "_check_segment",
            """
            - if header.base_offset >= gather_from:
            + if header.base_offset >= gather_from and not mutated():
            """,
        ),
        scenario=scenarios.a_node_is_killed_in_a_sync,
    ),
    mutation(
        "registration: damage is not told",
        "replication 12, 16",
        "a damaged replica never leads, not even as the last one",
        edit(
            Replicas,
            "held",
            """
            - damaged=not replica.has_end or replica.recovered.lost,
            + damaged=not replica.has_end and not mutated(),
            """,
        ),
        scenario=scenarios.the_only_replica_is_damaged,
    ),
    mutation(
        "vote: one that is lost was never given",
        "raft 1",
        "a vote file that is missing is an error, never `no vote yet`",
        edit(
            vote_file,
            "read_vote",
            """
            - raise CorruptLog(_advice(path, "is missing")) from None
            + mutated()
            + return Vote(0, None)
            """,
        ),
        scenario=scenarios.a_vote_is_lost,
    ),
)
