"""Partition watch: replication's invariants, looked at with the eyes of all brokers and all disks.

One leader an epoch, and never one in an epoch older than its registration. A leader's watermark never falls. What lies
below any presumed leader's watermark is on min.insync.replicas disks when it gets there, and then stays on every sound
member of the in-sync set that the controller has committed. Replicas that have a batch in common are equal up to it; a
producer's sequence is written once. What a log counts as durable is on its disk, and so is what a checkpoint says to
be durable. A replica's epoch cache says what its batches say. A reassignment ends with all its targets in sync and no
others, or is taken back whole.

Who may be a member of an in-sync set at all, `members` says; who may be eligible, or lead, `eligible`.

A replica is not sound whose machine lost what was synced there, and no other is ever found damaged. Topics that count
appends before they are synced, or that allow unclean elections, promise none of what is said here of disks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from dohle.broker.broker import Broker
from dohle.broker.following import Following
from dohle.broker.leading import Leading
from dohle.broker.partition import Partition
from dohle.model.ids import NodeId, PartitionKey, id_text
from dohle.model.image import EMPTY_IMAGE, ClusterImage, ForkImage, PartitionImage, TopicImage
from dohle.model.metadata import UNSET
from dohle.storage.checkpoints import LogKey
from dohle.storage.log import Log
from dohle.storage.log_folder import LogFolder
from dohle.storage.moved_logs import MOVED_SUFFIX
from dohle.storage.partition_metadata import PARTITION_FILE
from dohle.testing.clients.deleter import Deletions
from dohle.testing.invariants.directories import offline_in_play
from dohle.testing.invariants.eligible import eligible_wrongly, led_wrongly
from dohle.testing.invariants.epochs import wrong_epochs
from dohle.testing.invariants.ledger import Ledger
from dohle.testing.invariants.log_starts import acknowledged, brings_back, let_go_wrongly, noted_start
from dohle.testing.invariants.members import not_counted, placed_while_draining, unfenced_too_soon, unfit_to_join
from dohle.testing.invariants.replica_moves import reassigned_wrongly
from dohle.testing.invariants.sure_log import SureLog
from dohle.testing.world.process import NodeProcess
from dohle.testing.world.world import World


class SeenReplica:
    """A replica in one process's life, and what it was like when it was last looked at."""

    __slots__ = (
        "durable_end",
        "epochs",
        "generation",
        "high_watermark",
        "least_copies",
        "log",
        "log_start",
        "partition",
        "role",
        "truncation",
    )

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.role: Leading | Following | None = None
        self.least_copies = sys.maxsize  # that its leader asks for, which may have changed in the same turn as the rest
        self.begins_with(partition.log)

    def begins_with(self, log: Log) -> None:
        self.log = log
        self.high_watermark = self.durable_end = self.generation = self.epochs = self.log_start = -1
        self.truncation: object | None = None  # when it is over, the bytes are gone


@dataclass(slots=True)
class _Shared:
    """What all replicas of a partition have in common."""

    key: PartitionKey
    name: str
    topic: TopicImage
    image: PartitionImage
    disks: dict[NodeId, SureLog]  # of all replicas that it has had
    ledger: Ledger = field(default_factory=Ledger)
    leaders: dict[int, str] = field(default_factory=dict)  # by epoch
    watermarks: dict[int, int] = field(default_factory=dict)  # by epoch
    leading: Leading | None = None  # the newest role, whether or not its process lives
    epochs: dict[int, int] = field(default_factory=dict)  # by which metadata offset each was known, at the latest
    told: dict[NodeId, int] = field(default_factory=dict)  # below which offset each broker has vouched for its disk
    log_start: int = 0  # the greatest that a leader's log has had
    fewest_copies: int = sys.maxsize  # the least that the effective min.insync.replicas has ever been
    gambles: bool = False  # it was not strict at some time
    kin: dict[str, None] = field(default_factory=dict)
    """The names of all logs that may share files with this one, its own among them; they are the same object's."""

    @property
    def is_strict(self) -> bool:
        """Whether nothing counts before it is synced, and nothing is lost by choice, now and ever."""
        config = self.topic.config
        return config.flush_messages == 1 and not config.unclean_leader_election_enable and not self.gambles

    @property
    def least_copies(self) -> int:
        """The effective min.insync.replicas."""
        return self.topic.effective_min_insync(self.key.partition)


class PartitionWatch:
    """All partitions of a world. `violated` is told what fell."""

    def __init__(self, world: World, violated: Callable[[str], None], deletions: Deletions | None) -> None:
        self.image = EMPTY_IMAGE
        self._deletions = deletions  # all that there are, if they are known
        self._world = world
        self._violated = violated
        self._shared: dict[PartitionKey, _Shared] = {}

    # metadata

    def image_moved(self, image: ClusterImage) -> None:
        """The controllers have committed more."""
        before, self.image = self.image, image
        for topic in image.topics_in_order():
            if topic is before.topics.get(topic.topic_id):
                continue
            for number, partition in enumerate(topic.partitions):
                key = PartitionKey(topic.topic_id, number)
                shared, was = self._of(key, topic, partition), before.partition(key)
                shared.topic, shared.image = topic, partition
                shared.gambles = shared.gambles or not shared.is_strict
                shared.fewest_copies = min(shared.fewest_copies, shared.least_copies)
                if was is not None:
                    self._tell_all(shared.name, eligible_wrongly(topic, number, before.topics[topic.topic_id]))
                self._replicas_moved(shared, was)
                if was is None and topic.topic_id in before.forks:
                    self._forked(shared, before.forks[topic.topic_id])
                shared.epochs.setdefault(partition.leader_epoch, image.next_offset)
                if was is not None and partition != was:
                    self._tell_all(shared.name, led_wrongly(partition, topic, was, image, before))
                    self._check_who_left(shared, was, before)
                    self._tell_all(shared.name, unfit_to_join(was, partition, before, image))
                    self._tell_all(shared.name, not_counted(partition, shared.leading))
                    self._tell_all(shared.name, offline_in_play(image, key, partition))
                    self._look_at_members(shared)
        if image.brokers is not before.brokers:
            self._look_at_offline(image)
            self._tell_all("metadata", unfenced_too_soon(self._world, before, image))
        self._tell_all("metadata", placed_while_draining(image))
        if image.topics is not before.topics:
            self._shared = {key: shared for key, shared in self._shared.items() if key.topic_id in image.topics}

    def _forked(self, shared: _Shared, fork: ForkImage) -> None:
        """The partition begins with what its source has below the cut, and nothing else."""
        source = self._shared.get(PartitionKey(fork.source_id, shared.key.partition))
        if source is None:
            shared.gambles = True  # nobody can say what it begins with
            return
        shared.kin = source.kin
        shared.kin[shared.name] = None
        end = fork.partitions[shared.key.partition].end
        if end == UNSET:  # the cut was committed together with the topic, to which nobody has written yet
            end = self._look(shared, shared.image.in_sync_replicas[0]).end
        shared.log_start = min(source.log_start, end)
        if self._deletions is not None:
            self._deletions.asked[shared.name] = self._deletions.asked.get(source.name, 0)
        if not source.is_strict:
            shared.gambles = True  # what is not known of the one is not known of the other
            return
        ledger = source.ledger.forked(end)
        if ledger is None:
            self._violated(f"{shared.name}: it is a fork of {source.name}, cut at {end}, where nothing committed ends")
            return
        shared.ledger = ledger
        if shared.image.leader_epoch <= ledger.last_epoch:
            self._violated(
                f"{shared.name}: its first leader epoch is {shared.image.leader_epoch}, and its log has"
                f" {ledger.last_epoch} already"
            )
        self._look_at_members(shared)

    def _look_at_offline(self, image: ClusterImage) -> None:
        for broker in image.brokers_in_order():
            for key in sorted(broker.offline_replicas):
                partition, shared = image.partition(key), self._shared.get(key)
                if partition is not None and shared is not None:
                    self._tell_all(shared.name, offline_in_play(image, key, partition))

    def _tell_all(self, where: str, complaints: Iterable[str]) -> None:
        for complaint in complaints:
            self._violated(f"{where}: {complaint}")

    def _replicas_moved(self, shared: _Shared, before: PartitionImage | None) -> None:
        now = shared.image
        assigned = () if before is None else before.assigned_replicas
        for node_id in now.assigned_replicas:
            if node_id not in assigned:  # it begins anew, whatever it may have held at an earlier time
                machine = self._world.machines[node_id]
                mark = (PARTITION_FILE, id_text(shared.key.topic_id).encode())
                paths = [f"{path}/{shared.name}" for path in machine.config.log_directories]
                paths += [f"{path}{MOVED_SUFFIX}" for path in paths]
                shared.disks[node_id] = SureLog(machine, *paths, mark=mark)
                shared.told.pop(node_id, None)
        if before is not None and now.partition_epoch == before.partition_epoch + 1:
            failure = reassigned_wrongly(before, now)
            if failure:
                self._violated(f"{shared.name}: {failure}")

    def _check_who_left(self, shared: _Shared, before: PartitionImage, image: ClusterImage) -> None:
        """Below the minimum only those leave the in-sync set whose data is doubted or lost (amendment 1)."""
        if shared.image.partition_epoch != before.partition_epoch + 1:
            return  # several changes were committed at once: each counted by what the one before it left
        if before.doubts and not shared.is_strict:
            return  # settled, maybe: of those that came back the one with the most leads (rule 13)
        allowed = shared.topic.config.unclean_leader_election_enable
        if allowed and shared.image.in_sync_replicas == (shared.image.leader,):
            return  # an unclean election, maybe
        members, brokers = shared.image.in_sync_replicas, self.image.brokers
        left = [
            node_id
            for node_id in before.in_sync_replicas
            if node_id not in members
            and node_id in shared.image.assigned_replicas
            and before.doubt_about(node_id) is None
            and brokers[node_id].broker_epoch == image.brokers[node_id].broker_epoch
            and not self._is_lost(shared, node_id)
            and not self.image.is_offline(node_id, shared.key)
        ]
        least = min(shared.least_copies, image.topics[shared.key.topic_id].effective_min_insync(shared.key.partition))
        if left and len(members) < least:
            self._violated(
                f"{shared.name}: nodes {left} have left the in-sync set, of which only {list(members)} remain, though"
                f" it needs {least}"
            )

    def _of(self, key: PartitionKey, topic: TopicImage, partition: PartitionImage) -> _Shared:
        shared = self._shared.get(key)
        if shared is None:
            name = f"{topic.name}-{key.partition}"
            shared = self._shared[key] = _Shared(key, name, topic, partition, {}, kin={name: None})
        return shared

    # brokers

    def moved(self, process: NodeProcess, broker: Broker, seen: SeenReplica) -> None:
        """A replica is not what it was when it was last seen."""
        if seen.log is not seen.partition.log:
            seen.begins_with(seen.partition.log)  # what it had was set aside
        log, role, shared = seen.log, seen.partition.role, self._shared.get(seen.partition.key)
        former = seen.role
        begins = seen.durable_end < 0
        was_cut = log.generation != seen.generation or log._truncation is not seen.truncation
        log_moved = was_cut or log.durable_end != seen.durable_end
        is_new, rose = role is not seen.role, log.high_watermark != seen.high_watermark
        has_other_epochs = is_new or was_cut or log.epochs.version != seen.epochs
        seen.durable_end, seen.generation, seen.epochs = log.durable_end, log.generation, log.epochs.version
        seen.role, seen.high_watermark, seen.truncation = role, log.high_watermark, log._truncation
        start_moved, seen.log_start = log.log_start_offset != seen.log_start, log.log_start_offset
        least = min(seen.least_copies, log.config.min_insync_replicas)
        seen.least_copies = log.config.min_insync_replicas
        if not log.log_start_offset <= log.high_watermark <= log.log_end_offset >= log.durable_end:
            self._violated(
                f"{log.name} on {process.name} starts at {log.log_start_offset}, has its watermark at"
                f" {log.high_watermark}, is durable below {log.durable_end}, and ends at {log.log_end_offset}"
            )
        if shared is None:
            return  # deleted
        if log.damage is not None and not log._closed and not self._is_harmed(shared, broker.node_id):
            self._violated(f"{shared.name} on {process.name} is damaged, and nothing rots there: {log.damage}")
        if start_moved:
            if isinstance(role, Leading) or isinstance(former, Leading):
                shared.log_start = max(shared.log_start, log.log_start_offset)
            self._tell_all(f"{shared.name} on {process.name}", let_go_wrongly(log, shared.log_start, self._deletions))
        if begins:
            self._returned(shared, process, broker.node_id, log)
        if log_moved:
            self._log_moved(shared, process, broker.node_id, log)
        if has_other_epochs and log.damage is None and not self._is_harmed(shared, broker.node_id):
            failure = wrong_epochs(log, role, self._look(shared, broker.node_id).batches)
            if failure is not None:
                self._violated(f"{shared.name} on {process.name}: {failure}")
        if isinstance(role, Leading) and (is_new or rose):
            if is_new:
                self._began_to_lead(shared, process, broker, role)
            self._leads(shared, process, broker.node_id, role, least)
        elif rose and isinstance(former, Leading):  # in the turn in which it ended, and before that
            self._leads(shared, process, broker.node_id, former, least)
        elif rose and is_new and log.config.flush_messages == 1:
            self._led_for_a_moment(shared, process, broker.node_id, log)
        if log.high_watermark > shared.ledger.end and shared.is_strict and log.config.flush_messages == 1:
            self._violated(
                f"{shared.name} on {process.name} has its watermark at {log.high_watermark}, past that of every leader,"
                f" {shared.ledger.end}"
            )

    def _returned(self, shared: _Shared, process: NodeProcess, node_id: NodeId, log: Log) -> None:
        """A broker has opened a log that an earlier process may have left."""
        told = shared.told.get(node_id, 0)
        shared.disks[node_id].look()  # the folder may have been lost, or moved away, and made again since
        if log.log_end_offset < told and log.damage is None and not self._is_lost(shared, node_id):
            self._violated(
                f"{shared.name} on {process.name} ends at {log.log_end_offset}, and the process before it has vouched"
                f" for everything below {told}"
            )

    def _log_moved(self, shared: _Shared, process: NodeProcess, node_id: NodeId, log: Log) -> None:
        disk = self._look(shared, node_id)
        shared.told[node_id] = log.durable_end
        if disk.end < log.durable_end and log.damage is None and not self._is_harmed(shared, node_id):
            self._violated(
                f"{shared.name} on {process.name} counts as durable below {log.durable_end}, and its disk has"
                f" {disk.end}"
            )
        counts = (*shared.image.in_sync_replicas, *shared.image.eligible_replicas)
        if disk.end < shared.ledger.end and node_id in counts and log.damage is None:
            self._look_at_members(shared)

    def checkpointed(
        self, process: NodeProcess, broker: Broker, folder: LogFolder, recovery_points: Mapping[LogKey, int]
    ) -> None:
        """A broker has noted, of the logs of a folder, below which offsets it need not look after a crash."""
        for key, partition in broker.replicas.partitions.items():
            if partition.log.key not in folder.logs:
                continue
            shared, point = self._shared.get(key), recovery_points.get(partition.log.key, 0)
            if shared is None or partition.log.damage is not None or self._is_harmed(shared, broker.node_id):
                continue
            disk = self._look(shared, broker.node_id)
            if disk.end < point:
                self._violated(
                    f"{shared.name} on {process.name}: everything below {point} is noted to be durable, and its disk"
                    f" has {disk.end}"
                )

    def _began_to_lead(self, shared: _Shared, process: NodeProcess, broker: Broker, role: Leading) -> None:
        if role.leader_epoch not in shared.leaders:
            self._world.remark(f"{process.name} leads {shared.name} in epoch {role.leader_epoch}")
        if shared.leading is None or shared.leading.leader_epoch < role.leader_epoch:
            shared.leading = role
        leader = shared.leaders.setdefault(role.leader_epoch, process.name)
        if leader != process.name:
            self._violated(f"{shared.name} epoch {role.leader_epoch}: {leader} led, and {process.name} leads")
        if shared.is_strict:
            self._tell_all(f"{shared.name}, led by {process.name}", brings_back(role.log, self._deletions))
        known_at = shared.epochs.get(role.leader_epoch, self.image.next_offset)
        registered_at = broker.membership.broker_epoch
        if known_at <= registered_at:
            self._violated(
                f"{shared.name}: {process.name} leads in epoch {role.leader_epoch}, which was known at metadata offset"
                f" {known_at}, though it was registered only at {registered_at}"
            )

    def _led_for_a_moment(self, shared: _Shared, process: NodeProcess, node_id: NodeId, log: Log) -> None:
        """A leadership may begin and end in one turn, in which a broker takes several changes of the metadata."""
        disk = self._witness(shared, node_id, log.high_watermark)
        if disk is not None and shared.is_strict and log.high_watermark > shared.ledger.end:
            failure = shared.ledger.commit(disk, log.high_watermark, log.epochs.latest)
            if failure is not None:
                self._violated(f"{shared.name} on {process.name}, which may have led for a moment: {failure}")

    def _leads(self, shared: _Shared, process: NodeProcess, node_id: NodeId, role: Leading, least: int) -> None:
        watermark, highest = role.log.high_watermark, shared.watermarks.get(role.leader_epoch, 0)
        if watermark < highest:
            self._violated(
                f"{shared.name} epoch {role.leader_epoch}: the watermark of {process.name} fell from {highest} to"
                f" {watermark}"
            )
        shared.watermarks[role.leader_epoch] = watermark
        self._tell_all(shared.name, not_counted(shared.image, shared.leading))
        if not shared.is_strict or role.log.config.flush_messages != 1:
            return
        disk, ledger = self._witness(shared, node_id, watermark), shared.ledger
        if disk is None:
            shared.gambles = True  # nobody can say any more what it has committed
        elif watermark > ledger.end:
            failure = ledger.commit(disk, watermark, role.leader_epoch)
            if failure is not None:
                self._violated(f"{shared.name}, led by {process.name} in epoch {role.leader_epoch}: {failure}")
            else:
                self._look_at_members(shared, least=min(shared.least_copies, least))
        elif watermark > disk.start and not ledger.has_all_below(disk, watermark):
            self._violated(
                f"{shared.name}: the log of {process.name}, which leads epoch {role.leader_epoch}, differs below its"
                f" watermark, {watermark}, from what is committed"
            )

    # disks

    def _witness(self, shared: _Shared, leader: NodeId, watermark: int) -> SureLog | None:
        """Returns the disk that tells what a leader has below its watermark: its own, if that does not rot.

        A start takes a log that ends where it stopped for sound, and does not read it: rot shows later. Until then it
        is the disk of another member, which must have as much.
        """
        if not self._is_harmed(shared, leader):
            return self._look(shared, leader)
        sound = [node for node in shared.image.in_sync_replicas if not self._is_harmed(shared, node)]
        disks = [self._look(shared, node) for node in sound if node != leader]
        return next((disk for disk in disks if disk.end >= watermark), None)

    def _look_at_members(self, shared: _Shared, least: int = 0) -> None:
        """Every sound member of the in-sync set and every eligible replica has all that is committed, and `least` disks
        had it."""
        ledger = shared.ledger
        if not ledger.end or not shared.is_strict:
            return
        holders, lost = self._copies(shared)
        if len(holders) + len(lost) < least:
            self._violated(
                f"{shared.name}: everything below {ledger.end} counts as committed, and only the disks of nodes"
                f" {holders} have it, of at least {least}"
            )
        for node_id in shared.image.in_sync_replicas:
            disk = shared.disks[node_id]
            if node_id in holders:
                disk.replaced = disk.replaced and disk.end < ledger.end  # it may have nothing, and lack nothing
            elif shared.image.doubt_about(node_id) is None and node_id not in lost:
                self._violated(
                    f"{shared.name}: everything below {ledger.end} was committed, and the disk of node {node_id}, in"
                    f" sync with {list(shared.image.in_sync_replicas)}, has it only below {disk.end}"
                )
        for node_id in shared.image.eligible_replicas:
            if node_id not in holders and node_id not in lost:
                self._violated(
                    f"{shared.name}: everything below {ledger.end} was committed, and the disk of node {node_id}, an"
                    f" eligible replica, has it only below {shared.disks[node_id].end}"
                )

    def deletions_are_noted(self) -> None:
        """Whoever may lead has noted durably what it must not show any more."""
        for shared in self._shared.values():
            before = acknowledged(self._deletions, shared.name)
            if not before or not shared.is_strict:
                continue
            for node_id in (*shared.image.in_sync_replicas, *shared.image.eligible_replicas):
                if shared.image.doubt_about(node_id) is not None or self._is_lost(shared, node_id):
                    continue
                start = noted_start(self._world.machines[node_id], self._look(shared, node_id), shared.key, shared.name)
                if start < before:
                    self._violated(
                        f"{shared.name}: what lies below {before} was deleted, and by the disk of node {node_id}, which"
                        f" may lead, it begins at {start}"
                    )

    def log_starts(self) -> dict[str, int]:
        """Returns by partition the greatest offset at which a leader's log has begun."""
        return {shared.name: shared.log_start for shared in self._shared.values()}

    def every_copy_counts(self) -> None:
        """Checks that what was ever committed is on as many disks as the topic asks for, lost ones aside."""
        for shared in self._shared.values():
            if not shared.is_strict:
                continue
            holders, lost = self._copies(shared)
            if len(holders) + len(lost) < shared.fewest_copies:
                self._violated(
                    f"{shared.name}: what was committed below {shared.ledger.end} is only on the disks of nodes"
                    f" {holders}"
                )

    def _copies(self, shared: _Shared) -> tuple[list[NodeId], list[NodeId]]:
        """Returns the brokers whose disks have all that is committed, and those whose copies were lost."""
        assigned = shared.image.assigned_replicas
        holders = [n for n in assigned if shared.ledger.has_all(self._look(shared, n))]
        return holders, [n for n in assigned if n not in holders and self._is_lost(shared, n)]

    def _is_lost(self, shared: _Shared, node_id: NodeId) -> bool:
        return shared.disks[node_id].replaced or self._is_harmed(shared, node_id)

    def _is_harmed(self, shared: _Shared, node_id: NodeId) -> bool:
        machine = self._world.machines[node_id]
        paths = machine.config.log_directories
        if machine.harmed or any(machine.rots(f"{path}/{shared.name}") for path in paths):
            return True
        kin = [name for name in shared.kin if name != shared.name]
        return any(machine.has_rotted(f"{path}/{name}") for path in paths for name in kin)

    def _look(self, shared: _Shared, node_id: NodeId) -> SureLog:
        disk = shared.disks[node_id]
        disk.let_go = shared.log_start
        disk.look()
        if disk.judged < len(disk.batches):
            failure = shared.ledger.judge(disk)
            if failure is not None:
                self._violated(f"{shared.name} on node {node_id}: {failure}")
        return disk
