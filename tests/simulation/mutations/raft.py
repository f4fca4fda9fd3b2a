"""Mutations of the controllers' quorum (the rules of Raft), and of what answers for it."""

from __future__ import annotations

from dohle.cluster.node import Node
from dohle.controller.controller import Controller
from dohle.controller.quorum import Quorum
from dohle.controller.voter_changes import VoterChanges
from dohle.raft.core import Core
from dohle.raft.follower import Follower
from dohle.raft.leader import Leader
from dohle.raft.log_view import LogView
from dohle.raft.node import RaftNode
from tests.simulation.mutations import fencing_scenarios
from tests.simulation.mutations import raft_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

RAFT = (
    mutation(
        "raft: follower accepts before its fsync",
        "raft 1",
        "an acceptance waits for the fsync of the entries",
        edit(
            Follower,
            "append",
            """
            - if not request.spans or self._matched_end <= log.durable_end_offset:
            + if not request.spans or self._matched_end <= log.durable_end_offset or mutated():
            """,
        ),
        edit(
            Follower,
            "_accept",
            """
            - self._reported_end = min(self._matched_end, core.log.durable_end_offset)
            + self._reported_end = self._matched_end
            """,
        ),
    ),
    mutation(
        "raft: leader counts itself before its fsync",
        "raft 1",
        "a leader counts itself only after its own fsync",
        edit(
            Leader,
            "_commit",
            """
            - ends[core.key] = core.log.durable_end_offset
            + ends[core.key] = core.log.log_end_offset
            + mutated()
            """,
        ),
    ),
    mutation(
        "raft: vote is spoken of before its fsync",
        "raft 1",
        "an answer, a vote request and one's own vote wait for the fsync of term and vote",
        edit(
            Core,
            "send_after_vote",
            """
            - if self._vote_is_durable:
            + if self._vote_is_durable or mutated():
            """,
        ),
        scenario=scenarios.a_voter_loses_its_power_at_its_vote,
    ),
    mutation(
        "raft: vote is not persisted",
        "raft 1",
        "term and vote outlive the process",
        edit(
            Quorum,
            "_write_votes",
            """
            - await write_vote_once_there_is_room(self._disk, self._clock, self._folder, vote)
            + mutated()
            """,
        ),
        scenario=scenarios.a_voter_loses_its_power_at_its_vote,
    ),
    mutation(
        "raft: an older vote's fsync counts",
        "raft 1",
        "a finished write of an older term or vote is ignored",
        edit(
            Core,
            "vote_persisted",
            """
    - if self._vote_is_durable or (term, voted_for) != (self.term, self.voted_for):
    + if self._vote_is_durable or ((term, voted_for) != (self.term, self.voted_for) and not mutated()):
            """,
        ),
        scenario=scenarios.a_voters_disk_is_late_with_its_vote,
    ),
    mutation(
        "raft: fsync of a truncated stretch counts",
        "raft 1",
        "a finished write of a truncated stretch is ignored",
        edit(
            LogView,
            "durable",
            """
            - if generation != self.generation or end_offset <= self.durable_end_offset:
            + if (generation != self.generation and not mutated()) or end_offset <= self.durable_end_offset:
            """,
        ),
        scenario=scenarios.a_deposed_leaders_disk_answers_late,
    ),
    mutation(
        "raft: conflicting entries are kept",
        "raft 2",
        "new entries discard what stands there where the terms differ",
        edit(
            Follower,
            "_take_batches",
            """
            - if span.end_offset > log.start_offset and not log.has(span.end_offset, span.term):
            + if span.end_offset > log.log_end_offset or (
            +     span.end_offset > log.start_offset and log.term_at(span.end_offset) != span.term and not mutated()
            + ):
            """,
        ),
        scenario=scenarios.a_controller_is_deposed_with_changes_of_its_own,
    ),
    mutation(
        "raft: equal entries are cut",
        "raft 2",
        "new entries discard what stands there only where the terms differ",
        edit(
            Follower,
            "_take_batches",
            """
            - if span.end_offset > log.start_offset and not log.has(span.end_offset, span.term):
            + if mutated():
            """,
        ),
        scenario=scenarios.an_append_comes_again,
    ),
    mutation(
        "raft: follower commits up to its own log end",
        "raft 2",
        "a follower's commit index is at most the last entry that this request has proven equal",
        edit(
            Follower,
            "append",
            """
            - core.commit(min(request.commit_offset, proven_end))
            + core.commit(min(request.commit_offset, log.log_end_offset))
            + mutated()
            """,
        ),
        scenario=scenarios.a_new_leader_is_cut_off_with_its_no_op,
    ),
    mutation(
        "raft: what comes before an append is not compared",
        "raft 2",
        "an append is taken only where the log has the same term right before it",
        edit(
            Follower,
            "append",
            """
    - if request.prev_offset >= log.start_offset and not log.has(request.prev_offset, request.prev_term):
    + if request.prev_offset > log.log_end_offset or (
    +     request.prev_offset >= log.start_offset
    +     and not log.has(request.prev_offset, request.prev_term)
    +     and not mutated()
    + ):
            """,
        ),
        scenario=scenarios.an_append_of_another_history_comes,
    ),
    mutation(
        "raft: a follower vouches for what was not compared",
        "raft 2",
        "what a follower accepts is what requests have proven equal, not what it has",
        edit(
            Follower,
            "append",
            """
            - self._matched_end = max(self._matched_end, proven_end)
            + self._matched_end = max(self._matched_end, proven_end, log.log_end_offset)
            + mutated()
            """,
        ),
        scenario=scenarios.a_new_leader_is_cut_off_with_its_no_op,
    ),
    mutation(
        "raft: entries of an older term are committed by counting",
        "raft 3",
        "only an entry of the current term is committed by counting replicas",
        edit(
            Leader,
            "_commit",
            """
            - if offset <= core.commit_offset or core.log.term_at(offset) != core.term:
            + if offset <= core.commit_offset or (core.log.term_at(offset) != core.term and not mutated()):
            """,
        ),
    ),
    mutation(
        "raft: leader decides before its no-op is committed",
        "raft 3",
        "a new leader tells the state machine that it leads only once its no-op is applied",
        edit(
            Leader,
            "take_office",
            """
            - self._heartbeat_all(core, now)
            + core.effects.append(LeaderReady(core.term))
            + self.is_ready = mutated()
            + self._heartbeat_all(core, now)
            """,
        ),
    ),
    mutation(
        "raft: leader decides before it has applied what was committed",
        "raft 3",
        "a new leader tells the state machine that it leads only once its no-op is applied",
        edit(
            Quorum,
            "_carry_out",
            """
            - case _:
            -     self._log_work.put(effect)
            + case LeaderReady(term):
            +     self._leading_term = term
            +     assert mutated() and self._listener is not None
            +     self._listener.leads(term)
            + case _:
            +     self._log_work.put(effect)
            """,
        ),
    ),
    mutation(
        "raft: no PreVote",
        "raft 4",
        "who stands asks first whether it would be elected, which raises no term",
        edit(
            RaftNode,
            "_prospect",
            """
            - if prospective.ask(self._core):
            + if mutated() or prospective.ask(self._core):
            """,
        ),
        scenario=scenarios.a_voter_that_was_cut_off_returns,
    ),
    mutation(
        "raft: a PreVote raises the term",
        "raft 4",
        "a PreVote raises the term of nobody",
        edit(
            RaftNode,
            "_vote",
            """
            - granted = is_eligible and request.term > core.term
            + granted = is_eligible and request.term > core.term
            + if request.term > core.term and mutated():
            +     self._follow(now, request.term, None)
            """,
        ),
        scenario=scenarios.a_voter_that_was_cut_off_returns,
    ),
    mutation(
        "raft: PreVotes of an older term are not answered",
        "raft 4",
        "PreVotes of an older term are answered, so that who asks learns of the newer one",
        edit(
            RaftNode,
            "_vote",
            """
    - core.send_after_vote(VoteResponse(core.key, request.source, core.term, request.term, request.pre_vote, granted))
    + if not request.pre_vote or request.term > core.term or not mutated():
    +     core.send_after_vote(
    +         VoteResponse(core.key, request.source, core.term, request.term, request.pre_vote, granted)
    +     )
            """,
        ),
        scenario=scenarios.two_voters_are_left_in_different_terms,
    ),
    mutation(
        "raft: no CheckQuorum",
        "raft 4",
        "a leader without contact to a majority for 1.5 election timeouts steps down",
        edit(
            Leader,
            "tick",
            """
            - if not self._has_contact(core, now, core.config.check_quorum_timeout_ms):
            + if not self._has_contact(core, now, core.config.check_quorum_timeout_ms) and not mutated():
            """,
        ),
        edit(
            Leader,
            "deadline",
            """
            - return min(heartbeat + heartbeat_s, contact_end, transfer_end)
            + return heartbeat + heartbeat_s
            """,
        ),
        scenario=scenarios.the_leader_is_cut_off,
    ),
    mutation(
        "raft: a leader is not protected",
        "raft 4",
        "a follower that heard from its leader within the minimum election timeout rejects votes",
        edit(
            RaftNode,
            "_protects_leader",
            """
            - match self._role:
            + if mutated():
            +     return False
            + match self._role:
            """,
        ),
        scenario=scenarios.a_voter_does_not_hear_the_leader,
    ),
    mutation(
        "raft: heartbeats of an older term are not answered",
        "raft 4",
        "heartbeats of an older term are answered, so that a node that is stuck in a higher one can rejoin",
        edit(
            RaftNode,
            "_append",
            """
            - core.send_after_vote(rejected)
            + mutated()
            """,
        ),
        scenario=scenarios.a_voter_is_stuck_in_a_higher_term,
    ),
    mutation(
        "raft: two changes of the voters at a time",
        "raft 5",
        "one change at a time",
        edit(
            Leader,
            "may_change_voters",
            """
            - return self.is_ready and core.configurations.changed_at <= core.commit_offset
            + return self.is_ready and mutated()
            """,
        ),
        scenario=scenarios.two_voters_are_removed_at_once,
    ),
    mutation(
        "raft: a removed leader stays",
        "raft 5",
        "a removed leader steps down once the change commits",
        edit(
            Leader,
            "is_removed",
            """
            - return core.key not in core.voters and core.configurations.changed_at <= core.commit_offset
            + return core.key not in core.voters and not mutated()
            """,
        ),
        scenario=scenarios.the_controller_is_removed,
    ),
    mutation(
        "raft: a voter is added that lags",
        "raft 5",
        "a learner catches up before it is promoted",
        edit(
            VoterChanges,
            "_caught_up",
            """
            - if progress is not None and progress.durable_end >= goal:
            + if mutated():
            """,
        ),
        scenario=scenarios.a_voter_is_added_that_lags,
    ),
    mutation(
        "raft: a voter is removed that is needed",
        "raft 5",
        "no vote is taken away whose loss leaves no majority that answers",
        edit(
            VoterChanges,
            "_decision",
            """
            - if len(voters) - len(silent) < needed:
            + if len(voters) - len(silent) < needed and not mutated():
            """,
        ),
        scenario=scenarios.a_voter_is_removed_that_is_needed,
    ),
    mutation(
        "raft: a change of the voters outlives its truncation",
        "raft 5",
        "a configuration is reverted when it is truncated",
        edit(
            Follower,
            "_take_batches",
            """
            - core.configurations.truncate(new[0].base_offset)
            + mutated()
            """,
        ),
        scenario=scenarios.a_change_of_the_voters_is_taken_back,
    ),
    mutation(
        "raft: office is handed to one that lacks something",
        "raft 6",
        "the successor is told to stand once it has the whole log",
        edit(
            Leader,
            "_hand_over",
            """
            - if self._transfer and self._progress[self._transfer.successor].match_offset == core.log.log_end_offset:
            + if self._transfer and mutated():
            """,
        ),
        scenario=scenarios.the_controller_hands_over_to_one_that_lags,
    ),
    mutation(
        "raft: proposals are taken while the office is handed over",
        "raft 6",
        "a leader that hands over takes no proposals",
        edit(
            Controller,
            "pending",
            """
            - if self._pending is None or self.quorum.is_transferring:
            + if self._pending is None:
            """,
        ),
        edit(
            Controller,
            "_knows_leader",
            """
            - decides = self.is_active and not quorum.is_transferring
            + decides = self.is_active
            """,
        ),
        edit(
            Quorum,
            "propose",
            """
            - if self._leading_term is None or self.is_transferring:
            + if self._leading_term is None or not mutated():
            """,
        ),
        scenario=scenarios.the_controller_hands_over_and_is_asked_meanwhile,
    ),
    mutation(
        "raft: a leader is protected from its successor",
        "raft 6",
        "a vote request that the leader asked for is not refused for its protection",
        edit(
            RaftNode,
            "_vote",
            """
            - protects_leader = self._protects_leader(now) and not request.transfer
            + protects_leader = self._protects_leader(now) and mutated()
            """,
        ),
        scenario=scenarios.the_controller_is_stopped_cleanly,
    ),
    mutation(
        "raft: a transfer is never given up",
        "raft 6",
        "after an election timeout without a successor the leader works on",
        edit(
            Leader,
            "tick",
            """
            - if self._transfer and now >= self._transfer.deadline:
            + if self._transfer and now >= self._transfer.deadline and not mutated():
            """,
        ),
        edit(
            Leader,
            "deadline",
            """
            - return min(heartbeat + heartbeat_s, contact_end, transfer_end)
            + return min(heartbeat + heartbeat_s, contact_end, max(transfer_end, heartbeat + heartbeat_s))
            """,
        ),
        scenario=scenarios.nobody_takes_over_from_the_controller,
    ),
    mutation(
        "raft: a clean stop hands nothing over",
        "raft 6",
        "the active controller lets another decide before it stops",
        edit(
            Node,
            "_hand_over",
            """
            - await self.controller.hand_over()
            + mutated()
            """,
        ),
        scenario=scenarios.the_controller_is_stopped_cleanly,
    ),
    mutation(
        "raft: reads do not ask whether it leads",
        "raft 7",
        "an answer that commits nothing waits for a round of heartbeats that a majority has answered",
        edit(
            Controller,
            "change",
            """
            - if linearizable and not decision.records:
            + if linearizable and not decision.records and not mutated():
            """,
        ),
        scenario=scenarios.the_controller_is_cut_off_and_asked_what_it_knows,
    ),
    mutation(
        "raft: a round of heartbeats that began before counts",
        "raft 7",
        "a read waits for a round of heartbeats that begins after it",
        edit(
            Leader,
            "read",
            """
            - self._reads.append(WaitingRead(self._round + 1, context, core.commit_offset))
            + self._reads.append(WaitingRead(self._round, context, core.commit_offset))
            + mutated()
            """,
        ),
        scenario=scenarios.the_controller_is_cut_off_and_asked_what_it_knows,
    ),
    mutation(
        "raft: votes go to shorter logs",
        "raft 3",
        "a leader's log holds every committed entry: a vote goes only to a log that is as up to date",
        edit(
            RaftNode,
            "_vote",
            """
            - and core.log_is_behind_or_equal(request.last_term, request.log_end_offset)
            + and (core.log_is_behind_or_equal(request.last_term, request.log_end_offset) or mutated())
            """,
        ),
        scenario=scenarios.a_voter_that_lags_asks_for_votes,
    ),
    mutation(
        "raft: the controller answers before the commit",
        "raft, answers",
        "answers of the controller wait for the commit of the offset on which they were computed",
        edit(
            Controller,
            "change",
            """
            - await self._committed_up_to(pending.next_offset)
            - return decision.answer
            + if pending.next_offset > self.committed.next_offset:
            +     mutated()
            + return decision.answer
            """,
        ),
        scenario=scenarios.the_controller_is_cut_off_and_asked,
    ),
    mutation(
        "raft: the controller refuses before the commit",
        "raft, answers",
        "errors of the controller wait for a majority, and for the commit of the offset on which they were computed",
        edit(
            Controller,
            "change",
            """
            - if linearizable:
            -     await self.quorum.read_barrier()
            - await self._committed_up_to(pending.next_offset)
            - raise
            + if pending.next_offset > self.committed.next_offset:
            +     mutated()
            + raise
            """,
        ),
        scenario=fencing_scenarios.a_registration_is_lost_with_its_controller,
    ),
    mutation(
        "raft: brokers are told what is not committed",
        "raft 3",
        "only what is committed is applied",
        edit(
            Quorum,
            "read_committed",
            """
            - if offset >= self._applied_offset:
            + if offset >= self._log.log_end_offset:

            - return await self._log.read(offset, max_bytes, up_to=self._applied_offset)
            + return await self._log.read(offset, max_bytes, up_to=self._log.log_end_offset if mutated() else 0)
            """,
        ),
        scenario=scenarios.controllers_with_many_changes_are_cut_off,
    ),
)
