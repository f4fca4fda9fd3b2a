"""Groups for scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dohle.model.errors import DohleError

if TYPE_CHECKING:
    from dohle.client.group_values import GroupDescription, GroupListings, GroupPartitionDescription


def listings_json(found: GroupListings) -> dict[str, Any]:
    """Returns a list of groups, and which coordinators said nothing."""
    return {
        "groups": [
            {
                "group": one.group_id,
                "type": one.kind,
                "state": one.state,
                "protocol_type": one.protocol_type,
                "members": one.members,
                "coordinator": one.coordinator,
                "lag_records": one.lag_records,
                "lag_ms": one.lag_ms,
                "unknown_lags": one.unknown_lags,
            }
            for one in found.groups
        ],
        "silent": [{"node_id": node, "error": error.message} for node, error in found.silent.items()],
    }


def description_json(name: str, found: GroupDescription | DohleError) -> dict[str, Any]:
    """Returns a group for scripts."""
    if isinstance(found, DohleError):
        return {"group": name, "error": found.message}
    return {
        "group": found.group_id,
        "type": found.kind,
        "state": found.state,
        "protocol_type": found.protocol_type,
        "assignor": found.assignor or None,
        "epoch": found.epoch,
        "coordinator": found.coordinator,
        "empty_since_ms": found.empty_since_ms if found.empty_since_ms >= 0 else None,
        "members": [
            {
                "member_id": one.member_id,
                "instance_id": one.instance_id or None,
                "client_id": one.client_id,
                "client_host": one.client_host,
                "epoch": one.epoch if one.epoch >= 0 else None,
                "leads": one.leads,
                "state": one.state or None,
                "assigned": [{"topic": name.topic, "partition": name.partition} for name in one.assigned],
            }
            for one in found.members
        ],
        "partitions": [_partition_json(one) for one in found.partitions],
        "error": None,
    }


def _partition_json(one: GroupPartitionDescription) -> dict[str, Any]:
    return {
        "topic": one.name.topic,
        "partition": one.name.partition,
        "committed_offset": one.committed_offset,
        "metadata": one.metadata,
        "commit_ms": one.commit_ms if one.commit_ms >= 0 else None,
        "member_id": one.member_id or None,
        "log_start_offset": one.log_start_offset,
        "high_watermark": one.high_watermark,
        "lag_records": one.lag_records,
        "lag_ms": one.lag_ms,
        "error": None if one.error is None else one.error.message,
    }


def lag_json(name: str, found: GroupDescription | DohleError) -> dict[str, Any]:
    """Returns how far a group is behind, with its partitions."""
    if isinstance(found, DohleError):
        return {"group": name, "error": found.message}
    lags = [one.lag_records for one in found.partitions if one.lag_records is not None]
    ages = [one.lag_ms for one in found.partitions if one.lag_ms is not None]
    return {
        "group": name,
        "time_ms": found.now_ms,
        "coordinator": found.coordinator,
        "state": found.state,
        "members": len(found.members),
        "lag_records": sum(lags) if lags else None,
        "lag_ms": max(ages, default=None),
        "partitions": [_partition_json(one) for one in found.partitions],
        "error": None,
    }
