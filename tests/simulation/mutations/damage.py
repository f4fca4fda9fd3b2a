"""Mutations of what becomes of damage that a read finds."""

from __future__ import annotations

from dohle.broker.leading import Leading
from dohle.broker.replication_service import ReplicationService
from dohle.broker.scrubber import Scrubber
from dohle.controller import isr
from dohle.storage import damage_note, log_reader, pushed_batches
from dohle.storage.compaction.swaps import Swaps
from dohle.storage.log_reader import LogReader
from dohle.storage.repair import _Rewriting
from tests.simulation.mutations import damage_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

DAMAGE = (
    mutation(
        "scrubbing: all is read once and no more",
        "storage, integrity",
        "all that is durable is read every so often, whether anybody else reads it or not",
        edit(
            Scrubber,
            "run",
            """
            - await self._clock.sleep(max(0.0, begun + self._interval_s - self._clock.now()))
            + mutated()
            + return
            """,
        ),
        scenario=scenarios.a_batch_rots_that_nobody_reads,
    ),
    mutation(
        "scrubbing: the page cache is believed",
        "storage, integrity",
        "sealed segments are read from the device",
        edit(
            LogReader,
            "read",
            """
            - if from_device and segment.base_offset == offset and following is not None:
            + if from_device and not mutated():
            """,
        ),
        scenario=scenarios.a_sealed_segment_rots_under_its_page_cache,
    ),
    mutation(
        "damage: a read checks no checksum",
        "replication 16",
        "what fails its CRC is never served",
        edit(
            log_reader,
            "_check",
            """
            - elif crc32c(view[at + CRC_END : end]) != crc:
            + elif crc32c(view[at + CRC_END : end]) != crc and not mutated():
            """,
        ),
        scenario=scenarios.a_running_leaders_batch_rots,
    ),
    mutation(
        "damage: a damaged leader leads on",
        "replication 16",
        "a damaged leader reports it, and another member of the ISR is elected",
        edit(
            Leading,
            "_damaged_members",
            """
            - return [*found, self._terms.me] if self.log.damage is not None and self._successors() else found
            + if self.log.damage is not None:
            +     mutated()
            + return found
            """,
        ),
        scenario=scenarios.a_running_leaders_batch_rots,
    ),
    mutation(
        "damage: a damaged leader stays in the ISR",
        "replication 16",
        "the controller elects another member and drops the damaged leader in one record",
        edit(
            isr,
            "_alter",
            """
            - change = revisions.revise(key, before, isr=members, lost=damaged)
            + stays = {*members, *(damaged if damaged and mutated() else [])}
            + change = revisions.revise(key, before, isr=stays, lost=damaged)
            """,
        ),
        scenario=scenarios.a_running_leaders_batch_rots,
    ),
    mutation(
        "damage: the last live replica leads no more",
        "replication 16",
        "the last replica stays leader, and refuses only what is damaged",
        edit(
            Leading,
            "_damaged_members",
            """
            - return [*found, self._terms.me] if self.log.damage is not None and self._successors() else found
            + return [*found, self._terms.me] if self.log.damage is not None and mutated() else found
            """,
        ),
        edit(
            isr,
            "_alter",
            """
            - if leader not in members and not _some_can_lead(image, before, members):
            + if False:
            """,
        ),
        scenario=scenarios.the_last_live_replica_is_damaged,
    ),
    mutation(
        "damage: a damaged follower stays in the ISR",
        "replication 16",
        "a damaged follower leaves the ISR, and is filled anew",
        edit(
            Leading,
            "told_of_damage",
            """
            - self.replicas[node_id] = Replica(broker_epoch, subscription, damaged=True)
            + mutated()
            + self.replicas[node_id] = Replica(broker_epoch, subscription)
            """,
        ),
        scenario=scenarios.a_damaged_leader_returns_as_a_follower,
    ),
    mutation(
        "repair: a damaged batch passes for a sound one",
        "replication 16",
        "what a repair leaves has the right checksums",
        edit(
            _Rewriting,
            "_copy",
            """
            - is_sound = self._fault(chunk, at) is None
            + is_sound = mutated()
            """,
        ),
        scenario=scenarios.a_running_leaders_batch_rots,
    ),
    mutation(
        "repair: by what is not committed",
        "replication 16",
        "a range is repaired from an ISR member, below the watermark",
        edit(
            ReplicationService,
            "read_batches",
            """
            - if request.offset < source.high_watermark:
            + if mutated():

            - batches = await source.read(request.offset, most, up_to=source.high_watermark, for_replica=True)
            + batches = await source.read(request.offset, most, up_to=source.log_end_offset, for_replica=True)
            """,
        ),
        scenario=scenarios.a_damaged_leader_returns_as_a_follower,
    ),
    mutation(
        "repair: damage is forgotten before what replaces it is durable",
        "replication 16",
        "a damaged replica is one until what replaces the damage is durable",
        edit(
            Swaps,
            "run",
            """
            - await files.sync()
            + mutated()
            """,
        ),
        scenario=scenarios.power_goes_once_a_replica_was_repaired,
    ),
    mutation(
        "damage: a replica begins anew while it is in the ISR",
        "replication 16",
        "what a damaged member holds counts until the controller has taken it out",
        edit(
            Leading,
            "told_of_damage",
            """
            - return node_id not in (*self.in_sync.maximal, *eligible)
            + return mutated()
            """,
        ),
        scenario=scenarios.a_damaged_leader_returns_as_a_follower,
    ),
    mutation(
        "damage: it is forgotten at a stop",
        "replication 16",
        "damage that a read found is noted durably before anybody hears of it",
        edit(
            damage_note,
            "note_damage",
            """
            - if damage.offsets is not None:
            + if damage.offsets is not None and not mutated():
            """,
        ),
        scenario=scenarios.a_damaged_leader_returns_as_a_follower,
    ),
    mutation(
        "push: one that was damaged on its way is appended",
        "storage, on append",
        "followers append what the leader sent after checking its CRC",
        edit(
            pushed_batches,
            "check_pushed",
            """
            - if not check_crc(batches, position, header):
            + if not check_crc(batches, position, header) and not mutated():
            """,
        ),
        scenario=scenarios.a_push_is_damaged_on_its_way,
    ),
)
