"""Replicas on their way: what is left to copy, shown until all of it has arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from dohle.cli.output import counted, progress
from dohle.client.partition_changes import OngoingReassignment
from dohle.model.errors import DohleError
from dohle.model.ids import TopicPartition

if TYPE_CHECKING:
    from dohle.client.admin import Admin
    from dohle.client.values import ReplicaDescription

_LOOK_EVERY_S = 0.5
MOVE_COLUMNS = ("PARTITION", "TO", "ADDS", "REMOVES", "IN SYNC", "RECORDS LEFT", "BYTES LEFT")


@dataclass(frozen=True, slots=True)
class Move:
    """A reassignment, and what its new replicas lack; None where a broker does not answer."""

    reassignment: OngoingReassignment
    records_left: int | None
    bytes_left: int | None

    def to_json(self) -> dict[str, Any]:
        one = self.reassignment
        return {
            "topic": one.topic,
            "partition": one.partition,
            "partition_epoch": one.partition_epoch,
            "leader": one.leader,
            "target_replicas": list(one.target_replicas),
            "adding_replicas": list(one.adding_replicas),
            "removing_replicas": list(one.removing_replicas),
            "in_sync_replicas": list(one.in_sync_replicas),
            "records_left": self.records_left,
            "bytes_left": self.bytes_left,
        }


async def moves(admin: Admin, only: Collection[TopicPartition] | None = None) -> list[Move]:
    """Returns what is on its way, of these partitions or of all."""
    listed = (await admin.list_partition_reassignments()).reassignments
    ongoing = [one for one in listed if only is None or one.name in only]
    nodes = {node for one in ongoing for node in (one.leader, *one.adding_replicas) if node >= 0}
    replicas = await replicas_by_node(admin, sorted(nodes))
    return [_move(one, replicas) for one in ongoing]


async def replicas_by_node(admin: Admin, nodes: Collection[int]) -> dict[int, dict[TopicPartition, ReplicaDescription]]:
    """Returns what brokers hold; one that does not answer is left out. What lies in a failed directory has failed."""
    found: dict[int, dict[TopicPartition, ReplicaDescription]] = {}
    for node in nodes:
        try:
            folders = await admin.describe_log_dirs(node)
        except DohleError:
            continue
        found[node] = {
            TopicPartition(one.topic, one.partition): replace(one, failure=one.failure or folder.failure)
            for folder in folders
            for one in folder.replicas
        }
    return found


def _move(one: OngoingReassignment, replicas: dict[int, dict[TopicPartition, ReplicaDescription]]) -> Move:
    leading = replicas.get(one.leader, {}).get(one.name)
    if leading is None or any(node not in replicas for node in one.adding_replicas):
        return Move(one, None, None)
    records = size = 0
    for node in one.adding_replicas:
        copy = replicas[node].get(one.name)
        end = leading.log_start_offset if copy is None else max(copy.durable_end, leading.log_start_offset)
        records += max(0, leading.high_watermark - end)
        if end < leading.high_watermark:
            size += max(0, leading.size_bytes - (0 if copy is None else copy.size_bytes))
    return Move(one, records, size)


async def until_arrived(admin: Admin, names: Collection[TopicPartition]) -> None:
    """Returns once none of these is on its way; shows on a terminal how far they are. Ctrl-C says that they go on."""
    left = len(names)
    try:
        with progress("replicas that have arrived", len(names)) as show:
            while left:
                listed = (await admin.list_partition_reassignments()).reassignments
                left = sum(one.name in names for one in listed)
                show(len(names) - left)
                await asyncio.sleep(_LOOK_EVERY_S if left else 0)
    except asyncio.CancelledError:
        click.echo(
            f"{counted(left, 'partition')} still on the way: `dohle cluster reassign --list` shows how far,"
            " --cancel takes such moves back",
            err=True,
        )
        raise


def move_row(move: Move) -> tuple[object, ...]:
    one = move.reassignment
    return (
        one.name,
        listed_nodes(one.target_replicas),
        listed_nodes(one.adding_replicas),
        listed_nodes(one.removing_replicas),
        listed_nodes(one.in_sync_replicas),
        "?" if move.records_left is None else move.records_left,
        "?" if move.bytes_left is None else move.bytes_left,
    )


def listed_nodes(nodes: Collection[int]) -> str:
    return ",".join(map(str, nodes)) or "-"
