"""All replicas on this broker, kept as the cluster image says (rules 1, 3, 12, 15 and 20 of replication).

Metadata is taken in silently until past this broker's own registration; the first `act` then compares what the folders
hold with what the image assigns, later ones look only at what changed. Folders that an image asks for are durable, and
the offset of that image is noted durably, before any of them is led or followed: that is how the controller, at the
next start, tells an empty replica from a lost one (amendment 3).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from dohle.broker.catch_up_bounds import CatchUpBounds
from dohle.broker.failed_dirs import FailedDirs
from dohle.broker.following import Following
from dohle.broker.in_sync import Proposal
from dohle.broker.isr_changes import IsrChanges
from dohle.broker.leader_link import LeaderLink
from dohle.broker.leading import LeaderTerms, Leading
from dohle.broker.partition import Partition
from dohle.broker.repairs import Repairs
from dohle.broker.surroundings import Surroundings
from dohle.model.errors import (
    DohleError,
    FencedLeaderEpoch,
    NotLeaderOrFollower,
    ReplicaNotAvailable,
    StaleBrokerEpoch,
    StorageFailure,
    UnknownLeaderEpoch,
    UnknownTopicId,
)
from dohle.model.ids import NO_NODE, NodeId, PartitionKey, TopicId, TopicPartition
from dohle.model.image import EMPTY_IMAGE, ClusterImage, PartitionImage
from dohle.rpc.v1 import controller_pb2, replication_pb2
from dohle.runtime.network import Address
from dohle.runtime.tasks import turn
from dohle.storage.checkpoints import LogKey
from dohle.storage.log import Log
from dohle.storage.log_dirs import LogDirs
from dohle.storage.log_folder import LogFolder
from dohle.storage.new_log import NewLog
from dohle.storage.room import DiskFull

log = logging.getLogger(__name__)

LISTENER = "GRPC"

ROOM_RETRY_S = 5.0
"""Between two looks whether there is room by now for what could not be made."""

OnLeadership = Callable[[Partition, Leading], None]

_IN_A_TURN = 64  # partitions that are seen to before the loop does what waits
_TOLD_ONE_BY_ONE = 100  # a line for each of thousands would take a third of the time in which they change


def _nobody_asks(_partition: Partition, _leading: Leading) -> None:
    """No coordinator keeps its state here."""


class Replicas:
    """The partitions of this broker, by topic id and number."""

    def __init__(
        self,
        surroundings: Surroundings,
        dirs: LogDirs,
        failed_dirs: FailedDirs,
        isr_changes: IsrChanges,
        lag_time_max_s: float,
        fill_bytes_per_s: int,
    ) -> None:
        self.partitions: dict[PartitionKey, Partition] = {}
        self.image: ClusterImage = EMPTY_IMAGE
        self._surroundings = surroundings
        self._dirs = dirs
        self._failed_dirs = failed_dirs
        self._isr_changes = isr_changes
        self._lag_time_max_s = lag_time_max_s
        self.catch_up_bounds = CatchUpBounds(surroundings.clock, lambda: self.image, fill_bytes_per_s)
        self.repairs = Repairs(surroundings, dirs, self, fill_bytes_per_s)
        self._links: dict[NodeId, LeaderLink] = {}
        self._numbers = itertools.count(1)
        self._role_log_level = logging.INFO  # of the line that says what a partition has become
        self.unmade: dict[PartitionKey, LogKey] = {}
        """What is to lie here and has no role yet, for want of room: its folder, or the offset, cannot be written."""
        self.why_unmade = ""
        self.acting = asyncio.Lock()  # held while folders and roles are changed
        self.on_elected: OnLeadership = _nobody_asks
        self.on_resigned: OnLeadership = _nobody_asks
        """Told of each leader epoch of this broker's, as it begins and once it is over."""

    def held(self, folders: Sequence[LogFolder]) -> list[controller_pb2.HeldReplica]:
        """Returns what the folders hold, for the registration (rule 12)."""
        return [
            controller_pb2.HeldReplica(
                topic_id=replica.topic_id,
                partition=replica.key[1],
                # one that lost what it had acknowledged has no end by which it would be whole again
                last_epoch=-1 if replica.recovered.lost else replica.durable_epoch,
                durable_end=replica.durable_end,
                cut_bytes=replica.recovered.cut_bytes,
                proven=replica.proven,
                damaged=not replica.has_end or replica.recovered.lost,
                log_dir=index,
            )
            for index, folder in enumerate(folders)
            for _, replica in sorted(folder.logs.items())
        ]

    def partition(self, key: PartitionKey) -> Partition:
        """Returns this broker's replica. Raises UnknownTopicId or NotLeaderOrFollower."""
        partition = self.partitions.get(key)
        if partition is not None:
            return partition
        if self.image.partition(key) is None:
            raise UnknownTopicId(f"there is no partition {key}; the topic may have been deleted and made again")
        if self.image.is_offline(self._surroundings.me, key):
            raise NotLeaderOrFollower(f"the replica of {key} on this broker lies in a directory that is offline")
        if key in self.unmade:
            raise NotLeaderOrFollower(f"the replica of {key} on this broker is made once a disk that is full has room")
        raise NotLeaderOrFollower(f"partition {key} has no replica on this broker")

    def leading_for(
        self,
        follower: NodeId,
        broker_epoch: int,
        subscription: replication_pb2.Subscription | replication_pb2.ReadBatchesRequest,
    ) -> Leading:
        """Returns the role that serves a subscription, or raises why none does, in rule 3's order."""
        partition = self.partition(PartitionKey(TopicId(subscription.topic_id), subscription.partition))
        leading = partition.leading()
        check_leader_epoch(subscription.leader_epoch, leading)
        if follower not in leading.replicas:
            raise ReplicaNotAvailable(f"broker {follower} is no replica of {partition.name}")
        broker = self.image.brokers.get(follower)
        if broker is None or broker.broker_epoch != broker_epoch:
            raise StaleBrokerEpoch(f"broker {follower} has another broker epoch here than {broker_epoch}")
        return leading

    # metadata

    async def act(self, image: ClusterImage, changed: Iterable[PartitionKey] | None) -> None:
        """Makes the replicas what `image` says; `changed` None means that all of it is to be compared. `acting` is the
        caller's."""
        self.image = image
        if changed is None:
            wanted = {key: None for key, _ in image.replicas_of(self._surroundings.me)}
            wanted.update(dict.fromkeys(self.partitions))
        else:
            wanted = dict.fromkeys(changed)
        await self._drop(wanted)  # first: a topic made again under its name wants the same folders
        if changed is None:
            await self._set_strays_aside()
        await self._make_folders(wanted)
        self._role_log_level = logging.INFO if len(wanted) <= _TOLD_ONE_BY_ONE else logging.DEBUG
        if self._role_log_level == logging.DEBUG:
            log.info("%d partitions change at once: the roles that they take are told at level DEBUG", len(wanted))
        for number, key in enumerate(wanted):
            await turn(number, every=_IN_A_TURN)
            if key in self.partitions:
                await self._act_on(self.partitions[key])
        self._follow_addresses()

    def _assigned_here(self, key: PartitionKey) -> PartitionImage | None:
        assigned = self.image.partition(key)
        return assigned if assigned is not None and self._surroundings.me in assigned.assigned_replicas else None

    async def _drop(self, keys: Iterable[PartitionKey]) -> None:
        for number, key in enumerate(keys):
            await turn(number, every=_IN_A_TURN)
            partition = self.partitions.get(key)
            if partition is not None and self._assigned_here(key) is None:
                await self._end_role(partition, self._why_gone(partition))
                del self.partitions[key]
                await self._dirs.delete_log(partition.log)
        for key in [key for key in self.unmade if self._assigned_here(key) is None]:
            made = self._dirs.log(self.unmade.pop(key))
            if made is not None:
                await self._dirs.delete_log(made)

    def _why_gone(self, partition: Partition) -> DohleError:
        if self.image.partition(partition.key) is None:
            return UnknownTopicId(f"{partition.name} was deleted")
        # every replica that stays had everything when metadata said so, or this one was added and is taken back
        log.info("%s was moved to other brokers: its files here are deleted", partition.name)
        return NotLeaderOrFollower(f"{partition.name} has no replica on this broker any more")

    async def _set_strays_aside(self) -> None:
        for number, found in enumerate(self._dirs.logs()):
            await turn(number, every=_IN_A_TURN)
            topic, partition = found.key
            assert found.topic_id is not None
            key = PartitionKey(TopicId(found.topic_id), partition)
            if self._assigned_here(key) is None and key.topic_id not in self.image.forks:
                if self._dirs.folder_of(found).is_fork(found):
                    log.info("%s-%d was forked, and the fork came to nothing: it is deleted", topic, partition)
                    await self._dirs.delete_log(found)
                    continue
                folder = await self._dirs.mark_stray(found)
                if folder is None:
                    continue  # its directory has failed: it waits there
                log.warning(
                    "%s-%d is not this broker's any more (deleted, made again or moved while it was down): set aside as"
                    " %s, and deleted after stray_retention_ms",
                    topic,
                    partition,
                    folder,
                )

    async def _make_folders(self, keys: dict[PartitionKey, None]) -> None:
        """Adds to `keys` those that had to wait for room, if that is looked for again."""
        if any(key not in self.partitions and self._assigned_here(key) is not None for key in keys):
            keys.update(dict.fromkeys(self.unmade))
        new: dict[PartitionKey, NewLog] = {}
        forks: list[Log] = []
        for number, key in enumerate(keys):
            await turn(number, every=_IN_A_TURN)
            if key in self.partitions or self._assigned_here(key) is None:
                continue
            if self.image.is_offline(self._surroundings.me, key):
                continue  # it lies in a directory that may come back, and is never made anew beside it
            topic = self.image.topics[key.topic_id]
            name = (topic.name, key.partition)
            present = self._dirs.log(name) or self._dirs.log_out_of_service(name, key.topic_id)
            if present is not None and (key not in self.unmade or self._dirs.folder_of(present).failed):
                self.unmade.pop(key, None)
                self._add(key, TopicPartition(topic.name, key.partition), present)
                present.configure(topic.config)
                if self._dirs.folder_of(present).is_fork(present):
                    forks.append(present)
            else:
                fills = not self._is_in_sync(key)
                new[key] = NewLog(topic.name, key.partition, key.topic_id, topic.config, fills)
        await self._dirs.adopted(forks)
        if new:
            await self._make(new)

    async def note_offset(self) -> None:
        """Returns once it is noted that everything is there that the image asks for. `acting` is the caller's.

        Raises DiskFull.
        """
        if self.unmade:
            raise DiskFull(self.why_unmade)
        await self._dirs.put_metadata_offset(self.image.next_offset)
        await self._failed_dirs.reported()  # of directories that do not have this offset

    async def _make(self, new: dict[PartitionKey, NewLog]) -> None:
        """Makes the folders of `new` and notes that they are there; both, or they are `unmade`."""
        missing = [one for one in new.values() if self._dirs.log((one.topic, one.partition)) is None]
        try:
            await self._dirs.create_logs(missing)
            await self._dirs.put_metadata_offset(self.image.next_offset)
        except DiskFull as error:
            self._wait_for_room({key: (one.topic, one.partition) for key, one in new.items()}, error)
            return
        self.unmade.clear()
        for key, one in new.items():
            name = (one.topic, one.partition)
            made = self._dirs.log(name) or self._dirs.log_out_of_service(name, key.topic_id)  # it has failed since
            assert made is not None, f"{one.topic}-{one.partition} was made"
            self._add(key, TopicPartition(one.topic, one.partition), made)
        await self._failed_dirs.reported()  # of directories that do not have this offset

    def _wait_for_room(self, waiting: dict[PartitionKey, LogKey], error: DiskFull) -> None:
        if not self.unmade:
            log.error("%d new replicas cannot be made, and are once there is room: %s", len(waiting), error)
            self._surroundings.tasks.spawn(self._make_later(), "make replicas")
        self.unmade.update(waiting)
        self.why_unmade = error.message

    async def _make_later(self) -> None:
        while self.unmade:
            await self._surroundings.clock.sleep(ROOM_RETRY_S)
            async with self.acting:
                await self.act(self.image, list(self.unmade))

    def _add(self, key: PartitionKey, name: TopicPartition, found: Log) -> None:
        self.partitions[key] = Partition(key, name, found, self._surroundings.clock.now())
        self.partitions[key].fills = self._dirs.folder_of(found).fills(found)

    def _is_in_sync(self, key: PartitionKey) -> bool:
        partition = self.image.partition(key)
        return partition is not None and self._surroundings.me in partition.in_sync_replicas

    async def _act_on(self, partition: Partition) -> None:
        assigned = self._assigned_here(partition.key)
        assert assigned is not None
        if self._dirs.folder_of(partition.log).failed:
            await self._end_role(partition, NotLeaderOrFollower(f"{partition.name} lies in a directory that failed"))
            return
        topic = self.image.topics[partition.key.topic_id]
        if partition.log.config != topic.config:
            partition.log.configure(topic.config)
        if partition.fills and self._is_in_sync(partition.key):
            self._filled(partition)
        if assigned.leader == self._surroundings.me:
            if partition.log.has_end:
                await self._lead(partition, assigned)
            else:
                await self._end_role(
                    partition, NotLeaderOrFollower(f"{partition.name} is damaged: {partition.log.damage}")
                )
        else:
            await self._follow(partition, assigned)

    def _filled(self, partition: Partition) -> None:
        partition.fills = False
        try:
            self._dirs.folder_of(partition.log).filled(partition.log)
        except StorageFailure as error:  # it passes for one that fills after a restart as well
            log.warning("%s: %s", partition.name, error)

    async def take_offline(self, folder: LogFolder) -> None:
        """Ends the roles of the replicas in a folder that has failed; they stay, and are not made anew."""
        reason = NotLeaderOrFollower("its directory has failed: another broker may lead")
        for partition in list(self.partitions.values()):
            if folder.logs.get(partition.log.key) is partition.log:
                await self._end_role(partition, reason)
        self._follow_addresses()

    async def _lead(self, partition: Partition, assigned: PartitionImage) -> None:
        now = self._surroundings.clock.now()
        role = partition.role
        if isinstance(role, Leading) and role.leader_epoch == assigned.leader_epoch:
            role.reassigned(assigned)
            role.isr_committed(assigned.in_sync_replicas, assigned.partition_epoch, now)
            role.look_again(now)
            return
        await self._end_role(partition, NotLeaderOrFollower(f"{partition.name} has a new leader epoch"))
        leading = Leading(partition.log, assigned, self._terms(partition), now)
        partition.role = leading
        partition.log.on_durable = lambda: leading.advance(self._surroundings.clock.now())
        leading.advance(now)
        self.on_elected(partition, leading)
        log.log(
            self._role_log_level,
            "%s: leads in epoch %d from offset %d",
            partition.name,
            leading.leader_epoch,
            leading.epoch_start,
        )

    def _terms(self, partition: Partition) -> LeaderTerms:
        def ask(proposal: Proposal) -> None:
            assert isinstance(partition.role, Leading)
            self._isr_changes.ask(partition.key, partition.role, proposal)

        def look_again(after_s: float) -> None:
            role = partition.role
            assert isinstance(role, Leading)

            def advance() -> None:
                if partition.role is role:
                    role.advance(self._surroundings.clock.now())

            asyncio.get_running_loop().call_later(after_s, advance)

        return LeaderTerms(
            me=self._surroundings.me,
            lag_time_max_s=self._lag_time_max_s,
            is_live=self._is_live,
            may_join=self._may_join,
            ask_controller=ask,
            check_room=self._dirs.check_room,
            watermark_moved=partition.wake_watchers,
            look_again=look_again,
        )

    def _is_live(self, node_id: NodeId) -> bool:
        broker = self.image.brokers.get(node_id)
        return broker is not None and not broker.fenced

    def _may_join(self, node_id: NodeId, broker_epoch: int) -> bool:
        broker = self.image.brokers.get(node_id)
        return broker is not None and broker.active and broker.broker_epoch == broker_epoch

    async def _follow(self, partition: Partition, assigned: PartitionImage) -> None:
        role = partition.role
        if isinstance(role, Following) and role.leader_epoch == assigned.leader_epoch:
            role.fills = partition.fills
            partition.wake_watchers()  # it may have left the in-sync set, and whoever reads it must know
            return
        await self._end_role(partition, NotLeaderOrFollower(f"broker {assigned.leader} leads {partition.name} now"))
        if assigned.leader == NO_NODE:
            return
        link = self._link_to(assigned.leader)
        if link is not None:
            following = Following(
                partition.key,
                partition.log,
                assigned.leader,
                assigned.leader_epoch,
                partition.wake_watchers,
                fills=partition.fills,
                disk=self._dirs.number_of(partition.log),
            )
            partition.role = following
            link.follow(following)

    async def _end_role(self, partition: Partition, reason: DohleError) -> None:
        role, partition.role = partition.role, None
        match role:
            case Leading():
                partition.log.on_durable = None
                self._isr_changes.forget(partition.key)
                role.resign(reason)
                self.on_resigned(partition, role)
            case Following():
                self._links[role.leader].leave(role)
                await role.settled()
        partition.wake_watchers()

    # links

    def _link_to(self, leader: NodeId) -> LeaderLink | None:
        link = self._links.get(leader)
        if link is None:
            address = self._address_of(leader)
            if address is None:
                return None
            link = LeaderLink(
                leader,
                address,
                self.image.brokers[self._surroundings.me].broker_epoch,
                self._numbers,
                self._surroundings,
                self.repairs.run,
            )
            self._links[leader] = link
        return link

    def _address_of(self, node_id: NodeId) -> Address | None:
        broker = self.image.brokers.get(node_id)
        endpoint = None if broker is None else broker.endpoint(LISTENER)
        return None if endpoint is None else Address(endpoint.host, endpoint.port)

    def _follow_addresses(self) -> None:
        """Drops links that nothing is followed through, and those to an address that their broker has left."""
        for leader, link in list(self._links.items()):
            address = self._address_of(leader)
            if address is not None and address != link.address:
                link.moved(address)
            elif not len(link):
                link.close()
                del self._links[leader]

    @contextlib.asynccontextmanager
    async def paused(self, following: Following) -> AsyncIterator[None]:
        """Meanwhile its leader appends nothing to its log. `acting` is the caller's."""
        link = self._links[following.leader]
        try:
            async with following.changing():
                link.pause(following)
                yield
        finally:
            link.resume(following)

    # damage

    def subscribe_again(self, key: PartitionKey, pause_s: float) -> None:
        """Whoever leads it now is to hear whether the replica is damaged."""
        partition = self.partitions.get(key)
        if partition is not None and isinstance(partition.role, Following):
            self._links[partition.role.leader].subscribe_again(partition.role, pause_s)

    async def begin_anew(self, following: Following) -> None:
        """Sets a damaged replica aside, of which its leader says that it is in no in-sync set, and makes an empty one.

        What was set aside is not touched again: it may be the only copy of what another replica has lost.
        """
        async with self.acting:
            partition = self.partitions.get(following.key)
            if partition is None or partition.role is not following:
                return  # deleted, or another leads: it will say so as well
            damaged, name = partition.log, partition.name
            assert damaged.damage is not None, f"{name} is not damaged"
            await self._end_role(partition, NotLeaderOrFollower(f"{name} is damaged, and begins anew"))
            folder = await self._dirs.mark_stray(damaged)
            if folder is None:
                return  # its directory has failed: it waits there, as all that lies there does
            log.warning(
                "%s: %s; set aside as %s, and filled anew by leader %d", name, damaged.damage, folder, following.leader
            )
            anew = NewLog(name.topic, name.partition, partition.key.topic_id, damaged.config, fills=True)
            try:
                [partition.log] = await self._dirs.create_logs([anew])
            except DiskFull as error:
                del self.partitions[following.key]
                self._wait_for_room({following.key: damaged.key}, error)
                return
            partition.fills = True
            await self._act_on(partition)

    # time and the end

    async def brokers_changed(self) -> None:
        """A broker was fenced, unfenced or registered: who may join or counts as in sync may have changed. `acting` is
        the caller's."""
        now = self._surroundings.clock.now()
        for number, partition in enumerate(self.partitions.values()):
            await turn(number, every=_IN_A_TURN)
            if isinstance(partition.role, Leading):
                partition.role.look_again(now)

    async def tick(self) -> None:
        """Lets every leading role look at the time, and damaged followers say so; what is idle costs a comparison."""
        for number, partition in enumerate(list(self.partitions.values())):
            await turn(number, every=_IN_A_TURN)
            match partition.role:
                case Leading() if not partition.role.is_idle:
                    partition.role.tick(self._surroundings.clock.now())
                case Following() if partition.log.damage is not None:
                    self._links[partition.role.leader].tell_of_damage(partition.role)
                case _:
                    pass

    async def close(self) -> None:
        self.unmade.clear()
        for partition in self.partitions.values():
            await self._end_role(partition, NotLeaderOrFollower("the broker is stopping"))
        for link in self._links.values():
            link.close()


def check_leader_epoch(asked: int, role: Leading | Following) -> None:
    """Raises FencedLeaderEpoch or UnknownLeaderEpoch unless `asked` is the current epoch, or -1 for not known."""
    if asked == -1 or asked == role.leader_epoch:
        return
    if asked < role.leader_epoch:
        raise FencedLeaderEpoch(f"leader epoch {asked} is over; the current one is {role.leader_epoch}")
    raise UnknownLeaderEpoch(f"leader epoch {asked} is not known here yet; the current one is {role.leader_epoch}")
