"""`dohle group`: what it shows, what it asks before, and what it refuses."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest

from dohle.cli.group_words import assignment_words, cause_words, held_up_words
from dohle.cli.main import run
from dohle.client.group_values import (
    GroupDescription,
    GroupListing,
    GroupListings,
    GroupPartitionDescription,
    MemberDescription,
    RebalanceDescription,
    RebalanceMember,
)
from dohle.client.values import OffsetAndTimestamp, OffsetSpec, PartitionDescription, TopicDescription
from dohle.model.errors import LeaderNotAvailable
from dohle.model.group_errors import GroupIdNotFound, NonEmptyGroup
from dohle.model.ids import TopicPartition

NOW = 1_900_000_000_000
ONE = MemberDescription("m-1", "", "app", "/10.0.0.1", (TopicPartition("t", 0),), -1, "", True)
WHO = RebalanceMember("m-1", "", "app", "/10.0.0.1")
STATIC = RebalanceMember("m-2", "pod-7", "app", "/10.0.0.2")


def partition(number, committed, start=0, end=100, *, member_id="", lag_ms=None):
    records = None if committed is None else max(0, end - max(committed, start))
    return GroupPartitionDescription(
        TopicPartition("t", number), committed, "", NOW, member_id, None, start, end, records, lag_ms
    )


def rebalance(number, cause, **changes):
    values = {
        "who": WHO,
        "detail": "",
        "silent_ms": None,
        "began_ms": NOW - 60_000,
        "ended_ms": NOW - 57_500,
        "epoch": 7,
        "members": 2,
        "last": None,
        "last_ms": None,
        "removed": (),
        "more_removed": 0,
    }
    return RebalanceDescription(number=number, cause=cause, **{**values, **changes})


def group(name, *, members=(ONE,), partitions=(), rebalances=(), state="Stable"):
    return GroupDescription(name, "classic", state, "consumer", 1, "range", 7, members, partitions, rebalances, -1, NOW)


class Asked:
    """An admin of a cluster with a group that runs, and one that does not; `t` has three partitions of 10 to 100."""

    altered: ClassVar[list[Any]] = []
    deleted: ClassVar[list[str]] = []
    groups: ClassVar[dict[str, Any]] = {}
    silent: ClassVar[dict[int, Any]] = {}

    def __init__(self, *_bootstrap, **_settings):
        pass

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_failure):
        pass

    async def list_groups(self):
        listed = tuple(
            GroupListing(name, one.kind, one.state, "consumer", len(one.members), 1, 42, 90_000, 0)
            for name, one in self.groups.items()
        )
        return GroupListings(listed, self.silent)

    async def describe_groups(self, names, *, with_history=False):
        return {name: self.groups.get(name, GroupIdNotFound(f"there is no group {name}")) for name in names}

    async def alter_group_offsets(self, name, offsets, *, validate_only=False):
        if name in self.groups and self.groups[name].members:
            raise NonEmptyGroup(f"group {name} is Stable and has members: stop m-1 (app at 10.0.0.1) first")
        type(self).altered.append((name, dict(offsets), validate_only))

    async def delete_groups(self, names):
        type(self).deleted += names
        return {name: NonEmptyGroup(f"{name} has members") if self.groups[name].members else None for name in names}

    async def describe_topic(self, name):
        return TopicDescription(name, bytes(16), tuple(PartitionDescription(n, 1, 0, 0, (1,), (1,)) for n in range(3)))

    async def list_offsets(self, wanted):
        def found(spec):
            if spec == OffsetSpec.EARLIEST:
                return OffsetAndTimestamp(10, -1)
            return OffsetAndTimestamp(100, -1) if spec == OffsetSpec.LATEST else OffsetAndTimestamp(-1, -1)

        return {name: found(spec) for name, spec in wanted.items()}


@pytest.fixture(autouse=True)
def admin(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dohle.client.admin.Admin", Asked)
    idle = group("idle", members=(), partitions=(partition(0, 50), partition(1, 60)), state="Empty")
    busy = group(
        "busy",
        partitions=(
            partition(0, 50, member_id="m-1", lag_ms=312_000),
            partition(1, 5, start=10),
            partition(2, None),
        ),
        rebalances=(rebalance(3, "joined"), rebalance(4, "poll timed out", silent_ms=312_400, last=STATIC)),
    )
    monkeypatch.setattr(Asked, "groups", {"busy": busy, "idle": idle})
    monkeypatch.setattr(Asked, "altered", [])
    monkeypatch.setattr(Asked, "deleted", [])
    monkeypatch.setattr(Asked, "silent", {})
    return Asked


def test_a_list_shows_lags_and_fails_where_a_coordinator_said_nothing(admin, capsys, monkeypatch):
    assert run(["group", "list"]) == 0
    assert "busy   classic  Stable  1        1            42              1 min" in capsys.readouterr().out
    monkeypatch.setattr(admin, "silent", {2: LeaderNotAvailable("broker 2 is gone")})
    assert run(["group", "list", "--json"]) == 1
    told = capsys.readouterr()
    assert [one["group"] for one in json.loads(told.out)["groups"]] == ["busy", "idle"]
    assert told.err == "dohle: the groups that broker 2 coordinates are missing: broker 2 is gone\n"


def test_a_description_says_who_has_what_and_what_is_gone_unread(capsys):
    assert run(["group", "describe", "busy", "nobody"]) == 1
    told = capsys.readouterr()
    assert "busy: Stable, classic group at broker 1, generation 7, assignor range, 1 member" in told.out
    assert "m-1     app     10.0.0.1  t 0  leads" in told.out
    rows = [line.split() for line in told.out.splitlines() if line.startswith("t-")]
    assert rows[0] == ["t-0", "50", "100", "50", "5", "min", "m-1"]
    assert rows[1] == ["t-1", "5", "100", "90", "(5", "more", "are", "gone", "unread)", "?", "-"]
    assert rows[2] == ["t-2", "-", "100", "-", "-", "-"]
    assert "140 records behind, the oldest 5 min old; nothing is committed of 1 partition" in told.out
    assert told.err == "dohle: there is no group nobody\n"


def test_scripts_get_numbers(capsys):
    assert run(["group", "lag", "busy", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["lag_records"], told["lag_ms"], told["members"]) == (140, 312_000, 1)
    assert [one["lag_records"] for one in told["partitions"]] == [50, 90, None]
    assert run(["group", "explain", "busy", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["cause"] for one in told["rebalances"]] == ["joined", "poll timed out"]
    assert told["rebalances"][1]["silent_ms"] == 312_400


def test_explain_says_what_the_last_rebalance_was_about(capsys):
    assert run(["group", "explain", "busy", "-n", "1"]) == 0
    told = capsys.readouterr().out
    assert "m-1 (app at 10.0.0.1), which shares the partitions out, has t 0" in told
    assert "(1 min ago) and took 2.5 s: m-1 (app at 10.0.0.1) timed out after its poll took 312 s" in told
    assert "1 older one not shown" in told


@pytest.mark.parametrize(
    ("one", "why", "who"),
    [
        (rebalance(0, "joined"), "m-1 (app at 10.0.0.1) joined", "-"),
        (rebalance(0, "left", detail="closed"), "m-1 (app at 10.0.0.1) left: closed", "-"),
        (rebalance(0, "left", who=None), "a member left", "-"),
        (
            rebalance(0, "joined", last=STATIC, last_ms=NOW - 58_000, removed=(WHO,), more_removed=3),
            "m-1 (app at 10.0.0.1) joined",
            "m-1 and 3 more did not come in time; pod-7 came last, after 2.0 s",
        ),
        (rebalance(0, "moon"), "moon (m-1 (app at 10.0.0.1))", "-"),
    ],
)
def test_rebalances_in_words(one, why, who):
    assert (cause_words(one), held_up_words(one)) == (why, who)


def test_assignments_in_words():
    names = [TopicPartition("b", 1), *(TopicPartition("a", number) for number in (7, 3, 1, 2))]
    assert assignment_words(names) == "a 1-3,7; b 1"
    assert assignment_words([]) == "nothing"


@pytest.mark.parametrize(
    ("where", "offsets"),
    [
        ("earliest", (10, 10)),
        ("latest", (100, 100)),
        ("current", (50, 60)),
        ("70", (70, 70)),
        ("5", (10, 10)),
        ("+20", (70, 80)),
        ("-55", (10, 10)),
        ("2030-01-31T12:00:00", (100, 100)),
        ("10m", (100, 100)),
    ],
)
def test_a_reset_goes_where_it_is_told_within_the_log(admin, where, offsets):
    assert run(["group", "reset", "idle", "--to", where, "--yes"]) == 0
    wanted = {TopicPartition("t", number): offset for number, offset in enumerate(offsets)}
    assert admin.altered == [("idle", wanted, True), ("idle", wanted, False)]


def test_a_dry_run_changes_nothing_and_its_lines_can_be_read_again(admin, capsys, tmp_path):
    assert run(["group", "reset", "idle", "--to", "+5", "--dry-run"]) == 0
    assert "t-0        50         55       +5" in capsys.readouterr().out
    assert run(["group", "reset", "idle", "--to", "+5", "--dry-run", "--csv"]) == 0
    lines = capsys.readouterr().out
    assert lines == "t,0,55\nt,1,65\n"
    assert all(validate_only for _, _, validate_only in admin.altered)
    (tmp_path / "offsets.csv").write_text(lines)
    assert run(["group", "reset", "idle", "--from-file", "offsets.csv", "--yes", "--json"]) == 0
    assert admin.altered[-1] == ("idle", {TopicPartition("t", 0): 55, TopicPartition("t", 1): 65}, False)
    assert [one["reset"] for one in json.loads(capsys.readouterr().out)] == [True, True]


def test_a_group_with_members_is_refused_before_anything_is_shown_or_asked(admin, capsys):
    assert run(["group", "reset", "busy", "--to", "earliest"]) == 1
    told = capsys.readouterr()
    assert (told.out, admin.altered) == ("", [])
    assert "stop m-1 (app at 10.0.0.1) first" in told.err


def test_a_group_that_is_not_there_yet_gets_offsets_of_the_topics_that_are_named(admin, capsys):
    assert run(["group", "reset", "new", "--to", "latest", "--yes"]) == 0
    assert "Nothing to reset" in capsys.readouterr().out
    assert run(["group", "reset", "new", "--to", "latest", "-t", "t:2", "-t", "t:1", "--yes"]) == 0
    assert admin.altered[-1] == ("new", {TopicPartition("t", 1): 100, TopicPartition("t", 2): 100}, False)
    assert run(["group", "reset", "new", "--to", "latest", "-t", "t:3", "--yes"]) == 1
    assert "t has no partition 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("t,0,1\nt,0,2\n", "line 2: t-0 is there twice"),
        ("t,0\n", "line 1: 't,0' is not of the form topic,partition,offset"),
        ("t,0,-1\n", "is not of the form"),
        ("t;0;1\n", "is not of the form"),
    ],
)
def test_a_file_that_is_wrong_is_named_by_its_line(admin, capsys, tmp_path, lines, complaint):
    (tmp_path / "offsets.csv").write_text(lines)
    assert run(["group", "reset", "idle", "--from-file", "offsets.csv", "--yes"]) == 1
    assert complaint in capsys.readouterr().err
    assert admin.altered == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["reset", "idle"],
        ["reset", "idle", "--to", "soon"],
        ["reset", "idle", "--to", "latest", "--from-file", "x"],
        ["reset", "idle", "--to", "latest", "--json"],
        ["reset", "idle", "--to", "latest", "--csv"],
        ["reset", "idle", "--to", "latest", "--dry-run", "--csv", "--json"],
        ["delete", "idle", "--json"],
        ["lag", "idle", "--interval", "0"],
    ],
)
def test_wrong_usage_is_told_before_anybody_is_asked(admin, arguments):
    assert run(["group", *arguments]) == 2
    assert (admin.altered, admin.deleted) == ([], [])


def test_a_deletion_shows_what_goes_and_asks(admin, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr("click.confirm", lambda text, **_: asked.append((text, capsys.readouterr().out)))
    assert run(["group", "delete", "idle", "busy"]) == 1
    ((question, shown),) = asked
    assert "Nothing brings the offsets back" in question
    assert "idle: Empty, offsets of 2 partitions" in shown
    told = capsys.readouterr()
    assert (told.out, told.err) == ("deleted idle\n", "dohle: busy has members\n")
