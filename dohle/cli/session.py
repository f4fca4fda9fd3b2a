"""What commands that talk to a cluster share: which cluster, how long to wait, and the event loop they run on."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from dohle.cluster.local_state import load_state

T = TypeVar("T")

_DEFAULT_BOOTSTRAP = "localhost:7092"
_AGO = re.compile(r"(\d+)(ms|s|m|h|d)")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def _find_bootstrap(_context: click.Context, _parameter: click.Parameter, given: str | None) -> str:
    if given:
        return given
    state = load_state(os.environ.get("DOHLE_DIR", "dohle-data"))
    return state.bootstrap if state is not None else _DEFAULT_BOOTSTRAP


bootstrap_option = click.option(
    "-b",
    "--bootstrap",
    envvar="DOHLE_BOOTSTRAP",
    callback=_find_bootstrap,
    metavar="HOST:PORT,…",
    help="Nodes to ask first.  [default: the local cluster if there is one, else localhost:7092]",
)
timeout_option = click.option(
    "--timeout", "timeout_s", type=float, default=15.0, show_default=True, help="Seconds to wait for an answer."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Returns what `work` returns; Ctrl-C cancels it and raises KeyboardInterrupt."""
    import uvloop

    logging.basicConfig(level=logging.WARNING, format="dohle: %(message)s")
    # records come and go by the hundred thousand: let the collector look at them seldom, and at what is here never
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def parse_time(text: str, now_ms: int) -> int:
    """Returns ms since 1970 for a number of them, a time like 2030-01-31T12:00:00, or an age like 10m. ValueError."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now_ms - int(ago[1]) * _UNIT_MS[ago[2]]
    if text.isdecimal():
        return int(text)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time: write 2030-01-31T12:00:00, an age like 10m, or ms since 1970") from None
    return int((time if time.tzinfo else time.astimezone()).astimezone(UTC).timestamp() * 1000)
