"""The programs of docs/clients run as they stand there, and print what the page says; only the address is changed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.compat.builds import HERE, Missing, built
from tests.compat.own_view import OwnView

pytestmark = [pytest.mark.processes, pytest.mark.compat]

PAGES = HERE.parent.parent / "docs" / "clients"
ADDRESS = "localhost:9092"
TOPIC = "greetings"
_MOST_S = 240


def _python(code: Path) -> list[str]:
    return [sys.executable, str(code)]


def _shell(code: Path) -> list[str]:
    if shutil.which("kcat") is None:
        raise Missing("kcat is not installed: Debian's kcat")
    return ["bash", "-euo", "pipefail", str(code)]


def _java(code: Path) -> list[str]:
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=off"
    return ["java", quiet, "-cp", f"{built('java')}/jars/*", str(code)]


def _go(code: Path) -> list[str]:
    built("go")
    module = _beside(HERE / "go", code)
    return ["go", "run", "-C", str(module), "."]


def _javascript(code: Path) -> list[str]:
    beside = built("javascript") / code.name
    shutil.copy(code, beside)
    return ["node", str(beside)]


def _rust(code: Path) -> list[str]:
    folder = built("rust")
    package = _beside(HERE / "rust", code)
    (package / "src" / "bin").mkdir(parents=True)
    code.rename(package / "src" / "bin" / code.name)  # beside the client's own program, whose libraries are built
    command = ["cargo", "run", "--quiet", "--locked", "-j", "1", "--manifest-path", str(package / "Cargo.toml")]
    return [*command, "--target-dir", str(folder)]


def _beside(source: Path, code: Path) -> Path:
    """Puts a project's own files, which pin the versions, beside a program; returns their folder."""
    for path in source.iterdir():
        if path.is_file():
            shutil.copy(path, code.parent)
    return code.parent


COMMANDS: dict[str, tuple[str, Callable[[Path], list[str]]]] = {
    # the language of a page's program: its file, and what runs it
    "python": ("greetings.py", _python),
    "bash": ("greetings.sh", _shell),
    "java": ("Greetings.java", _java),
    "go": ("main.go", _go),
    "javascript": ("greetings.mjs", _javascript),
    "rust": ("greetings.rs", _rust),
}
PROGRAM = re.compile(rf"^```({'|'.join(COMMANDS)})\n(.*?)^```", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"^It prints:\n\n```\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def nothing_written(seen: OwnView) -> Iterator[None]:
    yield
    if seen.describe(TOPIC) is not None:
        seen.delete(TOPIC)


@pytest.mark.parametrize("page", sorted(PAGES.glob("[a-z]*.md")), ids=lambda page: page.stem)
def test_a_first_program_runs_as_it_stands(seen: OwnView, nothing_written: None, page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    [(language, program)] = PROGRAM.findall(text)
    [printed] = PRINTED.findall(text)
    name, command_for = COMMANDS[language]
    code = tmp_path / name
    assert ADDRESS in program
    code.write_text(program.replace(ADDRESS, seen.cluster.kafka_bootstrap.partition(",")[0]), encoding="utf-8")
    try:
        command = command_for(code)
    except Missing as missing:
        pytest.skip(f"the program of {page.name} is not run: {missing}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=_MOST_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == printed, done.stderr
