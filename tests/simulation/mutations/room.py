"""Mutations of what happens when a disk is full, or nearly."""

from __future__ import annotations

from dohle.broker.replicas import Replicas
from dohle.storage.headroom import Headroom
from tests.simulation.mutations import room_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

ROOM = (
    mutation(
        "full disk: producers are not stopped before",
        "storage, low space",
        "below storage_min_free_bytes producers are refused",
        edit(
            Headroom,
            "check",
            """
            - if self.is_low:
            + if self.is_low and not mutated():
            """,
        ),
        scenario=scenarios.a_leaders_disk_has_little_room,
    ),
    mutation(
        "full disk: producers are never let in again",
        "storage, low space",
        "with a quarter more than storage_min_free_bytes producers go on by themselves",
        edit(
            Headroom,
            "_judge",
            """
            - elif self.is_low and self.free_bytes >= self.enough_bytes:
            + elif self.is_low and self.free_bytes >= self.enough_bytes and not mutated():
            """,
        ),
        scenario=scenarios.a_leaders_disk_has_little_room,
    ),
    mutation(
        "full disk: a new replica does not wait for room",
        "storage, low space",
        "what cannot be made for want of room is made once there is some",
        edit(
            Replicas,
            "_make_later",
            """
            - await self.act(self.image, list(self.unmade))
            + mutated()
            """,
        ),
        scenario=scenarios.a_new_topic_finds_no_room,
    ),
    mutation(
        "full disk: the reserve is kept",
        "storage, low space",
        "a disk without room gets its reserve, so that a node starts there and deletes",
        edit(
            Headroom,
            "look",
            """
            - if free < _NONE_LEFT_BYTES:
            + if free < _NONE_LEFT_BYTES and not mutated():
            """,
        ),
        scenario=scenarios.a_node_starts_on_a_full_disk,
    ),
)
