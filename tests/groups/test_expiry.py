"""How offsets end that nobody deletes, and groups with them (KIP-211)."""

from __future__ import annotations

import pytest

from dohle.groups.group import CONSUMER
from dohle.groups.offsets import Commit, FetchOffsets, ListGroups, OffsetToCommit
from dohle.groups.records import CommittedOffset, GroupRecord, OffsetRecord
from dohle.groups.settings import GroupSettings
from dohle.model.errors import NotEnoughReplicas
from tests.groups.harness import Harness
from tests.groups.test_offsets import Members, end_of, values

HOUR_S = 3600.0
SETTINGS = GroupSettings(offsets_retention_ms=3 * 3_600_000, offsets_retention_check_interval_ms=3_600_000)


def with_offset(group: Members | None = None, **commit: object) -> Harness:
    harness = Harness(SETTINGS)
    harness.make_topic("t", 2)
    if group is not None:
        harness.shard.state.groups["g"] = group
    assert harness.call(Commit("g", (OffsetToCommit("t", 0, 7),), **commit)) == (None,)  # type: ignore[arg-type]
    return harness


def hours_kept(harness: Harness, most: int = 12) -> int | None:
    """Returns how many hours the offset stays; None: all that are looked at."""
    for hours in range(1, most):
        harness.pass_time(HOUR_S)
        if "g" not in harness.shard.state.offsets:
            return hours
    return None


@pytest.mark.parametrize(
    ("group", "hours"),
    [
        (None, 3),  # by the last commit
        (Members("g", state="Stable"), 3),  # nobody subscribes to it
        (Members("g", state="Stable", topics=("t",)), None),
        (Members("g", state="PreparingRebalance"), None),
        (Members("g", state="CompletingRebalance"), None),
        (Members("g", state="Stable", protocol_type="connect"), None),
        (Members("g", state="Empty", empty_since_ms=-1), 3),
        (Members("g", state="Empty", protocol_type="connect", empty_since_ms=-1), 3),
        (Members("g", state="Stable", protocol_type=""), 3),
        (Members("g", state="Stable", kind=CONSUMER), 3),
        (Members("g", state="Empty", kind=CONSUMER), 3),
        (Members("g", state="Reconciling", kind=CONSUMER, topics=("t",)), None),
    ],
)
def test_offsets_end_by_what_the_group_does(group: Members | None, hours: int | None) -> None:
    assert hours_kept(with_offset(group)) == hours


def test_an_empty_groups_offsets_age_from_when_its_last_member_left() -> None:
    group = Members("g", topics=("t",))
    harness = with_offset(group)
    harness.pass_time(4.5 * HOUR_S)
    group.state, group.empty_since_ms, group.topics = "Empty", harness.moment.wall_ms, ()
    assert hours_kept(harness) == 4  # three hours, and to the next look


@pytest.mark.parametrize(("hours", "kept"), [(1, 1), (5, 5), (0, 1)])
def test_old_clients_say_how_long_to_keep_an_offset(hours: int, kept: int) -> None:
    assert hours_kept(with_offset(retention_ms=hours * 3_600_000)) == kept


def test_an_empty_group_without_offsets_ends_with_the_next_look() -> None:
    harness = with_offset(Members("g", state="Empty", empty_since_ms=-1))
    harness.pass_time(2 * HOUR_S)
    assert harness.log[1:] == []
    harness.pass_time(HOUR_S)
    assert harness.log[1:] == [OffsetRecord("g", "t", 0, None), end_of("g")]


def test_a_group_with_an_offset_that_stays_stays_too() -> None:
    harness = with_offset(Members("g", state="Empty", empty_since_ms=-1))
    harness.pass_time(HOUR_S)
    harness.call(Commit("g", (OffsetToCommit("t", 1, 7),)))
    harness.pass_time(2 * HOUR_S)
    assert values(harness.call(FetchOffsets("g"))) == [("t", 1, 7)]
    assert end_of("g") not in harness.log


def test_what_could_not_be_written_is_found_by_the_next_look() -> None:
    harness = with_offset()
    harness.refusal = NotEnoughReplicas()
    harness.pass_time(4 * HOUR_S)
    assert len(harness.failures) == 2
    harness.refusal = None
    harness.pass_time(HOUR_S)
    assert harness.call(ListGroups()) == ()


def test_much_is_looked_at_in_steps_between_which_others_may_commit() -> None:
    harness = Harness(SETTINGS)
    harness.make_topic("t", 700)
    harness.make_topic("u", 1)
    harness.shard.state.groups["g"] = Members("g", state="Empty", empty_since_ms=-1)
    harness.call(Commit("g", tuple([OffsetToCommit("t", number, 7) for number in range(700)])))
    began = len(harness.log)
    harness.pass_time(3 * HOUR_S - 0.001)
    harness.moment = harness.moment._replace(now_s=harness.moment.now_s + 1, wall_ms=harness.moment.wall_ms + 1000)
    sizes: list[int] = []
    committed = False
    while (outcome := harness.shard.expire(harness.moment)) is not None:
        sizes.append(len(outcome.records))
        harness._carry_out(outcome)
        if not committed and sizes[-1]:
            harness.call(Commit("g", (OffsetToCommit("u", 0, 8),)))
            committed = True
    assert max(sizes) <= 50
    assert sum(sizes) == 700
    assert values(harness.call(FetchOffsets("g"))) == [("u", 0, 8)]
    assert end_of("g") not in harness.log[began:]


# topics


def test_the_offsets_of_a_deleted_topic_go_at_once() -> None:
    harness = with_offset()
    harness.make_topic("u")
    harness.call(Commit("g", (OffsetToCommit("u", 0, 8),)))
    harness.drop_topic("t")
    harness.pass_time(0)
    assert harness.log[2:] == [OffsetRecord("g", "t", 0, None)]
    assert values(harness.call(FetchOffsets("g"))) == [("u", 0, 8)]


def test_a_topic_made_again_has_no_offsets() -> None:
    harness = with_offset()
    harness.drop_topic("t")
    topic_id = harness.make_topic("t", 2)
    for asked in ("t", topic_id):
        assert values(harness.call(FetchOffsets("g", ((asked, (0,)),)))) == [(asked, 0, None)]
    harness.call(Commit("g", (OffsetToCommit("t", 0, 1),)))
    harness.pass_time(0)
    assert values(harness.call(FetchOffsets("g"))) == [("t", 0, 1)]


def test_topics_may_go_while_nobody_coordinates() -> None:
    harness = with_offset()
    harness.make_topic("u", 1)
    harness.call(Commit("h", (OffsetToCommit("u", 0, 8),)))
    written = len(harness.log)
    harness.hold()
    harness.drop_topic("t")
    harness.make_topic("t", 2)
    harness.restart(keep=written)
    harness.pass_time(0)
    assert harness.log[2:] == [OffsetRecord("g", "t", 0, None)]
    assert harness.call(ListGroups())[0].group_id == "h"


def test_an_offset_that_names_no_topic_id_goes_by_the_name() -> None:
    harness = Harness(SETTINGS)
    harness.make_topic("t", 1)
    records: list[GroupRecord] = [OffsetRecord("g", "t", 0, CommittedOffset(7, -1, "", harness.moment.wall_ms))]
    harness.log.extend(records)
    harness.watermark = 1
    harness.restart()
    harness.pass_time(0)
    assert values(harness.call(FetchOffsets("g", (("t", (0,)),)))) == [("t", 0, 7)]
    harness.drop_topic("t")
    harness.pass_time(0)
    assert harness.call(FetchOffsets("g")) == ()
