"""Pushes, catching up, divergence and broken streams, between a leader's push session and a follower's link."""

from __future__ import annotations

import asyncio
import errno
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dohle.broker import catch_up_window, push_session, push_window
from dohle.broker.following import Following
from dohle.broker.push_session import PushSession
from dohle.model.errors import InvalidRecord
from dohle.model.ids import PartitionKey
from dohle.model.topic_config import TopicConfig
from dohle.rpc.v1 import common_pb2, replication_pb2
from dohle.runtime.tasks import Tasks
from dohle.storage.new_log import NewLog
from dohle.storage.room import DiskFull
from tests.broker.logs import TOPIC_ID, batch, content, fill, new_log, open_dirs
from tests.broker.pair import EPOCH, FOLLOWER, FOLLOWER_EPOCH, LEADER, Pair
from tests.broker.slow_disk import SlowDisk
from tests.broker.virtual_time import VirtualClock, in_virtual_time


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queue and catch-up lane hold a few batches."""
    monkeypatch.setattr(push_session, "QUEUE_BYTES", 3000)
    monkeypatch.setattr(push_session, "PUSH_BYTES", 1000)
    monkeypatch.setattr(catch_up_window, "LEAST_BYTES", 1000)
    monkeypatch.setattr(catch_up_window, "MOST_BYTES", 2000)


# pushes


@in_virtual_time
async def test_appends_are_pushed_as_they_come() -> None:
    pair = await Pair.joined(3)
    for step in range(60):
        pair.append(step % 3, size=step)
        if step % 7 == 0:
            await asyncio.sleep(0.001)
    await pair.caught_up()
    assert pair.session._queued_bytes == pair.session._catch_up_window.under_way_bytes == 0


@in_virtual_time
async def test_one_small_push_is_unacknowledged_and_what_comes_meanwhile_gathers() -> None:
    pair = await Pair.joined(network_s=0.0)
    pair.disks[1].gate.clear()
    for _ in range(10):
        pair.append()
        await asyncio.sleep(0.01)
    assert (pair.session._window._sent, len(pair.session._window._flying)) == (1, 1)
    assert pair.logs[1][0].log_end_offset == 1
    pair.disks[1].gate.set()
    await pair.caught_up()
    assert pair.session._window._sent == 2


@in_virtual_time
async def test_a_backlog_runs_ahead_on_receipt_a_few_pushes_far(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (push_session, push_window):
        monkeypatch.setattr(module, "PUSH_BYTES", 1000)
    pair = await Pair.joined(network_s=0.0)
    pair.disks[1].gate.clear()
    for _ in range(50):
        pair.append(size=400)
    await asyncio.sleep(1.0)
    assert pair.session._window._sent == len(pair.session._window._flying) == push_window.PUSHES_AHEAD
    pair.disks[1].gate.set()
    await pair.caught_up()


@in_virtual_time
async def test_a_moved_watermark_travels_alone_soon() -> None:
    pair = await Pair.joined(network_s=0.0, disk_s=0.0)
    pair.append()
    while pair.logs[0][0].high_watermark < 1:
        await asyncio.sleep(0.0001)
    moved = pair.now
    while pair.logs[1][0].high_watermark < 1:
        await asyncio.sleep(0.0001)
    assert pair.now - moved <= push_session.WATERMARK_DELAY_S + 0.001


@in_virtual_time
async def test_a_follower_learns_the_watermark_as_soon_as_a_reader_is_sent_there() -> None:
    pair = await Pair.joined(network_s=0.0, disk_s=0.0)
    pair.append()
    while pair.logs[0][0].high_watermark < 1:
        await asyncio.sleep(0.0001)
    assert pair.logs[1][0].high_watermark == 0
    assert pair.leadings[0].sends_reader_to([FOLLOWER], 0, pair.now) == FOLLOWER
    await asyncio.sleep(push_session.READ_WATERMARK_DELAY_S + 0.001)
    assert pair.logs[1][0].high_watermark == 1


@in_virtual_time
async def test_a_push_carries_the_watermarks_of_other_partitions() -> None:
    pair = await Pair.joined(2, network_s=0.0, disk_s=0.0)
    pair.append(0)
    while pair.logs[0][0].high_watermark < 1:
        await asyncio.sleep(0.0001)
    pair.append(1)
    await asyncio.sleep(0.0005)
    assert pair.logs[1][0].high_watermark == 1


@in_virtual_time
async def test_a_slow_follower_costs_bounded_memory_and_is_caught_up_later(little_memory: None) -> None:
    pair = await Pair.joined(2)
    pair.disks[1].gate.clear()
    most = 0
    for step in range(300):
        pair.append(step % 2, size=100)
        session = pair.session
        most = max(most, session._queued_bytes + session._catch_up_window.under_way_bytes)
        assert session._queued_bytes == sum(len(b) for f in session._feeds.values() for b in f.queue)
        await asyncio.sleep(0.0005)
    assert most <= push_session.QUEUE_BYTES + catch_up_window.MOST_BYTES + catch_up_window.LEAST_BYTES
    assert not pair.feed().is_live
    pair.disks[1].gate.set()
    await pair.caught_up()
    assert pair.session._queued_bytes == pair.session._catch_up_window.under_way_bytes == 0


@in_virtual_time
async def test_what_many_partitions_lack_a_little_of_goes_together(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = await Pair.new(100)

    async def at_once() -> None:
        pass

    monkeypatch.setattr(pair.disks[0], "pause", at_once)  # as of what lies in the page cache
    for number in range(100):
        pair.lead(number)
        for _ in range(3):
            pair.append(number)
        pair.follow(number)
    composed: list[int] = []
    whole = PushSession._compose_chunks

    def compose_chunks(session: PushSession) -> replication_pb2.LeaderMessage:
        message = whole(session)
        composed.append(len(message.pushes))
        return message

    monkeypatch.setattr(PushSession, "_compose_chunks", compose_chunks)
    await pair.caught_up()
    assert sum(composed) == 100
    assert len(composed) <= 10, f"{composed}: a message for each is what it costs one by one"


@settings(max_examples=25)
@given(st.integers(0, 1 << 30))
def test_catching_up_while_appends_go_on_leaves_no_gap_and_no_double(seed: int) -> None:
    @in_virtual_time
    async def scenario() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(push_session, "QUEUE_BYTES", 2000)
            patch.setattr(push_session, "PUSH_BYTES", 700)
            patch.setattr(catch_up_window, "LEAST_BYTES", 700)
            patch.setattr(catch_up_window, "MOST_BYTES", 1500)
            pair = await Pair.new(2, seed=seed)
            for number in (0, 1):
                await fill(pair.logs[0][number], (3, pair.random.randrange(60)))
                pair.lead(number)
                pair.follow(number)
            for _ in range(150):
                pair.append(pair.random.randrange(2), size=pair.random.choice([10, 100, 500]))
                if pair.random.random() < 0.01:
                    pair.break_streams()
                await asyncio.sleep(pair.random.choice([0, 0, 0.001, 0.005]))
            await pair.caught_up()
            assert pair.session._queued_bytes == pair.session._catch_up_window.under_way_bytes == 0

    scenario()


# divergence


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=8),
    st.integers(0, 3),
    st.booleans(),
    st.integers(0, 5),
)
def test_a_diverging_follower_ends_as_its_leader_and_keeps_what_both_have(
    written: list[tuple[int, int]], common: int, longer_is_leader: bool, more: int
) -> None:
    """Each epoch is written by the leader (0), the follower (1) or, while they agree, by either (2)."""

    @in_virtual_time
    async def scenario() -> None:
        pair = await Pair.new()
        leader, follower = pair.logs[0][0], pair.logs[1][0]
        for epoch in range(common):
            await fill(leader, (epoch, 2))
            await fill(follower, (epoch, 2))
        shared_end = leader.log_end_offset
        if common:  # the last common epoch is longer on one side
            longer = leader if longer_is_leader else follower
            await fill(longer, (common - 1, more))
        for epoch, (who, count) in enumerate(written, common):
            if who in (0, 2):
                await fill(leader, (epoch, count))
            elif who == 1:
                await fill(follower, (epoch, count))
        least = follower.log_end_offset
        pair.lead()
        pair.follow()
        while not pair.is_caught_up():
            least = min(least, follower.log_end_offset)
            await asyncio.sleep(0.0005)
        assert least >= shared_end, "what both had in common was truncated"
        pair.append()
        await pair.caught_up()
        data = [entry for entry in leader.epochs.entries if entry.start_offset < leader.log_end_offset]
        assert list(follower.epochs.entries) == data

    scenario()


@in_virtual_time
async def test_an_epoch_that_a_former_leader_wrote_nothing_in_hides_none_before_it() -> None:
    pair = await Pair.new()
    leader, follower = pair.logs[0][0], pair.logs[1][0]
    await fill(leader, (3, 2), (4, 10))
    await fill(follower, (3, 2), (4, 5))
    follower.start_epoch(5)  # it led, and lost its place before anything was written
    pair.lead(epoch=6)
    pair.follow(epoch=6)
    await pair.caught_up()
    assert [tuple(entry) for entry in follower.epochs.entries] == [(3, 0), (4, 2)]
    assert follower.end_offset_for_epoch(3) == (3, 2)


@in_virtual_time
async def test_a_follower_below_the_leaders_start_begins_there() -> None:
    pair = await Pair.new()
    leader, follower = pair.logs[0][0], pair.logs[1][0]
    await fill(leader, (3, 20))
    await fill(follower, (3, 4))
    leader.advance_high_watermark(20)
    leader.advance_log_start(10)
    pair.lead()
    pair.follow()
    await pair.caught_up()
    assert follower.log_start_offset == 10
    assert await content(follower) == [(offset, 3) for offset in range(10, 20)]


@in_virtual_time
async def test_a_follower_that_is_to_be_cut_back_on_a_full_disk_is_once_there_is_room() -> None:
    pair = await Pair.new()
    leader, follower = pair.logs[0][0], pair.logs[1][0]
    await fill(leader, (0, 20))
    await fill(follower, (0, 20))
    await fill(leader, (2, 5))
    await fill(follower, (1, 5))
    await asyncio.sleep(1.5)  # its recovery point is written
    disk = pair.disks[1]
    disk.fault = lambda operation, path: (
        OSError(errno.ENOSPC, "No space left on device", path) if operation == "append" else None
    )
    pair.lead()
    pair.follow()
    await asyncio.sleep(5)
    assert follower.last_epoch == 1, "nothing was cut"
    disk.fault = lambda *_: None
    await pair.caught_up()
    assert follower.last_epoch == 2


@in_virtual_time
async def test_an_empty_log_never_diverges() -> None:
    pair = await Pair.new()
    await fill(pair.logs[0][0], (3, 20))
    pair.logs[1][0].start_epoch(2)
    pair.lead()
    pair.follow()
    await pair.caught_up()


@in_virtual_time
async def test_a_stream_that_breaks_while_a_log_is_truncated_waits_for_that() -> None:
    pair = await Pair.new()
    await fill(pair.logs[0][0], (3, 20))
    await fill(pair.logs[1][0], (3, 10), (4, 10))
    pair.disks[1].gate.clear()
    pair.lead()
    following = pair.follow()
    while not following.is_changing:
        await asyncio.sleep(0.001)
    pair.break_streams()
    await asyncio.sleep(1.0)
    assert following.is_changing
    pair.disks[1].gate.set()
    await pair.caught_up()


@in_virtual_time
async def test_a_role_that_ends_while_its_log_is_truncated_is_settled_before_the_next() -> None:
    pair = await Pair.new()
    await fill(pair.logs[0][0], (3, 20))
    await fill(pair.logs[1][0], (3, 10), (4, 10))
    pair.disks[1].gate.clear()
    pair.lead()
    following = pair.follow()
    while not following.is_changing:
        await asyncio.sleep(0.001)
    pair.link.leave(following)
    settled = asyncio.ensure_future(following.settled())
    await asyncio.sleep(0.1)
    assert not settled.done()
    pair.disks[1].gate.set()
    await settled
    pair.lead(epoch=EPOCH + 1)
    pair.follow(epoch=EPOCH + 1)
    await pair.caught_up()


# broken streams, and subscriptions of another time


@in_virtual_time
async def test_a_broken_stream_is_dialled_again_and_everything_subscribes_anew() -> None:
    pair = await Pair.joined(3)
    for _ in range(5):
        pair.break_streams()
        for number in range(3):
            pair.append(number)
        await pair.caught_up()
    assert len(pair.sessions) >= 6


@in_virtual_time
async def test_what_becomes_durable_after_a_new_subscription_is_acknowledged_all_the_same() -> None:
    pair = await Pair.joined()
    pair.disks[1].gate.clear()
    pair.append()
    while pair.logs[1][0].log_end_offset < 1:
        await asyncio.sleep(0.001)
    pair.break_streams()
    await asyncio.sleep(1.0)
    assert pair.feed().number > 1, "it has subscribed again"
    assert pair.logs[0][0].high_watermark == 0
    pair.disks[1].gate.set()
    await pair.caught_up(1.0)


@in_virtual_time
async def test_a_leader_that_does_not_know_the_epoch_yet_is_asked_again() -> None:
    pair = await Pair.new()
    pair.follow()
    await asyncio.sleep(1.0)
    pair.lead(epoch=EPOCH - 1)
    await asyncio.sleep(1.0)
    assert pair.leadings[0].replicas[FOLLOWER].subscriber is None
    pair.lead()
    await pair.caught_up(0.5)


@in_virtual_time
async def test_a_partition_that_was_left_before_it_subscribed_subscribes_no_more() -> None:
    pair = await Pair.joined(2)
    following = pair.followings[0]
    pair.link._subscribe_soon(following)
    pair.link.leave(following)
    await asyncio.sleep(1.0)
    assert pair.leadings[0].replicas[FOLLOWER].subscriber is None
    del pair.leadings[0]
    pair.append(1)
    await pair.caught_up()


@in_virtual_time
async def test_pushes_of_another_subscription_or_epoch_change_nothing() -> None:
    log = await new_log(SlowDisk(Random(1)), Tasks("test", lambda _: None))
    following = Following(PartitionKey(TOPIC_ID, 0), log, LEADER, 5)
    following.subscribe(7)

    def push(subscription: int, leader_epoch: int) -> replication_pb2.Push:
        return replication_pb2.Push(
            subscription=subscription, leader_epoch=leader_epoch, batches=batch(), high_watermark=1
        )

    for subscription, leader_epoch in ((6, 5), (8, 5), (7, 4), (7, 6)):
        assert not following.take(push(subscription, leader_epoch))
    assert (log.log_end_offset, log.high_watermark) == (0, 0)
    assert following.acknowledgement() is None
    following.end()
    assert not following.take(push(7, 5))


@in_virtual_time
async def test_a_push_that_leaves_a_gap_is_refused() -> None:
    log = await new_log(SlowDisk(Random(1)), Tasks("test", lambda _: None))
    following = Following(PartitionKey(TOPIC_ID, 0), log, LEADER, 5)
    following.subscribe(7)
    data = bytearray(batch())
    data[7] = 3
    with pytest.raises(InvalidRecord, match="begins at offset 3 where 0 comes next"):
        following.take(replication_pb2.Push(subscription=7, leader_epoch=5, batches=bytes(data)))


class _NoStream:
    async def send(self, message: object) -> None:
        raise AssertionError

    async def receive(self) -> None:
        return None

    def close(self) -> None:
        pass


@in_virtual_time
async def test_a_subscription_that_comes_late_by_an_older_stream_takes_nothing_over() -> None:
    pair = await Pair.joined()
    current = pair.feed()
    hello = common_pb2.Hello()
    older = PushSession(_NoStream(), FOLLOWER, FOLLOWER_EPOCH, hello, pair.find, VirtualClock(), pair.bounds)
    subscription = replication_pb2.Subscription(
        topic_id=TOPIC_ID, leader_epoch=EPOCH, subscription=current.number - 1, last_epoch=-1
    )
    older._subscribe(subscription, pair.now)
    assert pair.feed() is current
    older.close()
    pair.append()
    await pair.caught_up()


# trouble with one partition


@in_virtual_time
async def test_a_full_disk_stops_its_partition_and_no_other_and_heals() -> None:
    pair = await Pair.joined(2)
    full = pair.logs[1][0].folder

    def fault(operation: str, path: str) -> OSError | None:
        return OSError(errno.ENOSPC, "full") if operation == "append" and path.startswith(full) else None

    pair.disks[1].fault = fault
    pair.append(0)
    sessions = len(pair.sessions)
    for _ in range(20):
        pair.append(1)
        await asyncio.sleep(0.1)
    await asyncio.sleep(push_session.WATERMARK_DELAY_S)  # the last one's watermark finds no push to travel with
    assert pair.is_caught_up(1)
    assert not pair.is_caught_up(0)
    refusals = [pair.followings[number].refusal for number in (0, 1)]
    assert isinstance(refusals[0], DiskFull)
    assert refusals[1] is None
    assert len(pair.sessions) == sessions, "the stream, which the other partition needs, goes on"
    pair.disks[1].fault = lambda _, __: None
    await pair.caught_up()
    assert pair.followings[0].refusal is None, "it takes what comes again"


@in_virtual_time
async def test_a_leader_that_resigns_ends_its_feeds_alone() -> None:
    pair = await Pair.joined(2)
    feed = pair.feed(0)
    pair.leadings.pop(0).resign(InvalidRecord())
    assert feed.key not in pair.session._feeds
    pair.append(1)
    await pair.caught_up()


@in_virtual_time
async def test_a_follower_with_one_slow_disk_acknowledges_what_lies_on_its_others() -> None:
    pair = await Pair.new(3)
    slow = SlowDisk(pair.random)
    dirs = await open_dirs(slow, pair.tasks, FOLLOWER)
    [pair.logs[1][0]] = await dirs.create_logs([NewLog("t", 0, TOPIC_ID, TopicConfig())])
    for number in range(3):
        pair.lead(number)
        pair.follow(number, disk=0 if number else 1)
    await pair.caught_up()
    slow.gate.clear()
    taken: list[float] = []
    for step in range(50):
        pair.append(0)
        pair.append(1 + step % 2)
        began, end = pair.now, pair.logs[0][1 + step % 2].log_end_offset
        while pair.logs[0][1 + step % 2].high_watermark < end:
            await asyncio.sleep(0.001)
            assert pair.now - began < 1.0, "a slow disk holds up what lies on another"
        taken.append(pair.now - began)
    assert sum(taken) < 50 * 0.02, f"acknowledgements took {sum(taken) / 50:.3f} s on average"
    slow.gate.set()
    await pair.caught_up()
