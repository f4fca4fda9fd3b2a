"""Controllers come and go while a cluster of processes runs, by the commands of an operator."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dohle.cluster.local import free_base_port
from dohle.cluster.local_state import load_state
from tests.integration.clusters import dohle_command, until


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


def test_a_growth_that_was_cut_short_before_the_votes_is_finished_by_the_next_start(make_cluster):
    cluster = make_cluster(3)
    cluster.up()
    try:
        cluster.local.grow(5)
        assert cluster.dohle("status").returncode == 0, "those that are there go on"
        up = subprocess.Popen(
            dohle_command("up", "--nodes", "5", "--dir", str(cluster.folder)), stdout=subprocess.PIPE, text=True
        )
        until(lambda: load_state(str(cluster.folder)).nodes[4].runs(), "node 5 was started")
        up.kill()
        up.communicate(timeout=20)
        told = cluster.done("up")
        assert "Finishing what an earlier `dohle up --nodes` has begun: " in told
        assert "Controllers that vote: 1, 2, 3, 4, 5" in told
        assert controllers(cluster) == {1: True, 2: True, 3: True, 4: True, 5: True}
        assert "Finishing" not in cluster.done("up", "--nodes", "5")
        cluster.done("cluster", "voters", "remove", "5")
        cluster.done("up")
        assert controllers(cluster)[5] is False, "what an operator has taken away stays away"
    finally:
        cluster.dohle("down")


class ByHand:
    """A node that an operator adds to a local cluster by a configuration of its own."""

    def __init__(self, cluster: Any, node_id: int, roles: str) -> None:
        self.cluster = cluster
        self.node_id = node_id
        self.folder: Path = cluster.folder / f"by-hand-{node_id}"
        self.folder.mkdir()
        self.port = free_base_port(1)
        self.log = self.folder / "node.log"
        self.configure(roles)

    def configure(self, roles: str, **more: str) -> None:
        texts = {"data_dir": str(self.folder / "data"), "roles": roles, **more}
        voters = [f"{node_id}@127.0.0.1:{self.cluster.port(node_id)}" for node_id in (1, 2)]
        lines = [f"node_id = {self.node_id}", f"voters = {json.dumps(voters)}", f"grpc_port = {self.port}"]
        lines += [f"http_port = {self.port + 1000}", *(f"{name} = {json.dumps(text)}" for name, text in texts.items())]
        self.config.write_text("\n".join(lines))

    @property
    def config(self) -> Path:
        return self.folder / "node.toml"

    def format(self, *how: str) -> str:
        said: str = self.cluster.done("format", "--config", str(self.config), *how)
        return said

    @contextlib.contextmanager
    def runs(self) -> Iterator[None]:
        with self.log.open("w") as log:
            node = subprocess.Popen(dohle_command("node", "--config", str(self.config)), stdout=log, stderr=log)
        try:
            until(lambda: "ready" in self.log.read_text(), f"node {self.node_id} is ready")
            yield
        finally:
            node.terminate()
            assert node.wait(20) == 0, self.log.read_text()


def test_a_dedicated_controller_joins_by_hand_and_outlives_others(make_cluster):
    cluster = make_cluster(3)
    cluster.up()
    stranger = ByHand(cluster, 5, "controller")
    stranger.format("--join", "--cluster-id", "A" * 22)
    with stranger.runs():
        assert "its log says why" in cluster.refused("cluster", "voters", "add", "5")
        until(lambda: "node 5 belongs to cluster AAAA" in stranger.log.read_text(), "it says why")
    node = ByHand(cluster, 4, "controller")
    assert "for node 4" in node.format("--join", "--cluster-id", cluster.local.state.cluster_id)
    with node.runs():
        until(lambda: controllers(cluster).get(4) is False, "node 4 is a learner")
        assert "the voters are 1, 2, 3, 4" in cluster.done("cluster", "voters", "add", "4")
        assert "the voters are 2, 3, 4" in cluster.done("cluster", "voters", "remove", "1")
        cluster.kill(1)
        assert "node 4 decides" in cluster.done("cluster", "voters", "transfer", "4")
        cluster.done("topic", "create", "t", "--replication-factor", "2")
        cluster.up(1)
        cluster.done("cluster", "voters", "add", "1")
        assert "the voters are 1, 2, 3" in cluster.done("cluster", "voters", "remove", "4")


def test_a_broker_becomes_a_controller_by_hand_and_keeps_its_replicas(make_cluster):
    cluster = make_cluster(3)
    cluster.up()
    node = ByHand(cluster, 4, "broker")
    node.format("--join", "--cluster-id", cluster.local.state.cluster_id)
    with node.runs():
        cluster.done("topic", "create", "t", "--partitions", "8")
        assert "runs as a broker alone: give it the role controller" in cluster.refused("cluster", "voters", "add", "4")
    node.configure("controller,broker")
    complaint = cluster.refused("node", "--config", str(node.config))
    assert "name a new folder as metadata_log_dir" in complaint
    node.configure("controller,broker", metadata_log_dir=str(node.folder / "metadata"))
    assert f"formatted {node.folder / 'metadata'} for node 4" in node.format("--join", "--ignore-formatted")
    with node.runs():
        until(lambda: controllers(cluster).get(4) is False, "node 4 is a learner")
        assert "the voters are 1, 2, 3, 4" in cluster.done("cluster", "voters", "add", "4")
        cluster.until_healthy()
        assert [one.replicas > 0 for one in cluster.describe().nodes if one.node_id == 4] == [True]
        assert "is missing, and" not in node.log.read_text()
    with node.runs():
        cluster.until_healthy()
        cluster.done("cluster", "voters", "remove", "4")
