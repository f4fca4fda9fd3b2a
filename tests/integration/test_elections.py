"""Who leads when nobody in sync is left: an eligible replica without loss, another only where the topic allows it."""

from __future__ import annotations

import asyncio
import signal
import urllib.request

import pytest

from dohle import Admin, Producer
from dohle.cli.replica_files import differing
from dohle.client.values import NewTopic
from dohle.model.errors import DohleError
from tests.integration.clusters import until
from tests.integration.load import read_all, write_some


@pytest.fixture
def five(make_cluster):
    """Nodes 1 to 3 are the controllers; what lies on 3, 4 and 5 can all go without the quorum."""
    cluster = make_cluster(5)
    cluster.up()
    cluster.until_healthy()
    return cluster


def _counted(cluster, name):
    """Returns a metric, added up over the nodes that run: whoever was the active controller counted it."""
    total = 0.0
    for node in cluster.local.state.nodes:
        if node.runs():
            with urllib.request.urlopen(f"http://127.0.0.1:{node.http_port}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
            total += sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))
    return total


def _said(cluster, words):
    """Returns whether a controller has logged it."""
    return any(words in cluster.log(node) for node in (1, 2, 3))


def _make(cluster, topic, replicas, **configs):
    async def ask():
        async with Admin(cluster.bootstrap) as admin:
            named = {name.replace("_", "."): value for name, value in configs.items()}
            await admin.create_topics([NewTopic(topic, assignments=(replicas,), configs=named)])

    asyncio.run(ask())


def _tear(cluster, node, topic):
    """As if power had gone while a batch was written of which nothing was acknowledged."""
    path = cluster.data(node) / f"{topic}-0" / f"{0:020d}.log"
    with path.open("ab") as file:
        file.write(path.read_bytes()[:40])


def test_an_eligible_replica_leads_when_the_only_member_dies_and_nothing_is_lost(five):
    cluster, torn, sound = five, (3, 4), 5
    _make(cluster, "t", (3, 4, 5), min_insync_replicas="3")
    written = asyncio.run(write_some(cluster.bootstrap, "t", 100))
    for node in (*torn, sound):
        cluster.signal(node, signal.SIGKILL)
    for node in (*torn, sound):
        until(lambda node=node: not cluster.running(node), "its process has ended")
    for node in torn:
        _tear(cluster, node, "t")
    cluster.up(*torn)
    until(lambda: not any(one.fenced for one in cluster.describe().nodes if one.node_id in torn), "both are back")
    # Who is asked may not have heard yet that they were gone; once it has, neither leads.
    until(lambda: cluster.partition("t").leader == -1, "nobody leads, for one of the three may have cut nothing")
    for node in torn:
        cluster.signal(node, signal.SIGSTOP)  # or they are in sync again before anybody can look
    cluster.up(sound)
    until(lambda: cluster.partition("t").leader == sound, "who cut nothing leads")
    found = cluster.partition("t")
    assert (found.in_sync_replicas, found.eligible_replicas) == ((sound,), torn)
    cluster.kill(sound)
    for node in torn:
        cluster.signal(node, signal.SIGCONT)
    until(lambda: cluster.partition("t").leader in torn, "an eligible one leads")
    assert _counted(cluster, "dohle_controller_eligible_leader_elections_total") == 1
    assert _counted(cluster, "dohle_controller_unclean_leader_elections_total") == 0
    cluster.up(sound)
    cluster.until_healthy()
    assert sorted(asyncio.run(read_all(cluster.bootstrap, "t")).values()) == sorted(written)
    written += asyncio.run(write_some(cluster.bootstrap, "t", 20, prefix="later"))
    assert sorted(asyncio.run(read_all(cluster.bootstrap, "t")).values()) == sorted(written)
    assert cluster.partition("t").eligible_replicas == ()
    cluster.down()
    assert differing([str(cluster.data(node) / "t-0") for node in (3, 4, 5)], len(written)) == []


def test_who_lacks_acknowledged_records_leads_only_where_the_topic_allows_it_and_loudly(five):
    cluster, behind, last = five, 4, 5
    _make(cluster, "strict", (5, 4), min_insync_replicas="1")
    _make(cluster, "lenient", (5, 4), min_insync_replicas="1", unclean_leader_election_enable="true")
    for topic in ("strict", "lenient"):
        asyncio.run(write_some(cluster.bootstrap, topic, 50))
    cluster.kill(behind)
    for topic in ("strict", "lenient"):
        asyncio.run(write_some(cluster.bootstrap, topic, 50, prefix="late"))
        until(lambda topic=topic: cluster.partition(topic).in_sync_replicas == (last,), "one is left in sync")
    cluster.kill(last)
    cluster.up(behind)
    until(lambda: cluster.partition("lenient").leader == behind, "who is there leads where it may")
    assert cluster.partition("strict").leader == -1
    with pytest.raises(DohleError):
        asyncio.run(asyncio.wait_for(_write_one(cluster.bootstrap, "strict"), 20))
    assert _said(cluster, f"unclean election: broker {behind} leads")
    assert _counted(cluster, "dohle_controller_unclean_leader_elections_total") == 1
    assert len(asyncio.run(read_all(cluster.bootstrap, "lenient"))) == 50
    cluster.up(last)
    cluster.until_healthy()
    assert len(asyncio.run(read_all(cluster.bootstrap, "strict"))) == 100
    assert _counted(cluster, "dohle_controller_unclean_leader_elections_total") == 1


async def _write_one(bootstrap, topic):
    async with Producer(bootstrap, request_timeout_ms=1000, delivery_timeout_ms=3000) as producer:
        await producer.send_and_wait(topic, b"x")
