"""A lone controller that starts on a folder in which one file is not what it was.

It refuses, naming the file; or it leads on with all that was committed. Nobody could give it back what it forgot.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dohle.model.errors import DohleError
from dohle.model.image import ClusterImage
from tests.controller.cluster import Cluster, TestVoter
from tests.controller.test_snapshots import changed, taken

GARBAGE = b"\xff\xfe\x00 garbage"
FOLDER = "__cluster_metadata-0"


def damages(data: bytes) -> Iterator[bytes | None]:
    """Yields nothing, something else, and the data cut at each byte, with each byte another; of much, of some bytes."""
    yield from (None, b"", GARBAGE, data + GARBAGE)
    step = max(1, len(data) // 60)
    for at in range(0, len(data), step):
        yield data[:at]
        yield data[:at] + bytes([data[at] ^ (1 << at % 7)]) + data[at + 1 :]


async def a_history(voter: TestVoter) -> ClusterImage:
    """Leaves a log that begins at a snapshot, a newer snapshot, and changes behind it."""
    for _ in range(2):
        await changed(voter)
        await taken(voter)
    await changed(voter)
    return voter.part.controller.committed


def known(image: ClusterImage) -> object:
    return image.reassignment_bytes_per_s, image.features, image.topics


@pytest.mark.parametrize("clean", [True, False])
async def test_it_refuses_or_has_all_that_was_committed(
    cluster: Cluster, caplog: pytest.LogCaptureFixture, clean: bool
) -> None:
    voter = await cluster.start(1)
    truth = await a_history(voter)
    await (voter.stop() if clean else voter.kill())
    kept = shutil.copytree(voter.folder, voter.folder.with_name("kept"))
    paths = sorted(path.relative_to(kept) for path in kept.rglob("*") if path.is_file())
    outcomes = {}
    for path in paths:
        for data in damages((kept / path).read_bytes()):
            what, words = await started(voter, kept, path, data, caplog, cluster)
            key = (what if what == "refused" else ("same" if what == known(truth) else "OTHER"), path.name in words)
            outcomes.setdefault((path.name, key), []).append((data, words[-300:]))
    for k, v in outcomes.items():
        open("/tmp/w/power-tmp/ctl.txt","a").write(f"{clean} {k} {len(v)} {v[0]}\n")
    assert 0


async def started(voter, kept, path, data, caplog, cluster):
    shutil.rmtree(voter.folder)
    shutil.copytree(kept, voter.folder)
    caplog.clear()
    if data is None:
        (voter.folder / path).unlink()
    else:
        (voter.folder / path).write_bytes(data)
    try:
        await voter.start()
        await cluster.leader()
    except DohleError as error:
        voter.running = None
        return "refused", caplog.text + error.message
    except Exception as error:
        voter.running = None
        return "EXC " + repr(error), caplog.text
    found = known(voter.part.controller.committed)
    await voter.stop()
    return found, caplog.text
