"""Disks that somebody else fills: nothing acknowledged is lost, and all goes on by itself once there is room.

Each node's directory is a small file system of its own, which takes a user who may mount one.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dohle import Admin, Producer
from dohle.model.errors import DohleError
from tests.integration.clusters import Cluster, until
from tests.integration.load import read_all, write_some

DISK_MIB = 96
RECORDS = 300


@contextlib.contextmanager
def disk_at(folder: Path) -> Iterator[None]:
    """Meanwhile `folder`, and what is in it, lies on a small file system of its own."""
    aside = folder.with_name(f"{folder.name}-formatted")
    folder.rename(aside)
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(folder)]
    mounted = subprocess.run(mounting, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip() or 'not permitted'}")
    try:
        shutil.copytree(aside, folder, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Fills the disk of `folder` to the last byte."""
    with contextlib.suppress(OSError), (folder / "filler").open("ab", buffering=0) as filler:
        while True:
            filler.write(bytes(1 << 16))


def make_room(folder: Path) -> None:
    (folder / "filler").unlink()


async def refused(bootstrap: str, topic: str) -> DohleError | None:
    """Returns why a record cannot be written at the moment."""
    async with Producer(bootstrap, delivery_timeout_ms=3000, request_timeout_ms=1000) as producer:
        try:
            await producer.send_and_wait(topic, b"refused")
        except DohleError as error:
            return error
    return None


def writes(cluster: Cluster) -> bool:
    return asyncio.run(refused(cluster.bootstrap, "tries")) is None


@pytest.fixture
def solo(make_cluster) -> Iterator[Cluster]:
    """One node, whose disk is small, with three topics."""
    cluster: Cluster = make_cluster(1)
    config = cluster.config(1)
    config.write_text(config.read_text() + "log_retention_check_interval_ms = 500\n")
    with disk_at(cluster.data(1)):
        cluster.up()
        for topic in ("kept", "old", "tries"):
            cluster.done("topic", "create", topic, "-p", "1", "-r", "1", "--config", "file.delete.delay.ms=100")
        yield cluster
        cluster.end()


def read(cluster: Cluster, topic: str) -> list[bytes]:
    return [value for _, value in sorted(asyncio.run(read_all(cluster.bootstrap, topic)).items())]


def sound(cluster: Cluster) -> bool:
    return "SOUND" in cluster.done("log", "verify", str(cluster.data(1)))


def test_a_node_starts_on_a_disk_without_a_byte_left_and_reads_and_deletes_and_recovers(solo):
    written = asyncio.run(write_some(solo.bootstrap, "kept", RECORDS))
    asyncio.run(write_some(solo.bootstrap, "old", RECORDS))
    solo.kill(1)
    fill(solo.data(1))
    solo.up()
    solo.until_healthy()

    error = asyncio.run(refused(solo.bootstrap, "tries"))
    assert "storage_min_free_bytes is 64 MiB; producers go on with 80 MiB: delete topics" in str(error)
    assert read(solo, "kept") == written
    assert "node 1 lacks room" in solo.dohle("status").stdout
    shown = solo.dohle("cluster", "dirs")
    assert shown.returncode == 1
    assert "low on space" in shown.stdout
    assert "producers are refused" in shown.stderr

    async def retain_nothing() -> None:
        async with Admin(solo.bootstrap) as admin:
            await admin.alter_configs("old", {"retention.ms": "1"})

    asyncio.run(retain_nothing())
    old = solo.data(1) / "old-0"
    until(lambda: not any(path.stat().st_size for path in old.glob("*.log*")), "all that was old is gone")
    solo.done("topic", "delete", "old", "--yes")
    until(lambda: not old.exists(), "the topic is gone")
    assert not writes(solo), "that was not room enough"

    make_room(solo.data(1))
    until(lambda: writes(solo), "producers go on by themselves")
    assert "healthy" in solo.done("status")
    assert "online" in solo.done("cluster", "dirs")
    until((solo.data(1) / ".reserve").exists, "there is a reserve again")
    written += asyncio.run(write_some(solo.bootstrap, "kept", RECORDS, prefix="s"))
    solo.kill(1)
    solo.up()
    solo.until_healthy()
    assert read(solo, "kept") == written
    solo.down()
    assert sound(solo)


def test_producers_wait_while_the_disk_is_full_and_all_that_they_write_is_there(solo):
    written = [f"r{number}".encode() for number in range(RECORDS)]
    log = solo.data(1) / "kept-0" / "00000000000000000000.log"

    async def write() -> None:
        async with Producer(solo.bootstrap, delivery_timeout_ms=120_000, linger_ms=0) as producer:
            for number, value in enumerate(written):
                if number == RECORDS // 3:
                    await asyncio.to_thread(fill, solo.data(1))
                    await asyncio.to_thread(until, lambda: "producers are refused" in solo.log(1), "they are")
                elif number == RECORDS * 2 // 3:
                    size = log.stat().st_size
                    await asyncio.sleep(1.0)
                    assert log.stat().st_size == size
                    await asyncio.to_thread(make_room, solo.data(1))
                await producer.send("kept", value)
                await asyncio.sleep(0)  # so that there are many batches

    asyncio.run(write())
    assert read(solo, "kept") == written
    solo.down()
    assert sound(solo)
