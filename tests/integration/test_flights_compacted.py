"""The demo's flights: their topic is compacted by key, forked, verified and dumped, as docs/storage.md has it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dohle import Producer
from dohle.cli.flights import Flight, read_flights
from dohle.model.errors import ConfigurationError
from tests.integration.clusters import Cluster, until
from tests.integration.load import read_all

FLIGHTS = 20_000
PARTITIONS = 6


@pytest.fixture(scope="module")
def flights() -> list[Flight]:
    try:
        return read_flights()[:FLIGHTS]
    except ConfigurationError as error:
        pytest.skip(error.message)


async def _load(bootstrap: str, records: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Returns each key's last value."""
    async with Producer(bootstrap) as producer:
        receipts = [await producer.send("flights", value, key=key) for key, value in records]
        for receipt in receipts:
            await receipt
    return dict(records)


def _batches(folders: list[Path]) -> int:
    return sum(path.stat().st_size for folder in folders for path in folder.glob("*.log"))


def test_the_flights_are_compacted_forked_verified_and_dumped(make_cluster, flights):
    cluster: Cluster = make_cluster(3)
    for node in cluster.node_ids:
        config = cluster.config(node)
        config.write_text(config.read_text() + "log_cleaner_backoff_ms = 500\n")
    cluster.up()
    cluster.done("topic", "create", "flights", "-p", str(PARTITIONS), "-r", "3")
    newest = asyncio.run(_load(cluster.bootstrap, [(one.carrier, one.value) for one in flights]))
    folders = [cluster.data(node) / f"flights-{number}" for node in cluster.node_ids for number in range(PARTITIONS)]
    before = _batches(folders)

    settings = ("cleanup.policy=compact", "max.compaction.lag.ms=1000", "min.cleanable.dirty.ratio=0.01")
    cluster.done("topic", "config", "flights", *(word for one in settings for word in ("--set", one)))
    await_roll = [(carrier, b"landed") for carrier in sorted(newest)]
    until(lambda: _landed(cluster, await_roll, folders) < before // 20, "all replicas have compacted what they had")
    newest.update(await_roll)

    assert "forked flights as copy" in cluster.done("topic", "fork", "flights", "copy")
    assert "snapshot landed of flights" in cluster.done("topic", "snapshot", "flights", "landed")
    source, copy = (asyncio.run(read_all(cluster.bootstrap, topic)) for topic in ("flights", "copy"))
    for found in (source, copy):  # either may have been compacted further since
        assert set(newest.values()) <= set(found.values())
        assert len(found) < FLIGHTS // 10
    assert all(copy[place] == source[place] for place in copy.keys() & source.keys())
    assert {number: _end(copy, number) for number, _ in copy} == {number: _end(source, number) for number, _ in source}
    assert "deleted snapshot landed" in cluster.done("topic", "snapshots", "--delete", "landed")
    assert "There are no snapshots" in cluster.done("topic", "snapshots")
    cluster.down()
    for node in cluster.node_ids:
        assert "SOUND" in cluster.done("log", "verify", str(cluster.data(node)))
        for path in sorted(cluster.data(node).glob("copy-*/*.log")):
            if path.stat().st_size:
                assert " sound batch" in cluster.done("log", "dump", str(path))


def _end(found: dict[tuple[int, int], bytes], partition: int) -> int:
    return max(offset for number, offset in found if number == partition)


def _landed(cluster: Cluster, records: list[tuple[bytes, bytes]], folders: list[Path]) -> int:
    """A segment begins only with a record that comes a second after the first one in it."""
    asyncio.run(_load(cluster.bootstrap, records))
    return _batches(folders)
