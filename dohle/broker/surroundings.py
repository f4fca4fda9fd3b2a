"""What a broker's parts share: who the node is, and the seams to the world outside."""

from __future__ import annotations

import random
from dataclasses import dataclass

from dohle.model.ids import NodeId
from dohle.rpc.identity import NodeIdentity
from dohle.runtime.clock import Clock
from dohle.runtime.disk import Disk
from dohle.runtime.network import Network
from dohle.runtime.tasks import Tasks


@dataclass(frozen=True, slots=True)
class Surroundings:
    """One start of one broker."""

    identity: NodeIdentity
    clock: Clock
    disk: Disk
    network: Network
    random: random.Random
    tasks: Tasks

    @property
    def me(self) -> NodeId:
        return self.identity.node_id
