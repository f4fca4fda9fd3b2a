"""Mutations of what an operator changes while a cluster runs: reassignments, and elections by word."""

from __future__ import annotations

from dohle.broker import catch_up_bounds
from dohle.broker.push_session import PushSession
from dohle.broker.push_window import PushWindow
from dohle.broker.read_budget import ReadBudget
from dohle.broker.replicas import Replicas
from dohle.controller import leader_elections, reassignment, replica_sets
from dohle.controller.elections import Revisions
from dohle.model.image import PartitionImage
from dohle.storage.log_folder import LogFolder
from tests.simulation.mutations import reassignment_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

OPERATIONS = (
    mutation(
        "reassignment: it ends with its first target",
        "replication 14",
        "a reassignment ends only when all targets are in sync",
        edit(
            Revisions,
            "_all_in_sync",
            """
            - return not doubts and all(node in members and not self._image.brokers[node].fenced for node in targets)
            + mutated()
            + return not doubts and targets[0] in members
            """,
        ),
        scenario=scenarios.one_target_of_two_is_slow,
    ),
    mutation(
        "reassignment: replicas go in the same leader epoch",
        "replication 14",
        "removing replicas begins a new leader epoch",
        edit(
            Revisions,
            "_note",
            """
            - leader_epoch=before.leader_epoch + (outcome.leader != before.leader or gone),
            + leader_epoch=before.leader_epoch + (outcome.leader != before.leader or (gone and not mutated())),
            """,
        ),
        scenario=scenarios.a_reassignment_is_taken_back,
    ),
    mutation(
        "reassignment: taken back, it keeps what it added",
        "replication 14",
        "cancelling removes what was added",
        edit(
            replica_sets,
            "taken_back",
            """
            - adding = partition.adding_replicas
            + mutated()
            + adding = ()
            """,
        ),
        scenario=scenarios.a_reassignment_is_taken_back,
    ),
    mutation(
        "reassignment: it is taken back though too few remain",
        "replication 14, amendment 1",
        "nobody leaves the in-sync set below min.insync.replicas by a cancel either",
        edit(
            reassignment,
            "_revise",
            """
            - if not members or (leaves and not enough_remain(image, key, members)):
            + if not members or (leaves and not mutated()):
            """,
        ),
        scenario=scenarios.too_few_others_are_in_sync_to_take_it_back,
    ),
    mutation(
        "reassignment: what is added counts for the minimum",
        "replication 14, amendment 12",
        "the effective minimum is that of the replicas that were there before",
        edit(
            PartitionImage,
            "replication_factor",
            """
            - return len(self.assigned_replicas) - len(self.adding_replicas)
            + return len(self.assigned_replicas) - len(self.adding_replicas) * (not mutated())
            """,
        ),
        scenario=scenarios.a_lonely_replica_gets_company,
    ),
    mutation(
        "reassignment: a broker keeps what was moved away",
        "replication 14",
        "the broker that loses a replica deletes its files",
        edit(
            Replicas,
            "_drop",
            """
            - await self._dirs.delete_log(partition.log)
            + mutated()
            """,
        ),
        scenario=scenarios.a_partition_moves_while_it_is_written,
    ),
    mutation(
        "reassignment: the throttle bounds nothing",
        "replication 14",
        "replicas that are added are fed no faster than the throttle says",
        edit(
            ReadBudget,
            "pause_s",
            """
            - return max(0.0, self._free_at - self._clock.now()) if self._bytes_per_s() else 0.0
            + return 0.0 * mutated()
            """,
        ),
        scenario=scenarios.a_throttled_replica_is_added,
    ),
    mutation(
        "reassignment: each leader sends what the throttle allows to all",
        "replication 14",
        "a broker that many leaders feed gets no more of them together than the throttle says",
        edit(
            catch_up_bounds._Feeders,
            "share",
            """
            - return -(-bytes_per_s // self._count)
            + return bytes_per_s * mutated()
            """,
        ),
        scenario=scenarios.a_broker_is_fed_by_two_leaders,
    ),
    mutation(
        "pushes: a slow disk holds up the others",
        "replication 5",
        "what lies on one of a follower's disks does not wait for what lies on another",
        edit(
            PushWindow,
            "is_open",
            """
            - flying = sum(one.lane == lane for one in self._flying)
            + flying = len(self._flying) if mutated() else 0
            """,
        ),
        scenario=scenarios.one_of_a_followers_disks_is_slow,
    ),
    mutation(
        "catch-up: a new disk is filled as fast as can be",
        "KIP-73",
        "a replica that begins with nothing is filled at a bounded rate",
        edit(
            PushSession,
            "_bound_of",
            """
            - return self._bounds.of_fills_of(self._follower) if feed.next_offset < feed.fills_to else None
            + return None if mutated() else self._bounds.of_fills_of(self._follower)
            """,
        ),
        scenario=scenarios.a_disk_is_replaced,
    ),
    mutation(
        "catch-up: after a restart a new disk is filled as fast as can be",
        "KIP-73",
        "a replica that begins with nothing is filled at a bounded rate until it is in sync, whatever restarts",
        edit(
            Replicas,
            "_add",
            """
            - self.partitions[key].fills = self._dirs.folder_of(found).fills(found)
            + self.partitions[key].fills = found.log_end_offset == 0 and mutated() > 0
            """,
        ),
        scenario=scenarios.a_broker_restarts_while_its_disk_is_filled,
    ),
    mutation(
        "catch-up: who was filled once is bounded for ever",
        "KIP-73",
        "who was in sync and comes back catches up as fast as can be",
        edit(
            LogFolder,
            "filled",
            """
            - self._disk.delete(f"{log.folder}/{FILLING_FILE}")
            + mutated()
            """,
        ),
        scenario=scenarios.a_broker_restarts_while_its_disk_is_filled,
    ),
    mutation(
        "election: an unclean one asks nobody's leave",
        "replication 13",
        "who is not in sync leads only where the topic allows it",
        edit(
            leader_elections,
            "_elect",
            """
            - if not image.topics[key.topic_id].config.unclean_leader_election_enable:
            + if not mutated():
            """,
        ),
        scenario=scenarios.nobody_in_sync_is_left_and_the_topic_allows_nothing,
    ),
    mutation(
        "election: who is not in sync leads by itself",
        "replication 13",
        "without a member that can lead, nobody leads unless the topic allows it",
        edit(
            Revisions,
            "_outcome",
            """
            - allowed = self._image.topics[key.topic_id].config.unclean_leader_election_enable
            + allowed = mutated()
            """,
        ),
        scenario=scenarios.nobody_in_sync_is_left_and_the_topic_allows_nothing,
    ),
    mutation(
        "election: the preferred leader is not elected",
        "replication 13",
        "an election by hand gives a partition back to its preferred leader",
        edit(
            leader_elections,
            "_elect",
            """
            - revisions.elect(key, partition, preferred)
            - return
            + revisions.elect(key, partition, partition.in_sync_replicas[-1] if mutated() else preferred)
            + return
            """,
        ),
        scenario=scenarios.the_preferred_leader_is_asked_for,
    ),
    mutation(
        "election: nobody leads though the topic allows loss",
        "replication 13",
        "where the topic allows it, a replica leads that is not in sync, and writes go on",
        edit(
            Revisions,
            "_outcome",
            """
            - allowed = self._image.topics[key.topic_id].config.unclean_leader_election_enable
            + allowed = not mutated()
            """,
        ),
        scenario=scenarios.nobody_in_sync_is_left_and_the_topic_allows_loss,
    ),
    mutation(
        "election: leaders stay where they are",
        "replication 13",
        "beyond the bound on imbalance, preferred leaders are elected by themselves",
        edit(
            leader_elections,
            "_can_take_over",
            """
            - preferred = image.preferred_leader(partition)
            + preferred = NO_NODE if mutated() else image.preferred_leader(partition)
            """,
        ),
        scenario=scenarios.leaders_go_back_by_themselves,
    ),
)
