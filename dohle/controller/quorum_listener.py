"""QuorumListener: what a controller's quorum tells the state machine above it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dohle.model.image import ClusterImage
from dohle.model.metadata_batch import MetadataBatch


@dataclass(frozen=True, slots=True)
class QuorumListener:
    """Plain calls, none of which may fail but fatally."""

    committed: Callable[[MetadataBatch], None]
    leads: Callable[[int], None]  # in this term
    leads_no_longer: Callable[[], None]
    leader_changed: Callable[[], None]  # another node leads, none is known, or this one does not hand over after all
    installed: Callable[[ClusterImage], None]  # a snapshot's, in place of all that was committed before
