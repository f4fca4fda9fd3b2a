"""The plugin as it is installed: from the wheel, without a line of configuration, far from this repository."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
USERS_TESTS = """
import pathlib

import dohle
import pytest


def test_it_is_the_wheels(pytestconfig):
    assert pathlib.Path(dohle.__file__).parent.parent.name == "installed"
    assert pytestconfig.pluginmanager.get_plugin("dohle").__file__.startswith(str(pathlib.Path(dohle.__file__).parent))


@pytest.fixture(params=["dohle_world", "dohle_cluster"])
def cluster(request):
    return request.getfixturevalue(request.param)


async def test_an_order_outlives_its_leader(cluster):
    topic = await cluster.topic("orders", configs={"min.insync.replicas": "2"})
    async with cluster.producer() as producer:
        await producer.send_and_wait(topic, b"a cello")
        cluster.kill(await cluster.leader(topic))
        assert (await producer.send_and_wait(topic, b"a bow")).offset == 1
"""


@pytest.mark.processes
def test_both_fixtures_work_from_the_wheel_in_a_project_of_its_own(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed, project = tmp_path / "installed", tmp_path / "project"
    zipfile.ZipFile(wheel).extractall(installed)  # all that installing it does, but for the `dohle` script
    project.mkdir()
    (project / "test_orders.py").write_text(USERS_TESTS)
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    environment.pop("PYTEST_DISABLE_PLUGIN_AUTOLOAD", None)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(project)],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "3 passed" in run.stdout, run.stdout + run.stderr
