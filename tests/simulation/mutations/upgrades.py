"""Mutations of rolling upgrades: what a newer version brings waits until all know it."""

from __future__ import annotations

from dohle.broker.metadata_follower import MetadataFollower
from dohle.controller import features
from dohle.controller.controller import Controller
from dohle.controller.features import _Support
from dohle.model import snapshot
from tests.simulation.mutations import upgrade_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

UPGRADES = (
    mutation(
        "upgrade: a version is finalised that a node does not know",
        "upgrades",
        "a metadata.version is finalised when every node that counts supports it",
        edit(
            features,
            "update_features",
            """
            - if (obstacle := _obstacle(nodes, wanted)) is not None:
            + if (obstacle := _obstacle(nodes, wanted)) is not None and not mutated():
            """,
        ),
        scenario=scenarios.a_cluster_is_upgraded_and_asked_for_its_new_version_all_the_time,
    ),
    mutation(
        "upgrade: a voter that is away does not count",
        "upgrades",
        "of a voter that is not connected nobody knows what it supports",
        edit(
            _Support,
            "objection",
            """
            - if not self.counts or (found is not None and found.min_level <= level <= found.max_level):
            + if not self.counts or (found is None and mutated()) or (found and found.max_level >= level):
            """,
        ),
        scenario=scenarios.an_old_voter_is_away_while_its_cluster_is_upgraded,
    ),
    mutation(
        "upgrade: a finalised version is lowered",
        "upgrades",
        "a finalised metadata.version is never lowered",
        edit(
            features,
            "update_features",
            """
            - if wanted < before:
            + if wanted < before and not mutated():
            """,
        ),
        scenario=scenarios.a_cluster_is_upgraded_and_asked_for_its_new_version_all_the_time,
    ),
    mutation(
        "upgrade: old software goes on in a newer cluster",
        "upgrades",
        "a node that does not support the finalised version ends, and says which one it needs",
        edit(
            MetadataFollower,
            "_take",
            """
            - check_levels(image.features, self._identity.features, "this node")
            + mutated()
            """,
        ),
        scenario=scenarios.an_old_broker_was_cut_off_while_the_new_version_was_finalised,
    ),
    mutation(
        "upgrade: the log is written in the newest forms",
        "upgrades",
        "log and snapshots are written in forms that are finalised",
        edit(
            Controller,
            "_append",
            """
            - end_offset = self.quorum.propose(decision.records, pending.metadata_version)
            + end_offset = self.quorum.propose(decision.records, 2)
            + mutated()
            """,
        ),
        scenario=scenarios.a_cluster_is_upgraded_and_asked_for_its_new_version_all_the_time,
    ),
    mutation(
        "upgrade: snapshots are written in the newest forms",
        "upgrades",
        "log and snapshots are written in forms that are finalised",
        edit(
            snapshot,
            "encode_snapshot",
            """
            - count, version = 0, image.metadata_version
            + count, version = 0, 2
            + mutated()
            """,
        ),
        scenario=scenarios.new_software_takes_snapshots_in_a_cluster_of_the_old_version,
    ),
)
