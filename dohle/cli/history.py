"""`dohle history check`: judges what clients did and saw, written as lines of JSON. Works on the file alone."""

from __future__ import annotations

from typing import Any

import click

from dohle.cli.output import counted, print_json
from dohle.cli.session import json_option
from dohle.model.errors import ConfigurationError, InvalidRequest
from dohle.testing.history.anomalies import Anomaly
from dohle.testing.history.checker import MOST_OF_A_KIND, Verdict, judge
from dohle.testing.history.history import History
from dohle.testing.history.history_lines import read_lines


@click.group()
def history() -> None:
    """Judge what clients did and saw."""


@history.command()
@click.argument("file", type=click.Path())
@click.option(
    "--partial", is_flag=True, help="The history does not end with a read of everything, so do not ask for it."
)
@json_option
def check(file: str, partial: bool, as_json: bool) -> int:
    """Look for anomalies in the history in FILE, one JSON object a line; exit code 1 if it shows any.

    `dohle demo --history FILE` writes such a history.
    """
    told = _read(file)
    try:
        verdict = judge(told.operations, read_to_end=not partial)
    except InvalidRequest as error:
        raise InvalidRequest(f"{file} cannot be judged: {error.message}") from None
    if as_json:
        print_json(_verdict_json(told, verdict))
    else:
        _print(told, verdict)
    return 1 if verdict.anomalies else 0


def _read(file: str) -> History:
    try:
        with open(file, encoding="utf-8") as opened:
            told = read_lines(opened)
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise InvalidRequest(f"{file} is no history: it is no text") from None
    except InvalidRequest as error:
        raise InvalidRequest(f"{file}: {error.message}") from None
    if not told.operations:
        raise InvalidRequest(f"{file} is empty: it tells of no operation, so there is nothing to judge")
    return told


def _print(told: History, verdict: Verdict) -> None:
    clients = len({operation.process for operation in told.operations})
    click.echo(
        f"{counted(len(told.operations), 'operation')} of {counted(clients, 'client')},"
        f" {counted(told.acknowledged, 'record')} acknowledged"
    )
    if verdict.worst_lag is not None:
        lag = verdict.worst_lag
        click.echo(f"the most that a poll lagged behind: {lag.seconds:.3f} s, on {lag.log}")
    for anomaly in verdict.anomalies:
        click.echo(str(anomaly))
    if verdict.anomalies:
        click.echo(f"WRONG: {', '.join(f'{name} {count}' for name, count in _counts(verdict.anomalies).items())}")
    else:
        click.echo("GOOD: no anomaly")


def _counts(anomalies: tuple[Anomaly, ...]) -> dict[str, int | str]:
    """Returns how many there are of each name; of a search no more are reported than its limit."""
    names = [anomaly.name for anomaly in anomalies]
    return {
        name: names.count(name) if names.count(name) < MOST_OF_A_KIND else f"{MOST_OF_A_KIND} or more"
        for name in dict.fromkeys(names)
    }


def _verdict_json(told: History, verdict: Verdict) -> dict[str, Any]:
    return {
        "operations": len(told.operations),
        "acknowledged": told.acknowledged,
        "worst_lag_s": None if verdict.worst_lag is None else verdict.worst_lag.seconds,
        "consume_counts": verdict.consume_counts,
        "anomalies": [
            {"name": anomaly.name, "what": anomaly.what, "operations": [str(one) for one in anomaly.proof]}
            for anomaly in verdict.anomalies
        ],
        "good": not verdict.anomalies,
    }
