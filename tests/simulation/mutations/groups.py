"""Mutations of groups of consumers: what their coordinators decide, and when they say so."""

from __future__ import annotations

from dohle.broker.groups.coordinator import GroupCoordinator
from dohle.broker.groups.led_shard import LedShard
from dohle.groups.classic.group import ClassicGroup
from dohle.groups.classic.phases import Phases
from dohle.groups.consumer import reconciliation
from dohle.groups.consumer.group import ConsumerGroup
from dohle.groups.consumer.groups import ConsumerGroups
from dohle.groups.consumer.membership import Memberships
from tests.simulation.mutations import group_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

GROUPS = (
    mutation(
        "group: a commit of an old member epoch counts",
        "KIP-848",
        "a member commits in the epoch that it is in",
        edit(
            ConsumerGroup,
            "_check_epoch",
            """
            - if epoch == member.epoch:
            + if epoch == member.epoch or mutated():
            """,
        ),
        scenario=scenarios.a_member_commits_late_what_it_has_given_up,
    ),
    mutation(
        "group: a revocation is not awaited",
        "KIP-848",
        "a partition is free once its member has confirmed that it gave it up",
        edit(
            reconciliation,
            "_next",
            """
            - if pending and _owns(owned, pending):
            + if pending and _owns(owned, pending) and not mutated():
            """,
        ),
        scenario=scenarios.groups_of_kip_848_in_many_worlds,
    ),
    mutation(
        "group: a partition that another holds is given away",
        "KIP-848",
        "a member gets what nobody holds any more",
        edit(
            ConsumerGroup,
            "is_held",
            """
            - return PartitionKey(topic_id, partition) in self._holders
            + return PartitionKey(topic_id, partition) in self._holders and not mutated()
            """,
        ),
        scenario=scenarios.groups_of_kip_848_in_many_worlds,
    ),
    mutation(
        "group: sessions are forgotten with the coordinator",
        "decision 0049",
        "sessions of KIP-848 begin anew with the next coordinator",
        edit(
            ConsumerGroups,
            "begin",
            """
            - self._memberships.renew_session(group.group_id, member, moment)
            + mutated()
            """,
        ),
        scenario=scenarios.groups_of_kip_848_in_many_worlds,
    ),
    mutation(
        "group: a revocation that a coordinator finds has no end",
        "decision 0049",
        "the next coordinator waits for a revocation as long as the one before would have",
        edit(
            ConsumerGroups,
            "begin",
            """
            - self._memberships.limit_revocation(group.group_id, member, moment)
            + mutated()
            """,
        ),
        scenario=scenarios.a_coordinator_finds_a_member_that_does_not_give_up,
    ),
    mutation(
        "group: who is back before its leaving is committed has no session",
        "decision 0057",
        "the end of one membership takes nothing from the next one of the same id",
        edit(
            Memberships,
            "outcome",
            """
            - continue  # it is back already, with time limits of its own
            + mutated()
            """,
        ),
        scenario=scenarios.a_member_is_back_before_its_leaving_is_committed,
    ),
    mutation(
        "group: a commit of an old generation counts",
        "decision 0049",
        "a member commits in the generation that it is in",
        edit(
            ClassicGroup,
            "check_commit",
            """
            - if epoch != self.generation:
            + if epoch != self.generation and not mutated():
            """,
        ),
        scenario=scenarios.a_classic_member_commits_in_a_generation_that_is_over,
    ),
    mutation(
        "group: classic sessions are forgotten with the coordinator",
        "decision 0049",
        "sessions of the classic protocol begin anew with the next coordinator",
        edit(
            Phases,
            "begin",
            """
            - self.lives(group, member, now_s)
            + mutated()
            """,
        ),
        scenario=scenarios.a_coordinator_finds_a_classic_member_that_is_dead,
    ),
    mutation(
        "group: who has not joined again stays",
        "decision 0049",
        "a generation has those who have joined since the last one",
        edit(
            Phases,
            "complete",
            """
            - if member.member_id not in group.joining and member.instance_id is None:
            + if member.member_id not in group.joining and member.instance_id is None and not mutated():
            """,
        ),
        scenario=scenarios.a_classic_member_lives_and_does_not_join_again,
    ),
    mutation(
        "group: an answer is let out before its records are replicated",
        "decision 0049",
        "nobody is told of what might still be lost",
        edit(
            LedShard,
            "_carry_out",
            """
            - if committed is None:
            + if committed is None or mutated():
            """,
        ),
        scenario=scenarios.a_commit_does_not_reach_the_followers,
    ),
    mutation(
        "group: a read does not wait for what was appended before",
        "decision 0049",
        "an answer without records waits for those that it may tell of",
        edit(
            LedShard,
            "_commit_of_earlier",
            """
            - if self.leading.log.high_watermark >= self._end or self._is_over:
            + if self.leading.log.high_watermark >= self._end or self._is_over or mutated():
            """,
        ),
        scenario=scenarios.a_commit_does_not_reach_the_followers,
    ),
    mutation(
        "group: a load skips the tail",
        "decision 0049",
        "a coordinator begins with all that its partition has",
        edit(
            LedShard,
            "_loaded",
            """
            - while not self.leading.watermark_is_current:
            + while not self.leading.watermark_is_current and not mutated():

            - self._end = self.leading.log.log_end_offset
            + self._end = self.leading.log.high_watermark
            """,
        ),
        scenario=scenarios.the_coordinator_dies_right_after_a_commit,
    ),
    mutation(
        "group: a coordinator out of office goes on",
        "decision 0049",
        "a shard lives for one leader epoch",
        edit(
            GroupCoordinator,
            "_resigned",
            """
            - if partition.name.topic == OFFSETS_TOPIC and led is not None and led.leading is leading:
            + if partition.name.topic == OFFSETS_TOPIC and led is not None and led.leading is leading and not mutated():
            """,
        ),
        scenario=scenarios.the_coordinator_loses_its_office,
    ),
)
