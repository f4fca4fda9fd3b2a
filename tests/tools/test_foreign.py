"""Foreign software is made once by one recipe, is the pinned one, and what is missing says how to get it."""

from __future__ import annotations

import sys
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest

from tools.foreign import cache
from tools.foreign.cache import Unavailable, cache_folder, made, needed, run
from tools.foreign.packages import LIBRDKAFKA, Package, from_pypi, unpack


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FOREIGN_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_what_is_made_is_made_once_by_the_same_recipe() -> None:
    calls: list[Path] = []
    first = made("a", "recipe", calls.append)
    assert made("a", "recipe", calls.append) == first
    assert len(calls) == 1
    other = made("a", "another recipe", lambda making: (making / "file").touch())
    assert (other / "file").exists()
    assert {other.parent, first.parent} == {cache_folder()}


def test_what_is_interrupted_leaves_nothing() -> None:
    def interrupted(making: Path) -> None:
        (making / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made("a", "recipe", interrupted)
    assert list(cache_folder().iterdir()) == []


def test_the_quicker_of_two_that_make_the_same_is_taken() -> None:
    def make(making: Path) -> None:
        (making / "second").touch()
        if not calls:
            calls.append(made("a", "recipe", lambda other: (other / "first").touch()))

    calls: list[Path] = []
    assert [path.name for path in made("a", "recipe", make).iterdir()] == ["first"]
    assert list(cache_folder().iterdir()) == calls


def test_a_missing_program_names_its_debian_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "which", lambda program: None if program in ("java", "javac", "npm") else program)
    message = r"missing: java, javac, npm \(Debian: apt-get install default-jdk-headless npm\)"
    with pytest.raises(Unavailable, match=message):
        needed("java", "javac", "gcc", "npm")
    with pytest.raises(Unavailable, match="apt-get install npm"):
        run(["npm", "pack"], Path())


def test_what_fails_says_the_last_that_it_said(folder: Path) -> None:
    with pytest.raises(Unavailable, match=r"failed with 3:\nfirst\nlast$"):
        run([sys.executable, "-c", "print('first'); print('last'); raise SystemExit(3)"], folder)
    with pytest.raises(Unavailable, match=r"not done after 0\.1 s"):
        run([sys.executable, "-c", "import time; time.sleep(60)"], folder, most_s=0.1)


def test_a_package_is_unpacked_if_it_is_the_pinned_one(folder: Path) -> None:
    (folder / "package" / "deps").mkdir(parents=True)
    (folder / "package" / "deps" / "file").write_text("text")
    with tarfile.open(folder / "a.tgz", "w:gz") as tar:
        tar.add(folder / "package", "package")
    fetch = ["cp", str(folder / "a.tgz"), "."]
    unpack(Package(fetch, "a.tgz", sha256((folder / "a.tgz").read_bytes()).hexdigest()), folder / "into")
    assert (folder / "into" / "deps" / "file").read_text() == "text"
    assert not (folder / "into" / "a.tgz").exists()
    with pytest.raises(Unavailable, match="is not the file that is pinned"):
        unpack(Package(fetch, "a.tgz", "0" * 64), folder / "other")
    assert not (folder / "other" / "deps").exists()


def test_archives_are_named_as_their_registries_name_them() -> None:
    assert LIBRDKAFKA.archive == "confluentinc-kafka-javascript-1.10.1.tgz"
    assert from_pypi("kafka-python", "3.0.12", "").archive == "kafka_python-3.0.12.tar.gz"
