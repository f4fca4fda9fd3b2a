"""What the plugin is to those who do not use it, and `dohle_cluster`."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parent.parent.parent
LOADED_WITH_IT = """
import sys
import pytest, asyncio, inspect
before = set(sys.modules)
import dohle.testing.pytest_plugin
print(*sorted(set(sys.modules) - before))
"""


def test_its_import_loads_nothing_but_itself():
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED_WITH_IT], capture_output=True, text=True, check=True, cwd=ROOT
    )
    names = [name for name in loaded.stdout.split() if name.startswith(("dohle", "grpc", "google", "uvloop"))]
    assert names == ["dohle", "dohle.testing", "dohle.testing.pytest_plugin"]


def test_pytest_finds_it_by_its_entry_point():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"dohle": "dohle.testing.pytest_plugin"}
    assert [need for need in project["optional-dependencies"]["testing"] if need.startswith("pytest>=")]


@pytest.fixture
def pytest_runs(pytester, monkeypatch):
    """Runs pytest in a process of its own, with the plugin and no other."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def runs(source, *arguments):
        pytester.makepyfile(source)
        return pytester.runpytest_subprocess("-p", "dohle.testing.pytest_plugin", "-p", "no:cacheprovider", *arguments)

    return runs


def test_tests_that_ask_for_no_cluster_are_left_alone(pytest_runs):
    outcome = pytest_runs(
        """
        import sys, pytest

        @pytest.fixture
        async def asynchronous():
            return 1

        async def test_coroutine():
            pass

        @pytest.mark.parametrize("number", [1])
        def test_plain(number):
            assert "dohle.client.seams" not in sys.modules
            assert "dohle.testing.world.world" not in sys.modules
        """
    )
    outcome.assert_outcomes(passed=1, failed=1)
    outcome.stdout.fnmatch_lines(["*async def functions are not natively supported.*"])


@pytest.mark.processes
def test_the_fixtures_have_one_surface_and_the_session_one_cluster_of_processes(pytest_runs):
    outcome = pytest_runs(
        """
        import asyncio, pytest
        from dohle import DohleError, Producer
        from dohle.sync import Consumer

        @pytest.fixture(params=["dohle_world", "dohle_cluster"])
        def dohle(request):
            return request.getfixturevalue(request.param)

        async def test_a_leader_dies(dohle):
            topic = await dohle.topic("orders", configs={"min.insync.replicas": "2"})
            async with Producer(dohle.bootstrap) as producer:
                await producer.send_and_wait(topic, b"before")
                leader = await dohle.leader(topic)
                dohle.kill(leader)
                assert not dohle.serves(leader)
                assert (await producer.send_and_wait(topic, b"after")).offset == 1
                assert await dohle.leader(topic) != leader
            await dohle.start(leader)
            await dohle.advance(0.1)
            await dohle.wait_healthy()
            async with dohle.consumer() as consumer:
                await consumer.assign(topic)
                assert [(await anext(consumer)).value for _ in range(2)] == [b"before", b"after"]

        async def test_left_broken(dohle_cluster):
            assert (await dohle_cluster.topic("orders")).startswith("orders-")
            dohle_cluster.pause(1)
            dohle_cluster.kill(2)
            for broken in (1, 2):
                assert not dohle_cluster.serves(broken)
            with pytest.raises(DohleError, match="node 2 does not run"):
                dohle_cluster.kill(2)
            with pytest.raises(DohleError, match="there is no node 'x': the nodes are 1, 2, 3"):
                dohle_cluster.kill("x")

        def test_it_is_whole_again_for_the_next(dohle_cluster):
            assert all(map(dohle_cluster.serves, dohle_cluster.nodes))
            asyncio.run(dohle_cluster.wait_healthy())

        @pytest.mark.parametrize("what", ["lose_power", "partition", "slow_disk", "jump_clock", "run"])
        def test_what_only_the_world_does(dohle_cluster, what):
            with pytest.raises(DohleError, match=f"{what} needs dohle_world"):
                getattr(dohle_cluster, what)(1)
            assert not hasattr(dohle_cluster, what)
            with pytest.raises(AttributeError, match="a cluster of processes has no 'melt'"):
                dohle_cluster.melt(1)

        def test_both(dohle_world, dohle_cluster):
            pass

        def test_fails(dohle_cluster):
            assert dohle_cluster.nodes == ()
        """
    )
    outcome.assert_outcomes(passed=9, errors=1, failed=1)
    outcome.stdout.fnmatch_lines(["*use dohle_world or dohle_cluster, not both*"])
    outcome.stdout.fnmatch_lines(["*dohle_cluster*", "the end of *node-1.log:"])


@pytest.mark.processes
def test_no_process_outlives_the_session(pytest_runs, pytester):
    outcome = pytest_runs(
        """
        def test_pids(dohle_cluster):
            dohle_cluster.pause(1)
            for node in dohle_cluster._local.state.nodes:
                print("pid", node.process.pid)
        """,
        "-s",
    )
    outcome.assert_outcomes(passed=1)
    pids = [int(line.split()[-1]) for line in outcome.outlines if "pid " in line]
    assert len(pids) == 3
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
