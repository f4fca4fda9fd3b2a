"""The table of all mutations, and the plans that find them."""

from __future__ import annotations

from pathlib import Path

from dohle.testing.campaigns.plan_file import KeptRun, read_kept
from tests.simulation.mutations.admin import ADMIN
from tests.simulation.mutations.compaction import COMPACTION
from tests.simulation.mutations.damage import DAMAGE
from tests.simulation.mutations.deletions import DELETIONS
from tests.simulation.mutations.dir_moves import DIR_MOVES
from tests.simulation.mutations.directories import DIRECTORIES
from tests.simulation.mutations.drains import DRAINS
from tests.simulation.mutations.eligible import ELIGIBLE
from tests.simulation.mutations.fencing import FENCING
from tests.simulation.mutations.forks import FORKS
from tests.simulation.mutations.group_clients import GROUP_CLIENTS
from tests.simulation.mutations.groups import GROUPS
from tests.simulation.mutations.in_sync import IN_SYNC
from tests.simulation.mutations.leading import LEADING
from tests.simulation.mutations.neighbours import NEIGHBOURS
from tests.simulation.mutations.operations import OPERATIONS
from tests.simulation.mutations.placing import PLACING
from tests.simulation.mutations.raft import RAFT
from tests.simulation.mutations.readers import READERS
from tests.simulation.mutations.rebalance import REBALANCE
from tests.simulation.mutations.replication import REPLICATION
from tests.simulation.mutations.room import ROOM
from tests.simulation.mutations.shutdowns import SHUTDOWNS
from tests.simulation.mutations.snapshots import SNAPSHOTS
from tests.simulation.mutations.storage import STORAGE
from tests.simulation.mutations.upgrades import UPGRADES
from tests.simulation.mutations.voters import VOTERS

MUTATIONS = (
    *RAFT,
    *VOTERS,
    *SNAPSHOTS,
    *REPLICATION,
    *IN_SYNC,
    *LEADING,
    *READERS,
    *GROUP_CLIENTS,
    *PLACING,
    *FENCING,
    *SHUTDOWNS,
    *ELIGIBLE,
    *OPERATIONS,
    *NEIGHBOURS,
    *REBALANCE,
    *DRAINS,
    *ADMIN,
    *STORAGE,
    *DELETIONS,
    *COMPACTION,
    *FORKS,
    *DAMAGE,
    *DIRECTORIES,
    *ROOM,
    *DIR_MOVES,
    *UPGRADES,
    *GROUPS,
)

KEPT_FILE = Path(__file__).with_name("kept.toml")


def kept_runs() -> dict[str, KeptRun]:
    """Returns the plans that the search has found, by the names of the mutations."""
    return read_kept(KEPT_FILE.read_text(), KEPT_FILE.name)
