"""The tests of this folder run in virtual time: how long an election takes says nothing of the machine."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from tests.broker.virtual_time import VirtualTimeLoop
from tests.controller.cluster import Cluster

REAL_SOCKETS = "test_over_grpc"


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    real = item.path.stem == REAL_SOCKETS
    return {"real": asyncio.SelectorEventLoop} if real else {"virtual": VirtualTimeLoop}


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    cluster = Cluster(tmp_path)
    yield cluster
    await cluster.close()
