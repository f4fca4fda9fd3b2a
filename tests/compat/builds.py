"""The programs of other languages, built from pinned versions into `.compat/` at the root of the tree.

What is built once is used until one of its sources changes. Nobody is skipped in silence: `Missing` says what is not
there and how to get it. A build that fails although all is there is no reason to skip anything.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import venv
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILT = HERE.parent.parent / ".compat"
_MOST_S = 900.0
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_AT_ONCE = 2


class Missing(Exception):
    """What a client needs is not here. Its text says what, and how to get it."""


@cache
def pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_AT_ONCE, "build")


@cache
def begun(language: str) -> Future[Path]:
    """Begins to build a language's programs, once; the future is the folder that they are in."""
    return pool().submit(_built, language)


def built(language: str) -> Path:
    """Returns the folder with a language's programs. Raises Missing."""
    return begun(language).result()


def _built(language: str) -> Path:
    return fresh(HERE / language, BUILT / language, BUILDS[language])


def fresh(source: Path, folder: Path, build: Callable[[Path, Path], None]) -> Path:
    """Returns `folder`, with what `build` makes there of `source`, made again if that has changed. Raises Missing."""
    digest = sha256()
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(source.parent)}\n".encode() + path.read_bytes())
    done = folder / ".built"
    if not done.exists() or done.read_text() != digest.hexdigest():
        done.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        build(source, folder)
        done.write_text(digest.hexdigest())
    return folder


def _go(source: Path, folder: Path) -> None:
    _needs("go", "https://go.dev/dl, or Debian's golang-go")
    _brings(["go", "mod", "download"], source)
    _run(["go", "build", "-p", "1", "-o", f"{folder}/", "./..."], source)


def java(source: Path, folder: Path) -> None:
    _needs("javac", "Debian's default-jdk-headless")
    _needs("mvn", "Debian's maven")
    jars = folder / "jars"
    shutil.rmtree(jars, ignore_errors=True)
    _brings(["mvn", "-q", "-B", "-f", "pom.xml", _COPY, f"-DoutputDirectory={jars}"], source)
    programs = sorted(path.name for path in source.glob("*.java"))
    _run(["javac", "-cp", f"{jars}/*", "-d", str(folder / "classes"), *programs], source)


def _javascript(source: Path, folder: Path) -> None:
    _needs("node", "https://nodejs.org, or Debian's nodejs")
    _needs("npm", "https://nodejs.org, or Debian's npm")
    for path in source.iterdir():
        shutil.copy(path, folder)
    _brings(["npm", "ci", "--no-audit", "--no-fund"], folder)


def _rust(source: Path, folder: Path) -> None:
    _needs("cargo", "https://rustup.rs, or Debian's cargo")
    _brings(["cargo", "fetch", "--locked"], source)
    _run(["cargo", "build", "--locked", "-j", "1", "--target-dir", str(folder)], source)


def _kaskade(source: Path, folder: Path) -> None:
    venv.create(folder, clear=True, with_pip=True)
    install = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    _brings([*install, "-r", "requirements.txt"], source)


BUILDS: dict[str, Callable[[Path, Path], None]] = {
    "go": _go,
    "java": java,
    "javascript": _javascript,
    "kaskade": _kaskade,
    "rust": _rust,
}


def _needs(program: str, where: str) -> None:
    if shutil.which(program) is None:
        raise Missing(f"{program} is not installed: {where}")


def _brings(command: Sequence[str], where: Path) -> None:
    """Runs what brings the libraries. Without a network, or with a tool too old for them, it fails: that is Missing."""
    try:
        _run(command, where)
    except RuntimeError as error:
        raise Missing(str(error)) from error


def _run(command: Sequence[str], where: Path) -> None:
    niced = ["nice", "-n", "5", *command] if os.name == "posix" else command
    try:
        done = subprocess.run(niced, cwd=where, capture_output=True, text=True, timeout=_MOST_S, check=False)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{' '.join(command)} was not done in {_MOST_S:.0f} s") from None
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
