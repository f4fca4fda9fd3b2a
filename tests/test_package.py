"""What is shipped: the package `dohle` alone, all of it, typed."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OTHERS = {"dohle/py.typed", "dohle/testing/chaos/report/page.css", "dohle/testing/chaos/report/page.js"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=ROOT, check=True)
    return folder


def sources() -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / "dohle").rglob("*.py*") if path.suffix != ".pyc"}


def test_the_wheel_ships_the_package_alone_with_its_types_and_licence(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if name.startswith("dohle/")} == sources() | OTHERS
    others = {name.split("/", 1)[1] for name in names if not name.startswith("dohle/")}
    assert others == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}


def test_the_source_distribution_has_every_module_and_nothing_twice(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {member.name.split("/", 1)[1] for member in tar if member.isfile()}
    assert sources() <= names
    assert {name.split("/")[0] for name in names} & {"broker", "cluster", "controller", "storage"} == set()
    assert {"LICENSE", "README.md", "proto/dohle/v1/broker.proto"} <= names
