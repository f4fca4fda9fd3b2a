"""The form of a run, its cluster, and the clients, each started once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compat.builds import Missing, begun
from tests.compat.client import KafkaClient
from tests.compat.clients import CLIENTS, Tried
from tests.compat.own_view import OwnView
from tests.compat.scenarios import SCENARIOS
from tests.integration.clusters import Cluster
from tests.integration.conftest import clusters_folder

__all__ = ["clusters_folder"]


def _chosen(variable: str, known: list[str]) -> list[str]:
    """Returns the keys that an environment's variable names, all of them where it is empty."""
    names = [name for name in os.environ.get(variable, "").split(",") if name]
    unknown = set(names) - set(known)
    if unknown:
        raise pytest.UsageError(f"{variable}: {', '.join(sorted(unknown))} is none of {', '.join(known)}")
    return names or known


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "tried" in metafunc.fixturenames:
        keys = _chosen("DOHLE_COMPAT_CLIENTS", [client.key for client in CLIENTS])
        clients = [client for client in CLIENTS if client.key in keys]
        metafunc.parametrize("tried", clients, ids=lambda client: client.key, scope="session")
    if "scenario" in metafunc.fixturenames:
        names = _chosen("DOHLE_COMPAT_SCENARIOS", [scenario.key for scenario in SCENARIOS])
        short = bool(os.environ.get("DOHLE_COMPAT_SHORT"))
        scenarios = [one for one in SCENARIOS if one.key in names and (one.short or not short)]
        metafunc.parametrize("scenario", scenarios, ids=lambda scenario: scenario.key)


@pytest.fixture(scope="session", autouse=True)
def _builds(request: pytest.FixtureRequest) -> None:
    """Begins all builds that clients of this run need, while others are tried."""
    for item in request.session.items:
        tried = (
            item.callspec.params.get("tried") if isinstance(item, pytest.Function) and item.name[-1] == "]" else None
        )
        if tried is not None and tried.built_as:
            begun(tried.built_as)


@pytest.fixture(scope="session")
def seen(clusters_folder: Path) -> Iterator[OwnView]:
    """Three nodes that run."""
    cluster = Cluster(clusters_folder / "compat")
    cluster.up()
    cluster.until_healthy()
    view = OwnView(cluster)
    yield view
    view.close()
    cluster.end()


@pytest.fixture(scope="session")
def client(tried: Tried, seen: OwnView) -> Iterator[KafkaClient]:
    try:
        tried.version()
        started = tried.start(seen.cluster.kafka_bootstrap)
    except Missing as missing:
        pytest.skip(f"{tried.name} is not tried: {missing}")
    yield started
    close = getattr(started, "close", None)
    if close is not None:
        close()


@pytest.fixture(scope="session")
def version(tried: Tried, client: KafkaClient) -> str:
    return tried.version()
