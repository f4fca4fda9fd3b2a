"""NodeService: says which process answers here."""

from __future__ import annotations

from dohle.rpc.identity import NodeIdentity
from dohle.rpc.methods import service
from dohle.rpc.v1 import node_pb2
from dohle.runtime.network import RequestContext, Service

NODE = node_pb2.DESCRIPTOR.services_by_name["Node"]


class NodeService:
    """Every node serves it on every gRPC listener."""

    def __init__(self, identity: NodeIdentity) -> None:
        self._identity = identity

    async def identify(self, request: node_pb2.IdentifyRequest, context: RequestContext) -> node_pb2.IdentifyResponse:
        return node_pb2.IdentifyResponse(node=self._identity.hello())

    def service(self) -> Service:
        return service(NODE, self)
