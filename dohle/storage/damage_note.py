"""Damage note: what a read has found damaged in a log, kept in the log's folder so that no later start forgets it.

A clean stop leaves nothing that would make the next start read the records. `damaged` is text: a version, then file,
position, first offset and the offset behind the last one, then the reason. It goes with the folder.
"""

from __future__ import annotations

from dohle.runtime.disk import Disk
from dohle.storage.checkpoints import write_files
from dohle.storage.opened import Damage
from dohle.storage.segment import DamagedFile

DAMAGE_FILE = "damaged"


async def note_damage(disk: Disk, folder: str, error: DamagedFile, *, of_replica: bool) -> Damage:
    """Returns the damage, noted durably. The quorum's log ends with it: no other log there takes its place."""
    damage = Damage(error.file, error.position, error.reason, error.offsets if of_replica else None)
    if damage.offsets is not None:
        await write_damage(disk, folder, damage)
    return damage


async def write_damage(disk: Disk, folder: str, damage: Damage) -> None:
    """Notes `damage`, whose offsets are known; durable on return. Raises OSError."""
    assert damage.offsets is not None
    name, (first, beyond) = damage.file.rpartition("/")[2], damage.offsets
    text = f"0\n{name} {damage.position} {first} {beyond}\n{damage.reason}\n"
    await write_files(disk, {f"{folder}/{DAMAGE_FILE}": text}, [folder])


async def read_damage(disk: Disk, folder: str) -> Damage:
    """Returns what was noted, which is there. A note that cannot be read is damage enough."""
    path = f"{folder}/{DAMAGE_FILE}"
    try:
        version, place, reason = (await disk.read_all(path)).decode("utf-8", "replace").splitlines()
        name, position, first, beyond = place.split(" ")
        if version != "0":
            raise ValueError(f"version {version} is unknown")
        return Damage(f"{folder}/{name}", int(position), reason, (int(first), int(beyond)))
    except ValueError as error:
        return Damage(path, 0, f"it says of a damage what cannot be read: {error}", (0, 0))


def delete_damage(disk: Disk, folder: str) -> None:
    """Forgets what was noted, if anything was: the log goes with it. Raises OSError."""
    if disk.exists(f"{folder}/{DAMAGE_FILE}"):
        disk.delete(f"{folder}/{DAMAGE_FILE}")
