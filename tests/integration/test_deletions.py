"""Records that were deleted do not come back: not by restarts, not by another leader."""

from __future__ import annotations

import asyncio

from dohle import Admin
from dohle.client.values import DeletedRecords
from dohle.model.ids import TopicPartition
from tests.integration.clusters import Cluster
from tests.integration.load import read_all, write_some

RECORDS = 20_000
BEFORE = 12_345  # batches hold more than one record: within one of them


async def _deleted(bootstrap: str) -> None:
    async with Admin(bootstrap, request_timeout_ms=60_000) as admin:
        outcome = (await admin.delete_records({("aged", 0): BEFORE}))[TopicPartition("aged", 0)]
        assert isinstance(outcome, DeletedRecords), outcome
        assert outcome.log_start_offset == BEFORE


def _begins_there(cluster: Cluster, written: list[bytes]) -> None:
    found = asyncio.run(read_all(cluster.bootstrap, "aged"))
    assert min(found) == (0, BEFORE)
    assert [value for _, value in sorted(found.items())] == written[BEFORE:]


def test_deleted_records_stay_gone_when_all_are_killed_and_when_their_leader_is(make_cluster):
    cluster: Cluster = make_cluster(3)
    cluster.up()
    config = ("--config", f"segment.bytes={1 << 20}")
    cluster.done("topic", "create", "aged", "-p", "1", "-r", "3", *config)
    written = asyncio.run(write_some(cluster.bootstrap, "aged", RECORDS, prefix="r" * 100))
    asyncio.run(_deleted(cluster.bootstrap))
    cluster.kill_all()  # at once: whatever is to be durable is
    cluster.up()
    cluster.until_healthy()
    _begins_there(cluster, written)
    for _ in range(2):
        leader = cluster.partition("aged").leader
        cluster.kill(leader)
        _begins_there(cluster, written)
        assert cluster.partition("aged").leader != leader
        cluster.up()
        cluster.until_healthy()
    cluster.down()
    for node in cluster.node_ids:
        assert "SOUND" in cluster.done("log", "verify", str(cluster.data(node)))
