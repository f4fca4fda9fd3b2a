"""Snapshots of a real quorum: written, cut after, recovered from, fetched and installed; damage is refused."""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path

import pytest

from dohle.controller.decision import Decision
from dohle.model.errors import CorruptLog, NetworkException, OffsetNotAvailable
from dohle.model.ids import SnapshotId
from dohle.model.image import ClusterImage
from dohle.model.metadata import ReassignmentThrottle
from dohle.model.snapshot import parse_file_name
from dohle.rpc.snapshot_download import SnapshotDownload
from tests.controller.cluster import Cluster, TestVoter, until


async def changed(voter: TestVoter, times: int = 5) -> None:
    def decide(image: ClusterImage) -> Decision[None]:
        return Decision((ReassignmentThrottle(image.reassignment_bytes_per_s + 1),), None)

    for _ in range(times):
        await voter.part.controller.change(decide)


async def taken(voter: TestVoter) -> SnapshotId:
    """Has `voter` write a snapshot, and waits until the log is cut after it."""
    files = voter.part.quorum.snapshots.files
    await voter.part.taker.take()
    start = files.sound[-2].end_offset if len(files.sound) > 1 else 0
    await until(lambda: voter.part.quorum.log_start_offset == start)
    await until(lambda: not [one for one in on_disk(voter) if one.end_offset < start])
    checkpoint = voter.folder / "__cluster_metadata-0" / "log-start-offset-checkpoint"
    await until(lambda: not start or (checkpoint.exists() and checkpoint.read_text().split()[-1] == str(start)))
    return files.newest


def on_disk(voter: TestVoter) -> list[SnapshotId]:
    names = sorted(path.name for path in (voter.folder / "__cluster_metadata-0").iterdir())
    return [found for name in names if (found := parse_file_name(name)) is not None]


def file_of(voter: TestVoter, snapshot: SnapshotId) -> Path:
    return Path(voter.part.quorum.snapshots.files.path(snapshot))


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)


async def test_the_log_is_cut_at_the_snapshot_before_and_a_start_goes_on_from_the_newest(cluster: Cluster) -> None:
    voter = await cluster.start(1)
    snapshots = []
    for _ in range(3):
        await changed(voter)
        snapshots.append(await taken(voter))
    assert on_disk(voter) == snapshots[1:]
    assert voter.part.quorum.log_start_offset == snapshots[1].end_offset
    await changed(voter)
    before = voter.part.controller.committed
    for end in (voter.kill, voter.stop):
        await end()
        await voter.start()
        await cluster.leader()
        assert voter.part.controller.committed.reassignment_bytes_per_s == before.reassignment_bytes_per_s
        assert voter.part.controller.committed.voters == before.voters
        assert voter.part.quorum.log_start_offset == snapshots[1].end_offset
        assert voter.part.quorum.snapshots.files.newest == snapshots[2]


async def far_behind(cluster: Cluster) -> tuple[TestVoter, TestVoter]:
    """Returns the leader, whose log is cut, and a voter that is down and has nothing of what was cut."""
    leader = await cluster.start(3)
    away = next(voter for voter in cluster.voters if voter is not leader)
    await away.kill()
    await changed(leader)
    await cluster.agreed()
    for _ in range(2):
        for voter in cluster.running:
            await taken(voter)
        await changed(leader)
        await cluster.agreed()
    return leader, away


async def test_a_voter_that_was_away_for_too_long_installs_a_snapshot_and_goes_on(cluster: Cluster) -> None:
    leader, away = await far_behind(cluster)
    await away.start()
    await cluster.agreed()
    newest = leader.part.quorum.snapshots.files.newest
    assert away.part.quorum.log_start_offset == newest.end_offset
    assert on_disk(away) == [newest]
    await changed(leader)
    await cluster.agreed()
    await away.kill()
    await away.start()
    await cluster.agreed()
    other = next(voter for voter in cluster.running if voter not in (leader, away))
    await other.kill()
    await changed(leader)  # by the votes of the leader and of what was installed
    await cluster.agreed()


async def test_a_crash_between_the_snapshots_name_and_the_logs_new_beginning_is_mended_at_the_start(
    cluster: Cluster,
) -> None:
    leader, away = await far_behind(cluster)
    newest = leader.part.quorum.snapshots.files.newest
    shutil.copy(file_of(leader, newest), away.folder / "__cluster_metadata-0")
    leftover = away.folder / "__cluster_metadata-0" / (file_of(leader, newest).name + ".part")
    leftover.write_bytes(b"half")
    await away.start()
    assert away.part.quorum.log_start_offset == newest.end_offset
    assert not leftover.exists()
    await cluster.agreed()


async def test_a_damaged_snapshot_is_named_and_the_one_before_is_used(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    voter = await cluster.start(1)
    for _ in range(3):
        await changed(voter)
        newest = await taken(voter)
    path = file_of(voter, newest)
    before = voter.part.controller.committed.reassignment_bytes_per_s
    await voter.kill()
    spoil(path)
    with caplog.at_level(logging.ERROR):
        await voter.start()
    assert f"the snapshot {path} is damaged at byte 0: the batch of offset 0 is damaged" in caplog.text
    await cluster.leader()
    assert voter.part.controller.committed.reassignment_bytes_per_s == before


async def test_a_voter_whose_snapshots_are_all_damaged_fetches_one_from_a_peer(cluster: Cluster) -> None:
    leader, away = await far_behind(cluster)
    await away.start()
    await cluster.agreed()
    (snapshot,) = on_disk(away)
    path = file_of(away, snapshot)
    await away.kill()
    spoil(path)
    await away.start()
    await cluster.agreed()
    assert away.part.quorum.snapshots.files.newest == leader.part.quorum.snapshots.files.newest


async def test_a_lone_voter_without_a_sound_snapshot_does_not_start(cluster: Cluster) -> None:
    voter = await cluster.start(1)
    for _ in range(2):
        await changed(voter)
        await taken(voter)
    paths = [file_of(voter, snapshot) for snapshot in on_disk(voter)]
    before = paths[0].read_bytes()
    await voter.kill()
    for path in paths:
        spoil(path)
    with pytest.raises(CorruptLog, match=r"begins at offset \d+, and no sound snapshot"):
        await voter.start()
    voter.running = None
    paths[0].write_bytes(before)
    await voter.start()
    await cluster.leader()


async def test_what_the_disk_has_spoilt_is_not_passed_on_and_another_one_is_written(cluster: Cluster) -> None:
    leader, away = await far_behind(cluster)
    files = leader.part.quorum.snapshots.files
    spoil(file_of(leader, files.newest))
    await away.start()
    await cluster.agreed()
    assert leader.part.controller.committed == away.part.controller.committed
    assert away.part.quorum.log_start_offset >= leader.part.quorum.log_start_offset


async def test_a_snapshot_that_is_not_there_yet_is_written_soon_after_somebody_asked(cluster: Cluster) -> None:
    leader = await cluster.start(1)
    await changed(leader)
    assert leader.identity is not None
    network = cluster.world.network("asker")

    async def ask(least_end_offset: int) -> SnapshotId:
        async with SnapshotDownload(network, leader.address, leader.identity) as download:
            return await download.begin(least_end_offset)

    wanted = leader.part.controller.committed.next_offset
    with pytest.raises(OffsetNotAvailable, match=f"none up to {wanted} yet"):
        await ask(wanted)
    await until(lambda: leader.part.quorum.snapshots.files.newest.end_offset >= wanted)
    assert (await ask(wanted)).end_offset >= wanted


async def test_a_download_that_breaks_leaves_nothing_half_applied(cluster: Cluster) -> None:
    leader, away = await far_behind(cluster)
    cluster.world.kill(leader.name)
    network = cluster.world.network("asker")
    with pytest.raises(NetworkException):
        async with SnapshotDownload(network, leader.address, leader.identity) as download:
            await download.begin(1)
    await leader.stop()
    await leader.start()
    await away.start()
    await asyncio.wait_for(cluster.agreed(), 10)
