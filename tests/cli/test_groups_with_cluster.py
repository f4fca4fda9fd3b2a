"""`dohle group` against real nodes: whoever is asked, the coordinator answers; what happened outlives it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import urllib.request

import pytest
from kafka import KafkaConsumer

from dohle.client.consumer import Consumer
from dohle.cluster.local import LocalCluster, free_base_port
from dohle.groups.group import CONSUMER
from dohle.model.errors import InvalidRequest, UnknownTopicOrPartition
from dohle.model.group_errors import GroupIdNotFound, InvalidGroupId
from dohle.model.ids import id_text
from dohle.sync import Admin

pytestmark = pytest.mark.processes

RECORDS = 300


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = LocalCluster.create(
        str(tmp_path_factory.mktemp("groups") / "c"), 3, base_port=free_base_port(3), new_cluster_id=id_text(bytes(16))
    )
    made.start()
    try:
        yield made
    finally:
        for node in made.state.nodes:
            if node.runs():
                made.kill(node.node_id)


@pytest.fixture(autouse=True)
def _addressed(cluster, monkeypatch):
    monkeypatch.setenv("DOHLE_BOOTSTRAP", cluster.state.bootstrap)


def dohle(*arguments, stdin=b""):
    ran = subprocess.run(
        [sys.executable, "-m", "dohle", *arguments], input=stdin, capture_output=True, check=False, timeout=60
    )
    return ran.returncode, ran.stdout.decode(), ran.stderr.decode()


def told(*arguments):
    code, out, err = dohle(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def topic_of(name):
    assert dohle("topic", "create", name, "-p", "3")[0] == 0
    lines = b"".join(b"%d:%d\n" % (number, number) for number in range(RECORDS))
    assert dohle("produce", name, "-k", ":", stdin=lines)[0] == 0


def classic_consumer(cluster, topic, group, client):
    """Returns one that has joined, and been given partitions."""
    ports = [f"127.0.0.1:{node.kafka_port}" for node in cluster.state.nodes]
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=ports,
        group_id=group,
        client_id=client,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    deadline = time.monotonic() + 30
    while not consumer.assignment() and time.monotonic() < deadline:
        consumer.poll(200)
    assert consumer.assignment()
    return consumer


def test_a_group_is_reset_described_and_deleted_through_any_node(cluster):
    assert dohle("group", "describe", "nobody")[2] == "dohle: there is no group nobody\n"
    topic_of("resets")
    assert dohle("group", "reset", "g", "--to", "earliest", "-t", "resets", "--yes")[0] == 0
    for node in cluster.state.nodes:
        (found,) = told("group", "describe", "g", "--bootstrap", f"localhost:{node.grpc_port}")
        assert sum(one["lag_records"] for one in found["partitions"]) == RECORDS
        assert all(one["lag_ms"] > 0 for one in found["partitions"])
    assert told("group", "reset", "g", "--to", "+7", "--yes")[0]["offset"] == 7
    assert told("group", "reset", "g", "--to", "1s", "--dry-run")[0]["previous_offset"] == 7
    assert [one["group"] for one in told("group", "list")["groups"]] == ["g"]
    assert dohle("group", "delete", "g", "--yes")[1].endswith("deleted g\n")
    assert told("group", "list")["groups"] == []


def test_members_are_named_and_what_happened_outlives_the_coordinator(cluster):
    topic_of("classics")
    consumer = classic_consumer(cluster, "classics", "classic", "one")
    consumer.poll(1000)
    consumer.commit()
    code, out, err = dohle("group", "reset", "classic", "--to", "latest")
    assert (code, out) == (1, "")
    assert "stop one-" in err
    assert dohle("group", "delete", "classic", "--yes")[0] == 1
    (found,) = told("group", "describe", "classic")
    (member,) = found["members"]
    assert (member["client_id"], member["leads"], len(member["assigned"])) == ("one", True, 3)
    assert {one["member_id"] for one in found["partitions"]} == {member["member_id"]}
    consumer.close()
    before = told("group", "explain", "classic")
    causes = [(one["cause"], one["who"]["client_id"]) for one in before["rebalances"]]
    assert (causes[0], causes[-1]) == (("joined", "one"), ("left", "one"))
    assert before["state"] == "Empty"
    cluster.kill(before["coordinator"])
    try:
        after = told("group", "explain", "classic", "--timeout", "40")
        assert after["coordinator"] != before["coordinator"]
        assert after["rebalances"] == before["rebalances"]
    finally:
        cluster.start([before["coordinator"]])


def test_a_member_of_the_sdk_is_described_and_its_lag_is_a_metric(cluster):
    topic_of("modern")

    async def story():
        async with Consumer(cluster.state.bootstrap, group="modern", client_id="sdk") as consumer:
            await consumer.subscribe("modern")
            assert await anext(aiter(consumer))
            (found,) = await asyncio.to_thread(told, "group", "describe", "modern")
            return found

    found = asyncio.run(story())
    assert (found["type"], found["protocol_type"]) == (CONSUMER, "consumer")
    (member,) = found["members"]
    assert member["client_id"] == "sdk"
    assert len(member["assigned"]) == 3
    assert told("group", "explain", "modern")["rebalances"]
    (lag,) = told("group", "lag", "modern")
    assert dohle("group", "reset", "modern", "--to", "earliest", "-t", "modern", "--yes")[0] == 0
    node = next(one for one in cluster.state.nodes if one.node_id == lag["coordinator"])
    deadline = time.monotonic() + 30
    while 'dohle_group_lag_records{group="modern",partition="0",topic="modern"}' not in _metrics(node):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    metrics = _metrics(node)
    assert f'dohle_groups{{state="Empty",type="{CONSUMER}"}}' in metrics
    assert 'dohle_group_lag_seconds{group="modern",partition="0",topic="modern"}' in metrics


def _metrics(node):
    with urllib.request.urlopen(f"http://127.0.0.1:{node.http_port}/metrics", timeout=10) as answer:
        return answer.read().decode()


def test_lags_are_watched_until_nobody_reads_them(cluster):
    topic_of("watched")
    assert dohle("group", "reset", "watched", "--to", "earliest", "-t", "watched", "--yes")[0] == 0
    watching = subprocess.Popen(
        [sys.executable, "-m", "dohle", "group", "lag", "watched", "--watch", "--interval", "0.2", "--json"],
        stdout=subprocess.PIPE,
    )
    try:
        assert watching.stdout is not None
        for _ in range(3):
            (one,) = json.loads(watching.stdout.readline())
            assert one["lag_records"] == RECORDS
        watching.stdout.close()
        assert watching.wait(20) == 0
    finally:
        watching.kill()


@pytest.mark.parametrize(
    ("question", "error"),
    [
        (lambda admin: admin.alter_group_offsets("", {("watched", 0): 1}), InvalidGroupId),
        (lambda admin: admin.alter_group_offsets("g", {("watched", 0): -1}), InvalidRequest),
        (lambda admin: admin.alter_group_offsets("g", {("nowhere", 0): 1}), UnknownTopicOrPartition),
        (lambda admin: admin.alter_group_offsets("g", {("watched", 9): 1}), UnknownTopicOrPartition),
        (lambda admin: admin.describe_groups([f"g{number}" for number in range(101)]), InvalidRequest),
    ],
)
def test_what_cannot_be_is_refused_by_name(cluster, question, error):
    with Admin(cluster.state.bootstrap) as admin, pytest.raises(error):
        question(admin)


def test_of_several_groups_each_has_its_own_answer(cluster):
    with Admin(cluster.state.bootstrap) as admin:
        assert {name: type(one) for name, one in admin.describe_groups(["", "nobody"]).items()} == {
            "": InvalidGroupId,
            "nobody": GroupIdNotFound,
        }
        assert {name: type(one) for name, one in admin.delete_groups(["nobody"]).items()} == {"nobody": GroupIdNotFound}
