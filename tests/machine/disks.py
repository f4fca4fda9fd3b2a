"""Disk: an ext4 file system of its own in an image file, whose power can be cut.

A cut is ext4's own emergency stop (EXT4_IOC_SHUTDOWN, without a flush of its journal): from that moment on nothing more
reaches the image, whatever lies in the page cache, and every write and fsync fails. Then who uses it is killed, and the
file system mounted anew, which throws the page cache away. What was fsynced is there, exactly; what was not is what the
kernel happened to have written by itself. It takes Linux, root and loop devices; `why_not` says what is missing.

Who began a mount namespace meanwhile, as dockerd does, has a copy of each mount there was. As long as one is left, the
file system stays as it is, dead after a cut, and its device taken: so what is unmounted is unmounted there, too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import struct
from pathlib import Path

from tests.machine.commands import CommandFailed, missing, run, runs, until

_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = struct.pack("I", 2)
_LOOP_MAJOR = 7


class Disk:
    """An ext4 file system in `<folder>.img`, which is to be mounted at `folder`."""

    def __init__(self, folder: Path, size_mib: int = 512) -> None:
        self.folder = folder
        self.image = folder.with_name(f"{folder.name}.img")
        self._size_mib = size_mib

    def make(self) -> None:
        with self.image.open("wb") as image:
            image.truncate(self._size_mib << 20)  # a sparse file
        run("mkfs.ext4", "-q", "-F", str(self.image))

    def mount(self) -> None:
        _have_a_loop_device()
        run("mount", "-o", "loop", str(self.image), str(self.folder))  # the device goes with the mount

    def unmount(self) -> None:
        until(lambda: not runs("umount", str(self.folder)).returncode, f"{self.folder} can be unmounted")
        unmount_elsewhere(self.folder)

    def cut(self) -> None:
        """Nothing that is not on the device yet gets there any more."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, _NO_LOG_FLUSH)
        finally:
            os.close(descriptor)

    def detach(self) -> None:
        """Has it mounted nowhere, however far it came, and keeps the image."""
        if self.folder.is_mount():
            runs("umount", "--lazy", str(self.folder))
        unmount_elsewhere(self.folder)
        for device in _devices_of(self.image):
            runs("losetup", "--detach", device)

    def end(self) -> None:
        """Leaves nothing behind."""
        self.detach()
        self.image.unlink(missing_ok=True)


def why_not(folder: Path) -> str:
    """Returns what keeps this machine from cutting a disk's power in `folder`, or nothing."""
    lack = missing("mkfs.ext4", "losetup", "mount", "nsenter", "umount")
    if lack:
        return f"disks whose power can be cut: {lack}"
    disk = Disk(folder / "tried")
    disk.folder.mkdir()
    try:
        disk.make()
        disk.mount()
        disk.cut()
        return ""
    except (CommandFailed, OSError) as error:
        return f"an ext4 image cannot be mounted and shut down here: {error}"
    finally:
        disk.end()
        disk.folder.rmdir()


def unmount_elsewhere(folder: Path) -> None:
    """Takes the copies of a mount away that other mount namespaces have."""
    seen = {os.readlink("/proc/self/ns/mnt")}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            namespace = os.readlink(process / "ns" / "mnt")
            if namespace in seen:
                continue
            seen.add(namespace)
            mounts = (process / "mounts").read_text()
        except OSError:  # it has ended
            continue
        if any(line.split()[1] == str(folder) for line in mounts.splitlines()):
            runs("nsenter", "--target", process.name, "--mount", "umount", "--lazy", str(folder))


def unmount_all_below(folder: Path) -> None:
    """For who cleans up after a run that was killed: its processes have ended."""
    with open("/proc/self/mounts") as mounts:
        places = [line.split()[1] for line in mounts]
    for place in [place for place in places if Path(place).is_relative_to(folder)]:
        runs("umount", "--lazy", place)
        unmount_elsewhere(Path(place))


def _have_a_loop_device() -> None:
    """Makes the node of the next free loop device where nobody does that by itself, as in some containers."""
    free = Path(run("losetup", "--find").strip())
    if not free.exists():
        number = int(free.name.removeprefix("loop"))
        with contextlib.suppress(FileExistsError):
            os.mknod(free, 0o600 | stat.S_IFBLK, os.makedev(_LOOP_MAJOR, number))


def _devices_of(image: Path) -> list[str]:
    return runs("losetup", "--associated", str(image), "--noheadings", "--output", "NAME").stdout.split()
