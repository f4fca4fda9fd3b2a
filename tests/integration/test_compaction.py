"""A compacted topic keeps each key's last record on every replica, through kills, in real processes."""

from __future__ import annotations

import asyncio

from dohle import Producer
from tests.integration.clusters import Cluster, until
from tests.integration.load import read_all

KEYS = 50
VALUE = b"v" * 1000


async def _write(bootstrap: str, records: int) -> dict[int, bytes]:
    """Writes keys again and again; returns each record's value by its offset."""
    written: dict[int, bytes] = {}
    async with Producer(bootstrap) as producer:
        receipts = [
            (number, await producer.send("kept", b"%d %s" % (number, VALUE), key=b"%d" % (number % KEYS)))
            for number in range(records)
        ]
        for number, receipt in receipts:
            written[(await receipt).offset] = b"%d %s" % (number, VALUE)
    return written


def test_every_keys_last_record_is_there_after_compactions_and_kills(make_cluster):
    cluster: Cluster = make_cluster(3)
    for node in cluster.node_ids:
        config = cluster.config(node)
        config.write_text(config.read_text() + "log_cleaner_backoff_ms = 500\n")
    cluster.up()
    configs = (
        "cleanup.policy=compact",
        f"segment.bytes={1 << 20}",
        "min.cleanable.dirty.ratio=0.01",
        "file.delete.delay.ms=100",
    )
    cluster.done("topic", "create", "kept", "-p", "1", *(word for config in configs for word in ("--config", config)))
    written = asyncio.run(_write(cluster.bootstrap, 6000))

    def sizes() -> list[int]:
        return [
            sum(path.stat().st_size for path in (cluster.data(node) / "kept-0").glob("*.log"))
            for node in cluster.node_ids
        ]

    until(lambda: max(sizes()) < 3_000_000, "every replica has compacted what it had sealed")
    newest = dict(sorted(written.items())[-KEYS:])
    for _ in range(2):
        found = asyncio.run(read_all(cluster.bootstrap, "kept"))
        assert len(found) < len(written)
        assert {offset: value for (_, offset), value in found.items() if offset in newest} == newest
        assert all(value == written[offset] for (_, offset), value in found.items())
        cluster.kill_all()
        cluster.up()
        cluster.until_healthy()
    cluster.down()
    for node in cluster.node_ids:
        assert "SOUND" in cluster.done("log", "verify", str(cluster.data(node)))
