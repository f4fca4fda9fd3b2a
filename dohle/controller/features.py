"""Which metadata.version a cluster works at, and how an operator raises it (KIP-584, KIP-778).

Keeps: a level is finalised only when every broker and controller that could meet its records supports it; a node that
does not support the finalised level is not registered and gets no vote. A level is never lowered: the log may hold what
only that level knows, and Kafka refuses it then, too.

A broker that is fenced and holds nothing does not count: it will be refused when it returns, and nobody misses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dohle.controller.controller import Controller
from dohle.controller.decision import Decision
from dohle.model.errors import InvalidUpdateVersion
from dohle.model.ids import NodeId
from dohle.model.image import ClusterImage
from dohle.model.metadata import METADATA_VERSION, FeatureLevel, FeatureRange
from dohle.raft.quorum import ReplicaKey
from dohle.rpc.v1 import admin_pb2
from dohle.runtime.clock import Clock

Supported = Mapping[ReplicaKey, tuple[FeatureRange, ...]]
"""What the connected controllers can work at."""

_CALL_S = 1.0  # a voter calls again after half a second at most
_LOOK_AGAIN_S = 0.05

_ROLE_NAMES = {
    admin_pb2.NODE_ROLE_BROKER: "broker",
    admin_pb2.NODE_ROLE_VOTER: "voter",
    admin_pb2.NODE_ROLE_LEARNER: "controller without a vote",
}


@dataclass(frozen=True, slots=True)
class _Support:
    """What one node's broker or controller can work at; None: that is not known."""

    node_id: NodeId
    role: admin_pb2.NodeRole
    up: bool
    counts: bool
    range: FeatureRange | None

    @property
    def name(self) -> str:
        return f"{_ROLE_NAMES[self.role]} {self.node_id}"

    def objection(self, level: int) -> str | None:
        """Returns why `level` may not be finalised, as far as this node goes, and what to do."""
        found = self.range
        if not self.counts or (found is not None and found.min_level <= level <= found.max_level):
            return None
        known = "nothing of it" if found is None else f"{found.min_level} to {found.max_level}"
        if self.up:
            return f"{self.name} supports {known}"
        if self.role == admin_pb2.NODE_ROLE_BROKER:
            return (
                f"{self.name} is down, and supported {known} (start it with newer software, or empty it by `dohle "
                f"cluster drain {self.node_id}`)"
            )
        return (
            f"{self.name} is not connected, so what it supports is not known (start it, or take its vote away by "
            f"`dohle cluster voters remove {self.node_id}`)"
        )


async def voters_called(controller: Controller, clock: Clock) -> None:
    """Returns once every voter has said what it supports, or after a second: this node may be new in its office."""
    await controller.leader_found()
    quorum, deadline = controller.quorum, clock.now() + _CALL_S
    while controller.is_active and clock.now() < deadline:
        voters = {ReplicaKey(voter.node_id, voter.directory_id) for voter in quorum.voters}
        if voters <= quorum.supported_features().keys():
            return
        await clock.sleep(_LOOK_AGAIN_S)


def describe_features(
    image: ClusterImage, supported: Supported, newest: int
) -> Decision[admin_pb2.DescribeFeaturesResponse]:
    """Returns the finalised level, who supports what, and whether `newest` could be finalised."""
    nodes = _support(image, supported)
    obstacle = _obstacle(nodes, newest) if newest > image.metadata_version else None
    answer = admin_pb2.DescribeFeaturesResponse(
        metadata_version=image.metadata_version,
        newest_metadata_version=newest,
        obstacle=obstacle or "",
        nodes=[
            admin_pb2.NodeSupport(
                node_id=node.node_id,
                role=node.role,
                up=node.up,
                min_metadata_version=node.range.min_level if node.range else 0,
                max_metadata_version=node.range.max_level if node.range else 0,
            )
            for node in nodes
        ],
    )
    return Decision((), answer)


def update_features(
    image: ClusterImage, request: admin_pb2.UpdateFeaturesRequest, supported: Supported, newest: int
) -> Decision[admin_pb2.UpdateFeaturesResponse]:
    """Decides on a level, `newest` unless the request names one. Raises InvalidUpdateVersion where it may not be."""
    before, wanted = image.metadata_version, request.metadata_version or newest
    if wanted < before:
        raise InvalidUpdateVersion(
            f"metadata.version {before} is finalised, and never lowered to {wanted}: the metadata may hold what only "
            f"{before} knows"
        )
    nodes = _support(image, supported)
    if (obstacle := _obstacle(nodes, wanted)) is not None:
        raise InvalidUpdateVersion(_refusal(nodes, wanted, before, newest, obstacle))
    answer = admin_pb2.UpdateFeaturesResponse(metadata_version=wanted, previous_metadata_version=before)
    changes = wanted > before and not request.validate_only
    return Decision((FeatureLevel(METADATA_VERSION, wanted),) if changes else (), answer)


def newest_version(features: Sequence[FeatureRange]) -> int:
    """Returns the highest metadata.version of a node with these features."""
    found = _metadata_range(features)
    assert found is not None, "this software knows metadata.version"
    return found.max_level


def _support(image: ClusterImage, supported: Supported) -> list[_Support]:
    nodes = [
        _Support(
            broker.node_id,
            admin_pb2.NODE_ROLE_BROKER,
            up=not broker.fenced,
            counts=not broker.fenced or image.replica_count(broker.node_id) > 0,
            range=_metadata_range(broker.features),
        )
        for broker in image.brokers_in_order()
    ]
    voters = {ReplicaKey(voter.node_id, voter.directory_id) for voter in image.voters}
    for key in sorted(voters | supported.keys()):
        role = admin_pb2.NODE_ROLE_VOTER if key in voters else admin_pb2.NODE_ROLE_LEARNER
        found = _metadata_range(supported.get(key, ()))
        nodes.append(_Support(key.node_id, role, up=key in supported, counts=True, range=found))
    return nodes


def _obstacle(nodes: Sequence[_Support], level: int) -> str | None:
    objections = [objection for node in nodes if (objection := node.objection(level)) is not None]
    return f"{'; '.join(objections)}. Upgrade what is older first" if objections else None


def _refusal(nodes: Sequence[_Support], wanted: int, before: int, newest: int, obstacle: str) -> str:
    """Returns why a level cannot be finalised, and which one can be; if none, who holds that up."""
    known = max([newest, *(node.range.max_level for node in nodes if node.range is not None)])
    best = max((level for level in range(before + 1, known + 1) if _obstacle(nodes, level) is None), default=before)
    if wanted <= known:
        why = f"metadata.version {wanted} cannot be finalised: {obstacle}"
    else:
        why = f"metadata.version {wanted} is known to no node of this cluster: the newest is {known}"
    if best > before:
        return f"{why}. All support {best}, which `dohle cluster features upgrade --metadata-version {best}` finalises"
    if before == known:
        return f"{why}, at which it works. For more, every node needs newer software first"
    held_up = f"; for {known}: {_obstacle(nodes, known)}" if wanted > known else ""
    return f"{why}. The cluster works at {before}, the newest that all are known to support{held_up}"


def _metadata_range(features: Sequence[FeatureRange]) -> FeatureRange | None:
    return next((feature for feature in features if feature.name == METADATA_VERSION), None)
