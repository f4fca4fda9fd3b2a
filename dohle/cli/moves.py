"""Replicas on their way: what is left to copy, shown until all of it has arrived."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from dohle.cli.output import counted, progress
from dohle.client.held_up import HeldUp, held_up, hold_ups
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
    """A reassignment, and what its new replicas lack; None where a broker does not answer, or nothing holds it up."""

    reassignment: OngoingReassignment
    records_left: int | None
    bytes_left: int | None
    held: HeldUp | None

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
            "waits_for": [] if self.held is None else list(self.held.down),
        }


async def moves(admin: Admin, only: Collection[TopicPartition] | None = None) -> list[Move]:
    """Returns what is on its way, of these partitions or of all."""
    listed = (await admin.list_partition_reassignments()).reassignments
    ongoing = [one for one in listed if only is None or one.name in only]
    nodes = {node for one in ongoing for node in (one.leader, *one.adding_replicas) if node >= 0}
    replicas = await replicas_by_node(admin, sorted(nodes))
    held = {one.move.name: one for one in held_up(ongoing, (await admin.describe_cluster()).nodes)} if ongoing else {}
    return [Move(one, *_left(one, replicas), held.get(one.name)) for one in ongoing]


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


def _left(
    one: OngoingReassignment, replicas: dict[int, dict[TopicPartition, ReplicaDescription]]
) -> tuple[int | None, int | None]:
    """Returns how many records and bytes the new replicas lack, if that is known."""
    leading = replicas.get(one.leader, {}).get(one.name)
    if leading is None or any(node not in replicas for node in one.adding_replicas):
        return None, None
    records = size = 0
    for node in one.adding_replicas:
        copy = replicas[node].get(one.name)
        end = leading.log_start_offset if copy is None else max(copy.durable_end, leading.log_start_offset)
        records += max(0, leading.high_watermark - end)
        if end < leading.high_watermark:
            size += max(0, leading.size_bytes - (0 if copy is None else copy.size_bytes))
    return records, size


async def until_arrived(
    admin: Admin, names: Collection[TopicPartition], *, patience_s: float = math.inf
) -> list[HeldUp]:
    """Returns once none of these is on its way, or all that are have been held up for so long; then it returns those.

    Shows on a terminal how far they are, and says what holds them up. Ctrl-C says that they go on.
    """
    left = len(names)
    watch = _HoldUps()
    try:
        with progress("replicas that have arrived", len(names)) as show:
            while left:
                listed = (await admin.list_partition_reassignments()).reassignments
                ongoing = [one for one in listed if one.name in names]
                left = len(ongoing)
                show(len(names) - left)
                if left:
                    held = held_up(ongoing, (await admin.describe_cluster()).nodes)
                    if len(watch.longer_than(patience_s, held)) == left:
                        return held
                    await asyncio.sleep(_LOOK_EVERY_S)
    except asyncio.CancelledError:
        click.echo(
            f"{counted(left, 'partition')} still on the way: `dohle cluster reassign --list` shows how far,"
            " --cancel takes such moves back",
            err=True,
        )
        raise
    return []


class _HoldUps:
    """Since when each of some moves has been held up without a pause; says what is new of it."""

    def __init__(self) -> None:
        self._since: dict[TopicPartition, float] = {}
        self._said: Collection[str] = ()

    def longer_than(self, patience_s: float, held: Sequence[HeldUp]) -> list[HeldUp]:
        """Returns those of them that have been for so long."""
        now = asyncio.get_running_loop().time()
        self._since = {one.move.name: self._since.get(one.move.name, now) for one in held}
        words = hold_ups(held)
        for reason, line in words.items():
            if reason not in self._said:
                click.echo(line, err=True)
        self._said = words.keys()
        return [one for one in held if now - self._since[one.move.name] >= patience_s]


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
