"""Mutations of what a broker that is drained is spared, and of what keeps too many from being drained."""

from __future__ import annotations

from dohle.client.values import NodeDescription
from dohle.controller import draining, elections, reassignment, topics
from dohle.model.image import ClusterImage
from dohle.model.image_apply import _Draft
from tests.simulation.mutations import drain_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

DRAINS = (
    mutation(
        "drain: new replicas are placed on it",
        "decision 0024",
        "a broker that is drained gets no replica of a new topic or partition",
        edit(
            topics,
            "_placed",
            """
            - active = [broker for broker in image.brokers_in_order() if broker.active and not broker.draining]
            + active = [broker for broker in image.brokers_in_order() if broker.active and mutated()]
            """,
        ),
        scenario=scenarios.topics_are_made_while_a_broker_is_drained,
    ),
    mutation(
        "drain: it is not taken back",
        "decision 0024",
        "a broker whose drain is cancelled gets replicas again",
        edit(
            draining,
            "drain_broker",
            """
            - records = (BrokerDraining(node_id, wanted),) if changed and not request.validate_only else ()
            + records = (BrokerDraining(node_id, True),) if changed and not request.validate_only and mutated() else ()
            """,
        ),
        scenario=scenarios.a_drain_is_taken_back,
    ),
    mutation(
        "drain: replicas move to it",
        "decision 0024",
        "a reassignment to a broker that is drained is refused",
        edit(
            reassignment,
            "_check_targets",
            """
            - if draining := [node for node in coming if image.is_draining(node)]:
            + if draining := [node for node in coming if image.is_draining(node) and not mutated()]:
            """,
        ),
        scenario=scenarios.a_partition_is_moved_to_a_broker_that_is_drained,
    ),
    mutation(
        "drain: it ends with a restart",
        "decision 0024",
        "that a broker is drained outlives its registration",
        edit(
            _Draft,
            "_register_broker",
            """
            - draining_since=NOT_DRAINING if previous is None else previous.draining_since,
            + draining_since=NOT_DRAINING if previous is None or mutated() else previous.draining_since,
            """,
        ),
        scenario=scenarios.a_broker_that_is_drained_starts_again_beside_another_controller,
    ),
    mutation(
        "drain: too few brokers are left",
        "decision 0024",
        "a drain is refused that leaves too few brokers for a partition, what is drained already included",
        edit(
            draining,
            "_check_room",
            """
            - if len(staying) + len(free) < len(present):
            + if len(staying) + len(free) < len(present) and not mutated():
            """,
        ),
        scenario=scenarios.two_brokers_are_drained_where_one_can_be,
    ),
    mutation(
        "drain: too few racks are left",
        "decision 0024",
        "a drain is refused that leaves a partition fewer racks than min.insync.replicas, if it had as many",
        edit(
            draining,
            "_check_room",
            """
            - if spread < min(topic.config.min_insync_replicas, len(_racks(image, present))):
            + if spread < min(topic.config.min_insync_replicas, len(_racks(image, present))) and not mutated():
            """,
        ),
        scenario=scenarios.the_last_broker_of_a_rack_is_to_be_drained,
    ),
    mutation(
        "drain: it is elected before others",
        "decision 0024",
        "a broker that is drained leads only what nobody else can",
        edit(
            elections,
            "_leader",
            """
            - for node in sorted(sound, key=image.is_draining):
            + for node in sound if mutated() else ():
            """,
        ),
        scenario=scenarios.a_leader_dies_beside_a_broker_that_is_drained,
    ),
    mutation(
        "drain: it stays the preferred leader",
        "decision 0024",
        "a broker that is drained is nobody's preferred leader",
        edit(
            ClusterImage,
            "preferred_leader",
            """
            - if not self.is_draining(node):
            + if mutated():
            """,
        ),
        scenario=scenarios.a_preferred_leader_is_drained,
    ),
    mutation(
        "drain: a rebalance counts on it",
        "decision 0024",
        "a plan to rebalance leaves out brokers that are drained",
        edit(
            NodeDescription,
            "takes_replicas",
            """
            - return not (self.fenced or self.shutting_down or self.draining)
            + return not (self.fenced or self.shutting_down or (self.draining and not mutated()))
            """,
        ),
        scenario=scenarios.a_rebalance_is_planned_while_a_broker_is_drained,
    ),
)
