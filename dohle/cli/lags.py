"""Lags: how far replicas are behind, as their leaders know it: of a broker that does not answer nobody else does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dohle.cli.moves import replicas_by_node
from dohle.cli.output import age, counted
from dohle.model.ids import TopicPartition

if TYPE_CHECKING:
    from dohle.client.admin import Admin
    from dohle.client.values import ReplicaDescription, UnhealthyPartition

_PATIENCE_S = 2.0
"""For leaders that do not answer: the rest of what is shown does not wait for them any longer."""


@dataclass(frozen=True, slots=True)
class Lag:
    """What a replica lacks; None where its leader has not heard from it since it leads."""

    node_id: int
    records: int | None
    lag_ms: int

    def to_json(self) -> dict[str, Any]:
        return {"node_id": self.node_id, "records_behind": self.records, "lag_ms": self.lag_ms}

    def __str__(self) -> str:
        records = "records unknown" if self.records is None else counted(self.records, "record")
        return f"{self.node_id}: {records}, {age(self.lag_ms / 1000)}"


Lags = dict[TopicPartition, list[Lag]]


def lags_in(leading: ReplicaDescription) -> list[Lag]:
    """Returns what each follower lacks of the log that `leading` is."""
    start = leading.log_start_offset
    return [
        Lag(
            one.node_id,
            None if one.durable_end < 0 else max(0, leading.log_end_offset - max(one.durable_end, start)),
            one.lag_ms,
        )
        for one in leading.followers
    ]


async def lags_of(admin: Admin, partitions: Sequence[UnhealthyPartition]) -> Lags:
    """Returns what the replicas out of sync lack; partitions whose leader does not answer are left out."""
    leaders = sorted({partition.leader for partition in partitions if partition.leader >= 0})
    try:
        async with asyncio.timeout(_PATIENCE_S):
            held = await replicas_by_node(admin, leaders)
    except TimeoutError:
        return {}
    found: Lags = {}
    for partition in partitions:
        name = TopicPartition(partition.topic, partition.partition)
        leading = held.get(partition.leader, {}).get(name)
        if leading is not None and leading.leads:
            found[name] = [lag for lag in lags_in(leading) if lag.node_id not in partition.in_sync_replicas]
    return found


def lag_words(lags: Sequence[Lag] | None) -> str:
    """Returns who lacks how much, for one cell of a table."""
    return "; ".join(map(str, lags)) if lags else "-" if lags is not None else "?"
