"""Commands against real processes: one node for what they print, three for the demo's story."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from dohle.cli.demo_clients import OwnClient
from dohle.cli.demo_group import QUICK_SESSIONS, count_by_group, wrong_counts
from dohle.cli.demo_run import compare_replicas, run_demo
from dohle.cli.flights import Flight
from dohle.cli.main import run
from dohle.cluster.local import LocalCluster, free_base_port
from dohle.model.ids import id_text

pytestmark = pytest.mark.processes


def _started(folder, nodes, settings=None):
    cluster = LocalCluster.create(
        str(folder), nodes, base_port=free_base_port(nodes), new_cluster_id=id_text(bytes(16)), settings=settings
    )
    cluster.start()
    return cluster


def _end(cluster):
    for node in cluster.state.nodes:
        if node.runs():
            cluster.kill(node.node_id)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = _started(tmp_path_factory.mktemp("cluster") / "c", 1)
    yield made
    _end(made)


@pytest.fixture(autouse=True)
def _addressed(request, monkeypatch):
    if "cluster" in request.fixturenames:
        monkeypatch.setenv("DOHLE_BOOTSTRAP", request.getfixturevalue("cluster").state.bootstrap)


def _dohle(*arguments, stdin=b""):
    return subprocess.run(
        [sys.executable, "-m", "dohle", *arguments], input=stdin, capture_output=True, check=False, timeout=60
    )


def test_what_is_produced_is_consumed(cluster, capsys):
    assert run(["topic", "create", "words", "-p", "2"]) == 0
    assert capsys.readouterr().out == "created words: 2 partitions, replication factor 1\n"
    written = _dohle("produce", "words", "-k", ":", "-H", "h=1", stdin=b"a:1\nb:2\na:3")
    assert written.returncode == 0
    assert b"3 records written" in written.stderr
    lines = _dohle("consume", "words", "--keys", "--key-separator", "=").stdout.splitlines()
    assert sorted(lines) == [b"a=1", b"a=3", b"b=2"]
    assert [line for line in lines if line.startswith(b"a")] == [b"a=1", b"a=3"]
    records = [json.loads(line) for line in _dohle("consume", "words", "--json").stdout.splitlines()]
    assert {record["value"] for record in records} == {"1", "2", "3"}
    assert all(record["headers"] == [["h", "1"]] for record in records)
    again = _dohle("produce", "words", "--json", "-q", stdin=json.dumps(records[0]).encode())
    assert (again.returncode, again.stderr) == (0, b"")
    where = ["-p", str(records[0]["partition"])]
    assert _dohle("consume", "words", *where).stdout.splitlines()[-1].decode() == records[0]["value"]
    assert _dohle("consume", "words", "-n", "2", "--since", "1h").stdout.count(b"\n") == 2
    assert _dohle("consume", "words", "--from", "end").stdout == b""


def test_a_bad_line_stops_produce_after_what_came_before(cluster):
    assert run(["topic", "create", "strict"]) == 0
    failed = _dohle("produce", "strict", "-k", ":", stdin=b"a:1\nnothing\n")
    assert failed.returncode == 1
    assert failed.stderr == b"dohle: line 2: no ':' between key and value: 'nothing'\n"
    assert _dohle("consume", "strict").stdout == b"1\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["consume", "nowhere"], b"topic 'nowhere' does not exist"),
        (["produce", "nowhere"], b"topic 'nowhere' does not exist"),
        (["topic", "describe", "nowhere"], b"nowhere"),
        (["topic", "create", "a/b"], b"a/b"),
        (["topic", "create", "wide", "-r", "3"], b"replication factor 3"),
        (["topic", "create", "odd", "-c", "retention.mss=1"], b"did you mean retention.ms?"),
        (["consume", "strict", "-p", "7"], b"strict has no partition 7"),
        (["consume", "strict", "--from", "999"], b"no partition has an offset 999"),
    ],
)
def test_what_is_not_there_is_named_in_one_line(cluster, arguments, complaint):
    failed = _dohle(*arguments, stdin=b"x\n")
    assert failed.returncode == 1
    assert complaint in failed.stderr
    assert failed.stderr.startswith(b"dohle: ")
    assert failed.stderr.count(b"\n") == 1


def test_topics_are_listed_described_configured_and_deleted(cluster, capsys):
    assert run(["topic", "create", "conf", "-c", "preallocate=true"]) == 0
    assert run(["topic", "config", "conf", "--set", "segment.bytes=2000000", "--remove", "preallocate"]) == 0
    assert capsys.readouterr().err == "dohle: note: preallocate is kept, but has no effect in this version\n"
    assert run(["topic", "config", "conf", "--set", "preallocate=false", "--set", "flush.messages=1"]) == 0
    assert "note: preallocate is" in capsys.readouterr().err
    assert run(["topic", "config", "conf", "--remove", "preallocate", "--remove", "flush.messages"]) == 0
    assert capsys.readouterr().err == ""
    assert run(["topic", "add-partitions", "conf", "3"]) == 0
    capsys.readouterr()
    assert run(["topic", "describe", "conf", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["configs"] == {"segment.bytes": "2000000"}
    assert [partition["leader"] for partition in described["partitions"]] == [1, 1, 1]
    assert run(["topic", "delete", "conf", "--yes"]) == 0
    assert run(["topic", "delete", "conf", "--yes"]) == 1
    capsys.readouterr()
    assert run(["topic", "list", "--json"]) == 0
    assert "conf" not in [topic["name"] for topic in json.loads(capsys.readouterr().out)]


def test_the_oldest_records_are_deleted_and_what_cannot_be_is_refused(cluster, capsys):
    assert run(["topic", "create", "aged", "-p", "2"]) == 0
    lines = b"".join(b"%d:%d\n" % (number, number) for number in range(20))
    assert _dohle("produce", "aged", "-k", ":", stdin=lines).returncode == 0
    capsys.readouterr()
    assert run(["topic", "describe", "aged", "--json"]) == 0
    ends = [part["high_watermark"] for part in json.loads(capsys.readouterr().out)["partitions"]]
    assert sum(ends) == 20
    assert min(ends) > 1
    assert run(["topic", "offsets", "aged", "--json"]) == 0
    assert [one["offset"] for one in json.loads(capsys.readouterr().out)] == ends
    assert run(["topic", "offsets", "aged", "-p", "1", "--at", "earliest"]) == 0
    assert capsys.readouterr().out.split()[-3:] == ["aged-1", "0", "-"]
    assert run(["topic", "offsets", "aged", "--at", "max-timestamp", "--json"]) == 0
    newest = json.loads(capsys.readouterr().out)
    assert all(one["offset"] < end and one["timestamp_ms"] > 0 for one, end in zip(newest, ends, strict=True))
    assert run(["topic", "offsets", "aged", "-p", "0", "--at", str(newest[0]["timestamp_ms"] + 1), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["offset"] is None
    assert _dohle("topic", "offsets", "aged", "--at", "soon").returncode == 2

    def refused(*arguments, code=1):
        failed = _dohle("topic", "delete-records", "aged", *arguments)
        assert failed.returncode == code
        return failed.stderr.decode()

    assert "say which with --partition" in refused("--before", "1", code=2)
    assert "write an offset" in refused("--before", "yesterday", code=2)
    assert "add --yes" in refused("--before", "end", "--json", code=2)
    assert "aged has no partition 7" in refused("--before", "1", "-p", "7")
    above = refused("--before", str(ends[0] + 1), "-p", "0", "--yes")
    assert f"give at most {ends[0]}" in above
    assert "nothing was deleted" in above
    shown = _dohle("topic", "delete-records", "aged", "-p", "0", "--before", "1", stdin=b"n\n")
    assert shown.returncode == 130
    assert b"WILL BEGIN AT" in shown.stdout
    assert run(["topic", "delete-records", "aged", "-p", "0", "--before", "1", "--dry-run", "--json"]) == 0
    [foreseen] = json.loads(capsys.readouterr().out)
    assert (foreseen["deleted"], foreseen["log_start_offset"], foreseen["records"]) == (False, 0, 1)
    assert len(_dohle("consume", "aged").stdout.splitlines()) == 20, "nothing has gone so far"

    assert run(["topic", "delete-records", "aged", "-p", "0", "--before", "1", "--yes"]) == 0
    assert capsys.readouterr().out.endswith("deleted 1 record of 1 partition\n")
    assert len(_dohle("consume", "aged").stdout.splitlines()) == 19
    assert run(["topic", "delete-records", "aged", "-p", "0", "--before", "1", "--yes"]) == 0
    assert capsys.readouterr().out == "aged-0: nothing to delete, it begins at 1\n"
    assert run(["topic", "delete-records", "aged", "--before", "1h", "--yes", "--json"]) == 0
    assert [one["deleted"] for one in json.loads(capsys.readouterr().out)] == [False, False]
    assert run(["topic", "delete-records", "aged", "--before", "end", "--yes", "--json"]) == 0
    outcomes = json.loads(capsys.readouterr().out)
    assert [(one["deleted"], one["log_start_offset"]) for one in outcomes] == [(True, end) for end in ends]
    assert _dohle("consume", "aged").stdout == b""


def test_status_tells_a_sound_cluster_by_its_exit_code(cluster, capsys, monkeypatch):
    monkeypatch.setenv("DOHLE_DIR", cluster.state.folder)
    assert run(["status"]) == 0
    assert f"cluster {cluster.state.cluster_id}: healthy\n" in capsys.readouterr().out
    assert run(["status", "--json"]) == 0
    node = json.loads(capsys.readouterr().out)["nodes"][0]
    assert node["fenced"] is False
    assert node["pid"] == cluster.state.nodes[0].process.pid


def test_partitions_without_a_leader_do_not_hide_the_others(tmp_path, capsysbinary, monkeypatch):
    monkeypatch.setattr("dohle.cli.consume._LEADER_PATIENCE_S", 0.5)
    cluster = _started(tmp_path / "c", 2)
    where = ["--dir", cluster.state.folder]
    try:
        assert run(["topic", "create", "split", "-p", "2", "-r", "1", *where]) == 0
        records = [{"value": f"v{partition}", "partition": partition} for partition in (0, 1)]
        lines = "".join(json.dumps(record) + "\n" for record in records).encode()
        assert _dohle("produce", "split", "--json", *where, stdin=lines).returncode == 0
        assert run(["topic", "describe", "split", "--json", *where]) == 0
        described = json.loads(capsysbinary.readouterr().out.splitlines()[-1])
        lost = next(found["partition"] for found in described["partitions"] if found["leader"] == 2)
        cluster.kill(2)
        assert run(["consume", "split", *where]) == 1
        shown = capsysbinary.readouterr()
        assert shown.out == b"v%d\n" % (1 - lost)
        assert shown.err == b"dohle: split-%d has no leader that can be reached; all others were read\n" % lost
        assert run(["consume", "split", "-n", "1", *where]) == 0
        assert run(["consume", "split", "-p", str(lost), *where]) == 1
        assert run(["consume", "split", "--follow", "--from", "end", *where]) == 1
        assert capsysbinary.readouterr().err.count(b"split-%d has no leader that can be reached\n" % lost) == 2
    finally:
        _end(cluster)


def test_bench_measures_what_it_wrote(cluster, capsys):
    assert run(["bench", "produce", "-n", "500", "--size", "10", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == 500
    assert run(["bench", "consume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["value_bytes"] == 5000
    assert run(["bench", "latency", "--rate", "100", "--duration", "0.5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["records"] == 50
    assert 0 < found["p50_ms"] <= found["p99_ms"] <= found["max_ms"]


def test_the_demos_story_ends_well_and_its_checks_see_damage(tmp_path):
    cluster = _started(tmp_path / "c", 3, QUICK_SESSIONS)
    said = []
    try:
        flights = [Flight(b"C%d" % (number % 16), b"%d,%d" % (number, number * 7)) for number in range(40_000)]
        report = asyncio.run(run_demo(cluster, flights, lambda _: None, OwnClient(cluster.state.bootstrap, None)))
        counted = asyncio.run(count_by_group(cluster, flights, said.append))
        cluster.stop()
    finally:
        _end(cluster)
    compare_replicas(cluster, report)
    assert (report.complaints, counted.complaints) == ([], [])
    assert counted.totals == {f"C{number}": len(flights) // 16 for number in range(16)}
    assert counted.killed in ("anna", "berta", "clara")
    assert any("dora has" in line for line in said)
    assert wrong_counts(counted.totals, flights[1:]) == ["the group counted wrong: C0 (2500 of 2499)"]
    assert report.acknowledged == len(flights) == sum(report.watermarks.values())
    assert report.killed_node in (1, 2, 3)
    partition = max(report.watermarks, key=lambda number: report.watermarks[number])
    segment = tmp_path / "c" / "node-2" / f"flights-{partition}" / f"{0:020d}.log"
    content = bytearray(segment.read_bytes())
    content[-1] ^= 1
    segment.write_bytes(content)
    compare_replicas(cluster, report)
    assert len(report.complaints) == 1
    assert "differs from" in report.complaints[0]
