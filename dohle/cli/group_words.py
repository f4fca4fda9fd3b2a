"""Groups in words: members, lags, and what happened in a rebalance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from dohle.cli.output import age, counted
from dohle.model.ids import TopicPartition

if TYPE_CHECKING:
    from dohle.client.group_values import (
        GroupDescription,
        GroupPartitionDescription,
        MemberDescription,
        RebalanceDescription,
        RebalanceMember,
    )

_CAUSES = {
    "joined": "{who} joined",
    "left": "{who} left",
    "session timed out": "{who} sent no heartbeat in time: its session timed out",
    "poll timed out": "{who} did not come back to poll in time",
    "subscription changed": "{who} changed its subscription",
    "asked for a new assignment": "{who} asked for a new assignment",
    "topics changed": "topics or partitions that the group subscribes to came or went",
    "the coordinator began it": "the coordinator began it",
}


def known(found: GroupDescription) -> str:
    """Returns in one line what a group is."""
    epoch = "generation" if found.kind.lower() == "classic" else "epoch"
    words = [f"{found.group_id}: {found.state}", f"{found.kind.lower()} group at broker {found.coordinator}"]
    if found.epoch >= 0:
        words.append(f"{epoch} {found.epoch}")
    if found.assignor:
        words.append(f"assignor {found.assignor}")
    words.append(counted(len(found.members), "member"))
    if not found.members and found.empty_since_ms >= 0:
        words[-1] = f"without members for {age((found.now_ms - found.empty_since_ms) / 1000)}"
    return ", ".join(words)


def member_name(one: MemberDescription | RebalanceMember) -> str:
    """Returns how people call a member: by its instance id, if it has one."""
    return one.instance_id or one.member_id


def who_words(one: RebalanceMember) -> str:
    """Returns which member it is, and where it runs."""
    return f"{member_name(one)} ({one.client_id} at {one.client_host.removeprefix('/')})"


def assignment_words(assigned: Sequence[TopicPartition]) -> str:
    """Returns partitions by topic: orders 0-3,7; payments 1."""
    words = []
    for topic, names in groupby(sorted(assigned), key=lambda name: name.topic):
        words.append(f"{topic} {_ranges([name.partition for name in names])}")
    return "; ".join(words) or "nothing"


def _ranges(numbers: Sequence[int]) -> str:
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def behind(lag_ms: int | None) -> str:
    """Returns for how long a group is behind, for one cell of a table."""
    return "?" if lag_ms is None else "-" if lag_ms == 0 else age(lag_ms / 1000)


def records_behind(lag_records: int | None, unknown: int) -> str:
    """Returns by how many records a group is behind, for one cell of a table."""
    if lag_records is None:
        return "?" if unknown else "-"
    return f"{lag_records} and more" if unknown else str(lag_records)


def lag_rows(found: GroupDescription) -> list[tuple[object, ...]]:
    """Returns a row for each partition of a group."""
    names = {one.member_id: member_name(one) for one in found.members}
    return [
        (
            one.name,
            "-" if one.committed_offset is None else one.committed_offset,
            one.high_watermark if one.error is None else one.error.message,
            "-" if one.committed_offset is None else "?" if one.lag_records is None else _records(one),
            "-" if one.committed_offset is None else behind(one.lag_ms),
            names.get(one.member_id, one.member_id) or "-",
        )
        for one in found.partitions
    ]


def _records(one: GroupPartitionDescription) -> str:
    """Returns the lag, and whether records have gone that the group has not read."""
    assert one.committed_offset is not None
    missed = max(0, (one.log_start_offset or 0) - one.committed_offset)
    return f"{one.lag_records} ({missed} more are gone unread)" if missed else str(one.lag_records)


def whole_lag(partitions: Sequence[GroupPartitionDescription]) -> str:
    """Returns the lag of all partitions in one sentence."""
    measured = [one.lag_records for one in partitions if one.lag_records is not None]
    ages = [one.lag_ms for one in partitions if one.lag_ms is not None]
    unknown = sum(one.committed_offset is not None and one.lag_records is None for one in partitions)
    uncommitted = sum(one.committed_offset is None for one in partitions)
    if not measured:
        words = "nothing is committed" if not unknown else "how far behind is not known"
    elif sum(measured) == 0:
        words = "nothing is left to read" if not unknown else "nothing is left to read of what is known"
    else:
        words = f"{counted(sum(measured), 'record')} behind"
        words += f", the oldest {age(max(ages) / 1000)} old" if ages else ""
    if unknown and measured:
        words += f"; {counted(unknown, 'partition')} could not be measured"
    if uncommitted and measured:
        words += f"; nothing is committed of {counted(uncommitted, 'partition')}"
    return words


def cause_words(one: RebalanceDescription) -> str:
    """Returns what set a rebalance off, and why."""
    who = "a member" if one.who is None else who_words(one.who)
    words = _CAUSES.get(one.cause, one.cause + " ({who})").format(who=who)
    if one.cause == "poll timed out" and one.silent_ms is not None:
        words = f"{who} timed out after its poll took {one.silent_ms / 1000:.0f} s"
    return f"{words}: {one.detail}" if one.detail else words


def held_up_words(one: RebalanceDescription) -> str:
    """Returns who kept the others waiting."""
    words = []
    if one.removed:
        more = f" and {one.more_removed} more" if one.more_removed else ""
        words.append(f"{', '.join(member_name(member) for member in one.removed)}{more} did not come in time")
    is_other = one.last is not None and (one.who is None or one.last.member_id != one.who.member_id)
    if is_other and one.last is not None and one.last_ms is not None:
        words.append(f"{member_name(one.last)} came last, after {age((one.last_ms - one.began_ms) / 1000)}")
    return "; ".join(words) or "-"
