"""Mutations of how a broker is emptied that is about to stop."""

from __future__ import annotations

from dohle.controller.brokers import ShutdownSteps
from dohle.controller.controller_service import ControllerService
from dohle.controller.shutdowns import Shutdowns
from tests.simulation.mutations import shutdown_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

SHUTDOWNS = (
    mutation(
        "shutdown: a broker is marked with the last of its partitions",
        "amendment 9",
        "a broker that shuts down gets nothing new from the first step on",
        edit(
            ShutdownSteps,
            "next",
            """
            - news = [change] if _differs(broker, change) else []
            + news = [change] if len(self._left) <= self._most or not mutated() else []
            """,
        ),
        scenario=scenarios.topics_are_made_while_a_broker_is_emptied,
    ),
    mutation(
        "shutdown: a broker may stop with the first of its partitions",
        "amendment 9",
        "a broker may stop once the last step is committed that moves what it leads",
        edit(
            Shutdowns,
            "emptied",
            """
            - await shutdown.over.wait()
            - return shutdown.emptied
            + return mutated()
            """,
        ),
        scenario=scenarios.a_broker_that_leads_much_is_stopped,
    ),
    mutation(
        "shutdown: the next controller takes it for finished",
        "amendment 9",
        "a controller that takes office goes on with brokers that shut down",
        edit(
            Shutdowns,
            "_empty",
            """
            - await self._controller.change(ShutdownSteps(image, broker, MOST_CHANGES).next)
            + if not broker.shutting_down or not mutated():
            +     await self._controller.change(ShutdownSteps(image, broker, MOST_CHANGES).next)
            """,
        ),
        scenario=scenarios.a_controller_dies_while_it_empties_a_broker,
    ),
    mutation(
        "shutdown: a voter that knows no active controller passes for one",
        "amendment 9",
        "without a controller a broker stops after a second",
        edit(
            ControllerService,
            "_beat",
            """
            - if not self._controller.quorum.is_leader:
            + if not self._controller.quorum.is_leader and not mutated():
            """,
        ),
        scenario=scenarios.a_broker_is_stopped_without_a_majority_of_controllers,
    ),
)
