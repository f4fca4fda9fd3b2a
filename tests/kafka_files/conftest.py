from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.kafka_files.java import Reading, read_files
from tests.kafka_files.written import Written, write_directory

Directory = tuple[Path, list[Written]]


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Directory:
    """A node's directory that the product wrote, and what is in it."""
    path = tmp_path_factory.mktemp("node") / "data"
    return path, asyncio.run(write_directory(path))


@pytest.fixture(scope="session")
def reading(directory: Directory) -> Reading:
    """What Kafka's own readers say of it: one JVM for all tests."""
    return read_files(directory[0])
