"""A broker with several directories, of real processes: one more is formatted, vanishes while it runs, and is back."""

from __future__ import annotations

import asyncio
import json

from tests.integration.clusters import Cluster, until
from tests.integration.load import read_all, write_some


def _with_two_directories(cluster: Cluster, node: int) -> tuple[str, str]:
    first, second = str(cluster.data(node)), f"{cluster.data(node)}-second"
    config = cluster.config(node)
    config.write_text(f'{config.read_text()}log_dirs = "{first},{second}"\n')
    return first, second


def _in_directory(cluster: Cluster, node: int, path: str) -> int:
    """Returns a partition whose replica lies there."""
    (told,) = json.loads(cluster.done("cluster", "dirs", str(node), "--json"))["nodes"]
    return next(one["replicas"][0]["partition"] for one in told["log_dirs"] if one["path"] == path)


def _offline(cluster: Cluster, node: int) -> int:
    return next(one.offline_replicas for one in cluster.describe().nodes if one.node_id == node)


def test_a_directory_that_vanishes_takes_only_its_own_replicas_with_it(make_cluster):
    cluster = make_cluster(3)
    first, second = _with_two_directories(cluster, 3)
    cluster.up(1, 2)
    assert f"{second} is not formatted" not in cluster.log(1)
    assert f"formatted {second} for node 3" in cluster.done(
        "format", "--config", str(cluster.config(3)), "--ignore-formatted"
    )
    cluster.up(3)
    cluster.until_healthy()
    cluster.done("topic", "create", "t", "-p", "4", "-r", "3")
    written = asyncio.run(write_some(cluster.bootstrap, "t", 100))
    table = cluster.done("cluster", "dirs", "3").splitlines()
    assert [line.split()[1:4] for line in table[1:]] == [[first, "online", "2"], [second, "online", "2"]]

    there = str(_in_directory(cluster, 3, second))
    away = cluster.data(3).with_name("away")
    cluster.data(3).with_name(f"{cluster.data(3).name}-second").rename(away)
    written += asyncio.run(write_some(cluster.bootstrap, "t", 100, prefix="more"))
    until(lambda: _offline(cluster, 3) == 2, "the controller knows of it")
    assert cluster.running(3)
    assert "node 3 without 1 directory, with 2 replicas" in cluster.dohle("status").stdout
    outcome = cluster.dohle("cluster", "dirs")
    assert outcome.returncode == 1
    assert f"node 3: {second} has failed" in outcome.stderr
    assert f"{second} has failed" in cluster.done("explain", "partition", "t", there)
    assert "broker 3 lost the directory where the replica lies" in cluster.done("explain", "partition", "t", there)
    assert all(cluster.partition("t", number).leader >= 0 for number in range(4))

    cluster.terminate(3)
    cluster.up(3)  # without it
    until(lambda: _offline(cluster, 3) == 2, "what lies there is still offline")
    assert f"{second} is not formatted: its disk may not be mounted" in cluster.log(3)
    assert "`dohle cluster dirs 3` says why" in cluster.done("explain", "partition", "t", there)
    assert len(list(cluster.data(3).glob("t-*"))) == 2, "nothing is made anew"

    cluster.terminate(3)
    away.rename(second)
    cluster.up(3)
    cluster.until_healthy()
    assert _offline(cluster, 3) == 0
    assert sorted(asyncio.run(read_all(cluster.bootstrap, "t")).values()) == sorted(written)
    cluster.down()
