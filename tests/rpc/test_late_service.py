"""A service that is served before it has begun."""

from __future__ import annotations

from typing import Any

import pytest

from dohle.model.errors import NetworkException
from dohle.rpc.late_service import LateService
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import broker_pb2
from dohle.runtime.network import Address, Lane, RequestContext

BROKER = broker_pb2.DESCRIPTOR.services_by_name["Broker"]
METHODS = methods_of(BROKER)


async def test_until_it_begins_a_service_is_as_good_as_not_there(network: Any, handlers: Any) -> None:
    async def answer(context: RequestContext) -> broker_pb2.MetadataResponse:
        return broker_pb2.MetadataResponse(cluster_id="here")

    handlers.on_metadata = answer
    late = LateService(BROKER, "node 7 is starting")
    server = await network.serve(Address("127.0.0.1", 0), [late.service], listener="GRPC")
    request = broker_pb2.MetadataRequest()
    with pytest.raises(NetworkException, match="node 7 is starting"):
        await network.call(server.address, METHODS["Metadata"], request, lane=Lane.CLIENT, timeout_s=10)
    stream = network.stream(server.address, METHODS["Fetch"], lane=Lane.CLIENT)
    with pytest.raises(NetworkException):
        await stream.receive()
    late.begin(handlers)
    answered = await network.call(server.address, METHODS["Metadata"], request, lane=Lane.CLIENT, timeout_s=10)
    assert answered.cluster_id == "here"
    await server.stop(0)
