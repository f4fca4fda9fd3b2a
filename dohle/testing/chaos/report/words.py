"""Words: figures as people read them."""

from __future__ import annotations


def number(value: float) -> str:
    """1204331 is 1,204,331."""
    return f"{value:,.0f}"


def short_number(value: float) -> str:
    """Three digits: 1.2k, 34k, 2.5M."""
    for size, sign in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{sign}"
    return f"{value:.3g}"


def duration(seconds: float | None) -> str:
    """Three digits, and the unit that fits; a dash for what is not known."""
    if seconds is None:
        return "–"
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def clock(seconds: float) -> str:
    """A moment of the run: 1:02:03 or 2:03, with tenths."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    tail = f"{rest / 10:04.1f}"
    return f"{hours}:{minutes:02}:{tail}" if hours else f"{minutes}:{tail}"


def several(count: int, one: str, many: str | None = None) -> str:
    """1 fault, 2 faults."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"
