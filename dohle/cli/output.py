"""Output: tables and progress for people at a terminal, plain lines for files and pipes, JSON for scripts."""

from __future__ import annotations

import json
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dohle.model.errors import DohleError
    from dohle.model.ids import TopicPartition


def print_json(value: Any) -> None:
    """Prints one JSON value on one line."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a table: drawn on a terminal, columns with spaces between them elsewhere."""
    cells = [[str(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(rich_table(columns, cells))
        return
    widths = [max(len(line[i]) for line in [list(columns), *cells]) for i in range(len(columns))]
    for line in [list(columns), *cells]:
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n")


def rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    """Returns the table as rich draws it."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def reader_is_gone() -> bool:
    """Whether nobody reads what we write any more: a write would tell, but for long there may be none."""
    try:
        pipe = sys.stdout.fileno()
    except OSError:  # in a program, standard output may be no file
        return False
    poll = select.poll()
    poll.register(pipe, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Yields a function that takes how much is done so far: a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.update(task, completed=done)


def counted(count: int, thing: str) -> str:
    """Returns a number of things for people: 1 topic, 2 topics."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def size_text(count: float) -> str:
    """Returns a number of bytes for people: 512 B, 1.5 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def about(name: TopicPartition, error: DohleError) -> str:
    """Returns the message, with the partition's name before it unless it says that already."""
    return error.message if error.message.startswith((f"{name} ", f"{name}: ")) else f"{name}: {error.message}"


def leader_text(leader: int, last_known_leader: int) -> str:
    """Returns who leads; where nobody does, who led last, if that is known."""
    if leader >= 0:
        return str(leader)
    return "none" if last_known_leader < 0 else f"none (last {last_known_leader})"


def age(seconds: float) -> str:
    """Returns a length of time for people."""
    if seconds < 60:
        return f"{max(0.0, seconds):.1f} s"
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    return f"{minutes} min" if hours == 0 else f"{hours} h {minutes % 60} min"


def time_text(time_ms: int) -> str:
    """Returns a time for people, to the ms, in UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
