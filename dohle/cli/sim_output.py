"""What `dohle sim` shows: one line of progress, what became of a run, and what a campaign adds up to."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from dohle.cli.output import counted

if TYPE_CHECKING:
    from dohle.testing.campaigns.campaign import Tally
    from dohle.testing.campaigns.runner import Finished
    from dohle.testing.campaigns.simulation import RunOutcome

_LAST_EVENTS = 40
_PLAIN_EVERY_S = 30.0


class ProgressLine:
    """On a terminal one line that changes, elsewhere a line now and then; both on stderr."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._last = time.monotonic()

    def show(self, text: str) -> None:
        now = time.monotonic()
        if self._terminal:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
        elif now - self._last >= _PLAIN_EVERY_S:
            self._last = now
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def clear(self) -> None:
        if self._terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def progress_text(tally: Tally, wanted: int | None, elapsed_s: float) -> str:
    """Returns how far a campaign is."""
    of = "" if wanted is None else f" of {wanted}"
    return (
        f"{tally.seeds}{of} seeds, {counted(len(tally.failed), 'failure')}, {elapsed_s / 60:.1f} min,"
        f" {tally.simulated_s / max(tally.real_s, 0.001):.0f} simulated s a second and worker,"
        f" {counted(sum(tally.faults.values()), 'fault')}, {tally.acknowledged:,} records acknowledged"
    )


def print_tally(tally: Tally, elapsed_s: float) -> None:
    """Prints a campaign's sum."""
    click.echo(
        f"{counted(tally.seeds, 'seed')} in {elapsed_s:.0f} s: {tally.simulated_s:,.0f} simulated s"
        f" ({tally.simulated_s / max(tally.real_s, 0.001):.1f} a second and worker), {tally.events:,} events,"
        f" {tally.acknowledged:,} of {tally.sent:,} records acknowledged"
    )
    click.echo(f"{tally.full} of them had 60 simulated s, 500 acknowledged records and 5 faults or more")
    if tally.twice:
        click.echo(f"{tally.twice} of them ran in a second process too, and left the same trace there")
    click.echo(f"faults: {counts_text(tally.faults)}")
    click.echo(f"rare: {counts_text(tally.rare)}")
    for name in tally.never:
        click.echo(f"NEVER in {tally.seeds} seeds: {name}")
    for seed, lacks in sorted(tally.short.items()):
        click.echo(f"SHORT: seed {seed} had only {lacks}")
    if tally.failed:
        click.echo(f"FAILED: {', '.join(str(finished.outcome.seed) for finished in tally.failed)}")
    elif tally.good:
        click.echo("GOOD: no seed violated anything")


def counts_text(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def print_run(finished: Finished, *, whole: bool) -> None:
    """Prints a run: its timeline, `whole` or its last lines, what fell, and its figures."""
    outcome = finished.outcome
    left_out = 0 if whole else max(0, len(outcome.timeline) - _LAST_EVENTS)
    if left_out:
        click.echo(f"… {counted(left_out, 'line')} before")
    for line in outcome.timeline[left_out:]:
        click.echo(line)
    if outcome.violations and finished.log:
        shown = finished.log[-_LAST_EVENTS:]
        click.echo(f"\nthe last that was logged or printed ({len(shown)} of {counted(len(finished.log), 'line')}):")
        for line in shown:
            click.echo(f"  {line}")
    click.echo("")
    for violation in outcome.violations:
        click.echo(f"VIOLATED: {violation}")
    click.echo(
        f"seed {outcome.seed}: {outcome.simulated_s:.1f} simulated s in {finished.real_s:.1f} s,"
        f" {outcome.events:,} events, {outcome.acknowledged:,} of {outcome.sent:,} records acknowledged"
    )
    click.echo(f"faults: {counts_text(outcome.faults)}")
    click.echo(f"trace {outcome.trace_hash or 'unknown'}: {verdict(outcome)}")


def verdict(outcome: RunOutcome) -> str:
    return f"{counted(len(outcome.violations), 'violation')}" if outcome.violations else "nothing was violated"


def run_json(finished: Finished) -> dict[str, Any]:
    """Returns a run for scripts."""
    outcome = finished.outcome
    return {
        "seed": outcome.seed,
        "trace_hash": outcome.trace_hash,
        "simulated_s": outcome.simulated_s,
        "real_s": round(finished.real_s, 3),
        "events": outcome.events,
        "acknowledged": outcome.acknowledged,
        "sent": outcome.sent,
        "faults": dict(outcome.faults),
        "rare": dict(outcome.rare),
        "violations": list(outcome.violations),
    }


def tally_json(tally: Tally, elapsed_s: float, files: list[str]) -> dict[str, Any]:
    """Returns a campaign for scripts."""
    return {
        "seeds": tally.seeds,
        "twice": tally.twice,
        "full": tally.full,
        "short": {str(seed): lacks for seed, lacks in sorted(tally.short.items())},
        "elapsed_s": round(elapsed_s, 3),
        "real_s": round(tally.real_s, 3),
        "simulated_s": tally.simulated_s,
        "events": tally.events,
        "acknowledged": tally.acknowledged,
        "sent": tally.sent,
        "faults": dict(sorted(tally.faults.items())),
        "rare": dict(sorted(tally.rare.items())),
        "never": list(tally.never),
        "failed": [run_json(finished) for finished in tally.failed],
        "files": files,
        "good": tally.good,
    }
