"""The command line: what it prints, how it fails, with which exit code. No cluster is needed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from dohle.cli.main import run
from dohle.cluster.local import plan
from dohle.model.ids import id_text
from dohle.model.metadata import FeatureLevel
from dohle.model.metadata_batch import decode_metadata
from dohle.model.records import Record, encode_batch


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith("DOHLE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_help_names_every_command(capsys):
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for command in ("up", "down", "status", "topic", "produce", "consume", "demo", "bench", "node", "format", "config"):
        assert f"\n  {command} " in shown


@pytest.mark.parametrize(
    "command",
    [
        "up",
        "down",
        "status",
        "topic create",
        "topic config",
        "produce",
        "consume",
        "demo",
        "bench produce",
        "bench latency",
        "format",
        "config",
        "log dump",
        "log verify",
        "version",
        "node",
    ],
)
def test_every_command_explains_itself(capsys, command):
    assert run([*command.split(), "--help"]) == 0
    assert "Usage: dohle" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["up", "--nodes", "three"],
        ["consume", "t", "--from", "middle"],
        ["consume", "t", "--since", "yesterday"],
        ["consume", "t", "--since", "1h", "--from", "end"],
        ["produce", "t", "--json", "--key-separator", ":"],
        ["produce", "t", "-H", "novalue"],
        ["topic", "create", "t", "-c", "novalue"],
        ["topic", "list", "--dir", ".", "--bootstrap", "x"],
        ["explain", "partition", "t", "0", "--changes", "0"],
        ["status", "--watch", "--json"],
        ["status", "--timeout", "nan"],
        ["topic", "list", "--timeout", "-1"],
        ["cluster", "elect", "unclean", "t", "--json"],
        ["cluster", "reassign", "--cancel", "--dry-run"],
        ["cluster", "reassign", "--cancel", "--throttle", "1M"],
        ["cluster", "reassign", "--list", "t:0"],
        ["cluster", "reassign", "--throttle", "1M", "--dry-run"],
        ["cluster", "rebalance", "--cancel", "--plan"],
        ["cluster", "rebalance", "--cancel", "--exclude", "t"],
        ["cluster", "rebalance", "--plan", "--undo-plan", "back.json"],
        ["cluster", "dirs", "move", "--list", "--dry-run"],
        ["format", "--config", "x"],
        ["format", "--new", "--cluster-id", "x"],
        ["format", "--join", "--cluster-id", "x", "--metadata-version", "1"],
    ],
)
def test_wrong_usage_ends_with_2_and_says_why(capsys, arguments):
    assert run(arguments) == 2
    assert "Error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["down"], "there is no cluster in dohle-data"),
        (["topic", "list", "--dir", "none"], "there is no cluster in none: `dohle up --dir none` makes one"),
        (["up", "--nodes", "0"], "0 nodes: expected 1 to 100"),
        (["config", "--grpc-prt", "1"], "did you mean --grpc-port?"),
        (["node", "--config", "none.toml"], "cannot read the configuration file none.toml"),
        (["node", "--grpc-prt", "1"], "did you mean --grpc-port?"),
        (["log", "dump", "none.log"], "cannot read none.log: No such file"),
        (["format", "--new", "--voters", "1@a:1,2@b:1"], "give 1, 3 or 5"),
        (
            ["format", "--new", "--metadata-version", "99"],
            "metadata.version 99 is unknown to this software: give",
        ),
        (["format", "--cluster-id", "x", "--voters", "1@a:1:y"], "is no id"),
        (["topic", "list", "-b", "localhost:none"], "bootstrap address 'localhost:none' is not usable"),
    ],
)
def test_an_error_is_one_line_and_ends_with_1(capsys, arguments, complaint):
    assert run(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("dohle: ")
    assert error.count("\n") == 1
    assert complaint in error


def test_config_explains_where_values_come_from(capsys, monkeypatch, tmp_path):
    (tmp_path / "node.toml").write_text("rack = 'r1'\n")
    monkeypatch.setenv("DOHLE_GRPC_PORT", "1234")
    assert run(["config", "--show", "--config", "node.toml", "--node-id", "7"]) == 0
    shown = capsys.readouterr().out
    assert "[node.toml]\nrack = r1\n" in shown
    assert "[the environment]\ngrpc_port = 1234\n" in shown
    assert "[the command line]\nnode_id = 7\n" in shown
    assert "[default]\nsession_timeout_ms = 3000 ms\n" in shown
    assert run(["config", "--json"]) == 0
    assert {"name", "value", "unit", "doc", "source"} == set(json.loads(capsys.readouterr().out)[0])


def test_config_takes_its_options_in_any_order(capsys, tmp_path):
    (tmp_path / "node.toml").write_text("rack = 'r1'\n")
    assert run(["config", "--config", "node.toml", "--show", "--node-id", "7"]) == 0
    shown = capsys.readouterr().out
    assert "[node.toml]\nrack = r1\n" in shown
    assert "[the command line]\nnode_id = 7\n" in shown
    assert run(["config", "--config", "node.toml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "node_id"


@pytest.fixture
def asked(monkeypatch):
    """The addresses that `dohle topic list` asks."""
    addresses = []

    def ask(bootstrap, _timeout_s, _question):
        addresses.append(bootstrap)
        return []

    monkeypatch.setattr("dohle.cli.topic._ask", ask)
    return addresses


def test_a_cluster_is_found_by_its_folder(asked, monkeypatch, tmp_path):
    for folder, port in (("dohle-data", 2000), ("other", 3000), ("flag", 4000)):
        (tmp_path / folder).mkdir()
        plan(str(tmp_path / folder), 1, port, [], folder).save()
    run(["topic", "list"])
    monkeypatch.setenv("DOHLE_DIR", "other")
    run(["topic", "list"])
    monkeypatch.setenv("DOHLE_BOOTSTRAP", "localhost:5000")
    run(["topic", "list"])
    run(["topic", "list", "--dir", "flag"])
    assert asked == ["localhost:2000", "localhost:3000", "localhost:5000", "localhost:4000"]


def test_without_a_folder_the_default_port_is_asked(asked):
    run(["topic", "list"])
    assert asked == ["localhost:7092"]


def test_format_new_invents_ids_that_format_takes(capsys, tmp_path):
    assert run(["format", "--new", "--json"]) == 0
    new = json.loads(capsys.readouterr().out)
    folder = tmp_path / "data"
    arguments = ["format", "--cluster-id", new["cluster_id"], "--voters", new["voters"], "--data-dir", str(folder)]
    assert run([*arguments, "--json"]) == 0
    formatted = json.loads(capsys.readouterr().out)
    assert new["voters"].endswith(formatted["directory_id"])
    assert f"cluster.id={new['cluster_id']}\n" in (folder / "meta.properties").read_text()
    assert run(arguments) == 1
    assert "nothing is ever formatted over" in capsys.readouterr().err


def test_format_writes_the_metadata_version_that_it_is_given_and_none_that_it_does_not_know(capsys, tmp_path):
    assert run(["format", "--new", "--metadata-version", "1"]) == 0
    arguments = next(line for line in capsys.readouterr().out.splitlines() if "--voters" in line).split()[1:]
    assert arguments[-2:] == ["--metadata-version", "1"]
    arguments = ["--data-dir" if word == "--config" else word for word in arguments]
    arguments[arguments.index("FILE")] = str(folder := tmp_path / "data")
    assert run([*arguments[:-1], "99"]) == 1
    assert not folder.exists()
    assert run(arguments) == 0
    batch = (folder / "__cluster_metadata-0" / f"{0:020d}.log").read_bytes()
    assert next(decode_metadata(batch)).records[1] == FeatureLevel("metadata.version", 1)


def test_format_prepares_every_directory_and_later_one_more(capsys, tmp_path):
    assert run(["format", "--new", "--json"]) == 0
    new = json.loads(capsys.readouterr().out)
    first, second, third = (str(tmp_path / name) for name in ("a", "b", "c"))
    whole = ["format", "--cluster-id", new["cluster_id"], "--voters", new["voters"], "--json", "--log-dirs"]
    assert run([*whole, f"{first},{second}"]) == 0
    formatted = json.loads(capsys.readouterr().out)["formatted"]
    assert [one["path"] for one in formatted] == [first, second]
    assert new["voters"].endswith(formatted[0]["directory_id"])
    assert (tmp_path / "a" / "__cluster_metadata-0").exists()
    assert not (tmp_path / "b" / "__cluster_metadata-0").exists()

    assert run([*whole, f"{third},{second}"]) == 1
    assert f"{second} is formatted already, for node 1" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()

    further = ["format", "--ignore-formatted", "--json", "--log-dirs"]
    assert run([*further, f"{first},{second},{third}"]) == 0
    formatted = json.loads(capsys.readouterr().out)["formatted"]
    assert [one["path"] for one in formatted] == [third]
    assert len({(tmp_path / name / "meta.properties").read_text() for name in "abc"}) == 3
    assert run([*further[:2], "--log-dirs", f"{first},{second},{third}"]) == 0
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (["--log-dirs", "{0}/a,{0}/a/"], "names {0}/a twice"),
        (["--log-dirs", "{0}/a,{0}/a/b"], "lies in {0}/a"),
        (["--log-dirs", "{0}/x,{0}/y"], "none of {0}/x, {0}/y is formatted"),
        (["--log-dirs", "{0}/a,{0}/new", "--node-id", "2"], "belongs to node 1, and this is node 2"),
        (["--log-dirs", "{0}/a,{0}/new", "--cluster-id", "A" * 22], "belongs to cluster"),
        (["--log-dirs", "{0}/new,{0}/a"], "holds the metadata and the vote of this controller"),
        (["--log-dirs", "{0}/a,{0}/full"], "{0}/full is not empty (something)"),
        (["--log-dirs", "{0}/a", "--voters", "1@a:1"], "--ignore-formatted takes no --voters"),
        (["--log-dirs", "{0}/a", "--join"], "{0}/a has a controller's metadata already"),
        (["--log-dirs", "{0}/new,{0}/a", "--join"], "{0}/a has a controller's metadata already"),
    ],
)
def test_a_further_directory_is_formatted_only_where_that_makes_sense(capsys, tmp_path, settings, complaint):
    assert run(["format", "--new", "--json"]) == 0
    new = json.loads(capsys.readouterr().out)
    whole = ["format", "--cluster-id", new["cluster_id"], "--voters", new["voters"]]
    assert run([*whole, "--log-dirs", str(tmp_path / "a")]) == 0
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    assert run(["format", "--ignore-formatted", *(setting.format(tmp_path) for setting in settings)]) != 0
    assert complaint.format(tmp_path) in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "full"]


def test_a_disk_that_is_new_is_formatted_where_it_is_mounted(capsys, tmp_path):
    (tmp_path / "disk" / "lost+found").mkdir(parents=True)
    assert run(["format", "--new", "--json"]) == 0
    new = json.loads(capsys.readouterr().out)
    whole = ["format", "--cluster-id", new["cluster_id"], "--voters", new["voters"]]
    assert run([*whole, "--log-dirs", str(tmp_path / "disk")]) == 0
    assert (tmp_path / "disk" / "meta.properties").exists()


def test_a_broker_becomes_a_controller_only_in_a_folder_that_bears_another_id(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("DOHLE_VOTERS", "1@a:1")
    cluster_id = id_text(bytes(16))
    node = ["--log-dirs", f"{tmp_path}/a", "--node-id", "4"]
    assert run(["format", "--cluster-id", cluster_id, "--join", *node, "--roles", "broker"]) == 0
    further = ["format", "--ignore-formatted", "--join", *node]
    assert run([*further, "--roles", "broker"]) == 1
    assert "no controller by its configuration" in capsys.readouterr().err
    assert run(further) == 1
    assert "name a new one as metadata_log_dir" in capsys.readouterr().err
    assert run([*further, "--metadata-log-dir", f"{tmp_path}/m"]) == 0
    assert f"formatted {tmp_path}/m for node 4" in capsys.readouterr().out
    assert (tmp_path / "m" / "__cluster_metadata-0" / "joining").exists()
    assert not (tmp_path / "a" / "__cluster_metadata-0").exists()
    assert len({(tmp_path / name / "meta.properties").read_text() for name in "am"}) == 2


def test_format_refuses_a_controller_that_has_no_vote(capsys, tmp_path):
    assert run(["format", "--new", "--json"]) == 0
    new = json.loads(capsys.readouterr().out)
    arguments = ["format", "--cluster-id", new["cluster_id"], "--voters", new["voters"], "--node-id", "2"]
    assert run([*arguments, "--data-dir", str(tmp_path / "data")]) == 1
    assert "node 2 is a controller but none of the voters" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


@pytest.fixture
def segment(tmp_path):
    folder = tmp_path / "flights-3"
    folder.mkdir()
    path = folder / "00000000000000000000.log"
    batches = [encode_batch([Record(b"k", b"v", (), 5)] * 2, base_offset=base, leader_epoch=1) for base in (0, 2)]
    path.write_bytes(b"".join(batches))
    return path


def test_log_dump_says_what_a_segment_holds(capsys, segment):
    assert run(["log", "dump", str(segment)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("position 0: offsets 0..1, 2 records, ")
    assert lines[-1] == f"2 sound batches, 4 records, {segment.stat().st_size} bytes"
    assert run(["log", "dump", str(segment), "--json", "--records"]) == 0
    values = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (values[0]["base_offset"], values[0]["codec"], values[0]["fault"]) == (0, "none", None)
    assert (values[1]["topic"], values[1]["partition"], values[1]["offset"]) == ("flights", 3, 0)


def test_log_dump_names_the_damaged_byte(capsys, segment):
    content = bytearray(segment.read_bytes())
    content[-1] ^= 1
    segment.write_bytes(content)
    assert run(["log", "dump", str(segment)]) == 1
    shown = capsys.readouterr()
    assert "DAMAGED: its CRC-32C does not match" in shown.out
    assert f"is damaged at byte {len(content) // 2}:" in shown.err
    segment.write_bytes(content[:-5])
    assert run(["log", "dump", str(segment)]) == 1
    assert "DAMAGED: it is cut" in capsys.readouterr().out


def test_log_dump_reads_indexes(capsys, tmp_path):
    (tmp_path / "0.index").write_bytes(bytes.fromhex("00000005 00001000"))
    (tmp_path / "0.timeindex").write_bytes(bytes.fromhex("0000000000000007 00000005 ff"))
    assert run(["log", "dump", "0.index"]) == 0
    assert capsys.readouterr().out == "relative_offset 5, position 4096\n"
    assert run(["log", "dump", "0.timeindex", "--json"]) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"timestamp_ms": 7, "relative_offset": 5}
    assert "the last entry is cut" in shown.err


def test_ctrl_c_prints_no_traceback(tmp_path):
    code = (
        "import os, signal, threading, dohle.cli.main as m; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "  # whoever runs tests in the background ignores it
        "threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start(); "
        "import sys; sys.argv = ['dohle', 'produce', 't', '-b', 'localhost:1']; m.main()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stderr is not None
        error = child.stderr.read().decode()
        assert child.wait(10) in (130, -signal.SIGINT)
    assert "Traceback" not in error


def test_a_node_starts_without_what_only_scrapes_need():
    code = "import sys, dohle.cluster.process; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_node_command_imports_neither_click_nor_rich():
    code = (
        "import sys; from dohle.cli.main import run; code = run(['node', '--config', 'none.toml']); "
        "sys.exit(10 * len({'click', 'rich'} & set(sys.modules)) + code)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 1


def test_a_folder_that_cannot_be_made_is_named(capsys):
    assert run(["up", "--dir", "/proc/no-such-folder"]) == 1
    assert capsys.readouterr().err.startswith("dohle: cannot use /proc/no-such-folder: ")
