"""The files of `dohle sim`: which plan a seed, a file or a kept run's name means, and where a run is written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dohle.model.errors import ConfigurationError, DataFolderError

if TYPE_CHECKING:
    from dohle.testing.campaigns.plan import Plan
    from dohle.testing.campaigns.runner import Finished

DEFAULT_FOLDER = "dohle-sim"


@dataclass(frozen=True, slots=True)
class Source:
    """A plan, and what is known of it. Without a hash it was drawn from its seed, or kept, and nothing is known."""

    plan: Plan
    trace_hash: str = ""
    violations: tuple[str, ...] = ()


def find_plan(text: str, storm_s: float) -> Source:
    """Returns what `text` names: a seed, a plan file, or FILE.toml#NAME for a kept run. Raises ConfigurationError."""
    from dohle.testing.campaigns.plan import Plan
    from dohle.testing.campaigns.plan_file import read_kept, read_run

    if text.isdecimal():
        return Source(Plan.drawn(int(text), storm_s=storm_s))
    file, _, name = text.partition("#")
    content = _read(file)
    if file.endswith(".toml"):
        kept = read_kept(content, file)
        if name not in kept:
            raise ConfigurationError(f"{file} has no run {name!r}; there are: {', '.join(map(repr, kept)) or 'none'}")
        return Source(kept[name].plan)
    saved = read_run(content, file)
    return Source(saved.plan, saved.trace_hash, saved.violations)


def _read(file: str) -> str:
    try:
        with open(file, encoding="utf-8") as opened:
            return opened.read()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file} is no plan file: it is no text") from None
    except OSError as error:
        folder = os.path.dirname(file) or "."
        there = [os.path.join(place, name) for place in (folder, DEFAULT_FOLDER) for name in _plan_files(place)]
        known = f"there are: {', '.join(dict.fromkeys(there))}" if there else f"nor are there others in {folder}"
        raise ConfigurationError(
            f"{file} is neither a seed (a number) nor a file that can be read ({error.strerror}); {known}"
        ) from None


def _plan_files(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.startswith("seed"))
    except OSError:
        return []


def write_run(folder: str, finished: Finished, suffix: str = "") -> str:
    """Writes the plan and what became of it to a file in `folder`, and returns its name."""
    from dohle.testing.campaigns.plan_file import run_text

    file = os.path.join(folder, f"seed-{finished.outcome.seed}{suffix}.json")
    try:
        os.makedirs(folder, exist_ok=True)
        with open(file, "w", encoding="utf-8") as opened:
            opened.write(run_text(finished.outcome, finished.log))
    except OSError as error:
        raise DataFolderError(f"cannot write {file}: {error.strerror}") from error
    return file
