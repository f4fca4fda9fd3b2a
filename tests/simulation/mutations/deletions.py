"""Mutations of logs that begin later: deletion on request, and retention."""

from __future__ import annotations

from dohle.broker.following import Following
from dohle.broker.leading import Leading
from dohle.broker.push_session import PushSession
from dohle.broker.retention import Retention
from dohle.storage import retention
from dohle.storage.retiring import Retiring
from tests.simulation.mutations import deletion_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

DELETIONS = (
    mutation(
        "deletion: acknowledged when followers have heard of it",
        "deletion",
        "a follower confirms where its log begins once that is durable",
        edit(
            Following,
            "acknowledgement",
            """
            - self.acknowledged_end, self.acknowledged_start = self.log.counted_end, self.log.durable_start
            + self.acknowledged_end, self.acknowledged_start = self.log.counted_end, self.log.log_start_offset
            + mutated()
            """,
        ),
        edit(
            Following,
            "has_news",
            """
            - return self.log.counted_end > self.acknowledged_end or self.log.durable_start > self.acknowledged_start
            + return self.log.counted_end > self.acknowledged_end or self.log.log_start_offset > self.acknowledged_start
            """,
        ),
        edit(
            Following,
            "awaits_news",
            """
            - return log.counted_end < log.log_end_offset or log.durable_start < log.log_start_offset
            + return True
            """,
        ),
        scenario=scenarios.a_follower_is_slow_to_note_a_deletion,
    ),
    mutation(
        "deletion: acknowledged by the leader alone",
        "deletion",
        "a deletion is acknowledged once every replica that is alive has noted it",
        edit(
            Leading,
            "_sure_start",
            """
            - return min([self.log.durable_start, *self._starts_to_wait_for().values()])
            + mutated()
            + return self.log.durable_start
            """,
        ),
        scenario=scenarios.a_follower_is_slow_to_note_a_deletion,
    ),
    mutation(
        "deletion: acknowledged before the leader has noted it",
        "deletion",
        "a deletion is acknowledged once the leader has noted it durably",
        edit(
            Leading,
            "_sure_start",
            """
            - return min([self.log.durable_start, *self._starts_to_wait_for().values()])
            + mutated()
            + return min([self.log.log_start_offset, *self._starts_to_wait_for().values()])
            """,
        ),
        scenario=scenarios.a_leader_is_slow_to_note_a_deletion,
    ),
    mutation(
        "deletion: a fenced member is not waited for",
        "deletion",
        "a deletion is acknowledged once everybody has noted it that may lead, fenced or not",
        edit(
            Leading,
            "_starts_to_wait_for",
            """
            - return {n: one.durable_start for n, one in replicas if n in leaders or self._terms.is_live(n)}
            + mutated()
            + return {n: one.durable_start for n, one in replicas if self._terms.is_live(n)}
            """,
        ),
        scenario=scenarios.a_member_that_is_down_may_lead_after_a_deletion,
    ),
    mutation(
        "deletion: a replica joins that has not noted it",
        "deletion",
        "nobody joins the in-sync set who has not noted durably where the leader's log begins",
        edit(
            Leading,
            "_may_join",
            """
            - and (replica.durable_start >= self.log.durable_start or replica.durable_start < 0)
            + and (replica.durable_start >= self.log.durable_start or mutated())
            """,
        ),
        scenario=scenarios.a_replica_comes_back_after_a_deletion,
    ),
    mutation(
        "retention: segments go before the start is noted",
        "retention",
        "a log's new start is durable before a segment goes",
        edit(
            Retiring,
            "run",
            """
            - await self._checkpoints.write()
            + mutated()
            """,
        ),
        edit(
            Retiring,
            "_retire",
            """
            - taken = log.take_below(self._checkpoints.sure_start(log.key))
            + taken = log.take_below(log.log_start_offset)
            """,
        ),
        scenario=scenarios.power_goes_once_segments_were_let_go,
    ),
    mutation(
        "retention: a leader without a session decides",
        "retention",
        "only leaders with a session decide what is retained",
        edit(
            Retention,
            "check",
            """
            - if isinstance(role, Leading) and not (self._membership.fenced or self._membership.in_doubt):
            + if isinstance(role, Leading) and (mutated() or self._membership.fenced):
            """,
        ),
        scenario=scenarios.a_leader_is_cut_off_and_the_topic_retains_more_meanwhile,
    ),
    mutation(
        "deletion: a log without batches is taken to agree",
        "replication 3",
        "a log that has let all go, and cannot tell its last epoch, begins where its leader's does",
        edit(
            PushSession,
            "_subscribe",
            """
            - last = first
            + mutated()
            """,
        ),
        scenario=scenarios.a_log_that_was_emptied_ends_within_the_leaders,
    ),
    mutation(
        "deletion: a log without batches stays where it is",
        "replication 3",
        "a log that has nothing begins where its leader's does, whichever of the two ends later",
        edit(
            Following,
            "start_over",
            """
            - is_nothing = self.log.last_batch_epoch < 0 and self.log.log_end_offset != leader_log_start
            + is_nothing = not mutated()
            """,
        ),
        scenario=scenarios.a_log_that_was_emptied_ends_behind_the_leaders,
    ),
    mutation(
        "retention: what is not committed goes",
        "storage, retention",
        "never delete at or above the high watermark",
        edit(
            retention,
            "first_kept",
            """
            - if not segment.size or end > high_watermark:
            + if not segment.size or (end > high_watermark and not mutated()):
            """,
        ),
        edit(
            Leading,
            "begin_at",
            """
            - assert offset <= self.log.high_watermark
            + pass
            """,
        ),
        scenario=scenarios.a_topic_retains_less_than_waits_for_its_followers,
    ),
    mutation(
        "subscription: a follower that ends before the leader's log begins stays as it is",
        "replication 3",
        "a follower whose own end is below the leader's log start empties its log and begins there",
        edit(
            Following,
            "start_over",
            """
            - await self.log.start_over_at(leader_log_start)
            + mutated()
            """,
        ),
        scenario=scenarios.a_follower_returns_to_a_log_that_begins_later,
    ),
)
