"""Mutations of what happens when one of a broker's disks fails."""

from __future__ import annotations

from dohle.broker.failed_dirs import FailedDirs
from dohle.broker.replicas import Replicas
from dohle.controller import failed_dirs, registration
from dohle.controller.registered_dirs import Evidence
from dohle.storage.log_dirs import LogDirs
from dohle.storage.log_folder import LogFolder
from tests.simulation.mutations import directory_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

DIRECTORIES = (
    mutation(
        "failed directory: it is not reported",
        "replication 16",
        "a failed directory is reported, and others lead what lay there",
        edit(
            FailedDirs,
            "run",
            """
            - await self._controller.call("FailLogDirs", self._request(), timeout_s=None)
            + mutated()
            """,
        ),
        scenario=scenarios.a_directory_fails,
    ),
    mutation(
        "failed directory: what lies in one that fails at the start is made anew",
        "replication 16",
        "a replica whose directory has failed is never made anew in another of the same broker",
        edit(
            Replicas,
            "_make_folders",
            """
            - present = self._dirs.log(name) or self._dirs.log_out_of_service(name, key.topic_id)
            + present = self._dirs.log(name) if mutated() else None
            """,
        ),
        scenario=scenarios.a_directory_fails_at_a_start_before_its_broker_has_begun,
    ),
    mutation(
        "failed directory: the node ends with it",
        "replication 16",
        "a failed directory takes only its own replicas offline",
        edit(
            LogDirs,
            "_failed",
            """
            - if path == self._essential or not self.online:
            + if mutated():
            """,
        ),
        scenario=scenarios.a_directory_fails,
    ),
    mutation(
        "failed directory: the epoch of batches that are not durable is reported",
        "replication 16",
        "a replica is trusted again when its directory is back with all that was durable there",
        edit(
            FailedDirs,
            "_request",
            """
            - last_epoch=replica.durable_epoch,
            + last_epoch=replica.last_batch_epoch if mutated() else -1,
            """,
        ),
        scenario=scenarios.a_directory_fails_under_the_first_batches_of_an_epoch,
    ),
    mutation(
        "failed directory: its replicas stay in sync",
        "replication 16",
        "the replicas of a failed directory leave the in-sync sets",
        edit(
            failed_dirs,
            "fail_log_dirs",
            """
            - if broker.node_id in partition.in_sync_replicas:
            + if broker.node_id in partition.in_sync_replicas and not mutated():
            """,
        ),
        scenario=scenarios.a_directory_fails,
    ),
    mutation(
        "failed directory: its replicas are made anew in another",
        "replication 16",
        "a replica whose directory cannot be used is never made anew in another of the same broker",
        edit(
            Replicas,
            "_make_folders",
            """
            - if self.image.is_offline(self._surroundings.me, key):
            + if self.image.is_offline(self._surroundings.me, key) and not mutated():
            """,
        ),
        scenario=scenarios.a_directory_is_missing_at_a_start,
    ),
    mutation(
        "failed directory: what lay there counts as lost",
        "replication 16",
        "what may lie in a directory that is away is not lost for good",
        edit(
            registration._Returning,
            "_missing",
            """
            - if not self.evidence.lacks_some:
            + if not self.evidence.lacks_some or mutated():
            """,
        ),
        scenario=scenarios.the_last_replicas_directory_is_missing_and_comes_back,
    ),
    mutation(
        "failed directory: back again, it speaks for the others",
        "replication 12, 16",
        "a directory that was away knows nothing of what was made meanwhile",
        edit(
            Evidence,
            "_speaks",
            """
            - and DirectoryId(one.directory_id) in previous.online_log_dirs
            - and not (previous.has_served and one.durable_metadata_offset <= previous.broker_epoch)
            + and mutated()
            """,
        ),
        edit(
            Evidence,
            "durable_metadata_offset",
            """
            - return max([one.durable_metadata_offset for one in self.directories if self._speaks(one)], default=NEVER)
            + return min([one.durable_metadata_offset for one in self.directories if self._speaks(one)], default=NEVER)
            """,
        ),
        scenario=scenarios.what_was_made_without_a_directory_is_missing_when_that_is_back,
    ),
    mutation(
        "full directory: a checkpoint that finds no room fails it",
        "replication 16",
        "a directory without room refuses appends, and goes on by itself once there is some",
        edit(
            LogFolder,
            "_write_checkpoints",
            """
            - if not self._lacks_room:
            + if mutated():
            +     raise
            + if not self._lacks_room:
            """,
        ),
        scenario=scenarios.a_directory_is_full_for_a_while,
    ),
)
