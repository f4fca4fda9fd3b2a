"""What commands make of a cluster's description."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
from pathlib import Path

import pytest

from dohle.cli.as_known import no_majority_words
from dohle.cli.explain import _why, _why_behind
from dohle.cli.lags import Lag
from dohle.cli.measure import payloads, quantile
from dohle.cli.output import counted, print_table, progress, size_text
from dohle.cli.partition_told import PartitionTold
from dohle.cli.session import parse_time
from dohle.cli.shortages import shortage_words
from dohle.cli.standard_input import input_lines
from dohle.cli.status import headline, health_of, node_rows, to_json, unhealthy_rows
from dohle.client.partition_changes import PartitionHistory
from dohle.client.values import (
    ClusterDescription,
    EndpointDescription,
    FollowerDescription,
    NodeDescription,
    PartitionDescription,
    QuorumDescription,
    QuorumReplica,
    ReplicaDescription,
    Shortage,
    UnhealthyPartition,
    VoterDescription,
)
from dohle.model.errors import DamagedReplica
from dohle.model.ids import TopicPartition
from dohle.model.topic_config import NOT_CARRIED_OUT
from dohle.runtime.network import Address


def _cluster(fenced=(), unhealthy=(), controller_id=1):
    nodes = tuple(
        NodeDescription(
            node_id,
            (EndpointDescription("GRPC", Address("h", 7091 + node_id), "PLAINTEXT"),),
            "",
            node_id in fenced,
            False,
            node_id,
            bytes(16),
            2,
            4,
        )
        for node_id in (1, 2)
    )
    voters = tuple(VoterDescription(node_id, bytes(16), Address("v", 7)) for node_id in (1, 3))
    return ClusterDescription("c", controller_id, nodes, voters, 1, 9, 1, 2, tuple(unhealthy))


def test_a_sound_cluster_is_healthy():
    assert health_of(_cluster()).good


def test_a_replica_that_is_behind_says_how_much_is_to_go_before_it_is_late():
    def held(end, *followers):
        return ReplicaDescription("t", bytes(16), 0, 9, 0, end, end, end, bool(followers), None, followers)

    def why(in_sync):
        partition = PartitionDescription(0, 1, 0, 0, (1, 2), in_sync)
        return _why_behind(2, partition, {1: held(9, FollowerDescription(2, 4, 300, True)), 2: held(4)}, _cluster())

    assert why((1,)) == "it catches up, 5 records to go"
    assert why((1, 2)) == "", "it is in sync, and what was just written is on its way"


def test_a_replica_that_waits_for_room_says_so_though_it_is_to_lead():
    partition = PartitionDescription(0, 1, 0, 0, (1, 2), (1,))
    told = PartitionTold(PartitionHistory((), 0, 0), partition, {}, _cluster(), None, {1: "/d is full; free space"})
    assert _why(1, told) == "it waits for room, and is made once there is some: /d is full; free space"
    assert "has no such replica yet" in _why(2, told)


def test_nodes_that_lack_room_are_not_healthy_and_say_for_what():
    assert health_of(_cluster(), [2]).words == "node 2 lacks room"
    waiting = {TopicPartition("t", number): "/d is full" for number in range(7)}
    assert shortage_words(Shortage(("/d has 5 MiB free",), waiting)) == [
        "producers are refused: /d has 5 MiB free",
        "7 new replicas (t-0, t-1, t-2, t-3, t-4, …) wait for room, and are made once there is some: /d is full",
    ]


def test_damaged_replicas_are_named_and_not_taken_for_a_lack_of_room():
    shortage = Shortage((), {}, {TopicPartition("t", number): "its file is bad" for number in range(12)})
    words = shortage_words(shortage)
    assert words[:2] == ["replica t-0 is damaged: its file is bad", "replica t-1 is damaged: its file is bad"]
    assert words[-1] == "and 2 more replicas are damaged"
    assert len(words) == 11
    partition = PartitionDescription(0, 1, 0, 0, (1, 2), (1,))
    bad = ReplicaDescription("t", bytes(16), 0, 9, 0, 5, 5, 5, True, DamagedReplica("its file is bad"))
    told = PartitionTold(PartitionHistory((), 0, 0), partition, {1: bad}, _cluster(), None, {})
    assert _why(1, told) == "its file is bad"


def test_nodes_are_listed_by_number_whatever_they_are():
    controllers = (VoterDescription(0, bytes(16), Address("v", 7)),)
    cluster = dataclasses.replace(_cluster(), voters=(*_cluster().voters, *controllers))
    assert [row[0] for row in node_rows(cluster)] == [0, 1, 2, 3]


def test_everything_that_is_wrong_is_said():
    cluster = _cluster(
        [2], [UnhealthyPartition("t", 0, 1, (1, 2), (1,), 1), UnhealthyPartition("t", 1, -1, (1, 2), (), 1)], -1
    )
    assert health_of(cluster).words == (
        "no active controller is known; node 2 down; 1 partition without a leader; 1 partition under-replicated"
    )
    lags = {TopicPartition("t", 0): [Lag(2, 98, 6700)]}
    assert unhealthy_rows(cluster, lags) == [
        ("t-0", "1", "1", "1,2", "2", "2: 98 records, 6.7 s"),
        ("t-1", "none", "-", "1,2", "1,2", "?"),
    ]
    told = to_json(cluster, {}, lags)["unhealthy"]
    assert told[0]["behind"] == [{"node_id": 2, "records_behind": 98, "lag_ms": 6700}]
    assert (told[1]["leader"], told[1]["behind"]) == (-1, [])


def test_a_node_that_has_heard_of_nothing_yet_says_so():
    unaware = dataclasses.replace(_cluster(controller_id=-1), cluster_id="", nodes=(), voters=())
    assert headline(unaware) == "cluster (id not known yet): no active controller is known yet"


@pytest.mark.parametrize(("count", "text"), [(0, "0 topics"), (1, "1 topic"), (2, "2 topics")])
def test_one_thing_is_counted_in_the_singular(count, text):
    assert counted(count, "topic") == text


def test_the_keys_that_have_no_effect_are_those_that_the_documentation_marks():
    table = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
    marked = set(re.findall(r"^\| `([a-z.]+)` \|.*\| (?:not yet|in part) \|$", table, re.MULTILINE))
    assert marked == NOT_CARRIED_OUT


def test_nodes_that_run_here_have_a_pid():
    assert [node["pid"] for node in to_json(_cluster(), {2: 77}, {})["nodes"]] == [None, 77]


def test_controllers_that_are_no_brokers_have_a_row_too():
    rows = node_rows(_cluster([2]))
    assert [(row[0], row[3], row[4]) for row in rows] == [
        (1, "up", "active controller"),
        (2, "fenced", "broker"),
        (3, "-", "controller"),
    ]


def test_a_table_is_plain_columns_where_no_terminal_is(capsys):
    print_table(("A", "BB"), [(1, "x"), (222, "")])
    assert capsys.readouterr().out == "A    BB\n1    x\n222\n"


def test_progress_is_silent_where_no_terminal_is(capsys):
    with progress("x", 3) as show:
        show(1)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")])
def test_sizes_for_people(count, text):
    assert size_text(count) == text


def test_times_are_absolute_or_ages():
    assert parse_time("10m", 1_000_000) == 400_000
    assert parse_time("500ms", 1_000) == 500
    assert parse_time("123", 0) == 123
    assert parse_time("1970-01-01T00:00:01+00:00", 0) == 1000
    assert parse_time("1970-01-01T00:00:01Z", 0) == 1000
    with pytest.raises(ValueError, match="'soon' is no time"):
        parse_time("soon", 0)


def test_quantiles_are_of_what_was_measured():
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0
    assert quantile([1.0, 2.0], 0.999) == 2.0
    assert [len(value) for value in payloads(10)] == [10] * 64


def test_standard_input_is_split_into_whole_lines(monkeypatch):
    reading, writing = os.pipe()
    monkeypatch.setattr("dohle.cli.standard_input._STDIN", reading)

    async def read():
        lines = []
        os.write(writing, b"one\r\ntwo\n\nth")
        async for chunk in input_lines():
            lines += chunk
            if chunk[-1] == b"":
                os.write(writing, b"ree\nfour")
                os.close(writing)
        return lines

    assert asyncio.run(read()) == [b"one", b"two", b"", b"three", b"four"]
    os.close(reading)


def quorum_of(count, silent, leader_id=-1):
    voters = tuple(
        QuorumReplica(node, bytes(16), Address("h", node), None, -1 if node in silent else 0)
        for node in range(1, count + 1)
    )
    return QuorumDescription(leader_id, 7, 0, 0, voters, ())


def test_who_has_to_be_started_is_named():
    no_majority = "no majority of the controllers answers: "
    assert no_majority_words(quorum_of(3, {2, 3})) == (
        f"{no_majority}2 of 3 have to, and 2 (h:2) and 3 (h:3) do not: start one of them"
    )
    assert no_majority_words(quorum_of(2, {2})) == f"{no_majority}2 of 2 have to, and 2 (h:2) does not: start it"
    assert no_majority_words(quorum_of(5, {2, 3, 4, 5})).endswith(": start 2 of them")
    assert "none decides" in no_majority_words(quorum_of(3, {3}))
    assert "node 2 is to decide" in no_majority_words(quorum_of(3, {3}, leader_id=2))
    assert "is not known here" in no_majority_words(quorum_of(0, {}))
