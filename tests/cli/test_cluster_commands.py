"""`dohle cluster` and `dohle explain` against four real nodes, in the order in which an operator would use them."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request

import pytest

from dohle import Admin, Producer
from dohle.cli.main import run
from dohle.cluster.local import LocalCluster, free_base_port
from dohle.model.ids import id_text

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("four") / "c")
    made = LocalCluster.create(folder, 4, base_port=free_base_port(4), new_cluster_id=id_text(bytes(16)))
    made.start()
    yield made
    for node in made.state.nodes:
        if node.runs():
            made.kill(node.node_id)


@pytest.fixture(autouse=True)
def _addressed(cluster, monkeypatch):
    monkeypatch.setenv("DOHLE_BOOTSTRAP", cluster.state.bootstrap)


@pytest.fixture
def topic(cluster, request):
    """A topic with records, on brokers 1, 2 and 3."""
    name = request.node.name[:60]

    async def make() -> None:
        from dohle import NewTopic

        async with Admin(cluster.state.bootstrap) as admin:
            await admin.create_topics([NewTopic(name, assignments=((1, 2, 3), (2, 3, 1)))])
        async with Producer(cluster.state.bootstrap) as producer:
            for number in range(50):
                await producer.send_and_wait(name, b"%d" % number * 4000, partition=number % 2)

    asyncio.run(make())
    return name


def said(capsys, *arguments: str, code: int = 0) -> str:
    assert run(list(arguments)) == code, capsys.readouterr()
    return capsys.readouterr().out


def described(capsys, topic: str) -> dict[int, dict[str, object]]:
    partitions = json.loads(said(capsys, "topic", "describe", topic, "--json"))["partitions"]
    return {one["partition"]: one for one in partitions}


def counted(cluster: LocalCluster, metric: str) -> float:
    """Returns the sum of a metric over all nodes that run."""
    total = 0.0
    for node in cluster.state.nodes:
        if node.runs():
            with urllib.request.urlopen(f"http://127.0.0.1:{node.http_port}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
            total += sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split()[0] == metric)
    return total


def test_a_partition_moves_and_every_step_is_shown(cluster, topic, capsys):
    joined = counted(cluster, "dohle_isr_expands_total")
    shown = said(capsys, "cluster", "reassign", f"{topic}:0=4,2,3")
    assert shown.splitlines()[0].split() == ["PARTITION", "FROM", "TO", "ADDS", "REMOVES"]
    assert shown.splitlines()[1].split() == [f"{topic}-0", "1,2,3", "4,2,3", "4", "1"]
    assert shown.splitlines()[2] == "1 partition: done"
    moved = described(capsys, topic)[0]
    assert moved["assigned_replicas"] == [4, 2, 3]
    explained = said(capsys, "explain", "partition", topic, "0")
    assert "a move to 4,2,3 began" in explained
    assert "the move to 4,2,3 ended" in explained
    history = json.loads(said(capsys, "explain", "partition", topic, "0", "--json"))
    assert history["leader"] == moved["leader"]
    assert [one["records_behind"] for one in history["replicas"]] == [0, 0, 0]
    assert counted(cluster, "dohle_isr_expands_total") == joined + 1
    assert counted(cluster, "dohle_controller_reassignments_total") == 1
    assert counted(cluster, "dohle_follower_lag_records") == 0
    assert counted(cluster, "dohle_cluster_reassigning_partitions") == 0


def test_a_rebalance_shows_asks_runs_and_leaves_the_way_back(cluster, topic, capsys, tmp_path):
    only = [
        part
        for name in json.loads(said(capsys, "topic", "list", "--json"))
        if name["name"] != topic
        for part in ("--exclude", name["name"])
    ]
    shown = said(capsys, "cluster", "rebalance", "--plan", *only)
    assert "to copy" in shown
    assert "of excluded topics: left alone" in shown or not only
    before = described(capsys, topic)
    back = tmp_path / "back.json"
    rebalance = ("cluster", "rebalance", "--yes", "--undo-plan", str(back), *only)
    assert "copied" in said(capsys, *rebalance)
    after = described(capsys, topic)
    assert {node for one in after.values() for node in one["assigned_replicas"]} == {1, 2, 3, 4}
    assert said(capsys, "cluster", "rebalance", "--cancel") == "Nothing is on its way.\n"
    said(capsys, "cluster", "reassign", "--plan", str(back))
    assert {n: one["assigned_replicas"] for n, one in described(capsys, topic).items()} == {
        n: one["assigned_replicas"] for n, one in before.items()
    }
    assert json.loads(said(capsys, "cluster", "rebalance", "--yes", "--json", "--tolerance", "100", *only)) == []
    said(capsys, *rebalance, code=1)  # the file is there, and is not written over
    assert described(capsys, topic)[0]["assigned_replicas"] == before[0]["assigned_replicas"]
    said(capsys, "cluster", "rebalance", "--json", code=2)


def test_what_cannot_be_is_refused_whole_and_says_why(topic, capsys):
    before = described(capsys, topic)
    assert run(["cluster", "reassign", f"{topic}:0=4,2,3", f"{topic}:1=4,9"]) == 1
    error = capsys.readouterr().err
    assert f"dohle: {topic}-1 names brokers that are not registered, [9]" in error
    assert "nothing was changed" in error
    assert described(capsys, topic) == before
    assert run(["cluster", "reassign", "no-move"]) == 2
    assert run(["cluster", "reassign"]) == 2


def test_a_plan_file_is_checked_run_slowly_and_taken_back(topic, capsys, tmp_path):
    plan = tmp_path / "plan.json"
    parts = [{"topic": topic, "partition": number, "replicas": [4, 2, 3]} for number in (0, 1)]
    plan.write_text(json.dumps({"version": 1, "partitions": parts}))
    assert "2 partitions: could begin" in said(capsys, "cluster", "reassign", "--plan", str(plan), "--dry-run")
    said(capsys, "cluster", "reassign", "--plan", str(plan), "--throttle", "1", "--no-wait")
    listed = json.loads(said(capsys, "cluster", "reassign", "--list", "--json"))
    assert listed["throttle_bytes_per_s"] == 1
    assert [one["adding_replicas"] for one in listed["reassignments"]] == [[4], [4]]
    assert all(one["records_left"] > 0 and one["bytes_left"] > 0 for one in listed["reassignments"])
    faster = json.loads(said(capsys, "cluster", "reassign", "--throttle", "2", "--json"))
    assert faster == {"throttle_bytes_per_s": 2, "on_their_way": 2}
    assert "2 partitions on the way, at most 1 B/s" in said(capsys, "cluster", "reassign", "--throttle", "1")
    assert "taken back" in said(capsys, "cluster", "reassign", "--cancel")
    assert "the move was taken back" in said(capsys, "explain", "partition", topic, "1")
    assert "Nothing is on its way." in said(capsys, "cluster", "reassign", "--list")
    assert "give it --throttle" in said(capsys, "cluster", "reassign", "--throttle", "1M")
    parts[0]["partition_epoch"] = 0
    parts[0]["replicas"] = [3, 1, 2]
    plan.write_text(json.dumps({"partitions": parts[:1]}))
    assert run(["cluster", "reassign", "--plan", str(plan)]) == 1
    assert "out of date" in capsys.readouterr().err
    plan.write_text("[]")
    assert run(["cluster", "reassign", "--plan", str(plan)]) == 1
    assert "is no plan" in capsys.readouterr().err


def test_the_preferred_leader_is_elected(topic, capsys):
    said(capsys, "cluster", "reassign", f"{topic}:0=3,2,1")
    assert described(capsys, topic)[0]["leader"] == 1
    elected = said(capsys, "cluster", "elect", "preferred", f"{topic}:0").splitlines()[2]
    assert elected.split()[:2] == [f"{topic}-0", "3"]
    assert "no election was needed" in said(capsys, "cluster", "elect", "preferred", topic)
    assert "no election was needed" in said(capsys, "cluster", "elect", "unclean", f"{topic}:0", "--yes")
    assert "by an election, as the preferred leader" in said(capsys, "explain", "partition", topic, "0")
    both = json.loads(said(capsys, "cluster", "elect", "preferred", topic, f"{topic}:1", "--json"))
    assert [(one["partition"], one["elected"]) for one in both] == [(0, False), (1, False)]
    assert run(["cluster", "elect", "preferred", "none:0"]) == 1
    assert "there is no topic none" in capsys.readouterr().err


def test_a_broker_is_drained_and_what_needs_it_is_refused(cluster, topic, capsys):
    assert "would move" in said(capsys, "cluster", "drain", "2", "--dry-run")
    shown = said(capsys, "cluster", "drain", "2")
    assert "broker 2 holds no replicas: it can be switched off" in shown
    assert "Node 2 is a controller too" in shown
    status = json.loads(said(capsys, "status", "--json"))
    assert [(one["replicas"], one["draining"]) for one in status["nodes"]][1] == (0, True)
    assert "up, draining" in said(capsys, "status")
    assert "node 2 is being drained: it holds no replicas any more" in said(capsys, "cluster", "describe")
    with urllib.request.urlopen(f"http://localhost:{cluster.state.node(1).http_port}/metrics", timeout=10) as answer:
        assert "dohle_cluster_draining_brokers 1.0" in answer.read().decode()
    said(capsys, "topic", "create", "elsewhere", "--partitions", "12")
    assert all(2 not in replicas for replicas in replicas_of(capsys, "elsewhere"))
    assert run(["topic", "create", "wide", "--replication-factor", "4"]) == 1
    assert "[2] are being drained" in capsys.readouterr().err
    assert run(["cluster", "reassign", f"{topic}:0=1,2,4"]) == 1
    assert "being drained, and get no new replicas, [2]" in capsys.readouterr().err
    assert run(["cluster", "drain", "1"]) == 1
    assert "[2] drain already" in capsys.readouterr().err


def test_a_drained_broker_takes_replicas_again_when_that_is_taken_back(cluster, capsys):
    again = json.loads(said(capsys, "cluster", "drain", "2", "--json"))
    assert again["draining"] is True
    assert "takes replicas again" in said(capsys, "cluster", "drain", "2", "--cancel")
    assert "is not being drained" in said(capsys, "cluster", "drain", "2", "--cancel")
    said(capsys, "topic", "create", "everywhere", "--partitions", "12")
    assert any(2 in replicas for replicas in replicas_of(capsys, "everywhere"))
    assert run(["cluster", "drain", "2", "--cancel", "--dry-run"]) == 2


def test_a_cluster_that_could_not_be_without_a_broker_refuses_to_drain_it(cluster, topic, capsys):
    cluster.kill(2)
    deadline = time.monotonic() + 20
    while not next(one for one in json.loads(_status(capsys))["nodes"] if one["node_id"] == 2)["fenced"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert run(["cluster", "drain", "1"]) == 1
    assert "start another one first" in capsys.readouterr().err
    assert run(["cluster", "drain", "9"]) == 1
    assert "there is no broker 9" in capsys.readouterr().err


def replicas_of(capsys, topic: str) -> list[list[int]]:
    shown = json.loads(said(capsys, "topic", "describe", topic, "--json"))
    return [one["assigned_replicas"] for one in shown["partitions"]]


def _status(capsys) -> str:
    run(["status", "--json"])
    return capsys.readouterr().out
