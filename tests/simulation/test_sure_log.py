"""What a disk is sure to hold of a log, and what a ledger makes of several."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from dohle.model.records import Record, encode_batch
from dohle.storage.compaction.batches import Gone
from dohle.testing.invariants.ledger import Ledger
from dohle.testing.invariants.sure_log import SureLog
from dohle.testing.world.disk import SimFile
from dohle.testing.world.world import Machine, World

FOLDER = "data/t-0"


def batch(offset: int, *, epoch: int = 0, value: bytes = b"v", producer: int = -1, sequence: int = -1) -> bytes:
    return encode_batch(
        [Record(None, value, (), 1000)],
        base_offset=offset,
        leader_epoch=epoch,
        producer_id=producer,
        producer_epoch=0 if producer >= 0 else -1,
        base_sequence=sequence,
    )


def segment(machine: Machine, base_offset: int = 0) -> SimFile:
    return machine.disk.open(f"{FOLDER}/{base_offset:020d}.log", create=True)


def on_a_machine(work: Callable[[Machine, SureLog], Awaitable[None]]) -> None:
    world = World(1)
    machine = world.machines[1]

    async def script() -> None:
        machine.disk.make_folder(FOLDER)
        await machine.disk.sync([], ["data", ""])
        await work(machine, SureLog(machine, FOLDER))

    world.run(script())


async def written(machine: Machine, *batches: bytes) -> SureLog:
    """Returns a log that is sure to hold `batches`."""
    machine.disk.make_folder(FOLDER)
    file = segment(machine)
    file.append(batches)
    await machine.disk.sync([file], [FOLDER, "data", ""])
    log = SureLog(machine, FOLDER)
    log.look()
    return log


def test_a_batch_is_sure_once_its_file_and_its_name_are_synced() -> None:
    async def work(machine: Machine, log: SureLog) -> None:
        file = segment(machine)
        file.append([batch(0), batch(1)])
        log.look()
        assert log.end == 0
        await machine.disk.sync([file])
        log.look()
        assert log.end == 0  # a power loss may take the name
        await machine.disk.sync([], [FOLDER])
        log.look()
        assert log.end == 2
        file.append([batch(2)])
        log.look()
        assert log.end == 2

    on_a_machine(work)


def test_what_is_cut_is_sure_no_longer_and_what_replaces_it_is_read_anew() -> None:
    async def work(machine: Machine, log: SureLog) -> None:
        file = segment(machine)
        file.append([batch(0), batch(1), batch(2)])
        await machine.disk.sync([file], [FOLDER])
        log.look()
        first = batch(0)
        file.truncate(len(first))
        log.look()
        assert log.end == 1
        file.append([batch(1, epoch=1)])
        await machine.disk.sync([file])
        log.look()
        assert [header.partition_leader_epoch for header in log.batches] == [0, 1]

    on_a_machine(work)


def test_a_log_goes_on_in_its_next_segment_where_the_one_before_ends() -> None:
    async def work(machine: Machine, log: SureLog) -> None:
        first, second = segment(machine), segment(machine, 1)
        second.append([batch(1)])
        await machine.disk.sync([first, second], [FOLDER])
        log.look()
        assert log.end == 0  # its beginning is missing
        first.append([batch(0)])
        await machine.disk.sync([first])
        log.look()
        assert log.end == 2
        machine.disk.delete(f"{FOLDER}/{1:020d}.log")
        log.look()
        assert log.end == 1  # not sure, though the deletion is not either

    on_a_machine(work)


def test_a_bad_batch_ends_what_is_sure() -> None:
    async def work(machine: Machine, log: SureLog) -> None:
        bad = bytearray(batch(1))
        bad[-1] ^= 1
        file = segment(machine)
        file.append([batch(0), bad, batch(2)])
        await machine.disk.sync([file], [FOLDER])
        for _ in range(2):
            log.look()
            assert log.end == 1

    on_a_machine(work)


def test_a_loss_of_power_takes_nothing_that_was_sure() -> None:
    async def work(machine: Machine, log: SureLog) -> None:
        file = segment(machine)
        file.append([batch(0), batch(1)])
        await machine.disk.sync([file], [FOLDER])
        file.append([batch(2)])
        machine.disk.lose_power()
        log.look()
        assert log.end >= 2
        assert not log.replaced

    on_a_machine(work)


def test_a_disk_that_is_mounted_again_holds_what_it_held() -> None:
    async def work(machine: Machine, _log: SureLog) -> None:
        log = await written(machine, batch(0), batch(1))
        machine.disk.unmount("data")
        log.look()
        assert log.end == 0
        machine.disk.mount("data")
        log.look()
        assert log.end == 2

    on_a_machine(work)


def test_a_disk_that_was_replaced_holds_nothing_and_says_so() -> None:
    async def work(machine: Machine, log: SureLog) -> None:
        file = segment(machine)
        file.append([batch(0)])
        await machine.disk.sync([file], [FOLDER])
        log.look()
        machine.disk.wipe()
        log.look()
        assert log.end == 0
        assert log.replaced

    on_a_machine(work)


def test_a_disk_that_was_replaced_after_its_batches_had_rotted_says_so_too() -> None:
    async def work(machine: Machine, log: SureLog) -> None:
        file = segment(machine)
        file.append([batch(0)])
        await machine.disk.sync([file], [FOLDER])
        log.look()
        machine.disk.spoil(file.path, 40, 1)
        machine.disk.lose_power()
        log.look()
        assert log.end == 0
        assert not log.replaced
        machine.disk.wipe()
        log.look()
        assert log.replaced

    on_a_machine(work)


def test_a_folder_without_its_mark_is_another_log() -> None:
    async def work(machine: Machine, log: SureLog) -> None:
        mark = machine.disk.open(f"{FOLDER}/mark", create=True)
        mark.append([b"id: one"])
        file = segment(machine)
        file.append([batch(0)])
        await machine.disk.sync([file, mark], [FOLDER])
        mine, other = (SureLog(machine, FOLDER, mark=("mark", name)) for name in (b"one", b"two"))
        mine.look()
        other.look()
        assert (mine.end, other.end) == (1, 0)

    on_a_machine(work)


def judged(ours: list[bytes], theirs: list[bytes], commit: int = 0) -> tuple[str | None, ...]:
    """Has a ledger see both logs, and our log committed up to `commit`, then theirs at its end."""
    world = World(1)
    found: list[str | None] = []

    async def script() -> None:
        one, other = await written(world.machines[1], *ours), await written(world.machines[2], *theirs)
        ledger = Ledger()
        found.extend(ledger.judge(log) for log in (one, other))
        if commit:
            found.append(ledger.commit(one, commit, 0))
            found.append(ledger.commit(other, other.end, 1))

    world.run(script())
    return tuple(found)


def test_logs_that_part_in_an_epoch_of_their_own_contradict_nothing() -> None:
    assert judged([batch(0), batch(1)], [batch(0), batch(1, epoch=1)]) == (None, None)


def test_two_batches_at_one_offset_of_one_epoch_contradict_each_other() -> None:
    _, found = judged([batch(0), batch(1)], [batch(0), batch(1, value=b"w")])
    assert found is not None
    assert "not everywhere the same" in found


def test_one_batch_after_two_different_ones_contradicts_itself() -> None:
    _, found = judged([batch(0), batch(1, epoch=2)], [batch(0, epoch=1), batch(1, epoch=2)])
    assert found is not None
    assert "not everywhere the same" in found


def test_who_commits_further_must_have_all_that_was_committed() -> None:
    ours, theirs = [batch(0), batch(1)], [batch(0), batch(1, epoch=1), batch(2, epoch=1)]
    *_, found = judged(ours, theirs, commit=2)
    assert found is not None
    assert "is not what its leader has" in found
    assert judged(ours, theirs, commit=1) == (None,) * 4


def test_a_sequence_that_is_committed_twice_is_found() -> None:
    once = [batch(0, producer=7, sequence=0), batch(1, producer=7, sequence=1)]
    again = [*once, batch(2, producer=7, sequence=1)]
    assert judged(once, once, commit=2) == (None,) * 4
    *_, found = judged(once, again, commit=2)
    assert found is not None
    assert "(7, 0, 1) are at offset 1 and at 2" in found


def test_logs_may_differ_below_where_their_leader_begins() -> None:
    world, found = World(2), list[str | None]()

    async def script() -> None:
        led = await written(world.machines[1], batch(0), batch(1, epoch=3), batch(2, epoch=3))
        follows = await written(world.machines[2], batch(0), batch(1), batch(2, epoch=3))
        ledger = Ledger()
        led.let_go = follows.let_go = 2
        found.extend(ledger.judge(log) for log in (led, follows))

    world.run(script())
    assert found == [None, None]


def test_a_leader_has_what_compacted_batches_cover_below_its_watermark() -> None:
    world, found = World(3), list[bool]()

    async def script() -> None:
        one = await written(world.machines[1], batch(0), batch(1), batch(2))
        empty = Gone(0, 3, 0, 1000).encode()
        other = await written(world.machines[2], empty)
        newer = await written(world.machines[3], Gone(0, 3, 1, 1000).encode())
        ledger = Ledger()
        assert ledger.commit(one, 3, 0) is None
        found.extend(ledger.has_all_below(log, 2) for log in (one, other, newer))

    world.run(script())
    assert found == [True, True, False]
