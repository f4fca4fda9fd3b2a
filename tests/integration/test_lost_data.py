"""What is lost on one node is noticed, said, and made good from the others; nobody votes or leads from nothing."""

from __future__ import annotations

import asyncio
import re
import shutil

import pytest

from dohle.cli.replica_files import differing
from dohle.model.ids import id_text
from tests.integration.load import Load, read_all, write_some


async def test_a_cluster_killed_as_a_whole_under_load_comes_back_with_every_record(fresh_trio, say):
    cluster = fresh_trio
    async with Load(cluster.bootstrap, "blackout") as load:
        for _ in range(2):
            await load.reached(1500)
            await asyncio.to_thread(cluster.kill_all)
            await asyncio.to_thread(cluster.up)
            await load.reached(1)
        await load.reached(500)
    await load.check()
    assert not load.refused
    assert not load.doubtful
    say(f"longest gap, two starts of all nodes included: {load.longest_gap_s:.2f} s")


def test_a_wiped_node_says_what_to_do_and_the_others_go_on(fresh_trio):
    cluster = fresh_trio
    _create(cluster, "kept")
    written = asyncio.run(write_some(cluster.bootstrap, "kept", 30))
    cluster.kill(3)
    shutil.rmtree(cluster.data(3))
    complaint = cluster.refused("up")
    assert "node 3 ended while starting" in complaint
    assert "is not formatted" in complaint
    assert "dohle format" in complaint
    assert cluster.running(1)
    assert cluster.running(2)
    assert not cluster.data(3).exists()
    written += asyncio.run(write_some(cluster.bootstrap, "kept", 30, prefix="later"))
    assert sorted(asyncio.run(read_all(cluster.bootstrap, "kept")).values()) == sorted(written)


def test_a_controller_without_its_metadata_takes_no_part(fresh_trio):
    cluster = fresh_trio
    _create(cluster, "kept")
    cluster.kill(2)
    folder = cluster.data(2) / "__cluster_metadata-0"
    shutil.rmtree(folder)
    complaint = cluster.fails_to_start(2)
    assert f"{folder} is missing" in complaint
    assert "wiped" in complaint
    assert not folder.exists()
    assert asyncio.run(write_some(cluster.bootstrap, "kept", 10))


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "stopped"])
def test_a_deleted_partition_folder_is_a_missing_replica_and_refilled(fresh_trio, killed):
    cluster = fresh_trio
    _create(cluster, "holes", partitions=1)
    written = asyncio.run(write_some(cluster.bootstrap, "holes", 200))
    leader = cluster.partition("holes").leader
    before = cluster.partition("holes")
    if killed:
        cluster.kill(leader)
    else:
        cluster.down(leader)
    shutil.rmtree(cluster.data(leader) / "holes-0")
    cluster.up(leader)
    cluster.until_healthy()
    after = cluster.partition("holes")
    assert after.leader_epoch > before.leader_epoch
    assert after.partition_epoch >= before.partition_epoch + 2  # out of the ISR, and in again
    assert sorted(asyncio.run(read_all(cluster.bootstrap, "holes")).values()) == sorted(written)
    cluster.down()
    assert differing([str(cluster.data(node) / "holes-0") for node in cluster.node_ids], len(written)) == []


def test_every_replica_of_a_partition_deleted_leaves_it_offline_and_says_so(fresh_trio):
    """Without any copy left nobody may lead an empty one: what was acknowledged would seem never to have been."""
    cluster = fresh_trio
    _create(cluster, "gone", partitions=1)
    _create(cluster, "kept", partitions=1)
    asyncio.run(write_some(cluster.bootstrap, "gone", 10))
    cluster.down()
    for node in cluster.node_ids:
        shutil.rmtree(cluster.data(node) / "gone-0")
    cluster.up()
    lost = cluster.partition("gone")
    assert lost.leader == -1
    assert "without a leader" in cluster.dohle("status").stdout
    assert asyncio.run(write_some(cluster.bootstrap, "kept", 10))
    assert "offline" in "".join(cluster.log(node) for node in cluster.node_ids)


def test_a_wiped_broker_formatted_anew_is_refilled_and_never_leads_from_nothing(make_cluster):
    cluster = make_cluster(2)  # node 1 is the controller
    cluster.up()
    cluster.done("topic", "create", "twice", "-p", "4", "-r", "2")
    written = asyncio.run(write_some(cluster.bootstrap, "twice", 100))
    cluster.kill(2)
    before = next(voter for voter in cluster.describe().voters)
    shutil.rmtree(cluster.data(2))
    cluster.done(
        "format",
        "--config",
        str(cluster.config(2)),
        "--cluster-id",
        cluster.local.state.cluster_id,
        "--voters",
        f"1@{before.address}:{id_text(before.directory_id)}",
    )
    cluster.up(2)
    cluster.until_healthy()
    assert sorted(asyncio.run(read_all(cluster.bootstrap, "twice")).values()) == sorted(written)
    cluster.down()
    for partition in range(4):
        folders = [str(cluster.data(node) / f"twice-{partition}") for node in cluster.node_ids]
        assert differing(folders, 1) == []


def test_a_topic_deleted_and_made_again_while_a_node_is_down(fresh_trio):
    cluster = fresh_trio
    _create(cluster, "again", partitions=2)
    asyncio.run(write_some(cluster.bootstrap, "again", 100, prefix="old"))
    with cluster.paused(3):  # so soon it is not yet fenced, and gets replicas of the new topic
        cluster.done("topic", "delete", "again", "--yes")
        _create(cluster, "again", partitions=2)
        cluster.kill(3)
    written = asyncio.run(write_some(cluster.bootstrap, "again", 60, prefix="new"))
    cluster.up(3)
    cluster.until_healthy()
    assert _strays(cluster) == ["again-0", "again-1"]
    assert re.search(r"set aside as \S*again-0", cluster.log(3))
    found = asyncio.run(read_all(cluster.bootstrap, "again"))
    assert sorted(found.values()) == sorted(written)
    cluster.down()
    for partition in range(2):
        folders = [str(cluster.data(node) / f"again-{partition}") for node in cluster.node_ids]
        assert differing(folders, sum(place[0] == partition for place in found)) == []
    assert _strays(cluster) == ["again-0", "again-1"]


def test_a_topic_made_again_elsewhere_leaves_only_a_stray(fresh_trio):
    cluster = fresh_trio
    _create(cluster, "moved", partitions=1)
    asyncio.run(write_some(cluster.bootstrap, "moved", 100, prefix="old"))
    cluster.down(3)
    cluster.done("topic", "delete", "moved", "--yes")
    cluster.done("topic", "create", "moved", "-r", "2")
    written = asyncio.run(write_some(cluster.bootstrap, "moved", 60, prefix="new"))
    cluster.up(3)
    cluster.until_healthy()
    assert _strays(cluster) == ["moved-0"]
    assert not (cluster.data(3) / "moved-0").exists()
    assert sorted(asyncio.run(read_all(cluster.bootstrap, "moved")).values()) == sorted(written)


def _strays(cluster):
    return sorted(path.name.split(".")[0] for path in cluster.data(3).glob("*-stray"))


def _create(cluster, topic, partitions=3):
    cluster.done("topic", "create", topic, "-p", str(partitions), "-r", "3", "-c", "min.insync.replicas=2")
