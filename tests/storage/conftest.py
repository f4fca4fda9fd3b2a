from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.storage.world import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A started folder."""
    one = World()
    await one.start()
    yield one
    await one.tasks.close()
    assert not one.crashes
