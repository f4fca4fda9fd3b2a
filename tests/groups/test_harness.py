"""The harness itself: that it answers when it should, and never early."""

from __future__ import annotations

from dohle.groups.outcome import NOTHING, Moment, Outcome, Ticket
from dohle.groups.records import CommittedOffset, OffsetRecord
from dohle.groups.shard import GroupShard
from dohle.model.errors import DohleError, NotEnoughReplicas
from dohle.model.group_errors import NotCoordinator
from tests.groups.harness import Harness, last_of_each_key

RECORD = OffsetRecord("g", "t", 0, CommittedOffset(5, -1, "", 0))


def writes(_shard: GroupShard, ticket: Ticket, _moment: Moment) -> Outcome:
    return Outcome((RECORD,), {ticket: "written"})


def reads(_shard: GroupShard, ticket: Ticket, _moment: Moment) -> Outcome:
    return Outcome(replies={ticket: "read"})


def test_a_reply_waits_for_all_that_was_appended_before_it() -> None:
    harness = Harness()
    assert harness.call(writes) == "written"
    harness.hold()
    written, read = harness.ask(writes), harness.ask(reads)
    assert written.waits
    assert read.waits
    harness.commit()
    assert (written.reply, read.reply) == ("written", "read")


def test_an_append_that_is_refused_is_what_its_command_is_told() -> None:
    harness, told = Harness(), list[DohleError | None]()

    def command(_shard: GroupShard, ticket: Ticket, _moment: Moment) -> Outcome:
        def then(error: DohleError | None, _moment: Moment) -> Outcome:
            told.append(error)
            return NOTHING

        return Outcome((RECORD,), {ticket: "written"}, then)

    harness.refusal = NotEnoughReplicas()
    assert harness.ask(command).error is harness.refusal
    assert harness.log == []
    harness.refusal = None
    harness.hold()
    waiting = harness.ask(command)
    assert [type(error) for error in told] == [NotEnoughReplicas]
    harness.commit()
    assert waiting.reply == "written"
    assert told[1:] == [None]


def test_who_waits_when_the_coordinator_changes_is_told_so_and_what_it_wrote_may_be_there() -> None:
    harness = Harness()
    for keep in (1, 0):
        harness.log.clear()
        harness.watermark = 0
        harness.hold()
        asked = harness.ask(writes)
        harness.restart(keep=keep)
        assert isinstance(asked.error, NotCoordinator)
        assert harness.log == [RECORD][:keep]


def test_timers_run_at_their_moments() -> None:
    harness, moments = Harness(), list[Moment]()
    began = harness.moment

    def action(moment: Moment) -> Outcome:
        moments.append(moment)
        if len(moments) < 3:
            harness.shard.state.timers.set("t", moment.now_s + 2, action)
        return NOTHING

    harness.shard.state.timers.set("t", began.now_s + 1, action)
    harness.pass_time(3)
    assert moments == [Moment(began.now_s + after, began.wall_ms + after * 1000) for after in (1, 3)]
    assert harness.moment == moments[-1]


def test_of_each_key_the_last_record_is_left() -> None:
    gone = OffsetRecord("g", "t", 0, None)
    other = OffsetRecord("g", "t", 1, RECORD.value)
    assert last_of_each_key([RECORD, other, gone]) == [gone, other]
