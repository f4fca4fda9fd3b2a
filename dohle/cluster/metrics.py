"""Metrics: a node's state as Prometheus reads it, gathered when it asks, so that no hot path pays for them.

Names follow Prometheus' rules: base units, `_total` for what only grows. Rates of records and bytes are those of the
end offsets and sizes. Every node has a registry of its own.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

import dohle
from dohle.broker.broker import Broker
from dohle.broker.groups.lags import Lag
from dohle.broker.leading import Leading
from dohle.cluster.node import Node
from dohle.controller.part import ControllerPart
from dohle.groups.standing import short_standings
from dohle.listeners.kafka.listener import KafkaListener
from dohle.model.ids import NodeId

METRICS_CONTENT_TYPE = CONTENT_TYPE_LATEST


def registry_of(node: Node, kafka: KafkaListener | None = None) -> CollectorRegistry:
    """Returns a registry with all that there is to know of `node`, and of its port for Kafka's clients."""
    registry = CollectorRegistry()
    registry.register(NodeCollector(node, kafka))
    ProcessCollector(registry=registry)
    return registry


def exposition(registry: CollectorRegistry) -> bytes:
    """Returns what a scrape gets."""
    return generate_latest(registry)


class NodeCollector(Collector):
    """Reads a node's state at each scrape."""

    def __init__(self, node: Node, kafka: KafkaListener | None) -> None:
        self._node = node
        self._kafka = kafka

    def describe(self) -> list[Metric]:
        return []  # what there is depends on the node's state, and is not to be gathered at registration

    def collect(self) -> Iterator[Metric]:
        node = self._node
        yield InfoMetricFamily(
            "dohle_build",
            "The software",
            {"version": dohle.__version__},
        )
        yield GaugeMetricFamily("dohle_ready", "Whether the node serves", float(node.unready_reason() is None))
        start = GaugeMetricFamily(
            "dohle_start_seconds",
            "How long the start took until it voted, its logs were open, metadata known, replicas in roles, and ready",
            labels=["step"],
        )
        for step, seconds in node.start_steps().items():
            start.add_metric([step], seconds)
        yield start
        yield CounterMetricFamily(
            "dohle_gc_collections",
            "Garbage collections of all generations",
            float(sum(generation["collections"] for generation in gc.get_stats())),
        )
        if node.controller is not None:
            yield from _of_controller(node.controller)
        if node.broker is not None:
            yield from _of_cluster(node.broker)
            yield from _of_replicas(node.broker)
            yield from _of_replication(node.broker)
            yield from _of_traffic(node.broker)
            yield from _of_groups(node.broker)
            yield from _of_lags(node.broker)
        if self._kafka is not None:
            yield from _of_kafka(self._kafka)


def _of_controller(part: ControllerPart) -> Iterator[Metric]:
    quorum = part.quorum
    yield GaugeMetricFamily("dohle_controller_active", "1 on the active controller", float(quorum.is_leader))
    yield GaugeMetricFamily("dohle_controller_term", "The quorum's term, as known here", float(quorum.term))
    yield GaugeMetricFamily("dohle_controller_commit_offset", "Committed metadata", float(quorum.commit_offset))
    yield GaugeMetricFamily("dohle_controller_log_end_offset", "Metadata in this log", float(quorum.log_end_offset))
    yield GaugeMetricFamily(
        "dohle_controller_log_start_offset", "Where this log begins", float(quorum.log_start_offset)
    )
    files = quorum.snapshots.files
    yield GaugeMetricFamily(
        "dohle_controller_snapshot_end_offset", "Metadata in the newest snapshot", float(files.newest.end_offset)
    )
    yield GaugeMetricFamily("dohle_controller_snapshot_size_bytes", "Its size", float(files.newest_size_bytes))
    yield GaugeMetricFamily("dohle_controller_snapshot_age_seconds", "Since the last was written", part.taker.age_s)
    counts = part.controller.counts
    for name, doc, value in (
        ("dohle_controller_leader_elections", "Leaders elected while active", counts.elections),
        ("dohle_controller_unclean_leader_elections", "Of them, leaders that may lack records", counts.unclean),
        ("dohle_controller_eligible_leader_elections", "Of them, eligible leader replicas", counts.eligible),
        ("dohle_controller_leaders_lost", "Partitions that nobody could lead any more", counts.lost),
        ("dohle_controller_reassignments", "Reassignments that have ended", counts.reassignments),
    ):
        yield CounterMetricFamily(name, doc, float(value))


def _of_cluster(broker: Broker) -> Iterator[Metric]:
    image = broker.image
    fenced = sum(found.fenced for found in image.brokers_in_order())
    unhealthy = list(image.unhealthy_partitions())
    leaderless = sum(health.partition.leader < 0 for health in unhealthy)
    short = sum(len(health.live_in_sync_replicas) < health.min_insync_replicas for health in unhealthy)
    yield GaugeMetricFamily("dohle_cluster_fenced_brokers", "Brokers that are fenced", float(fenced))
    draining = sum(found.draining for found in image.brokers_in_order())
    yield GaugeMetricFamily("dohle_cluster_draining_brokers", "Brokers that are being emptied", float(draining))
    yield GaugeMetricFamily("dohle_cluster_topics", "Topics", float(len(image.topic_ids)))
    yield GaugeMetricFamily(
        "dohle_cluster_under_replicated_partitions", "Partitions that lack in-sync replicas", float(len(unhealthy))
    )
    yield GaugeMetricFamily(
        "dohle_cluster_under_min_isr_partitions", "Partitions with fewer than min.insync.replicas", float(short)
    )
    yield GaugeMetricFamily("dohle_cluster_offline_partitions", "Partitions without a leader", float(leaderless))
    eligible = sum(len(health.partition.eligible_replicas) for health in unhealthy)
    yield GaugeMetricFamily(
        "dohle_cluster_eligible_replicas", "Replicas that may lead without being in sync", float(eligible)
    )
    imbalanced = sum(
        partition.leader != image.preferred_leader(partition)
        for topic in image.topics_in_order()
        for partition in topic.partitions
    )
    yield GaugeMetricFamily(
        "dohle_cluster_reassigning_partitions", "Partitions whose replicas move", float(len(image.reassigning))
    )
    yield GaugeMetricFamily(
        "dohle_cluster_imbalanced_partitions", "Partitions not led by their preferred leader", float(imbalanced)
    )
    lag = max(0, broker.metadata.committed_end - image.next_offset)
    yield GaugeMetricFamily("dohle_metadata_lag_records", "Committed and not known here", float(lag))
    yield GaugeMetricFamily("dohle_metadata_lag_seconds", "For how long that may be so", broker.metadata_lag_s())
    yield GaugeMetricFamily("dohle_metadata_offset", "Up to where this node knows metadata", float(image.next_offset))


def _of_replicas(broker: Broker) -> Iterator[Metric]:
    labels = ["topic", "partition"]
    start = GaugeMetricFamily("dohle_partition_log_start_offset", "First offset of the log", labels=labels)
    end = GaugeMetricFamily("dohle_partition_log_end_offset", "Next offset to be written", labels=labels)
    durable = GaugeMetricFamily("dohle_partition_durable_end_offset", "Fsynced up to here", labels=labels)
    watermark = GaugeMetricFamily("dohle_partition_high_watermark", "Readable up to here", labels=labels)
    size = GaugeMetricFamily("dohle_partition_size_bytes", "Bytes of the log on disk", labels=labels)
    leads = GaugeMetricFamily("dohle_partition_leader", "1 where this node leads", labels=labels)
    leaders = 0
    damaged = 0
    alone = 0
    partitions = sorted(broker.replicas.partitions.values(), key=lambda partition: partition.name)
    for partition in partitions:
        values = [partition.name.topic, str(partition.name.partition)]
        log = partition.log
        start.add_metric(values, log.log_start_offset)
        end.add_metric(values, log.log_end_offset)
        durable.add_metric(values, log.durable_end)
        watermark.add_metric(values, log.high_watermark)
        size.add_metric(values, log.size_bytes)
        leads.add_metric(values, float(isinstance(partition.role, Leading)))
        leaders += isinstance(partition.role, Leading)
        damaged += log.damage is not None
        alone += log.damage is not None and isinstance(partition.role, Leading)
    yield GaugeMetricFamily("dohle_replicas", "Replicas on this node", float(len(partitions)))
    yield GaugeMetricFamily("dohle_leaders", "Partitions that this node leads", float(leaders))
    me = broker.image.brokers.get(broker.node_id)
    away = 0 if me is None else len(me.offline_replicas)
    offline = float(len(broker.log_dirs.offline))
    yield GaugeMetricFamily("dohle_offline_log_dirs", "Log directories that this node cannot use", offline)
    yield GaugeMetricFamily("dohle_offline_replicas", "Replicas that lie there", float(away))
    waiting = float(len(broker.replicas.unmade))
    yield GaugeMetricFamily("dohle_replicas_without_room", "New replicas that no disk has had room for yet", waiting)
    free = GaugeMetricFamily("dohle_log_dir_free_bytes", "Room left on its disk", labels=["log_dir"])
    for folder in broker.log_dirs.online:
        free.add_metric([folder.path], float(folder.headroom.free_bytes))
    yield free
    low = float(sum(folder.headroom.is_low for folder in broker.log_dirs.online))
    yield GaugeMetricFamily("dohle_low_log_dirs", "Log directories for which producers are refused", low)
    strays = sum(sum(folder.strays.sizes.values()) for folder in broker.log_dirs.folders)
    yield GaugeMetricFamily("dohle_stray_bytes", "Segments of replicas that were set aside", float(strays))
    retiring = [folder.retiring for folder in broker.log_dirs.folders]
    segments, gone = sum(one.segments for one in retiring), sum(one.size_bytes for one in retiring)
    yield CounterMetricFamily("dohle_retention_segments", "Segments that went for retention", float(segments))
    yield CounterMetricFamily("dohle_retention_bytes", "Their bytes", float(gone))
    yield from _of_compaction(broker)
    moving = broker.dir_moves.under_way
    yield GaugeMetricFamily("dohle_log_dir_moves", "Replicas on their way to another log directory", float(len(moving)))
    left = sum(max(0, move.size_bytes - move.copied_bytes) for move in moving)
    yield GaugeMetricFamily("dohle_log_dir_moves_bytes_left", "Bytes of them that are not copied yet", float(left))
    yield GaugeMetricFamily("dohle_damaged_replicas", "Replicas in which damage was found", float(damaged))
    yield GaugeMetricFamily("dohle_damaged_leaders", "Partitions led from one for want of another", float(alone))
    yield from (start, end, durable, watermark, size, leads)


def _of_compaction(broker: Broker) -> Iterator[Metric]:
    compactors = [folder.compactor for folder in broker.log_dirs.folders]
    for name, doc, value in (
        ("dohle_compaction_runs", "Logs that were compacted", sum(one.runs for one in compactors)),
        ("dohle_compaction_read_bytes", "Bytes that were read for it", sum(one.read_bytes for one in compactors)),
        ("dohle_compaction_freed_bytes", "By so much logs became smaller", sum(one.freed_bytes for one in compactors)),
        ("dohle_compaction_records", "Records that went", sum(one.dropped_records for one in compactors)),
        ("dohle_compaction_failures", "Times that a log could not be compacted", broker.compaction.failures),
    ):
        yield CounterMetricFamily(name, doc, float(value))
    dirtiest = broker.compaction.most_dirty
    yield GaugeMetricFamily("dohle_compaction_dirty_ratio", "The largest share that is not compacted", dirtiest)


def _of_replication(broker: Broker) -> Iterator[Metric]:
    """By follower, over all partitions that this broker leads: so that there are as many as brokers, not replicas."""
    now = broker.now()
    records: dict[NodeId, int] = {}
    seconds: dict[NodeId, float] = {}
    for partition in broker.replicas.partitions.values():
        if isinstance(partition.role, Leading):
            lags_s = partition.role.lags_s(now)
            for node_id, replica in partition.role.replicas.items():
                behind = partition.log.log_end_offset - max(replica.durable_end, partition.log.log_start_offset)
                records[node_id] = max(records.get(node_id, 0), behind)
                seconds[node_id] = max(seconds.get(node_id, 0.0), lags_s[node_id])
    most = GaugeMetricFamily("dohle_follower_lag_records", "Most that a follower lacks of a log", labels=["follower"])
    longest = GaugeMetricFamily("dohle_follower_lag_seconds", "For how long it lacks some", labels=["follower"])
    for node_id in sorted(records):
        most.add_metric([str(node_id)], float(records[node_id]))
        longest.add_metric([str(node_id)], seconds[node_id])
    yield from (most, longest)
    yield CounterMetricFamily("dohle_isr_shrinks", "In-sync sets made smaller", float(broker.isr_changes.shrinks))
    yield CounterMetricFamily("dohle_isr_expands", "In-sync sets made larger", float(broker.isr_changes.expands))


def _of_traffic(broker: Broker) -> Iterator[Metric]:
    traffic, repairs = broker.traffic, broker.replicas.repairs
    for name, doc, value in (
        ("dohle_produced_batches", "Batches that producers had appended here", traffic.produced_batches),
        ("dohle_produced_bytes", "Their bytes", traffic.produced_bytes),
        ("dohle_refused_batches", "Batches that were refused", traffic.refused_batches),
        ("dohle_fetches", "Fetches answered", traffic.fetches),
        ("dohle_fetched_bytes", "Bytes of batches in those answers", traffic.fetched_bytes),
        ("dohle_fetched_follower_bytes", "Of them, of partitions that this node follows", traffic.followed_bytes),
        ("dohle_scrubbed_bytes", "Bytes read and checked by scrubbing", traffic.scrubbed_bytes),
        ("dohle_scrubs", "Passes of scrubbing over all replicas of this node", traffic.scrubs),
        ("dohle_repaired_replicas", "Damaged replicas of this node that were repaired in place", repairs.repaired),
        ("dohle_repair_fetched_bytes", "Bytes that came from leaders for repairs in place", repairs.fetched_bytes),
        ("dohle_refilled_replicas", "Damaged replicas that were set aside and filled anew", repairs.refilled),
    ):
        yield CounterMetricFamily(name, doc, float(value))


def _of_groups(broker: Broker) -> Iterator[Metric]:
    """Of the groups that this broker coordinates."""
    led = [one for one in broker.groups.led if one.is_coordinating]
    loading = float(len(broker.groups.led) - len(led))
    yield GaugeMetricFamily("dohle_group_partitions", "Partitions whose groups are coordinated here", float(len(led)))
    yield GaugeMetricFamily("dohle_group_partitions_loading", "Partitions that are being loaded for it", loading)
    longest_s = max((one.load_s for one in led), default=0.0)
    yield GaugeMetricFamily("dohle_group_load_seconds", "The longest that loading one of them took", longest_s)
    groups = [group for one in led for group in short_standings(one.shard)]
    by_state = GaugeMetricFamily("dohle_groups", "Groups", labels=["type", "state"])
    for (kind, state), count in sorted(Counter((group.kind, group.state) for group in groups).items()):
        by_state.add_metric([kind, state], float(count))
    yield by_state
    members = float(sum(group.members for group in groups))
    yield GaugeMetricFamily("dohle_group_members", "Members of them", members)
    counts = broker.groups.counts
    for name, doc, value in (
        ("dohle_group_rebalances", "Rebalances that have ended here", counts.rebalances),
        ("dohle_group_commits", "Commits of groups that were taken", counts.commits),
        ("dohle_group_committed_offsets", "Offsets in them", counts.offsets),
    ):
        yield CounterMetricFamily(name, doc, float(value))


def _of_lags(broker: Broker) -> Iterator[Metric]:
    """As they were measured last; for how long, as of now."""
    labels = ["group", "topic", "partition"]
    records = GaugeMetricFamily("dohle_group_lag_records", "Records that a group has still to read", labels=labels)
    seconds = GaugeMetricFamily("dohle_group_lag_seconds", "How old the next of them is", labels=labels)
    now_ms = broker.wall_ms()
    for group_id, lags in sorted(broker.group_lags.by_group.items()):
        for position, lag in sorted(lags.items(), key=lambda one: one[0]):
            if isinstance(lag, Lag) and lag.records is not None:
                values = [group_id, position.name.topic, str(position.name.partition)]
                records.add_metric(values, float(lag.records))
                age_ms = lag.age_ms(now_ms)
                if age_ms is not None:
                    seconds.add_metric(values, age_ms / 1000)
    yield from (records, seconds)


def _of_kafka(listener: KafkaListener) -> Iterator[Metric]:
    connections = float(len(listener.connections))
    yield GaugeMetricFamily("dohle_kafka_connections", "Connections of Kafka's clients", connections)
    turned_away = float(listener.turned_away)
    yield CounterMetricFamily("dohle_kafka_turned_away", "Connections refused or cut, the log says why", turned_away)
    requests = CounterMetricFamily("dohle_kafka_requests", "Requests of Kafka's clients", labels=["api"])
    for name in sorted(listener.asked):
        requests.add_metric([name], float(listener.asked[name]))
    yield requests
    sessions = listener.clients.sessions
    yield GaugeMetricFamily("dohle_kafka_fetch_sessions", "Fetch sessions of Kafka's clients", float(len(sessions)))
    wanted = float(sessions.partitions)
    yield GaugeMetricFamily("dohle_kafka_fetch_session_partitions", "Partitions that they want, in all", wanted)
    evictions = float(sessions.evictions)
    yield CounterMetricFamily("dohle_kafka_fetch_session_evictions", "Those that lost their place to others", evictions)
    software = listener.clients.software
    asked = CounterMetricFamily(
        "dohle_kafka_client_software", "Times that clients said what they are", labels=["name", "version"]
    )
    for (name, version), count in software.in_order():
        asked.add_metric([name, version], float(count))
    yield asked
    others = float(software.others)
    yield CounterMetricFamily("dohle_kafka_client_software_others", "Times of those not told apart any more", others)
