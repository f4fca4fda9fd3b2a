"""Who waits for whom in a group commit."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Sequence
from random import Random

from dohle.model.errors import StorageFailure
from dohle.model.stragglers import MOST_APART, STRAGGLES_S
from dohle.runtime.disk import File
from dohle.runtime.tasks import Tasks
from dohle.storage.group_commit import Flush, GroupCommit
from tests.broker.virtual_time import in_virtual_time
from tests.storage.fault_disk import FaultDisk


class SlowFiles(FaultDisk):
    """A sync of a file takes as long as its name says, in ms; all of one call are synced beside one another."""

    def __init__(self) -> None:
        super().__init__()
        self.later_s: Callable[[str], float] = lambda _: 0.0

    async def sync(
        self, files: Sequence[File], folders: Sequence[str] = (), synced: Callable[[File], None] | None = None
    ) -> None:
        async def one(file: File) -> None:
            await asyncio.sleep(int(file.path.rpartition("-")[2]) / 1000 + self.later_s(file.path))
            if synced is not None:
                synced(file)

        await asyncio.gather(*map(one, files))
        self.check("sync", "")


class OneLog:
    """A log as the group commit sees it; `durable_at` is when each append became durable."""

    def __init__(self, commit: GroupCommit, disk: FaultDisk, name: str) -> None:
        self.commit = commit
        self.name = name
        self.file = disk.open(name, create=True)
        self.appended = self.durable = 0
        self.taken = False
        self.waits_s: list[float] = []
        self.failure: StorageFailure | None = None
        self._began: list[float] = []

    def append(self) -> None:
        self.appended += 1
        self._began.append(asyncio.get_running_loop().time())
        self.commit.request(self)

    def begin_flush(self) -> Flush | None:
        assert not self.taken, "two syncs of one log at once"
        if self.appended == self.durable:
            return None
        self.taken = True
        return Flush(self.appended, 0, [self.file], [])

    def finish_flush(self, flush: Flush) -> None:
        self.taken = False
        now = asyncio.get_running_loop().time()
        self.waits_s += [now - began for began in self._began[: flush.end - self.durable]]
        del self._began[: flush.end - self.durable]
        self.durable = flush.end

    def fail_flushes(self, failure: StorageFailure) -> None:
        self.failure = failure


def group(*names: str) -> tuple[GroupCommit, SlowFiles, list[OneLog], list[StorageFailure]]:
    disk, failures = SlowFiles(), list[StorageFailure]()

    def bug(failure: BaseException) -> None:
        raise failure

    commit = GroupCommit(disk, Tasks("test", bug), name="data", on_failure=failures.append)
    return commit, disk, [OneLog(commit, disk, name) for name in names], failures


async def appends(logs: Sequence[OneLog], seconds: float) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        for one in logs:
            one.append()
        await asyncio.sleep(0.005)


@in_virtual_time
async def test_a_slow_log_holds_the_others_up_once_and_not_for_long() -> None:
    commit, _, (slow, *others), _ = group("slow-500", "a-1", "b-2")
    await appends([slow, *others], 3.0)
    for one in others:
        waits_s = sorted(one.waits_s)
        assert waits_s[-1] <= STRAGGLES_S + 0.01
        assert sum(wait_s > 0.01 for wait_s in waits_s) <= 8, "that which was appended in its first round"
    assert slow.durable > 100
    await commit.close()
    assert slow.durable + 100 > slow.appended


@in_virtual_time
async def test_slow_logs_do_not_wait_for_one_another() -> None:
    commit, _, (slow, less, other), _ = group("slow-500", "less-30", "a-1")
    await appends([slow, less, other], 3.0)
    assert max(less.waits_s) < 0.1
    assert max(other.waits_s) <= STRAGGLES_S + 0.01
    await commit.close()


@in_virtual_time
async def test_a_log_that_was_late_once_is_among_the_others_again_soon() -> None:
    commit, disk, logs, _ = group("a-1", "b-2", "c-3")
    disk.later_s = lambda path: 0.1 if path == "a-1" else 0.0
    logs[0].append()
    await asyncio.sleep(0.001)
    disk.later_s = lambda _: 0.0
    await appends(logs, 0.11)
    assert commit._stragglers, "what the others appended later was durable before"
    await appends(logs, 0.2)
    assert not commit._stragglers
    await asyncio.sleep(0.1)
    assert not commit._alone
    assert all(one.durable == one.appended for one in logs)
    await commit.close()


@in_virtual_time
async def test_a_slow_log_goes_by_itself_on_a_disk_where_every_log_is_late_now_and_then() -> None:
    random = Random(7)
    commit, disk, logs, _ = group("slow-1", *(f"{number}-1" for number in range(12)))
    slow, others = logs[0], logs[1:]
    disk.later_s = lambda _: 0.05 if random.random() < 0.01 else 0.0
    await appends(logs, 5.0)
    before_s = waits_of(others)
    noise = disk.later_s
    disk.later_s = lambda path: 0.5 if path == slow.file.path else noise(path)
    await appends(logs, 5.0)
    slow_s = waits_of(others)
    assert slow_s[len(slow_s) // 2] <= 1.5 * before_s[len(before_s) // 2]
    assert slow_s[len(slow_s) * 99 // 100] <= 1.5 * before_s[len(before_s) * 99 // 100]
    await commit.close()


def waits_of(logs: Sequence[OneLog]) -> list[float]:
    """Returns what the appends since the last time waited, the longest last."""
    waits_s = sorted(wait_s for one in logs for wait_s in one.waits_s)
    for one in logs:
        one.waits_s.clear()
    return waits_s


@in_virtual_time
async def test_a_disk_that_is_slow_as_a_whole_is_waited_for() -> None:
    commit, _, logs, _ = group(*(f"{number}-100" for number in range(MOST_APART + 1)))
    await appends(logs, 2.0)
    assert not commit._stragglers
    await commit.close()


@in_virtual_time
async def test_who_is_filled_is_synced_apart_from_the_first_round_on() -> None:
    commit, _, (filled, other), _ = group("filled-15", "other-1")
    for _ in range(100):
        commit.expect_much(filled)
        await appends([filled, other], 0.02)
    assert max(other.waits_s) < 0.005
    await commit.close()


@in_virtual_time
async def test_a_log_is_settled_when_its_own_sync_has_ended() -> None:
    commit, _, (slow, other), _ = group("slow-500", "a-1")
    slow.append()
    await asyncio.sleep(0.1)
    other.append()
    await commit.settled(other)
    assert not other.taken
    assert slow.taken
    await commit.settled(slow)
    assert not slow.taken
    await commit.close()


@in_virtual_time
async def test_after_a_failure_nothing_that_is_still_under_way_becomes_durable() -> None:
    _, disk, (slow, other), failures = group("slow-500", "a-1")
    slow.append()
    await asyncio.sleep(0.1)
    disk.fault = lambda _operation, _path: OSError(errno.EIO, "Input/output error")
    other.append()
    await asyncio.sleep(0.1)
    disk.fault = lambda _operation, _path: None
    await asyncio.sleep(1.0)
    assert len(failures) == 1
    assert (slow.durable, other.durable) == (0, 0)
    assert slow.failure is not None
    assert other.failure is not None
