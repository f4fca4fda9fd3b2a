"""A lone controller that starts on a folder in which one file is not what it was.

It refuses, naming the file; or it leads on with all that was committed. Nobody could give it back what it forgot.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dohle.controller.vote_file import VOTE_FILE
from dohle.model.errors import DohleError
from dohle.model.image import ClusterImage
from dohle.storage.checkpoints import RECOVERY_POINTS
from dohle.storage.single_log import METADATA_LOG
from tests.controller.cluster import Cluster, TestVoter, until
from tests.controller.test_snapshots import changed, on_disk, taken

GARBAGE = b"\xff\xfe\x00 garbage"
TRIED = 16  # bytes of each file


def damages(data: bytes) -> Iterator[bytes | None]:
    """Yields nothing, something else, and the data cut in places, and with a byte another there."""
    yield from (None, b"", GARBAGE, data + GARBAGE)
    for at in range(0, len(data), max(1, len(data) // TRIED)):
        yield data[:at]
        yield data[:at] + bytes([data[at] ^ (1 << at % 7)]) + data[at + 1 :]


async def a_history(voter: TestVoter) -> ClusterImage:
    """Leaves a log that begins at a snapshot, a newer snapshot, and changes behind it, all below the recovery point."""
    for _ in range(2):
        await changed(voter)
        await taken(voter)
    await changed(voter)
    image, written = voter.part.controller.committed, voter.folder / METADATA_LOG / RECOVERY_POINTS
    await until(lambda: written.read_text().split()[-1] == str(image.next_offset))
    return image


def known(image: ClusterImage) -> object:
    return image.reassignment_bytes_per_s, image.features, image.topics, image.voters


class Trial:
    """A folder that is as it was `kept`, but for one file."""

    def __init__(self, cluster: Cluster, voter: TestVoter, caplog: pytest.LogCaptureFixture) -> None:
        self.kept = Path(shutil.copytree(voter.folder, voter.folder.with_name("kept")))
        self.words = ""
        self._cluster = cluster
        self._voter = voter
        self._caplog = caplog

    async def starts(self, path: Path, data: bytes | None) -> ClusterImage | None:
        """Returns what the controller knows once it leads; None if it does not start. `words` is what was said."""
        shutil.rmtree(self._voter.folder)
        shutil.copytree(self.kept, self._voter.folder)
        (self._voter.folder / path).unlink()
        if data is not None:
            (self._voter.folder / path).write_bytes(data)
        self._caplog.clear()
        try:
            await self._voter.start()
            await self._cluster.leader()
        except DohleError as error:
            self._voter.running = None
            self.words = self._caplog.text + error.message
            for task in asyncio.all_tasks():  # the process would end
                if task.get_name().startswith("metadata log of node"):
                    task.cancel()
            return None
        image = self._voter.part.controller.committed
        await self._voter.stop()
        self.words = self._caplog.text
        return image


@pytest.mark.parametrize("clean", [True, False])
async def test_it_refuses_or_has_all_that_was_committed(
    cluster: Cluster, caplog: pytest.LogCaptureFixture, clean: bool
) -> None:
    voter = await cluster.start(1)
    truth = await a_history(voter)
    newest = on_disk(voter)[-1]
    await (voter.stop() if clean else voter.kill())
    trial = Trial(cluster, voter, caplog)
    folder = trial.kept / METADATA_LOG
    refused: set[str] = set()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        for data in damages(path.read_bytes()):
            image = await trial.starts(path.relative_to(trial.kept), data)
            if image is None:
                refused.add(path.name)
                beside = path.suffix == ".log" and f"{METADATA_LOG}/0000" in trial.words  # a segment that is missing
                assert path.name in trial.words or beside, (path.name, data, trial.words)
            else:
                assert known(image) == known(truth), (path.name, data, trial.words)
        if path.suffix == ".checkpoint" and int(path.name[:20]) == newest.end_offset:
            assert path.name in trial.words
    assert {VOTE_FILE, RECOVERY_POINTS} < refused
    assert all(name in (VOTE_FILE, RECOVERY_POINTS) or name.endswith(".log") for name in refused), refused
