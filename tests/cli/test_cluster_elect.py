"""`dohle cluster elect`: which partitions it asks for, and what it shows and asks before."""

from __future__ import annotations

import json

import pytest

from dohle.cli.main import run
from dohle.client.partition_changes import ElectedLeader
from dohle.client.values import ClusterDescription, UnhealthyPartition
from dohle.model.errors import PolicyViolation
from dohle.model.ids import TopicPartition


class Electing:
    """An admin of a cluster where nobody leads t-0 and u-0; t's elections succeed, and u's are not allowed."""

    wanted: dict[str, list[int]] | None = None

    def __init__(self, *_bootstrap, **_settings):
        pass

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_failure):
        pass

    async def describe_cluster(self):
        lost = [UnhealthyPartition(topic, 0, -1, (1, 2), (), 1, (), 2) for topic in ("t", "u")]
        lagging = UnhealthyPartition("t", 1, 1, (1, 2), (1,), 1)
        return ClusterDescription("c", 1, (), (), 1, 9, 2, 3, (*lost, lagging))

    async def elect_leaders(self, partitions, *, unclean):
        type(self).wanted = partitions
        return {
            TopicPartition(topic, 0): PolicyViolation("not allowed") if topic == "u" else ElectedLeader(1, 5)
            for topic in partitions or ("t", "u")
        }


@pytest.fixture(autouse=True)
def admin(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dohle.client.admin.Admin", Electing)
    monkeypatch.setattr(Electing, "wanted", None)
    return Electing


def test_a_topic_named_as_a_whole_is_elected_as_a_whole_whatever_else_is_named(admin):
    assert run(["cluster", "elect", "preferred", "t:1", "t", "w:2", "w:3"]) == 0
    assert admin.wanted == {"t": [], "w": [2, 3]}


def test_an_unclean_election_shows_whom_nobody_leads_before_it_asks(admin, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr("click.confirm", lambda text, abort: asked.append((text, capsys.readouterr().out)))
    assert run(["cluster", "elect", "unclean", "t"]) == 0
    ((question, shown),) = asked
    assert "acknowledged records be lost" in question
    assert [line.split() for line in shown.splitlines()[1:]] == [
        ["PARTITION", "LEADER", "ASSIGNED"],
        ["t-0", "none", "(last", "2)", "1,2"],
    ]
    assert capsys.readouterr().out.splitlines()[-1].split() == ["t-0", "1", "5"]


def test_without_a_yes_nothing_is_elected(admin):
    assert run(["cluster", "elect", "unclean", "t", "--json"]) == 2
    assert admin.wanted is None


def test_for_scripts_there_is_one_json_value_and_a_refusal_ends_with_1(capsys):
    assert run(["cluster", "elect", "unclean", "--yes", "--json"]) == 1
    outcomes = json.loads(capsys.readouterr().out)
    assert [(one["topic"], one["elected"], one.get("error")) for one in outcomes] == [
        ("t", True, None),
        ("u", False, "not allowed"),
    ]
