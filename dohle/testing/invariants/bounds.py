"""Bounds: that what a node keeps in memory stays within the limits that the product sets itself."""

from __future__ import annotations

from collections.abc import Iterator

from dohle.broker.catch_up_window import CHUNK_BYTES, MOST_BYTES
from dohle.broker.leading import Leading
from dohle.broker.push_session import QUEUE_BYTES, Feed
from dohle.broker.push_window import PUSHES_AHEAD
from dohle.broker.replicas import Replicas
from dohle.cluster.node import Node
from dohle.controller.controller import _MOST_WAITING
from dohle.controller.part import ControllerPart
from dohle.controller.read_barriers import MOST_BARRIERS
from dohle.model.stragglers import MOST_APART
from dohle.raft.leader import Leader

MOST_LOG_EFFECTS = 256
"""Raft's window, appends and reads of every voter, takes a few dozen."""


def overflows(node: Node) -> Iterator[str]:
    """Says what has outgrown its limit."""
    if node.controller is not None:
        yield from _of_controller(node.controller)
    if node.broker is not None:
        yield from _of_broker(node.broker.replicas)
        yield from _of_links(node.broker.replicas)


def _of_controller(part: ControllerPart) -> Iterator[str]:
    quorum = part.quorum
    raft = quorum._node
    yield from _over("changes that wait for the quorum", len(part.controller._waiters), _MOST_WAITING)
    yield from _over("reads that wait for the quorum", len(quorum._barriers), MOST_BARRIERS)
    yield from _over("work on the metadata log", len(quorum._log_work), MOST_LOG_EFFECTS)
    if isinstance(raft._role, Leader):
        window = raft._core.config.max_in_flight_appends
        for voter, progress in raft._role._progress.items():
            yield from _over(f"appends on their way to voter {voter.node_id}", len(progress.in_flight), window)


def _of_broker(replicas: Replicas) -> Iterator[str]:
    for partition in replicas.partitions.values():
        if not isinstance(partition.role, Leading):
            continue
        for follower, replica in partition.role.replicas.items():
            feed = replica.subscriber
            if isinstance(feed, Feed):
                session, largest = feed.session, partition.log.config.max_message_bytes
                queued, catching_up = session._queued_bytes, session._catch_up_window.under_way_bytes
                yield from _over(f"bytes queued for follower {follower}", queued, QUEUE_BYTES)
                most = MOST_BYTES + max(CHUNK_BYTES, largest)
                yield from _over(f"bytes read for follower {follower}", catching_up, most)


def _of_links(replicas: Replicas) -> Iterator[str]:
    windows = len(replicas._dirs.folders) * (1 + MOST_APART)
    for leader, link in replicas._links.items():
        yield from _over(
            f"pushes of leader {leader} that are not durable", len(link._unsynced), (PUSHES_AHEAD + 1) * windows
        )


def _over(what: str, count: int, most: int) -> Iterator[str]:
    if not 0 <= count <= most:
        yield f"{what}: {count}, of {most} at the most"
