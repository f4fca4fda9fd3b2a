"""What a run has at its hand without root and without anything but Dohle: loopback, and the SDK."""

from __future__ import annotations

from dohle.testing.chaos.faults.kinds import SHIPPED
from dohle.testing.chaos.launch import Harness
from dohle.testing.chaos.loopback_world import LoopbackWorld
from dohle.testing.chaos.workload import Workloads
from dohle.testing.chaos.workloads.kinds import SDK_FINAL_READ, SDK_WORKLOADS

LOOPBACK = Harness(
    "loopback",
    lambda folder, nodes, seed: LoopbackWorld(folder, nodes, seed=seed),
    SHIPPED,
    Workloads(SDK_WORKLOADS),
    SDK_FINAL_READ,
)
