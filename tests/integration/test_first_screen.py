"""The README's first screen, typed as a new user would type it: the lines are taken from the README itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dohle.cluster.local import free_base_port
from tests.integration.clusters import Cluster, until

README = Path(__file__).parent.parent.parent / "README.md"


@pytest.fixture
def shell(clusters_folder):
    """Runs lines in a shell in a folder of its own, with `dohle` on its PATH; downs the cluster at the end."""
    home = clusters_folder / "home"
    (home / "bin").mkdir(parents=True)
    command = home / "bin" / "dohle"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dohle "$@"\n')
    command.chmod(0o755)
    path = f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**{name: value for name, value in os.environ.items() if not name.startswith("DOHLE_")}, "PATH": path}

    def type_in(line):
        return subprocess.run(
            ["bash", "-c", line], cwd=home, capture_output=True, text=True, timeout=60, env=environment, check=False
        )

    yield type_in
    type_in("dohle down")


def _typed_lines():
    """The README's commands from `dohle up` on, without their comments, by their first words."""
    block = README.read_text().split("```console\n")[1].split("```")[0]
    lines = [line.removeprefix("$ ").split("  #")[0].strip() for line in block.splitlines() if line.startswith("$ ")]
    return lines[lines.index("dohle up") :]


def test_the_first_screen_of_the_readme(shell):
    up, create, produce, consume, status, kill, status_again, up_again, down = _typed_lines()
    assert (status, status_again, up_again, down) == ("dohle status", "dohle status", "dohle up", "dohle down")

    started = shell(f"{up} --base-port {free_base_port(3)}")  # whatever else uses the default ports here
    assert started.returncode == 0, started.stderr
    assert [line.split()[:2] for line in started.stdout.splitlines()[:3]] == [
        ["node", "1"],
        ["node", "2"],
        ["node", "3"],
    ]
    assert shell(create).stdout == "created greetings: 3 partitions, replication factor 3\n"
    written = shell(produce)
    assert written.returncode == 0
    assert written.stderr.startswith("2 records written in ")
    assert sorted(shell(consume).stdout.splitlines()) == ["hello", "world"]
    healthy = shell(status)
    assert healthy.returncode == 0
    assert ": healthy\n" in healthy.stdout

    killed = shell(kill)
    assert killed.returncode == 0, killed.stderr
    until(lambda: "node 1 down" in shell(status_again).stdout, "the status shows node 1 down", within_s=10)
    wounded = shell(status_again)
    assert wounded.returncode == 1
    assert "3 partitions under-replicated" in wounded.stdout
    assert "without a leader" not in wounded.stdout
    assert sorted(shell(consume).stdout.splitlines()) == ["hello", "world"]

    again = shell(up_again)
    assert again.returncode == 0, again.stderr
    assert "node 1  " in again.stdout
    assert [line.endswith("(started)") for line in again.stdout.splitlines()[:3]] == [True, False, False]
    until(lambda: shell(status_again).returncode == 0, "the cluster is healed", within_s=10)
    stopped = shell(down)
    assert stopped.returncode == 0
    assert [line.split()[2] for line in stopped.stdout.splitlines()] == ["stopped"] * 3


def test_lines_keys_headers_json_and_times_come_out_as_they_went_in(trio: Cluster):
    trio.done("topic", "create", "shell", "-p", "2")
    trio.done("produce", "shell", "-k", "=", "-H", "from=here", "-q", stdin="a=1\nb=2\na=3\n")
    lines = trio.done("consume", "shell", "--keys", "--key-separator", ":", "--headers").splitlines()
    assert sorted(lines) == ["from=here:a:1", "from=here:a:3", "from=here:b:2"]
    as_json = trio.done("consume", "shell", "--json")
    trio.done("topic", "create", "copy", "-p", "2")
    trio.done("produce", "copy", "--json", "-q", stdin=as_json)
    assert sorted(trio.done("consume", "copy", "--json").replace('"copy"', '"shell"').splitlines()) == sorted(
        as_json.splitlines()
    )
    a = next(found["partition"] for found in map(json.loads, as_json.splitlines()) if found["key"] == "a")
    from_there = trio.done("consume", "shell", "-p", str(a), "--from", "1").splitlines()
    assert from_there == trio.done("consume", "shell", "-p", str(a)).splitlines()[1:]
    assert trio.done("consume", "shell", "--since", "1h").count("\n") == 3
    assert trio.done("consume", "shell", "--since", "2100-01-01") == ""
    assert trio.done("topic", "list").splitlines()[0].split() == ["TOPIC", "PARTITIONS", "REPLICAS"]
    assert trio.done("topic", "delete", "copy", "--yes") == "deleted copy\n"


def test_up_says_what_runs_and_never_formats_over_a_cluster(make_cluster):
    cluster = make_cluster(1)
    assert "Ready after" in cluster.done("up", "--dir", str(cluster.folder))
    try:
        assert "already" in cluster.done("up", "--dir", str(cluster.folder))
        assert "started as it is" in cluster.refused("up", "--dir", str(cluster.folder), "--base-port", "30000")
        assert cluster.done("down", "--dir", str(cluster.folder)).startswith("node 1  stopped after")
        assert "No node runs" in cluster.done("down", "--dir", str(cluster.folder))
    finally:
        cluster.dohle("down")
    (cluster.folder / "cluster.json").unlink()
    assert "nothing is ever formatted over it" in cluster.refused("up", "--dir", str(cluster.folder))
    assert "there is no cluster in" in cluster.refused("down", "--dir", str(cluster.folder / "elsewhere"))
