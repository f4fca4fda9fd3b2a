"""Controllers come and go while a cluster of processes runs, by the commands of an operator."""

from __future__ import annotations

import json
from typing import Any


def controllers(cluster: Any) -> dict[int, bool]:
    said = json.loads(cluster.done("cluster", "voters", "list", "--dir", str(cluster.folder), "--json"))
    return {one["node_id"]: one["votes"] for one in said["controllers"]}


def test_a_cluster_of_four_grows_to_five_controllers_one_of_which_was_a_broker_alone(make_cluster):
    cluster = make_cluster(4)
    folder = ("--dir", str(cluster.folder))
    cluster.done("up", *folder)
    try:
        cluster.done("topic", "create", "t", "--partitions", "8", *folder)
        said = cluster.done("up", *folder, "--nodes", "5")
        assert "Node 4, a broker alone before, has become a controller" in said
        assert "Controllers that vote: 1, 2, 3, 4, 5; new among them: 4, 5." in said
        assert controllers(cluster) == {1: True, 2: True, 3: True, 4: True, 5: True}
        cluster.done("status", *folder)
        assert "Controllers that vote: 1, 2, 3, 4, 5, as before." in cluster.done("up", *folder, "--nodes", "6")
    finally:
        cluster.dohle("down")


def test_a_cluster_of_one_grows_to_three_and_its_controllers_are_changed(make_cluster):
    cluster = make_cluster(1)
    folder = ("--dir", str(cluster.folder))
    cluster.done("up", *folder)
    try:
        refusal = cluster.refused("cluster", "voters", "remove", "1", *folder)
        assert "the only voter" in refusal
        assert "the only voter" in cluster.refused("cluster", "voters", "transfer", *folder)
        said = cluster.done("cluster", "drain", "1", *folder)
        assert "Node 1 is the only controller too" in said
        cluster.done("cluster", "drain", "1", "--cancel", *folder)
        cluster.done("up", *folder, "--nodes", "3")
        assert controllers(cluster) == {1: True, 2: True, 3: True}
        assert "node 2 decides" in cluster.done("cluster", "voters", "transfer", "2", *folder)
        again = cluster.done("cluster", "voters", "transfer", "2", *folder)
        assert again.startswith("node 2 decides already, in term ")
        assert "handing over" not in cluster.dohle("cluster", "voters", "transfer", "9", *folder).stdout
        said = cluster.done("cluster", "voters", "remove", "2", *folder)
        assert "removing node 2 from the voters 1, 2, 3: it decides at the moment" in said
        assert "the voters are 1, 3" in said
        assert controllers(cluster) == {1: True, 3: True, 2: False}
        cluster.done("topic", "create", "t", "--replication-factor", "3", *folder)
        assert "the voters are 1, 2, 3" in cluster.done("cluster", "voters", "add", "2", *folder)
        assert "3 voters" in cluster.done("cluster", "describe", *folder)
        assert "no controller that is connected" in cluster.refused("cluster", "voters", "add", "9", *folder)
    finally:
        cluster.dohle("down")
