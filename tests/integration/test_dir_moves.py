"""Replicas that move between the directories of their brokers under load, and brokers that die on the way."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.integration.clusters import Cluster, healthy, until
from tests.integration.load import Load, read_all, write_some

PARTITIONS = 4


@pytest.fixture
def cluster(make_cluster) -> Cluster:
    """Three nodes with two directories each."""
    return _started(make_cluster(3))


def _started(made: Cluster, *settings: str) -> Cluster:
    for node in made.node_ids:
        config = made.config(node)
        lines = (f'log_dirs = "{made.data(node)},{_second(made, node)}"', *settings)
        config.write_text(config.read_text() + "".join(f"{line}\n" for line in lines))
        made.done("format", "--config", str(config), "--ignore-formatted")
    made.up()
    made.until_healthy()
    return made


def _second(cluster: Cluster, node: int) -> Path:
    return cluster.data(node).with_name(f"{cluster.data(node).name}-second")


def _places(cluster: Cluster, node: int, name: str) -> list[Path]:
    """Returns the directories in which anything of this replica lies."""
    return [path for path in (cluster.data(node), _second(cluster, node)) if list(path.glob(f"{name}*"))]


def _other(cluster: Cluster, node: int, name: str) -> Path:
    [present] = _places(cluster, node, name)
    return next(path for path in (cluster.data(node), _second(cluster, node)) if path != present)


def _move(cluster: Cluster, node: int, number: int, path: Path, *more: str) -> dict[str, object]:
    arguments = ("cluster", "dirs", "move", "moving", str(number), "--node", str(node), "--to", str(path), *more)
    answer: dict[str, object] = json.loads(cluster.done(*arguments, "--yes", "--json"))
    return answer


async def test_a_leader_and_a_follower_move_under_load_and_both_are_killed_on_the_way(cluster, say) -> None:
    async with Load(cluster.bootstrap, "moving", partitions=PARTITIONS) as load:
        await load.reached(2000)
        leader = (await asyncio.to_thread(cluster.partition, "moving")).leader
        follower = next(node for node in cluster.node_ids if node != leader)
        for node in (leader, follower):
            target = _other(cluster, node, "moving-0")
            answer = await asyncio.to_thread(_move, cluster, node, 0, target)
            assert answer["outcome"] == f"moved to {target}"
            assert _places(cluster, node, "moving-0") == [target]
            await load.reached(500)
        gap_s = load.longest_gap_s
        assert (await asyncio.to_thread(cluster.partition, "moving")).leader == leader, "nobody else is concerned"
        for node in (leader, follower):
            for number in range(PARTITIONS):
                name = f"moving-{number}"
                await asyncio.to_thread(_move, cluster, node, number, _other(cluster, node, name), "--no-wait")
            await asyncio.sleep(0.02 if node == leader else 0.1)
            await asyncio.to_thread(cluster.kill, node)
            await load.reached(300)
            await asyncio.to_thread(cluster.up, node)
            await healthy(cluster.bootstrap)
            for number in range(PARTITIONS):
                assert len(_places(cluster, node, f"moving-{number}")) == 1, "in one directory, with nothing left over"
        await load.reached(500)
    await load.check()
    assert not load.refused
    assert not load.doubtful
    say(f"{len(load.acknowledged)} records, longest gap of a partition while two replicas moved {gap_s:.2f} s")


def test_what_cannot_move_is_refused_by_name(cluster: Cluster) -> None:
    cluster.done("topic", "create", "moving", "-p", "1", "-r", "1")
    node = cluster.partition("moving").leader
    [present] = _places(cluster, node, "moving-0")
    elsewhere = next(other for other in cluster.node_ids if other != node)

    def refused(number: int, at: int, path: str) -> str:
        return cluster.refused(
            "cluster", "dirs", "move", "moving", str(number), "--node", str(at), "--to", path, "--yes"
        )

    assert f"'/nowhere' is no log directory of broker {node}, which has {cluster.data(node)}" in refused(
        0, node, "/nowhere"
    )
    assert f"moving-0 lies in {present} already" in refused(0, node, str(present))
    assert f"broker {elsewhere} has no replica of moving-0" in refused(0, elsewhere, str(cluster.data(elsewhere)))
    assert "there is no partition moving-7" in refused(7, node, str(present))
    assert "node 9 is not among the running brokers" in refused(0, 9, str(present))
    target = str(_other(cluster, node, "moving-0"))
    dry = cluster.done("cluster", "dirs", "move", "moving", "0", "--node", str(node), "--to", target, "--dry-run")
    assert dry.splitlines()[1].split()[:4] == [str(node), "moving-0", str(present), target]
    assert dry.splitlines()[-1] == "moving-0: could begin"
    assert _places(cluster, node, "moving-0") == [present]
    assert "Nothing is on its way." in cluster.done("cluster", "dirs", "move", "--list")
    cancelled = cluster.refused("cluster", "dirs", "move", "moving", "0", "--node", str(node), "--cancel")
    assert "moving-0 is not on its way to another directory" in cancelled

    Path(target).rename(f"{target}-away")
    gone = refused(0, node, target)
    assert f"{target} is not formatted: its disk may not be mounted" in gone
    assert f"other directories of broker {node}: {present}" in gone


def test_a_slow_move_is_taken_back_and_outlives_neither_a_stop_nor_its_topic(make_cluster) -> None:
    cluster = _started(make_cluster(1), "replica_fill_bytes_per_s = 20000")
    node = cluster.node_ids[0]
    cluster.done("topic", "create", "moving", "-p", "1", "-r", "1")
    written = asyncio.run(write_some(cluster.bootstrap, "moving", 2000, prefix="." * 200))
    [present] = _places(cluster, node, "moving-0")
    target = _other(cluster, node, "moving-0")

    def begin() -> None:
        assert _move(cluster, node, 0, target, "--no-wait")["outcome"] == "begun"
        until(lambda: (target / "moving-0-future").exists(), "the copy has been begun")
        (told,) = json.loads(cluster.done("cluster", "dirs", "move", "--list", "--json"))["moves"]
        assert told["state"] == "copying"
        assert told["copied_bytes"] < told["size_bytes"]

    begin()
    taken_back = cluster.done("cluster", "dirs", "move", "moving", "0", "--node", str(node), "--cancel")
    assert "moving-0: taken back" in taken_back
    assert _places(cluster, node, "moving-0") == [present]
    assert "cancelled" in cluster.done("cluster", "dirs", "move", "--list")

    begin()
    assert cluster.terminate(node) == 0
    assert _places(cluster, node, "moving-0") == [present]
    cluster.up()
    cluster.until_healthy()
    assert "was not stopped cleanly" not in cluster.log(node)
    assert sorted(asyncio.run(read_all(cluster.bootstrap, "moving")).values()) == sorted(written)

    begin()
    cluster.done("topic", "delete", "moving", "--yes")
    until(lambda: not _places(cluster, node, "moving-0"), "it is gone from both directories")
    (told,) = json.loads(cluster.done("cluster", "dirs", "move", "--list", "--json"))["moves"]
    assert told["state"] == "failed"
    cluster.done("topic", "create", "moving", "-p", "1", "-r", "1")
    assert len(asyncio.run(write_some(cluster.bootstrap, "moving", 10))) == 10
    cluster.down()
