"""Who a node is, as it says at the start of every stream to another node, and the check of what others say."""

from __future__ import annotations

from dataclasses import dataclass

import dohle
from dohle.model.errors import InconsistentClusterId
from dohle.model.ids import ClusterId, DirectoryId, IncarnationId, NodeId
from dohle.model.metadata import FeatureRange
from dohle.rpc.v1 import common_pb2


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """One start of one node."""

    cluster_id: ClusterId
    node_id: NodeId
    incarnation_id: IncarnationId
    directory_id: DirectoryId
    features: tuple[FeatureRange, ...] = ()

    def hello(self) -> common_pb2.Hello:
        return common_pb2.Hello(
            cluster_id=self.cluster_id,
            node_id=self.node_id,
            incarnation_id=self.incarnation_id,
            directory_id=self.directory_id,
            features=[
                common_pb2.FeatureRange(name=name, min_level=least, max_level=most)
                for name, least, most in self.features
            ],
            version=dohle.__version__,
        )

    def check(self, hello: common_pb2.Hello) -> None:
        """Raises InconsistentClusterId if `hello` comes from a node of another cluster."""
        if hello.cluster_id != self.cluster_id:
            raise InconsistentClusterId(
                f"node {hello.node_id} belongs to cluster {hello.cluster_id or '(unnamed)'}, this one to"
                f" {self.cluster_id}; check the addresses in its configuration"
            )


def features_of(hello: common_pb2.Hello) -> tuple[FeatureRange, ...]:
    """Returns the levels that the node which says `hello` can work at."""
    return tuple([FeatureRange(said.name, said.min_level, said.max_level) for said in hello.features])
