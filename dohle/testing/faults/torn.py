"""A loss of all power in the middle of writes: of all brokers but one the logs have torn tails, and that one dies.

What was being written then was acknowledged by nobody. The brokers with torn tails leave the in-sync sets for the one
without, and are eligible until they have caught up; so that one is killed as soon as some are.
"""

from __future__ import annotations

from dohle.model.batch import HEADER_BYTES, read_header
from dohle.model.errors import CorruptMessage
from dohle.model.image import ClusterImage
from dohle.testing.faults.blow import Blow
from dohle.testing.world.disk import SimDisk
from dohle.testing.world.world import DATA

_PATIENCE_S = 8.0
_LOOK_S = 0.002


async def torn_tails(blow: Blow) -> None:
    brokers = [node for node in blow.running() if blow.world.topology.node(node).is_broker]
    everyone = list(blow.world.machines)
    sound = blow.node_id if blow.node_id in brokers else blow.chance.choice(brokers or everyone)
    blow.strikes(f"all but node {sound}")
    blow.end(*everyone, power=True)
    for node_id in brokers:
        if node_id != sound and not blow.world.machines[node_id].in_service:
            _tear(blow, blow.world.machines[node_id].disk)
    await blow.pause(0.1)
    blow.start(*everyone)
    waited = 0.0
    seen: list[ClusterImage] = []
    while not blow.over and waited < _PATIENCE_S:
        images = blow.committed()
        if any(_some_are_eligible(image) for image in images if not any(image is one for one in seen)):
            break
        seen = images
        await blow.pause(_LOOK_S)
        waited += _LOOK_S
    if not blow.over and waited < _PATIENCE_S:
        blow.end(sound, power=False)
        await blow.lasts()
        blow.start(sound)


def _tear(blow: Blow, disk: SimDisk) -> None:
    folders = [f"{DATA}/{name}" for name in disk.list(DATA)] if disk.exists(DATA) else []
    for folder in folders:
        if not disk.exists(f"{folder}/partition.metadata") or folder.endswith(("-new", "-delete", "-stray")):
            continue
        path = f"{folder}/{max(name for name in disk.list(folder) if name.endswith('.log'))}"
        content = disk.open(path).content
        torn = content.cached[: blow.chance.randrange(1, HEADER_BYTES)]
        if _ends_with_a_batch(content.cached):  # else it is torn already, and more behind that would be no tear
            content.cached += torn
            content.begin_sync()()


def _ends_with_a_batch(content: bytearray) -> bool:
    position = 0
    try:
        while position + HEADER_BYTES <= len(content):
            position += read_header(content, position).size_bytes
    except CorruptMessage:
        return False
    return position == len(content)


def _some_are_eligible(image: ClusterImage) -> bool:
    return any(partition.eligible_replicas for topic in image.topics_in_order() for partition in topic.partitions)
