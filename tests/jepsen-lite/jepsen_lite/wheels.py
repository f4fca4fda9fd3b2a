"""Wheels: what nodes run is an installed wheel, in an environment of its own, and nothing of the tree beside.

What the wheel depends on is taken from this process' environment, so nothing is downloaded.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from dohle.model.errors import ConfigurationError
from tests.machine.commands import run, runs

ROOT = Path(__file__).resolve().parents[3]
_WHERE = "import dohle; print(dohle.__file__)"


def build(folder: Path, tree: Path = ROOT) -> Path:
    """Builds a wheel of a source tree, by default this one, into `folder`; returns where it lies."""
    built = run(sys.executable, "-c", _BUILD, str(tree), str(folder))
    return folder / built.split()[-1]


_BUILD = """
import os, sys
from hatchling.build import build_wheel
os.chdir(sys.argv[1])
os.makedirs(sys.argv[2], exist_ok=True)
print(build_wheel(sys.argv[2]))
"""


def install(wheel: Path, folder: Path) -> None:
    """Makes an environment in `folder` that has this wheel: `bin/python -I -m dohle` is its command.

    Raises ConfigurationError if that does not come to run the wheel's own code.
    """
    run(sys.executable, "-m", "venv", "--without-pip", "--symlinks", str(folder))
    python = folder / "bin" / "python"
    quietly = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-index")
    run(sys.executable, "-m", "pip", "--python", str(python), "install", *quietly, str(wheel))
    places = sysconfig.get_paths()
    own = Path(run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    needed = dict.fromkeys((places["purelib"], places["platlib"]))
    (own / "dependencies.pth").write_text(
        "".join(f"{place}\n" for place in needed)
    )  # after its own, and without theirs
    found = runs(str(python), "-I", "-c", _WHERE)
    if found.returncode or not Path(found.stdout.strip()).is_relative_to(folder.resolve()):
        raise ConfigurationError(f"{wheel.name} does not run in {folder}: {found.stdout}{found.stderr}".strip())
