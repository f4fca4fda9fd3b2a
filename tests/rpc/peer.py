"""The other process: `serve PORT` answers at Node and Broker, `follow PORT` holds a stream open."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import uvloop

from dohle.model.ids import ClusterId, DirectoryId, IncarnationId, NodeId
from dohle.rpc.grpc_network import GrpcNetwork
from dohle.rpc.identity import NodeIdentity
from dohle.rpc.methods import methods_of, service
from dohle.rpc.node_service import NodeService
from dohle.rpc.v1 import broker_pb2
from dohle.runtime.network import Address, Lane, RequestContext

BROKER = broker_pb2.DESCRIPTOR.services_by_name["Broker"]
INCARNATION = IncarnationId(b"peer" * 4)


class Echo:
    """A Broker that answers each fetch at once."""

    async def fetch(self, stream: Any, context: RequestContext) -> None:
        while (request := await stream.receive()) is not None:
            await stream.send(broker_pb2.FetchResponse(correlation=request.correlation))

    async def produce(self, stream: Any, context: RequestContext) -> None: ...

    async def metadata(self, request: Any, context: RequestContext) -> Any:
        return broker_pb2.MetadataResponse()

    list_offsets = delete_records = init_producer_id = describe_positions = metadata


async def main(role: str, port: int) -> None:
    network = GrpcNetwork(client_id="peer")
    if role == "serve":
        node = NodeService(NodeIdentity(ClusterId("c"), NodeId(7), INCARNATION, DirectoryId(b"d" * 16)))
        server = await network.serve(
            Address("127.0.0.1", port), [node.service(), service(BROKER, Echo())], listener="GRPC"
        )
        print(server.address.port, flush=True)
    else:
        stream = network.stream(Address("127.0.0.1", port), methods_of(BROKER)["Fetch"], lane=Lane.REPLICATION)
        await stream.send(broker_pb2.FetchRequest(correlation=1))
        await stream.receive()
        print("following", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
