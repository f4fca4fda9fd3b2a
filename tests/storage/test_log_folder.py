import pytest

from dohle.model.errors import DataFolderError, OffsetOutOfRange, StorageFailure, UnknownTopicOrPartition
from dohle.model.ids import TopicId
from dohle.model.topic_config import TopicConfig
from dohle.runtime.tasks import Tasks
from dohle.storage.data_folder import DataFolder, format_folder
from dohle.storage.log_reader import LogReader
from dohle.storage.new_log import NewLog
from dohle.storage.single_log import SingleLog, open_single_log
from tests.storage.test_log import read_all
from tests.storage.world import CLUSTER, PATH, TOPIC_ID, World, batch

META = f"{PATH}/meta.properties"


async def test_logs_are_made_with_few_syncs_and_found_again(world: World) -> None:
    new = [NewLog(topic, partition, TOPIC_ID, TopicConfig()) for topic in ("a", "b-1.x_y") for partition in range(50)]
    before = world.disk.syncs
    logs = await world.folder.create_logs(new)
    assert [log.name for log in logs[:2]] == ["a-0", "a-1"]
    assert world.disk.syncs - before == 2
    await world.stop()
    await world.start()
    assert sorted(world.folder.logs) == sorted((one.topic, one.partition) for one in new)


async def test_what_was_created_survives_a_kill_at_once(world: World) -> None:
    await world.log()
    await world.crash()
    assert list(world.folder.logs) == [("t", 0)]


async def test_leftovers_of_making_and_deleting_go_and_strays_stay(world: World) -> None:
    await world.stop()
    for name in ("t-0-new", "t-1.abc-delete", "t-2.abc-stray", "__cluster_metadata-0"):
        world.disk.make_folder(f"{PATH}/{name}")
    await world.start()
    assert not world.folder.logs
    names = world.disk.list(PATH)
    assert [name for name in names if name.startswith("t-2.abc@") and name.endswith("-stray")]
    assert "__cluster_metadata-0" in names
    assert "t-0-new" not in names
    assert "t-1.abc-delete" not in names


async def test_a_read_under_way_whose_log_is_deleted_is_told_so_and_no_disk_has_failed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await world.log()
    log.append_as_leader(batch(), 0, 0)
    await log.flush()
    log = await world.restart()
    read = LogReader.read

    async def late(reader: LogReader, *arguments: int) -> bytes:
        await world.folder.delete_log("t", 0)  # whose file was not open yet
        return await read(reader, *arguments)

    monkeypatch.setattr(LogReader, "read", late)
    with pytest.raises(UnknownTopicOrPartition):
        await log.read(0, 1 << 20, up_to=1)
    assert not world.folder.failed
    assert not world.failures


async def test_a_deleted_log_is_gone_and_can_be_made_again(world: World) -> None:
    log = await world.log()
    log.append_as_leader(batch(), 0, 0)
    await world.folder.delete_log("t", 0)
    assert not world.disk.exists(f"{PATH}/t-0")
    with pytest.raises(UnknownTopicOrPartition):
        log.append_as_leader(batch(), 0, 0)
    await world.clock.passed(1)
    again = await world.folder.create_log("t", TopicId(bytes(16)), 0, TopicConfig())
    assert again.log_end_offset == 0
    again = await world.restart()
    assert (again.topic_id, again.log_end_offset) == (bytes(16), 0)
    assert not world.failures


@pytest.mark.parametrize("how", ["deleted", "set aside by hand"])
async def test_a_log_made_again_is_not_taken_for_the_former_one(world: World, how: str) -> None:
    """Its torn tail lay below the former one's recovery point, and was taken for damage."""
    log = await world.log()
    log.append_as_leader(batch(3), 2, 0)
    await log.flush()
    log.advance_high_watermark(3)
    await world.clock.passed(1)
    if how == "deleted":
        await world.folder.delete_log("t", 0)
    else:
        await world.kill()
        world.disk.rename(f"{PATH}/t-0", f"{PATH}/t-0.damaged-stray")
        await world.start()
    again = await world.folder.create_log("t", TopicId(bytes(16)), 0, TopicConfig())
    again.append_as_leader(batch(5), 0, 0)
    files = world.disk.durable_files
    assert bytes(files[f"{PATH}/recovery-point-offset-checkpoint"].durable) in (b"0\n0\n", b"0\n1\nt 0 0\n")
    assert bytes(files[f"{PATH}/replication-offset-checkpoint"].durable) in (b"0\n0\n", b"0\n1\nt 0 0\n")
    del world.bytes_of(f"{0:020d}.log")[-10:]
    again = await world.crash()
    assert (again.damage, again.high_watermark) == (None, 0)


async def test_a_stray_is_set_aside_with_all_its_data(world: World) -> None:
    log = await world.log()
    log.append_as_leader(batch(), 0, 0)
    name = await world.folder.mark_stray("t", 0)
    assert name.endswith("-stray")
    assert len(world.disk.files[f"{PATH}/{name}/00000000000000000000.log"].cached) == log.size_bytes
    await world.stop()
    await world.start()
    assert not world.folder.logs


async def test_damaged_partition_metadata_stops_the_start_and_names_the_file(world: World) -> None:
    await world.log()
    await world.stop()
    world.bytes_of("partition.metadata")[:] = b"version: 0\ntopic_id: ?\n"
    with pytest.raises(DataFolderError, match=r"t-0/partition\.metadata"):
        await world.start()


async def test_a_damaged_log_says_how_to_have_it_copied_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    log = await world.log()
    log.append_as_leader(batch(3), 2, 0)
    await log.flush()
    await world.kill()
    world.bytes_of("00000000000000000000.log")[17] ^= 1
    await world.start()
    assert (await world.log()).damage is not None
    assert f"{log.folder}: {log.folder}/00000000000000000000.log is damaged at byte 0" in caplog.text
    assert "it is repaired or filled anew" in caplog.text


async def test_checkpoints_are_written_every_second_and_only_if_something_changed(world: World) -> None:
    log = await world.log()
    log.append_as_leader(batch(3), 2, 0)
    await log.flush()
    log.advance_high_watermark(2)
    await world.clock.passed(1)
    files = world.disk.durable_files
    assert bytes(files[f"{PATH}/recovery-point-offset-checkpoint"].durable) == b"0\n1\nt 0 3\n"
    assert bytes(files[f"{PATH}/replication-offset-checkpoint"].durable) == b"0\n1\nt 0 2\n"
    assert bytes(files[world.path("leader-epoch-checkpoint")].durable) == b"0\n1\n2 0\n"
    before = world.disk.syncs
    for _ in range(5):
        await world.clock.passed(1)
    assert world.disk.syncs == before


async def test_a_folder_that_is_in_use_is_refused(world: World) -> None:
    with pytest.raises(DataFolderError, match="in use by another process"):
        await DataFolder.open(world.disk, PATH, cluster_id=CLUSTER, node_id=1)


async def test_a_folder_of_another_node_or_cluster_is_refused_and_left_unlocked(world: World) -> None:
    await world.stop()
    with pytest.raises(DataFolderError, match="belongs to node 1, and this is node 2"):
        await DataFolder.open(world.disk, PATH, cluster_id=CLUSTER, node_id=2)
    with pytest.raises(DataFolderError, match="belongs to cluster"):
        await DataFolder.open(world.disk, PATH, cluster_id="other", node_id=1)
    await world.start()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version=2\ncluster.id=cluster\nnode.id=1\n", "newer Dohle"),
        ("version=1\ncluster.id=cluster\nnode.id=1\n", "damaged"),
        ("version=1\ncluster.id=cluster\nnode.id=x\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAA\n", "damaged"),
        ("", "damaged"),
    ],
)
async def test_an_unusable_meta_file_is_refused(world: World, text: str, message: str) -> None:
    await world.stop()
    world.disk.files[META].cached[:] = text.encode()
    with pytest.raises(DataFolderError, match=message):
        await world.start()


async def test_a_folder_without_meta_file_is_not_formatted_by_itself(world: World) -> None:
    with pytest.raises(DataFolderError, match="dohle format"):
        await DataFolder.open(world.disk, "elsewhere", cluster_id=CLUSTER, node_id=1)


async def test_a_folder_is_formatted_once(world: World) -> None:
    with pytest.raises(DataFolderError, match="formatted already"):
        await format_folder(world.disk, PATH, cluster_id=CLUSTER, node_id=1, directory_id=bytes(16))


async def test_a_disk_that_fails_on_the_way_to_a_clean_stop_makes_it_unclean(world: World) -> None:
    log = await world.log()
    log.append_as_leader(batch(), 0, 0)
    world.disk.fault = lambda operation, _: OSError(5, "Input/output error") if operation == "sync" else None
    await world.folder.close(broker_epoch=3)
    assert not world.disk.exists(f"{PATH}/.clean-shutdown")


async def test_creating_on_a_failed_disk_is_an_error(world: World) -> None:
    world.disk.fault = lambda operation, _: OSError(5, "Input/output error") if operation == "sync" else None
    with pytest.raises(StorageFailure):
        await world.log()
    assert not world.folder.logs


async def open_single(world: World, config: TopicConfig | None = None) -> tuple[SingleLog, Tasks]:
    tasks = Tasks("single", world.crashes.append)
    path = f"{PATH}/__cluster_metadata-0"
    single = await open_single_log(
        world.disk, world.clock, path, tasks, on_failure=world.failures.append, config=config
    )
    return single, tasks


async def test_a_single_log_keeps_its_data_over_clean_and_unclean_stops(world: World) -> None:
    single, tasks = await open_single(world)
    single.log.append_as_leader(batch(2), 1, 0)
    await single.log.flush()
    await single.close()
    await tasks.close()
    single, tasks = await open_single(world)
    assert single.log.recovered.clean
    single.log.append_as_leader(batch(3), 2, 0)
    await single.log.flush()
    await single.log.truncate_to(2)
    single.log.append_as_leader(batch(1), 3, 0)
    await single.log.flush()
    await tasks.close()
    single, tasks = await open_single(world)
    assert not single.log.recovered.clean
    assert await read_all(single.log) == [0, 2]
    assert single.log.epochs.entries == ((1, 0), (3, 2))
    await single.close()
    await tasks.close()
    assert not world.crashes


async def filled_over_segments(world: World) -> tuple[SingleLog, Tasks]:
    """Forty batches of two records each, a new epoch at every ten; three of them fill a segment."""
    single, tasks = await open_single(world, TopicConfig(segment_bytes=100_000))
    for i in range(40):
        single.log.append_as_leader(batch(2, size=15_000), i // 10, 0)
    await single.log.flush()
    return single, tasks


def segments(world: World) -> list[int]:
    names = world.disk.list(f"{PATH}/__cluster_metadata-0")
    return [int(name.removesuffix(".log")) for name in names if name.endswith(".log")]


async def test_what_lies_below_a_cut_is_deleted_and_the_rest_reads_as_before(world: World) -> None:
    single, tasks = await filled_over_segments(world)
    assert segments(world)[:3] == [0, 6, 12]
    await single.cut_below(44)
    assert segments(world)[0] == 42
    assert single.log.log_start_offset == 44
    assert single.log.epochs.entries == ((2, 44), (3, 60))
    assert await read_all(single.log) == list(range(44, 80, 2))
    with pytest.raises(OffsetOutOfRange):
        await single.log.read(42, 1, up_to=80)
    assert not [name for name in world.disk.list(single.log.folder) if name < f"{42:020d}" and name[0] == "0"]
    await single.close()
    await tasks.close()


@pytest.mark.parametrize("clean", [True, False])
async def test_a_cut_outlives_a_stop_and_a_crash(world: World, clean: bool) -> None:
    single, tasks = await filled_over_segments(world)
    await single.cut_below(44)
    if clean:
        await single.close()
    await tasks.close()
    single, tasks = await open_single(world)
    assert single.log.recovered.clean == clean
    assert (single.log.log_start_offset, single.log.log_end_offset) == (44, 80)
    assert await read_all(single.log) == list(range(44, 80, 2))
    await single.log.truncate_to(50)
    await single.cut_below(80)
    assert (single.log.log_start_offset, single.log.log_end_offset) == (50, 50)
    await single.close()
    await tasks.close()
    assert not world.crashes


async def test_a_crash_before_a_cut_is_durable_leaves_the_log_as_it_was(world: World) -> None:
    single, tasks = await filled_over_segments(world)
    world.disk.fault = lambda operation, path: (
        OSError(5, "Input/output error") if operation == "open" and "log-start" in path else None
    )
    with pytest.raises(StorageFailure):
        await single.cut_below(44)
    await tasks.close()
    world.disk.fault = lambda *_: None
    single, tasks = await open_single(world)
    assert single.log.log_start_offset == 0
    assert single.log.epochs.entries == ((0, 0), (1, 20), (2, 40), (3, 60))
    assert await read_all(single.log) == list(range(0, 80, 2))
    await single.close()
    await tasks.close()
