"""What a test needs of the machine, and what becomes of it where that is not to be had.

`MUST_HAVE`, words separated by commas, names what this machine must have: then such a test fails, and is not skipped.
`.ci/run` sets it. (Not DOHLE_…: nodes take these for their own settings.)
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def lacks(means: str, why: str) -> NoReturn:
    """Skips the test that needs `means`, for the reason `why`; fails it where it must run."""
    if means in os.environ.get("MUST_HAVE", "").split(","):
        pytest.fail(f"{why} ({means} is what this machine must have: MUST_HAVE)", pytrace=False)
    pytest.skip(why)
