"""Mutations of replication: what leaders and followers do with records, and what clients are told."""

from __future__ import annotations

from dohle.broker import reads
from dohle.broker.following import Following
from dohle.broker.leading import Leading
from dohle.broker.push_session import PushSession
from dohle.broker.reads import Reads
from dohle.broker.replicas import Replicas
from dohle.storage.epoch_cache import EpochCache
from dohle.storage.log import Log
from dohle.storage.recovery import LogFiles
from tests.simulation.mutations import divergence_scenarios as divergence
from tests.simulation.mutations import replication_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

REPLICATION = (
    mutation(
        "epoch ends: an older epoch ends at the log's end",
        "replication 2",
        "an epoch ends where the next higher one starts",
        edit(
            EpochCache,
            "end_offset",
            """
            - return floor, self._entries[above].start_offset
            + mutated()
            + return floor, log_end_offset
            """,
        ),
        scenario=scenarios.a_leader_is_deposed_with_a_short_tail,
    ),
    mutation(
        "epoch cache: a leader notes its epoch with its first batch only",
        "replication 1",
        "on every new epoch (epoch, log end offset) is noted, data or not, before the first answer in it",
        edit(
            Leading,
            "__init__",
            """
            - self.epoch_start = log.start_epoch(partition.leader_epoch)
            + mutated()
            + self.epoch_start = log.log_end_offset
            """,
        ),
        scenario=divergence.a_leader_is_deposed_before_it_wrote,
    ),
    mutation(
        "epoch cache: it is not cut with the log",
        "replication 1",
        "conflicting tail entries of the epoch cache go with the log's tail",
        edit(
            Log,
            "_leave_above",
            """
            - self.epochs.truncate_to(border)
            + mutated()
            """,
        ),
        scenario=divergence.a_leader_is_deposed_with_all_of_its_epoch,
    ),
    mutation(
        "epoch cache: a follower keeps epochs without data",
        "replication 1",
        "the epoch cache is truncated even where the log is not",
        edit(
            Following,
            "__init__",
            """
            - log.epochs.truncate_to(log.log_end_offset)
            + mutated()
            """,
        ),
        scenario=divergence.a_leader_is_deposed_before_it_wrote,
    ),
    mutation(
        "subscription: divergence is not checked",
        "replication 3",
        "a position whose last epoch ends before it at the leader, or is not known there, is diverging",
        edit(
            PushSession,
            "_subscribe",
            """
            - if epoch != subscription.last_epoch or end < subscription.position:
            + if (epoch != subscription.last_epoch or end < subscription.position) and not mutated():
            """,
        ),
        scenario=scenarios.a_leader_is_deposed_with_a_long_tail,
    ),
    mutation(
        "subscription: a diverging one counts",
        "replication 3",
        "of a diverging follower nothing is counted",
        edit(
            PushSession,
            "_subscribe",
            """
            - self._diverging(key, number, epoch, end)
            + mutated()
            + counted_end = min(subscription.durable_end, leader_log.log_end_offset)
            + feed = Feed(self, leading, subscription)
            + leading.subscribed(self._follower, self._broker_epoch, number, counted_end, 0, feed, now)
            + self._diverging(key, number, epoch, end)
            """,
        ),
        scenario=scenarios.a_leader_is_deposed_and_hears_late_that_it_diverges,
    ),
    mutation(
        "subscription: an empty log diverges",
        "replication, amendment 10",
        "an empty log never diverges",
        edit(
            PushSession,
            "_subscribe",
            """
            - if subscription.last_epoch >= 0:
            + if subscription.last_epoch >= 0 or mutated():
            """,
        ),
        scenario=scenarios.a_replica_is_opened_after_a_crash,
    ),
    mutation(
        "subscription: an older leader epoch is accepted",
        "replication 3",
        "a subscription names the leader epoch, and any other is refused",
        edit(
            Replicas,
            "leading_for",
            """
            - check_leader_epoch(subscription.leader_epoch, leading)
            + if subscription.leader_epoch != leading.leader_epoch:
            +     mutated()
            """,
        ),
        scenario=divergence.a_follower_has_heard_of_neither_of_two_elections,
    ),
    mutation(
        "subscription: an earlier one's durable end stays",
        "replication, amendment 10",
        "a subscription replaces what the leader knew of that follower's ends",
        edit(
            Leading,
            "subscribed",
            """
            - self.replicas[node_id] = Replica(broker_epoch, subscription, durable_end, durable_start, subscriber)
            + if self.replicas[node_id].durable_end > durable_end and mutated():
            +     durable_end = self.replicas[node_id].durable_end
            + self.replicas[node_id] = Replica(broker_epoch, subscription, durable_end, durable_start, subscriber)
            """,
        ),
        scenario=scenarios.a_follower_comes_back_with_less_than_it_counted,
    ),
    mutation(
        "truncation: a follower cuts to its own watermark",
        "replication 4",
        "a diverging follower truncates by epochs, never merely to its own high watermark",
        edit(
            Following,
            "reconcile",
            """
            - async with self._changing:
            + if mutated():
            +     offset = self.log.high_watermark
            + async with self._changing:
            """,
        ),
        scenario=scenarios.a_follower_is_ahead_of_the_next_leader,
    ),
    mutation(
        "truncation: a follower that does not know the epoch cuts to the leader's end",
        "replication 4",
        "who does not know the leader's epoch truncates to the end of its own floor epoch, and asks again",
        edit(
            Following,
            "reconcile",
            """
            - offset = min(max(own_end, self.log.log_start_offset), refusal.diverging_end_offset)
            + offset = refusal.diverging_end_offset
            + mutated()
            """,
        ),
        scenario=divergence.an_epoch_is_unknown_to_a_follower_with_a_tail,
    ),
    mutation(
        "push: any subscription's is appended",
        "replication 5",
        "a follower checks leader epoch and subscription of a push before the append",
        edit(
            Following,
            "take",
            """
            - if self.ended or push.subscription != self.subscription or push.leader_epoch != self.leader_epoch:
            + if (
            +     self.ended or push.subscription != self.subscription or push.leader_epoch != self.leader_epoch
            + ) and not mutated():
            """,
        ),
        scenario=divergence.a_push_takes_longer_than_two_elections,
    ),
    mutation(
        "push: the watermark is taken as it comes",
        "replication 5",
        "a follower's watermark is the leader's, clamped to its own log",
        edit(
            Log,
            "advance_high_watermark",
            """
            - self._high_watermark = max(self._high_watermark, min(offset, self._end))
            + if offset > self._end:
            +     mutated()
            + self._high_watermark = max(self._high_watermark, offset)
            """,
        ),
        scenario=scenarios.a_follower_returns_far_behind,
    ),
    mutation(
        "acknowledgement: a follower acknowledges what it received",
        "replication 5",
        "only the durable end moves the watermark",
        edit(
            Following,
            "acknowledgement",
            """
            - self.acknowledged_end, self.acknowledged_start = self.log.counted_end, self.log.durable_start
            + self.acknowledged_end, self.acknowledged_start = self.log.log_end_offset, self.log.durable_start
            + mutated()
            """,
        ),
        edit(
            Following,
            "has_news",
            """
            - return self.log.counted_end > self.acknowledged_end or self.log.durable_start > self.acknowledged_start
            + return self.log.log_end_offset > self.acknowledged_end
            """,
        ),
    ),
    mutation(
        "acknowledgement: an earlier stream's counts",
        "replication 5",
        "acknowledgements of an older subscription are ignored",
        edit(
            Leading,
            "acknowledged",
            """
            - if replica.subscriber is not subscriber:
            + if replica.subscriber is not subscriber and not mutated():
            """,
        ),
        scenario=scenarios.an_acknowledgement_takes_longer_than_a_restart,
    ),
    mutation(
        "watermark: the leader counts itself before its fsync",
        "replication 6",
        "the watermark moves to the least durable end, the leader's own included",
        edit(
            Leading,
            "advance",
            """
            - candidate = self.log.counted_end
            + candidate = self.log.log_end_offset
            + mutated()
            """,
        ),
    ),
    mutation(
        "watermark: an own fsync does not move it",
        "replication 6",
        "the watermark is looked at again on an own fsync",
        edit(
            Replicas,
            "_lead",
            """
            - partition.log.on_durable = lambda: leading.advance(self._surroundings.clock.now())
            + partition.log.on_durable = lambda: mutated()
            """,
        ),
        scenario=scenarios.a_leader_syncs_more_slowly_than_its_followers,
    ),
    mutation(
        "lag: who is not subscribed does not lag",
        "replication 9",
        "a member that is not subscribed lags from the first append on that it lacks",
        edit(
            Leading,
            "tick",
            """
            - and self._terms.is_live(node_id)
            + and self._terms.is_live(node_id)
            + and (self.replicas[node_id].subscriber is not None or not mutated())
            """,
        ),
        scenario=scenarios.a_member_and_its_leader_do_not_reach_each_other,
    ),
    mutation(
        "watermark: it waits for no replica that may join",
        "replication 6",
        "the watermark waits for a replica that is caught up and may join, or a chasing follower never gets in",
        edit(
            Leading,
            "advance",
            """
            - candidate = self._wait_for_joining(candidate, now)
            + mutated()
            """,
        ),
        scenario=scenarios.a_follower_chases_the_leader,
    ),
    mutation(
        "acknowledgement: a later epoch's watermark completes it",
        "replication 10",
        "a waiting acknowledgement belongs to the leader epoch of its append",
        edit(
            Replicas,
            "_end_role",
            """
            - role.resign(reason)
            + partition.former = role
            + for replica in role.replicas.values():
            +     if replica.subscriber is not None:
            +         replica.subscriber.leader_resigned()
            """,
        ),
        edit(
            Replicas,
            "_follow",
            """
            - partition.role = following
            + partition.role = following
            + following.former = getattr(partition, "former", None)
            """,
        ),
        edit(
            Following,
            "take",
            """
            - self.log.advance_high_watermark(push.high_watermark)
            + self.log.advance_high_watermark(push.high_watermark)
            + if self.former is not None and self.former._for_all and mutated():
            +     self.former._for_all.reached(self.log.high_watermark)
            """,
        ),
        scenario=scenarios.a_deposed_leader_has_acknowledgements_waiting,
    ),
    mutation(
        "fetch: beyond the watermark",
        "replication 17",
        "offsets handed to consumers never exceed the watermark",
        edit(
            reads,
            "_read_log",
            """
            - high_watermark = source.high_watermark
            + high_watermark = source.log_end_offset
            + mutated()
            """,
        ),
        scenario=scenarios.a_reader_knows_the_old_leader_alone,
    ),
    mutation(
        "fetch: out of range above the watermark",
        "replication 17",
        "OFFSET_OUT_OF_RANGE only outside [log start, log end], since a new leader's watermark may lag",
        edit(
            Reads,
            "_read_one",
            """
            - if not source.log_start_offset <= wanted.fetch_offset <= source.log_end_offset:
            + above = wanted.fetch_offset > source.high_watermark and mutated()
            + if above or not source.log_start_offset <= wanted.fetch_offset <= source.log_end_offset:
            """,
        ),
        scenario=scenarios.a_reader_is_ahead_of_the_new_leaders_watermark,
    ),
    mutation(
        "latest: told before the watermark is current",
        "replication 17",
        "a new leader answers `latest` only once its watermark has reached its epoch's start",
        edit(
            Reads,
            "find_offset",
            """
            - if not leading.watermark_is_current:
            + if not leading.watermark_is_current and not mutated():
            """,
        ),
        scenario=scenarios.a_leader_is_elected_that_knows_an_old_watermark,
    ),
    mutation(
        "duplicate: answered before the watermark",
        "replication 19",
        "a duplicate is answered only after the watermark has passed that batch, exactly like the original",
        edit(
            Leading,
            "append",
            """
            - return self._acknowledge(acks, duplicate.last_offset + 1, deadline, produced)
            + mutated()
            + return self._acknowledge(acks, 0, deadline, produced)
            """,
        ),
        scenario=scenarios.a_request_is_repeated_while_nobody_follows,
    ),
    mutation(
        "duplicate: sequences are not checked",
        "replication 19",
        "a repeated batch is told by its sequence",
        edit(
            Leading,
            "append",
            """
            - duplicate = self.log.producers.check(header)
            + duplicate = None
            + mutated()
            """,
        ),
    ),
    mutation(
        "producer state: not rolled back by a truncation",
        "replication 19",
        "a truncation reloads the producers' state from what is left",
        edit(
            Log,
            "_truncate",
            """
            - await self._snapshots.restore(self.producers, self._segments, border, self._clock.now())
            + mutated()
            """,
        ),
        scenario=scenarios.a_deposed_leader_leads_again,
    ),
    mutation(
        "producer state: snapshots above a truncation are kept",
        "replication 19",
        "a truncation to t drops producer snapshots above t",
        edit(
            Log,
            "_truncate",
            """
            - self._snapshots.truncate_to(border)
            + mutated()
            """,
        ),
        scenario=scenarios.a_deposed_leader_had_rolled_its_log,
    ),
    mutation(
        "producer state: not rebuilt at a start",
        "replication 19",
        "the producers' state is the last snapshot and the batches after it",
        edit(
            LogFiles,
            "open",
            """
            - await snapshots.restore(producers, segments, found.end_offset, now)
            + mutated()
            """,
        ),
        scenario=scenarios.a_replica_is_opened_after_a_crash,
    ),
)
