"""The kinds of fault that take root, Linux, or a compiler, besides those that are shipped."""

from dohle.testing.chaos.fault import Kinds
from jepsen_lite.disk_faults import DiskFull, PowerCut, PowerCutAll
from jepsen_lite.memory_faults import Memory
from jepsen_lite.shim_faults import ClockJump, ClockSkew, SlowDisk, SyncError, WriteError

OF_MACHINES = Kinds(PowerCut, PowerCutAll, DiskFull, WriteError, SyncError, SlowDisk, ClockJump, ClockSkew, Memory)
