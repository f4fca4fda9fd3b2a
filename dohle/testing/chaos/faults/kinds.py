"""The kinds of fault that are shipped."""

from dohle.testing.chaos.fault import Kinds
from dohle.testing.chaos.faults.files import BitRot, LostFolder, LostIndex, TornTail
from dohle.testing.chaos.faults.limits import Descriptors
from dohle.testing.chaos.faults.members import DiskWipe, Drain, LostVote, ReassignedReplicas
from dohle.testing.chaos.faults.partitions import Bridge, IsolatedLeader, OneWayCut, Partition, Ring
from dohle.testing.chaos.faults.processes import Kill, Pause, Restart, RollingRestart
from dohle.testing.chaos.faults.traffic import Delay, Reset, Stall, Throttle

SHIPPED = Kinds(
    Kill,
    Pause,
    Restart,
    RollingRestart,
    Partition,
    OneWayCut,
    Bridge,
    Ring,
    IsolatedLeader,
    Delay,
    Stall,
    Throttle,
    Reset,
    TornTail,
    BitRot,
    LostIndex,
    LostFolder,
    Descriptors,
    ReassignedReplicas,
    Drain,
    LostVote,
    DiskWipe,
)
