"""Wire: requests of brokers to the controller, as somebody sees and sends them who sits between the two."""

from __future__ import annotations

from typing import Any

from dohle.broker.controller_client import METHODS
from dohle.model.errors import DohleError
from dohle.rpc.v1.controller_pb2 import AlterPartitionsRequest
from dohle.runtime.network import Address, Lane
from dohle.testing.world.world import PORT
from tests.simulation.mutations.stage import Stage


def overhear(stage: Stage, node_id: int) -> list[AlterPartitionsRequest]:
    """Returns what the broker asks from now on about in-sync sets, in a list that grows."""
    client = stage.broker(node_id).controller
    heard: list[AlterPartitionsRequest] = []
    call = client.call

    async def overheard(method: str, request: Any, **options: Any) -> Any:
        if method == "AlterPartitions":
            heard.append(request)
        return await call(method, request, **options)

    client.call = overheard  # type: ignore[method-assign]
    return heard


async def arrive(stage: Stage, method: str, *requests: Any) -> list[Any]:
    """Has requests reach the active controller, all at once; returns its answers, errors too, in the order given."""
    answers = send(stage, method, *requests)
    await stage.until(lambda: len(answers) == len(requests), "the controller has answered")
    return [answers[number] for number in range(len(requests))]


def send(stage: Stage, method: str, *requests: Any) -> dict[int, Any]:
    """As `arrive`, but returns at once what the answers will be in."""
    controller = Address(stage.world.machines[stage.controller()].name, PORT)
    process = stage.world.client("wire")
    answers: dict[int, Any] = {}

    async def ask(number: int) -> None:
        try:
            answers[number] = await process.network.call(
                controller, METHODS[method], requests[number], lane=Lane.CONTROL, timeout_s=5
            )
        except DohleError as error:
            answers[number] = error

    for number in range(len(requests)):
        process.spawn(ask(number), f"request {number}")
    return answers
