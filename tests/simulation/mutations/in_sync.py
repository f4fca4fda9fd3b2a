"""Mutations of replication: who is in sync, who leads, and what the controller makes of a broker that comes back."""

from __future__ import annotations

from dohle.broker.in_sync import InSyncSet
from dohle.broker.isr_changes import IsrChanges
from dohle.broker.lag import AppendHistory
from dohle.broker.leading import Leading
from dohle.broker.replicas import Replicas
from dohle.controller import brokers, decision, elections, isr, registration
from tests.simulation.mutations import in_sync_scenarios as late
from tests.simulation.mutations import replication_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

IN_SYNC = (
    mutation(
        "min.insync.replicas is not checked",
        "replication 6, 10",
        "below min.insync.replicas nothing is appended, acknowledged or counted",
        edit(
            Leading,
            "append",
            """
            - if acks == ACKS_ALL and self.live_in_sync < self.min_in_sync:
            + if acks == ACKS_ALL and (mutated() and False):
            """,
        ),
        edit(
            Leading,
            "_complete",
            """
            - if self.live_in_sync < self.min_in_sync:
            + if mutated() and False:
            """,
        ),
        edit(
            Leading,
            "advance",
            """
            - if self.live_in_sync >= self.min_in_sync:
            + if mutated():
            """,
        ),
        scenario=scenarios.the_minimum_is_raised_above_the_in_sync_set,
    ),
    mutation(
        "in-sync set: a shrinking one counts at once",
        "replication 7",
        "a shrinking set counts only when the controller has committed it",
        edit(
            InSyncSet,
            "maximal",
            """
            - return tuple(sorted({*self.committed, *self.proposal.members}))
            + mutated()
            + return self.proposal.members
            """,
        ),
        scenario=scenarios.a_follower_lags_too_long,
    ),
    mutation(
        "in-sync set: a growing one counts only when committed",
        "replication 7",
        "a growing set counts at once",
        edit(
            InSyncSet,
            "maximal",
            """
            - if self.proposal is None:
            + if self.proposal is None or mutated():
            """,
        ),
        scenario=scenarios.a_follower_joins_slowly,
    ),
    mutation(
        "in-sync set: an older partition epoch is taken",
        "replication 7",
        "each answer is matched to the request's epoch, anything else is ignored",
        edit(
            InSyncSet,
            "committed_as",
            """
            - if partition_epoch <= self.partition_epoch:
            + if partition_epoch < self.partition_epoch:
            +     mutated()
            + if partition_epoch == self.partition_epoch:
            """,
        ),
        scenario=late.a_broker_is_told_late_of_what_it_asked_for,
    ),
    mutation(
        "in-sync set: a change without an answer is taken back",
        "replication 7",
        "a time-out or a lost connection repeats the same request, since the change may have been committed",
        edit(
            IsrChanges,
            "run",
            """
            - response = await self._controller.call("AlterPartitions", self._request(asked))
            + response = await self._controller.call("AlterPartitions", self._request(asked), timeout_s=1.0)

            - if error.definite:  # of the whole request: metadata will say what holds
            -     for key, change in asked.items():
            -         self._settle(key, change)
            + for key, change in asked.items():
            +     if self._settle(key, change) and mutated():
            +         change.leading.isr_refused(change.proposal, self._clock.now())
            """,
        ),
        scenario=scenarios.a_leader_does_not_hear_that_a_follower_has_joined,
    ),
    mutation(
        "in-sync set: another change is asked for before the first is answered",
        "replication 7",
        "one change is in flight",
        edit(
            InSyncSet,
            "_propose",
            """
            - if self.proposal is not None or not changes:
            + if (self.proposal is not None and not mutated()) or not changes:
            """,
        ),
        scenario=late.two_followers_join_at_once,
    ),
    mutation(
        "in-sync set: any refusal takes a change back",
        "replication 7",
        "only INELIGIBLE_REPLICA and OPERATION_NOT_ATTEMPTED revert; other errors keep the maximal set",
        edit(
            IsrChanges,
            "_answered",
            """
    - if answer.failure.code in (IneligibleReplica.code, OperationNotAttempted.code):
    + if answer.failure.code in (IneligibleReplica.code, OperationNotAttempted.code) or (
    +     answer.failure.code and mutated()
    + ):
            """,
        ),
        scenario=late.a_join_is_answered_by_a_refusal_of_its_repetition,
    ),
    mutation(
        "joining: below the watermark",
        "replication 8",
        "to join, a replica's durable end is at or past the watermark",
        edit(
            Leading,
            "_let_join",
            """
            - and self.replicas[node_id].durable_end >= self.log.high_watermark
            + and (self.replicas[node_id].durable_end >= self.log.high_watermark or mutated())
            """,
        ),
        scenario=scenarios.a_follower_returns_far_behind,
    ),
    mutation(
        "joining: below the epoch's start",
        "replication 8",
        "to join, a replica's durable end is at or past the leader epoch's start",
        edit(
            Leading,
            "_may_join",
            """
            - and replica.durable_end >= self.epoch_start
            + and (replica.durable_end >= self.epoch_start or mutated())
            """,
        ),
        scenario=scenarios.a_follower_lags_behind_a_new_leaders_start,
    ),
    mutation(
        "joining: fenced, or by an incarnation that is gone",
        "replication 8, 11",
        "who joins is not fenced, not shutting down, and of the broker epoch that the controller knows",
        edit(
            Leading,
            "_may_join",
            """
            - and self._terms.may_join(node_id, replica.broker_epoch)
            + and (self._terms.may_join(node_id, replica.broker_epoch) or mutated())
            """,
        ),
        edit(
            isr,
            "_check_joining",
            """
            - broker = image.brokers.get(node)
            + return
            """,
        ),
    ),
    mutation(
        "joining: by an incarnation that is gone",
        "replication 8, 11",
        "who joins is of the broker epoch that the controller knows: an earlier incarnation's ends say nothing",
        edit(
            Replicas,
            "_may_join",
            """
    - return broker is not None and broker.active and broker.broker_epoch == broker_epoch
    + return broker is not None and broker.active and (broker.broker_epoch == broker_epoch or mutated())
            """,
        ),
        edit(
            isr,
            "_check_joining",
            """
            - if broker.broker_epoch != broker_epoch:
            + if broker.broker_epoch != broker_epoch and not mutated():
            """,
        ),
        scenario=late.an_emptied_broker_is_back_and_its_leader_has_not_noticed,
    ),
    mutation(
        "AlterPartition: one behind in partition epoch is taken",
        "replication 11",
        "a request behind in partition epoch is INVALID_UPDATE_VERSION",
        edit(
            isr,
            "_check_epochs",
            """
            - if proposal.partition_epoch < before.partition_epoch:
            + if proposal.partition_epoch < before.partition_epoch and not mutated():
            """,
        ),
        scenario=late.a_request_to_join_arrives_a_second_time,
    ),
    mutation(
        "AlterPartition: a deposed leader's is taken",
        "replication 11",
        "a request behind in leader epoch is fenced, and only the leader may ask",
        edit(
            isr,
            "_check_epochs",
            """
            - if proposal.leader_epoch < before.leader_epoch:
            + if proposal.leader_epoch < before.leader_epoch and not mutated():

            - if before.leader != leader:
            + if before.leader != leader and not mutated():

            - if proposal.partition_epoch < before.partition_epoch:
            + if proposal.partition_epoch < before.partition_epoch and not mutated():
            """,
        ),
        scenario=late.a_deposed_leaders_request_arrives_late,
    ),
    mutation(
        "AlterPartition: one that knows more than the controller is taken",
        "replication 11",
        "a request ahead in leader or partition epoch means that this controller is stale: NOT_CONTROLLER",
        edit(
            isr,
            "_check_epochs",
            """
    - if proposal.leader_epoch > before.leader_epoch or proposal.partition_epoch > before.partition_epoch:
    + if (
    +     proposal.leader_epoch > before.leader_epoch or proposal.partition_epoch > before.partition_epoch
    + ) and not mutated():
            """,
        ),
        scenario=late.the_controller_is_asked_for_what_it_must_refuse,
    ),
    mutation(
        "AlterPartition: an incarnation that is gone is heard",
        "replication 11",
        "the first check is the broker epoch",
        edit(
            decision,
            "registered",
            """
            - if broker_epoch != broker.broker_epoch:
            + if broker_epoch != broker.broker_epoch and not mutated():
            """,
        ),
        scenario=late.the_controller_is_asked_for_what_it_must_refuse,
    ),
    mutation(
        "AlterPartition: strangers are taken",
        "replication 11",
        "the in-sync set is within the replicas",
        edit(
            isr,
            "_alter",
            """
            - if strangers:
            + if strangers and not mutated():
            """,
        ),
        scenario=late.the_controller_is_asked_for_what_it_must_refuse,
    ),
    mutation(
        "AlterPartition: a leader leaves itself out",
        "replication 11",
        "the in-sync set contains the leader",
        edit(
            isr,
            "_alter",
            """
            - if leader not in members and leader not in damaged:
            + if leader not in members and leader not in damaged and not mutated():
            """,
        ),
        scenario=late.the_controller_is_asked_for_what_it_must_refuse,
    ),
    mutation(
        "lag: who lags stays in the in-sync set",
        "replication 9",
        "out when the lag exceeds replica.lag.time.max.ms",
        edit(
            Leading,
            "tick",
            """
            - if lagging:
            + if lagging and not mutated():
            """,
        ),
        scenario=scenarios.a_follower_lags_too_long,
    ),
    mutation(
        "lag: silence counts as one",
        "replication 9",
        "with nothing unacknowledged the lag is 0, however long ago it spoke",
        edit(
            AppendHistory,
            "lag_s",
            """
            - return 0.0
            + return now - self._samples[-1].time if mutated() else 0.0
            """,
        ),
        scenario=late.a_follower_has_everything_and_no_more_comes,
    ),
    mutation(
        "lag: it counts from before the leadership",
        "replication, amendment 7",
        "lag counts from the later of the append and the start of this leadership",
        edit(
            Leading,
            "__init__",
            """
    - self._history = AppendHistory(now, log.log_end_offset, terms.lag_time_max_s / 100)
    + self._history = AppendHistory(0.0 if mutated() else now, log.log_end_offset, terms.lag_time_max_s / 100)
            """,
        ),
        scenario=late.a_follower_is_slow_to_find_the_new_leader,
    ),
    mutation(
        "lag: it shrinks the in-sync set below the minimum",
        "replication, amendment 1",
        "lag removes a member only while at least min.insync.replicas members remain, at the leader and the controller",
        edit(
            Leading,
            "tick",
            """
    - self._ask(self.in_sync.propose_leave(lagging, at_least=self.min_in_sync + len(self._fenced())))
    + self._ask(self.in_sync.propose_leave(lagging, at_least=1))
            """,
        ),
        edit(
            isr,
            "_alter",
            """
            - if shrinks and not enough_remain(image, key, members):
            + if shrinks and not (enough_remain(image, key, members) or mutated()):
            """,
        ),
        scenario=late.the_only_follower_lags,
    ),
    mutation(
        "acknowledgement: acks=1 before the leader's fsync",
        "replication 10",
        "acks=1 waits for the leader's own fsync",
        edit(
            Leading,
            "_complete",
            """
            - self._for_leader.reached(self.log.counted_end)
            + self._for_leader.reached(self.log.log_end_offset)
            + mutated()
            """,
        ),
        scenario=late.a_record_is_for_the_leader_alone,
    ),
    mutation(
        "fencing: it shrinks the in-sync set below the minimum",
        "replication, amendment 1",
        "fencing removes a member only while at least min.insync.replicas members remain",
        edit(
            brokers,
            "_remaining",
            """
            - return staying if enough_remain(image, key, staying) else partition.in_sync_replicas
            + return staying if enough_remain(image, key, staying) or mutated() else partition.in_sync_replicas
            """,
        ),
        scenario=scenarios.all_others_are_gone,
    ),
    mutation(
        "registration: the leader epoch stays",
        "replication 12",
        "a new incarnation commits a new leader epoch for every partition that the broker led",
        edit(
            registration._Returning,
            "revise",
            """
            - revisions.revise(self.key, partition, doubts=tuple(doubts), proven=proven)
            + if doubt is not None or (partition.leader != node_id or not mutated()):
            +     revisions.revise(self.key, partition, doubts=tuple(doubts), proven=proven)
            """,
        ),
    ),
    mutation(
        "registration: a missing replica stays in sync",
        "replication 12",
        "a replica that is missing, or of a folder formatted anew, leaves the in-sync set",
        edit(
            registration._Returning,
            "doubt",
            """
            - if self._was_durable() or was_lost:
            + if (self._was_durable() or was_lost) and not mutated():
            """,
        ),
        scenario=scenarios.a_replica_is_gone_from_its_disk,
    ),
    mutation(
        "registration: an unproven replica stays in sync",
        "replication 13",
        "after an unclean stop a member whose durable end is not proven is in doubt",
        edit(
            registration._Returning,
            "doubt",
            """
            - if not was_doubtful and (clean or (held.proven and held.cut_bytes == 0)):
            + if not was_doubtful and (clean or (held.proven and held.cut_bytes == 0)) or mutated():
            """,
        ),
        scenario=scenarios.a_member_lost_what_it_counted_before_the_sync,
    ),
    mutation(
        "election: from outside the in-sync set",
        "replication 13",
        "leaders come from the in-sync set",
        edit(
            elections,
            "_leader",
            """
            - for node in sorted(sound, key=image.is_draining):
            -     if image.is_active(node):
            + for node in reversed(before.assigned_replicas):
            +     if image.is_active(node) and (node in sound or mutated()):
            """,
        ),
    ),
    mutation(
        "deleted topic: its folder serves the new one",
        "replication 20",
        "a folder whose topic id is not the image's is set aside and never served",
        edit(
            Replicas,
            "act",
            """
            - await self._set_strays_aside()
            + mutated()
            """,
        ),
        scenario=scenarios.a_topic_is_made_again_while_a_node_is_down,
    ),
    mutation(
        "deleted topic: its folder is deleted at the next start",
        "replication 20",
        "a folder whose topic id is not the image's is renamed and kept",
        edit(
            Replicas,
            "_set_strays_aside",
            """
            - folder = await self._dirs.mark_stray(found)
            + mutated()
            + folder = ""
            + await self._dirs.delete_log(found)
            """,
        ),
        scenario=scenarios.a_topic_is_made_again_while_a_node_is_down,
    ),
)
