"""A leader that reaches no other node, while its clients reach it."""

from __future__ import annotations

from dohle import Admin
from dohle.cluster.config import NodeConfig
from tests.integration.clusters import healthy
from tests.integration.load import Load
from tests.integration.namespaces import apart
from tests.machine.networks import why_not
from tests.means import lacks

SESSION_S = NodeConfig().session_timeout_ms / 1000


async def test_writes_go_on_where_a_majority_is_and_nothing_is_lost(tmp_path, say):
    if reason := why_not():
        lacks("root", reason)
    with apart(tmp_path) as cluster:
        await healthy(cluster.bootstrap)
        async with Load(cluster.bootstrap, "cut", records_per_s=300) as load:
            await load.reached(300)
            async with Admin(cluster.bootstrap) as admin:
                before = await admin.describe_topic("cut")
                controller = (await admin.describe_quorum()).leader_id
            leader = next(node for node in cluster.node_ids if node != controller)
            led = [one.partition for one in before.partitions if one.leader == leader]
            assert led
            others = [node for node in cluster.node_ids if node != leader]
            load.longest_gap_s = 0.0
            for other in others:
                cluster.cut(leader, other)
            await load.reached(1500)
            async with Admin([f"{cluster.address(node)}:7092" for node in others]) as admin:
                after = await admin.describe_topic("cut")
            assert not [one.partition for one in after.partitions if one.leader == leader]
            gap_s = load.longest_gap_s
            for other in others:
                cluster.mend(leader, other)
            await healthy(cluster.bootstrap)
            await load.reached(300)
        await load.check()
        assert not load.refused
        assert not load.doubtful
        say(f"longest gap after the leader was cut off: {gap_s:.2f} s, with sessions of {SESSION_S:g} s")
