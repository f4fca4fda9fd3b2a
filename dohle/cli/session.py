"""What commands that talk to a cluster share: which cluster, how long to wait, and the event loop they run on."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from dohle.cluster.local_state import DEFAULT_FOLDER, LocalState, load_state
from dohle.model.errors import ConfigurationError

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])

_DEFAULT_BOOTSTRAP = "localhost:7092"
_FOLDER = "dohle.folder"  # under these a command's context keeps what `--dir` says, and what it led to
_STATE = "dohle.local_state"
_LONGEST_TIMEOUT_S = 86_400
_AGO = re.compile(r"(\d+)(ms|s|m|h|d)")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def _find_folder(context: click.Context, _parameter: click.Parameter, folder: str) -> None:
    context.meta[_STATE] = load_state(folder)
    context.meta[_FOLDER] = folder


def _find_bootstrap(context: click.Context, _parameter: click.Parameter, given: str | None) -> str:
    """Returns whom to ask: what a flag says stands before the environment, nodes by address before a folder."""
    state = local_state()
    if _is_flag(context, "folder"):
        if _is_flag(context, "bootstrap"):
            raise click.UsageError("--bootstrap and --dir exclude each other")
        if state is None:
            folder = context.meta[_FOLDER]
            raise ConfigurationError(f"there is no cluster in {folder}: `dohle up --dir {folder}` makes one")
        return state.bootstrap
    return given or (state.bootstrap if state is not None else _DEFAULT_BOOTSTRAP)


def _is_flag(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def local_state() -> LocalState | None:
    """Returns the local cluster that the running command's `--dir` names; None if there is none."""
    state: LocalState | None = click.get_current_context().meta[_STATE]
    return state


def bootstrap_option(command: Command) -> Command:
    """Gives a command `bootstrap`, by `--bootstrap` or `--dir`: which cluster it talks to."""
    by_address = click.option(
        "-b",
        "--bootstrap",
        envvar="DOHLE_BOOTSTRAP",
        callback=_find_bootstrap,
        metavar="HOST:PORT,…",
        help="Nodes to ask first.  [default: the local cluster if there is one, else localhost:7092]",
    )
    by_folder = click.option(
        "--dir",
        "folder",
        envvar="DOHLE_DIR",
        default=DEFAULT_FOLDER,
        show_default=True,
        metavar="FOLDER",
        is_eager=True,  # so that it is known when the nodes to ask are looked for
        expose_value=False,
        callback=_find_folder,
        help="The local cluster's folder.",
    )
    return by_address(by_folder(command))


def check_seconds(_context: click.Context, _parameter: click.Parameter, seconds: float) -> float:
    """Returns how long to wait, if that is a time. Raises BadParameter."""
    if not 0 < seconds <= _LONGEST_TIMEOUT_S:  # which nan is not, either
        raise click.BadParameter(f"{seconds} is no time to wait: give seconds, more than 0 and up to a day")
    return seconds


timeout_option = click.option(
    "--timeout",
    "timeout_s",
    type=float,
    default=15.0,
    show_default=True,
    callback=check_seconds,
    help="Seconds to wait for an answer.",
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
