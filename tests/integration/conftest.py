"""Clusters for the tests here, and a watchman who ends them if this process is killed before it can."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.clusters import Cluster, end_all_below

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.processes)


@pytest.fixture(scope="session")
def clusters_folder(tmp_path_factory):
    """Where all clusters live. Nodes outlast their parent, so somebody who notices its end must end them."""
    folder = tmp_path_factory.mktemp("clusters")
    command = [sys.executable, "-m", "tests.integration.watchman", str(folder)]
    watchman = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=HERE.parent.parent, start_new_session=True)
    yield folder
    end_all_below(folder)
    watchman.communicate(timeout=20)


@pytest.fixture(scope="session")
def numbers():
    """Tells apart the folders of tests with the same name."""
    return itertools.count(1)


@pytest.fixture(scope="session")
def _shared_trio(clusters_folder):
    cluster = Cluster(clusters_folder / "shared-trio")
    cluster.up()
    yield cluster
    cluster.end()


@pytest.fixture
def trio(_shared_trio):
    """Three nodes that run and are healthy, shared by tests that leave them so."""
    _shared_trio.up()
    _shared_trio.until_healthy()
    return _shared_trio


@pytest.fixture
def make_cluster(clusters_folder, numbers, request):
    """Makes clusters for one test alone; they do not run yet."""
    made = []

    def make(nodes=3, racks=()):
        cluster = Cluster(clusters_folder / f"{next(numbers)}-{request.node.name.partition('[')[0]}", nodes, racks)
        made.append(cluster)
        return cluster

    yield make
    for cluster in made:
        cluster.end()


@pytest.fixture
def fresh_trio(make_cluster):
    """Three nodes for one test alone, running."""
    cluster = make_cluster()
    cluster.up()
    return cluster


@pytest.fixture
def say(request, capsys):
    """Tells whoever looks on what was measured, without judging it."""
    terminal = request.config.get_terminal_writer()

    def write(words):
        with capsys.disabled():
            terminal.line(f"\n  {words}")

    return write
