"""Rebalances that are over, as they stand in `__consumer_offsets`: Dohle's own records, which Kafka passes over."""

from __future__ import annotations

from typing import Final, TypeVar

from dohle.groups.rebalances import Cause, Rebalance, Who
from dohle.groups.records import KeptRebalance, RebalanceRecord
from dohle.kafka.messages.group_records import GroupRebalanceKey, GroupRebalanceValue
from dohle.model.errors import CorruptMessage

T = TypeVar("T", int, float)

_UNKNOWN: Final = -1


def rebalance_messages(record: RebalanceRecord) -> tuple[GroupRebalanceKey, GroupRebalanceValue | None]:
    """Returns the record's key and value."""
    key, kept = GroupRebalanceKey(group_id=record.group_id, place=record.place), record.value
    if kept is None:
        return key, None
    of = kept.rebalance
    return key, GroupRebalanceValue(
        number=kept.number,
        cause=of.cause.value,
        who=_written(of.who),
        began_ms=of.began_ms,
        detail=of.detail,
        silent_s=_UNKNOWN if of.silent_s is None else of.silent_s,
        epoch=of.epoch,
        ended_ms=_UNKNOWN if of.ended_ms is None else of.ended_ms,
        last=_written(of.last),
        last_ms=_UNKNOWN if of.last_ms is None else of.last_ms,
        removed=[_named(one) for one in of.removed],
        more_removed=kept.more_removed,
        members=of.members,
    )


def rebalance_record(key: GroupRebalanceKey, value: GroupRebalanceValue | None) -> RebalanceRecord:
    """Returns the record. Raises CorruptMessage for a cause that is none."""
    if value is None:
        return RebalanceRecord(key.group_id, key.place, None)
    try:
        cause = Cause(value.cause)
    except ValueError as error:
        raise CorruptMessage(f"no rebalance comes of {value.cause!r}") from error
    rebalance = Rebalance(
        key.group_id,
        cause,
        _read(value.who),
        value.began_ms,
        value.detail,
        _known(value.silent_s),
        value.epoch,
        _known(value.ended_ms),
        _read(value.last),
        _known(value.last_ms),
        tuple(Who(one.member_id, one.instance_id, one.client_id, one.client_host) for one in value.removed),
        value.members,
    )
    return RebalanceRecord(key.group_id, key.place, KeptRebalance(value.number, rebalance, value.more_removed))


def _named(who: Who) -> GroupRebalanceValue.Who:
    return GroupRebalanceValue.Who(
        member_id=who.member_id, instance_id=who.instance_id, client_id=who.client_id, client_host=who.client_host
    )


def _written(who: Who | None) -> GroupRebalanceValue.Who | None:
    return None if who is None else _named(who)


def _read(who: GroupRebalanceValue.Who | None) -> Who | None:
    return None if who is None else Who(who.member_id, who.instance_id, who.client_id, who.client_host)


def _known(number: T) -> T | None:
    return None if number == _UNKNOWN else number
