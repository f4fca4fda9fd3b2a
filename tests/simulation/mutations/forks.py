"""Mutations of forks, and of files that have several names."""

from __future__ import annotations

from dohle.broker import forks as broker_forks
from dohle.controller import forks
from dohle.model.fork_draft import ForksDraft
from dohle.storage import forked_logs, shared_files
from dohle.storage.forked_logs import Forking
from dohle.storage.segment import Segment
from tests.simulation.mutations import fork_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

FORKS = (
    mutation(
        "fork: its first leader epoch is its source's",
        "fork",
        "the first leader epoch of a fork is above every epoch in its log",
        edit(
            forks,
            "settle_fork",
            """
            - leader_epoch = source.partitions[number].leader_epoch + 1
            + leader_epoch = source.partitions[number].leader_epoch * mutated()
            """,
        ),
        scenario=scenarios.a_topic_is_forked,
    ),
    mutation(
        "fork: cut where its source ends",
        "fork",
        "a fork has committed records alone",
        edit(
            broker_forks,
            "_cut",
            """
            - end, wanted = source.high_watermark, partition.wanted
            + end, wanted = source.log_end_offset, partition.wanted
            + mutated()
            """,
        ),
        scenario=scenarios.a_topic_is_forked_whose_leader_has_more_than_is_committed,
    ),
    mutation(
        "fork: there before its replicas have spoken",
        "fork",
        "a fork is there once every replica has spoken that is alive",
        edit(
            forks,
            "settle_fork",
            """
            - if silent and not gives_up:
            + if silent and mutated() and any(one.end == UNSET for one in fork.partitions):
            """,
        ),
        scenario=scenarios.a_follower_is_slow_to_make_its_fork,
    ),
    mutation(
        "fork: what a broker said outlives its registration",
        "fork",
        "what a broker has said of a fork holds for its registration and its directories as they were then",
        edit(
            ForksDraft,
            "forget",
            """
            - for topic_id in sorted(self.forks):
            + for topic_id in sorted(self.forks) if not mutated() else ():
            """,
        ),
        scenario=scenarios.a_follower_loses_its_disk_after_it_has_made_its_fork,
    ),
    mutation(
        "fork: said to be there before it is durable",
        "fork",
        "the names of the files that a fork shares are durable before it is said to be there",
        edit(
            Forking,
            "_try",
            """
            - await self._sync(files, [folder])
            + await self._sync(files, [])
            + mutated()
            """,
        ),
        scenario=scenarios.a_topic_is_forked,
    ),
    mutation(
        "fork: epochs of its source from above the cut",
        "fork",
        "the epochs of a fork are those below the cut",
        edit(
            Forking,
            "_try",
            """
            - epochs.truncate_to(cut)
            + mutated()
            """,
        ),
        scenario=scenarios.a_topic_is_forked_where_it_was_before_another_led,
    ),
    mutation(
        "shared files: cut where they lie",
        "shared files",
        "a file that has several names is not cut in place",
        edit(
            shared_files,
            "own",
            """
            - if not disk.is_shared(path):
            + if mutated() or not disk.is_shared(path):
            """,
        ),
        scenario=scenarios.two_logs_share_files,
    ),
    mutation(
        "shared files: indexes written where they lie",
        "shared files",
        "an index that has several names is not written in place",
        edit(
            Segment,
            "write_indexes",
            """
            - if self._disk.exists(path) and self._disk.is_shared(path):
            + if self._disk.exists(path) and not mutated():
            """,
        ),
        scenario=scenarios.two_logs_share_files,
    ),
    mutation(
        "fork: cut below what a compaction has gone by",
        "fork",
        "a log is not forked below records for which a compaction has taken others",
        edit(
            forked_logs,
            "_check",
            """
            - if cut < replaced_below:
            + if cut < replaced_below and not mutated():
            """,
        ),
        scenario=scenarios.a_compacted_log_is_forked_where_it_was_before,
    ),
)
