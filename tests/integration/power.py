"""Power that can be cut: each node's directory is an ext4 file system of its own, in an image file.

A cut is ext4's own emergency stop (EXT4_IOC_SHUTDOWN, without a flush of its journal): from that moment on nothing more
reaches the image, whatever lies in the page cache, and every write and fsync fails. Then the process is killed, and the
file system mounted anew, which throws the page cache away. What was fsynced is there, exactly; what was not is what the
kernel happened to have written by itself. It takes Linux, root and loop devices; `why_not` says what is missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.integration.clusters import Cluster, until

_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = struct.pack("I", 2)
_LOOP_MAJOR = 7
_IMAGE_MIB = 512


class Disk:
    """An ext4 file system in `<folder>.img`, which is to be mounted at `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.image = folder.with_name(f"{folder.name}.img")

    def make(self) -> None:
        with self.image.open("wb") as image:
            image.truncate(_IMAGE_MIB << 20)  # a sparse file
        _run("mkfs.ext4", "-q", "-F", str(self.image))

    def mount(self) -> None:
        _have_a_loop_device()
        _run("mount", "-o", "loop", str(self.image), str(self.folder))  # the device goes with the mount

    def unmount(self) -> None:
        until(lambda: not _runs("umount", str(self.folder)).returncode, f"{self.folder} can be unmounted")

    def cut(self) -> None:
        """Nothing that is not on the device yet gets there any more."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, _NO_LOG_FLUSH)
        finally:
            os.close(descriptor)

    def end(self) -> None:
        """Leaves nothing behind, however far it came."""
        if self.folder.is_mount():
            _runs("umount", "--lazy", str(self.folder))
        for device in _devices_of(self.image):
            _runs("losetup", "--detach", device)
        self.image.unlink(missing_ok=True)


def why_not(folder: Path) -> str:
    """Returns what keeps this machine from cutting a disk's power in `folder`, or nothing."""
    if sys.platform != "linux":
        return "ext4 and loop devices need Linux"
    missing = [name for name in ("mkfs.ext4", "losetup", "mount", "umount") if shutil.which(name) is None]
    if missing:
        return f"there is no {', no '.join(missing)} here"
    if os.geteuid():
        return "only root may mount an image"
    disk = Disk(folder / "tried")
    disk.folder.mkdir()
    try:
        disk.make()
        disk.mount()
        disk.cut()
        return ""
    except (subprocess.CalledProcessError, OSError) as error:
        said = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
        return f"an ext4 image cannot be mounted and shut down here: {said or error}"
    finally:
        disk.end()


class PowerCuts:
    """A cluster whose nodes each have a disk of their own."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.disks = {node_id: Disk(cluster.data(node_id)) for node_id in cluster.node_ids}

    def place(self) -> None:
        """Puts the nodes' formatted directories onto their disks, durably."""
        for disk in self.disks.values():
            aside = disk.folder.with_name(f"{disk.folder.name}-formatted")
            disk.folder.rename(aside)
            disk.folder.mkdir()
            disk.make()
            disk.mount()
            shutil.copytree(aside, disk.folder, dirs_exist_ok=True)
            _run("sync", "--file-system", str(disk.folder))

    def cut(self, *node_ids: int) -> int:
        """Cuts the power of these nodes at one moment, and mounts their disks again; returns how many bytes of segments
        had been written there and are gone."""
        for node_id in node_ids:
            self.disks[node_id].cut()
        written = {node_id: sizes_of(self.cluster.data(node_id)) for node_id in node_ids}
        for node_id in node_ids:
            process = self.cluster.local.state.node(node_id).process
            assert process is not None
            process.signal(signal.SIGKILL)  # unless its disk's failure was the end of it already
        until(lambda: not any(self.cluster.running(node_id) for node_id in node_ids), "the processes have ended")
        for node_id in node_ids:
            self.disks[node_id].unmount()
            self.disks[node_id].mount()
        return sum(_lost(written[node_id], sizes_of(self.cluster.data(node_id))) for node_id in node_ids)

    def end(self) -> None:
        self.cluster.end()
        for disk in self.disks.values():
            disk.end()


def sizes_of(folder: Path) -> dict[Path, int]:
    """Returns the sizes of all segments below `folder`."""
    return {path: path.stat().st_size for path in folder.rglob("*.log")}


def _lost(before: dict[Path, int], after: dict[Path, int]) -> int:
    return sum(max(0, size - after.get(path, 0)) for path, size in before.items())


@contextlib.contextmanager
def power_cuts(cluster: Cluster) -> Iterator[PowerCuts]:
    """The cluster's nodes have disks of their own meanwhile; they do not run yet."""
    cuts = PowerCuts(cluster)
    try:
        cuts.place()
        yield cuts
    finally:
        cuts.end()


def unmount_all_below(folder: Path) -> None:
    """For who cleans up after a test that was killed: its nodes have ended."""
    with open("/proc/self/mounts") as mounts:
        places = [line.split()[1] for line in mounts]
    for place in [place for place in places if Path(place).is_relative_to(folder)]:
        _runs("umount", "--lazy", place)


def _have_a_loop_device() -> None:
    """Makes the node of the next free loop device where nobody does that by itself, as in some containers."""
    free = Path(_run("losetup", "--find").stdout.strip())
    if not free.exists():
        number = int(free.name.removeprefix("loop"))
        with contextlib.suppress(FileExistsError):
            os.mknod(free, 0o600 | stat.S_IFBLK, os.makedev(_LOOP_MAJOR, number))


def _devices_of(image: Path) -> list[str]:
    shown = _runs("losetup", "--associated", str(image), "--noheadings", "--output", "NAME")
    return shown.stdout.split()


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True)


def _runs(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)
