"""What a topic does not retain goes from every replica, and does not come back."""

from __future__ import annotations

import asyncio

from tests.integration.clusters import Cluster, until
from tests.integration.load import read_all, write_some

RETAINED_BYTES = 2_000_000
SEGMENT_BYTES = 1 << 20
MOST_SEGMENTS = 3  # two that are retained, and the one in which that begins


def _segments(cluster: Cluster) -> list[list[str]]:
    """Returns the names of the segments of every replica, and of what waits to be deleted."""
    return [sorted(path.name for path in (cluster.data(node) / "kept-0").glob("*.log*")) for node in cluster.node_ids]


def test_a_log_begins_later_on_every_replica_and_still_does_after_all_were_killed(make_cluster):
    cluster: Cluster = make_cluster(3)
    for node in cluster.node_ids:
        config = cluster.config(node)
        config.write_text(config.read_text() + "log_retention_check_interval_ms = 500\n")
    cluster.up()
    configs = (f"retention.bytes={RETAINED_BYTES}", f"segment.bytes={SEGMENT_BYTES}", "file.delete.delay.ms=100")
    cluster.done("topic", "create", "kept", "-p", "1", *(word for config in configs for word in ("--config", config)))
    written = asyncio.run(write_some(cluster.bootstrap, "kept", 40_000, prefix="r" * 100))

    def settled() -> bool:
        first, *others = _segments(cluster)
        return all(one == first for one in others) and len(first) <= MOST_SEGMENTS

    until(settled, "every replica has let go of the same segments")
    start = int(_segments(cluster)[0][0].partition(".")[0])
    assert start > 0
    for _ in range(2):
        found = asyncio.run(read_all(cluster.bootstrap, "kept"))
        assert min(found) == (0, start)
        assert [value for _, value in sorted(found.items())] == written[start:]
        cluster.kill_all()
        cluster.up()
        cluster.until_healthy()
    cluster.down()
    for node in cluster.node_ids:
        assert "SOUND" in cluster.done("log", "verify", str(cluster.data(node)))
