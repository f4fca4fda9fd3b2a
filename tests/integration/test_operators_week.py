"""An operator's week, typed from docs/operations.md as it stands, while clients write and read."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dohle.cluster.local import free_base_port
from dohle.cluster.local_state import load_state
from tests.integration.load import Load

PAGE = Path(__file__).parent.parent.parent / "docs" / "operations.md"
_LINE_S = 240.0


def the_week() -> list[tuple[str, list[str]]]:
    """The page's days, each with its lines."""
    days = re.findall(r"### (\w+): .*?\n```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [(day, [line.removeprefix("$ ") for line in block.splitlines()]) for day, block in days]


@pytest.fixture
def home(clusters_folder):
    """A folder in which `dohle` is on the PATH; what runs there is downed at the end."""
    home = clusters_folder / "week"
    (home / "bin").mkdir(parents=True)
    command = home / "bin" / "dohle"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dohle "$@"\n')
    command.chmod(0o755)
    yield home
    asyncio.run(type_in(home, "dohle down"))


async def type_in(home: Path, line: str) -> str:
    """Runs a line as a shell would; it has to end well. Returns what it said."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DOHLE_")}
    environment["PATH"] = f"{home / 'bin'}{os.pathsep}{environment['PATH']}"
    shell = await asyncio.create_subprocess_exec(
        "bash", "-c", line, cwd=home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(_LINE_S):
            said, _ = await shell.communicate()
    except TimeoutError:
        shell.kill()
        raise
    assert shell.returncode == 0, f"{line}\n{said.decode()}"
    return said.decode()


async def test_an_operators_week(home):
    week = the_week()
    assert [day for day, _ in week] == ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
    await type_in(home, f"dohle up --base-port {free_base_port(5)}")
    state = load_state(str(home / "dohle-data"))
    assert state is not None
    told = {}
    async with Load(state.bootstrap, "orders", records_per_s=500, delivery_timeout_ms=120_000) as load:
        await load.reached(1000)
        for day, lines in week:
            told[day] = [await type_in(home, line) for line in lines]
            await load.reached(500)  # and goes on
    await load.check()

    assert "node 2 votes" in told["Thursday"][3]
    assert "node 2 down" in told["Wednesday"][2]
    assert "leads since" in told["Wednesday"][3]
    assert "healthy" in told["Friday"][1]
    assert "3 brokers" in told["Friday"][2]
    assert "3 voters" in told["Friday"][2]
