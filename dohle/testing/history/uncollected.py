"""Uncollected: reading and judging make millions of objects, none of them part of a cycle, and keep them all.

Python's collector of cycles would go through them again and again, which takes longer than the work itself.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Has the collector rest meanwhile, if it does not rest already."""
    was_at_work = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_at_work:
            gc.enable()
