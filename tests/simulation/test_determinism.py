"""The same seed is the same run: in one process, in another with other hashes, and whatever ran before."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dohle.testing.simulation import simulate

_STORM_S = 6.0
_SEED = 5
_PRINT_HASH = f"from dohle.testing.simulation import simulate; print(simulate({_SEED}, storm_s={_STORM_S}).trace_hash)"


def test_a_seed_gives_the_same_trace_twice_whatever_ran_between() -> None:
    first = simulate(_SEED, storm_s=_STORM_S)
    other = simulate(_SEED + 1, storm_s=_STORM_S)
    assert other.trace_hash != first.trace_hash
    again = simulate(_SEED, storm_s=_STORM_S)
    assert (again.trace_hash, again.timeline) == (first.trace_hash, first.timeline)


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_a_seed_gives_the_same_trace_under_another_hash_seed(hash_seed: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    there = subprocess.run([sys.executable, "-c", _PRINT_HASH], env=environment, capture_output=True, text=True)
    assert there.returncode == 0, there.stderr
    assert there.stdout.strip() == simulate(_SEED, storm_s=_STORM_S).trace_hash
