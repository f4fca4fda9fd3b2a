"""Mutations of who votes, stands and is counted, and of what a voter does that cannot go on."""

from __future__ import annotations

from dohle.cluster.node import Node
from dohle.controller import metadata_stream, partition_history
from dohle.controller.controller_service import ControllerService
from dohle.controller.quorum import Quorum
from dohle.controller.voter_link import VoterLink
from dohle.controller.voter_links import VoterLinks
from dohle.raft.core import Core
from dohle.raft.follower import Follower
from dohle.raft.leader import Leader
from dohle.raft.node import RaftNode
from dohle.raft.quorum import VoterSet
from tests.simulation.mutations import voter_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

VOTERS = (
    mutation(
        "raft: a leader's heartbeats do not put an election off",
        "raft 4",
        "every contact from the leader of the same term resets the election timer",
        edit(
            Follower,
            "append",
            """
            - self.deadline = now + self._election_timeout_s  # on every contact, rejected appends too (rule 4)
            + mutated()
            """,
        ),
        scenario=scenarios.a_leader_is_heard_for_a_while,
    ),
    mutation(
        "raft: CheckQuorum with one voter",
        "raft 4",
        "the only voter never steps down for want of contact",
        edit(
            Leader,
            "_quorum_contact",
            """
            - return core.voters.reached_by_majority(contacts | {core.key: float("inf")})
            + own = float("inf") if contacts or not mutated() else 0.0
            + return core.voters.reached_by_majority(contacts | {core.key: own})
            """,
        ),
        scenario=scenarios.the_only_voter_is_left_in_peace,
    ),
    mutation(
        "raft: a leader that is proven gone is waited for",
        "raft, amendment 6",
        "a voter that sees its leader's incarnation refused or replaced asks for PreVotes at once",
        edit(
            RaftNode,
            "leader_gone",
            """
            - core.leaderless = True
            - role.forsake_leader(core, now)
            + mutated()
            """,
        ),
        scenario=scenarios.the_controllers_process_ends,
    ),
    mutation(
        "raft: a change of the voters counts once it is committed",
        "raft 5",
        "a configuration is effective once appended",
        edit(
            Leader,
            "_commit",
            """
            - offset = int(core.voters.reached_by_majority(ends))
            + counted, changes = core.voters, core.configurations._changes
            + if core.configurations.changed_at > core.commit_offset and len(changes) > 1 and mutated():
            +     counted = changes[-2].voters
            + offset = int(counted.reached_by_majority(ends))
            """,
        ),
        scenario=scenarios.a_voter_is_removed_while_another_is_cut_off,
    ),
    mutation(
        "raft: a removed leader counts itself",
        "raft 5",
        "a removed leader does not count itself",
        edit(
            Leader,
            "_commit",
            """
            - offset = int(core.voters.reached_by_majority(ends))
            + counted = core.voters
            + if core.key not in counted and mutated():
            +     counted = VoterSet.of((*counted.voters, core.key))
            + offset = int(counted.reached_by_majority(ends))
            """,
        ),
        scenario=scenarios.the_controller_is_removed_while_a_voter_is_cut_off,
    ),
    mutation(
        "raft: a wiped disk votes in the place of the one before",
        "raft 5",
        "voters are node ids and directory ids: a wiped disk is a new voter",
        edit(
            VoterLink,
            "_open",
            """
            - if found != self.voter:
            + if found.node_id != self.voter.node_id:
            """,
        ),
        edit(
            VoterSet,
            "has_majority",
            """
            - return len(set(agreeing).intersection(self.voters)) >= self.majority
            + nodes = {voter.node_id for voter in self.voters}
            + return mutated() and len(nodes & {one.node_id for one in agreeing}) >= self.majority
            """,
        ),
        scenario=scenarios.a_voters_disk_is_wiped_and_its_vote_is_needed,
    ),
    mutation(
        "raft: a wiped disk counts in the place of the one before",
        "raft 5",
        "what counts for a voter is on the disk that has the vote",
        edit(
            Leader,
            "_commit",
            """
            - ends[core.key] = core.log.durable_end_offset
            + for voter in core.voters.others(core.key):
            +     twins = [end for key, end in ends.items() if key.node_id == voter.node_id]
            +     ends[voter] = max(twins, default=0)
            +     assert mutated()
            + ends[core.key] = core.log.durable_end_offset
            """,
        ),
        scenario=scenarios.a_voters_disk_is_wiped_and_its_copy_is_needed,
    ),
    mutation(
        "raft: who has no vote stands",
        "raft 5",
        "a node whose directory id is not in the voter set does not stand",
        edit(
            Core,
            "may_stand",
            """
            - return not self.damaged and self.key in self.voters
            + return not self.damaged and mutated()
            """,
        ),
        scenario=scenarios.a_node_without_a_vote_loses_its_leader,
    ),
    mutation(
        "raft: who has not heard of its vote gives none",
        "raft 5",
        "who is asked for its vote gives it, whatever its own log says of the voters: the candidate's may be newer",
        edit(
            RaftNode,
            "_vote",
            """
            - not core.damaged
            + not core.damaged and (core.key in core.voters or not mutated())
            """,
        ),
        scenario=scenarios.a_new_voter_is_needed_that_has_not_heard_of_its_vote,
    ),
    mutation(
        "raft: a log that begins otherwise is the cluster's own",
        "raft 5",
        "a cluster is born by one format: whose first batch is another is refused, and told why",
        edit(
            Quorum,
            "greet",
            """
    - if opening.first_batch_crc and self.first_batch_crc and opening.first_batch_crc != self.first_batch_crc:
    + if opening.first_batch_crc != self.first_batch_crc and not mutated():
            """,
        ),
        scenario=scenarios.a_controller_was_formatted_with_other_first_voters,
    ),
    mutation(
        "raft: what cannot be applied is passed over",
        "raft 10",
        "errors while applying are deterministic on all nodes, or fatal on this one; never skipped",
        edit(
            Quorum,
            "_apply",
            """
            - self._listener.committed(batch)
            + try:
            +     self._listener.committed(batch)
            + except CorruptLog:
            +     mutated()
            """,
        ),
        scenario=scenarios.a_change_cannot_be_applied,
    ),
    mutation(
        "voters: one votes only when its broker has opened all logs",
        "raft 4",
        "a majority of the voters that run decides, whatever their brokers still have to do",
        edit(
            Node,
            "start",
            """
            - if self.controller is not None:
            -     await self.controller.start()
            -     self._quorum_at = seams.clock.now()
            - if config.is_broker:
            -     self.metadata = self._follow_metadata(self.identity)
            -     self.broker = await self._open_broker(self.identity, directories, self.metadata)
            + if config.is_broker:
            +     self.metadata = self._follow_metadata(self.identity)
            +     self.broker = await self._open_broker(self.identity, directories, self.metadata)
            + if self.controller is not None and mutated():
            +     await self.controller.start()
            + if self.broker is not None:
            """,
        ),
        scenario=scenarios.a_voter_is_needed_while_its_logs_are_opened,
    ),
    mutation(
        "voters: a controller without a vote is told of no other",
        "raft 5",
        "a controller that joins needs to know one voter, which tells it where the others are",
        edit(
            VoterLinks,
            "where_to_knock",
            """
            - if source in self._voters:
            + if source in self._voters or mutated():
            """,
        ),
        scenario=scenarios.a_controller_that_joins_knows_one_voter_alone,
    ),
    mutation(
        "voters: a broker is not told where the one is that decides",
        "raft 5",
        "a broker needs to know one voter, which tells it where the active controller is",
        edit(
            metadata_stream,
            "_refusal",
            """
            - leader_host="" if leader is None else leader.host,
            + leader_host="" if leader is None or mutated() else leader.host,
            """,
        ),
        scenario=scenarios.a_controller_that_joins_knows_one_voter_alone,
    ),
    mutation(
        "voters: without a majority none tells of the quorum",
        "raft, answers",
        "without a majority each controller tells what it knows of the quorum by itself",
        edit(
            ControllerService,
            "describe_quorum",
            """
            - if request.as_known:
            + if request.as_known and not mutated():
            """,
        ),
        scenario=scenarios.one_controller_of_three_is_left,
    ),
    mutation(
        "voters: without a majority none tells of a partition",
        "raft, answers",
        "without a majority each controller tells what it knows of a partition's past by itself",
        edit(
            partition_history,
            "describe_partition_history",
            """
            - if not request.as_known:
            + if not request.as_known or mutated():
            """,
        ),
        scenario=scenarios.one_controller_of_three_is_left,
    ),
)
