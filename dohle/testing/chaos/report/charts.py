"""Charts: the rows of the timeline, each an SVG whose horizontal unit is a second of the run.

They are stretched to the page's width; what must not be stretched (names, scales) stands beside them as text. The
page's script zooms by changing what part of the drawings is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

from dohle.testing.chaos.report.buckets import Bucket, Series
from dohle.testing.chaos.report.happenings import Happening
from dohle.testing.chaos.report.leaders import NOBODY, Leaders, Stretch
from dohle.testing.chaos.report.markup import Markup, element, svg
from dohle.testing.chaos.report.words import duration, short_number

HEIGHT = 100.0
"""Of a drawing, in its own units."""
MOST_PARTITIONS = 64
NODE_COLORS = 7
_LANE = 10.0


@dataclass(frozen=True)
class Row:
    """`scale`: texts and how far up they stand, 0 to 1. `names`: texts beside lanes of equal height."""

    title: str
    hint: str
    drawing: Markup
    pixels: float
    scale: tuple[tuple[str, float], ...] = ()
    names: tuple[str, ...] = ()
    kind: str = "plot"


def fault_rows(faults: Sequence[Happening], until_s: float) -> Row:
    """A lane for each kind of fault."""
    kinds = sorted({fault.fault for fault in faults})
    marks = [
        element(
            "rect",
            x=f"{fault.began_s:.2f}",
            y=f"{kinds.index(fault.fault) * _LANE + 2:g}",
            width=f"{min(fault.healed_s, until_s) - fault.began_s:.2f}",
            height=f"{_LANE - 4:g}",
            class_="fault",
        )
        for fault in faults
    ]
    lines = _lane_lines(len(kinds), until_s)
    height = max(1, len(kinds)) * _LANE
    drawing = svg(until_s, height, "when which fault was active", *lines, *marks)
    return Row("Faults", "", drawing, max(1, len(kinds)) * 15.0, names=tuple(kinds), kind="lanes")


def bands(faults: Iterable[Happening], until_s: float) -> Markup:
    """The same faults, through all other rows."""
    marks = (
        element(
            "rect", x=f"{fault.began_s:.2f}", y=0, width=f"{min(fault.healed_s, until_s) - fault.began_s:.2f}", height=1
        )
        for fault in faults
    )
    return svg(until_s, 1, "", *marks, class_="bands", aria_hidden="true")


def written(series: Series, until_s: float) -> Row:
    """Acknowledged, unknown and failed writes a second, on top of each other."""
    kinds: list[tuple[str, Callable[[Bucket], int]]] = [
        ("failed", lambda bucket: bucket.written + bucket.unknown + bucket.failed),
        ("unknown", lambda bucket: bucket.written + bucket.unknown),
        ("written", lambda bucket: bucket.written),
    ]
    top = _round_up(max((kinds[0][1](bucket) for bucket in series.buckets), default=0) / series.width_s)
    areas = (
        element("path", class_=name, d=_area(series, [of(bucket) / series.width_s for bucket in series.buckets], top))
        for name, of in kinds
    )
    drawing = svg(until_s, HEIGHT, "writes per second by outcome", *_grid(until_s), *areas)
    return Row("Writes", "per second", drawing, 112, _even_scale(top))


def read(series: Series, until_s: float) -> Row:
    rates = [bucket.read / series.width_s for bucket in series.buckets]
    top = _round_up(max(rates, default=0))
    area = element("path", class_="read", d=_area(series, rates, top))
    return Row(
        "Reads",
        "records per second",
        svg(until_s, HEIGHT, "records read per second", *_grid(until_s), area),
        64,
        _even_scale(top),
    )


def latency(series: Series, until_s: float) -> Row:
    """What acknowledged writes took: the median, the 99th percentile and the longest, on a logarithmic scale."""
    shares = (("longest", 1.0), ("p99", 0.99), ("p50", 0.5))
    lines = {name: [bucket.latency_s(share) for bucket in series.buckets] for name, share in shares}
    known = [value for values in lines.values() for value in values if value is not None]
    low = floor(log10(min(known, default=0.001)))
    high = max(ceil(log10(max(known, default=1.0))), low + 1)

    def place(value: float) -> float:
        return HEIGHT * (1 - (log10(value) - low) / (high - low))

    paths = [
        element("path", class_=f"latency {name}", d=_steps(series, values, place)) for name, values in lines.items()
    ]
    ticks = range(low, high + 1)
    grid = [_line(until_s, place(10.0**tick)) for tick in ticks]
    scale = tuple((duration(10.0**tick), (tick - low) / (high - low)) for tick in ticks)
    drawing = svg(until_s, HEIGHT, "latency of acknowledged writes", *grid, *paths)
    return Row("Latency", "of acknowledged writes", drawing, 112, scale)


def leaders(found: Leaders, nodes: Sequence[int], until_s: float) -> Row:
    """The controller, then each partition: who leads, in the leader's colour, and below whether replicas are missing
    from the ISR."""
    names = found.restless(MOST_PARTITIONS)
    rows = [("controller", found.controller), *((name, found.partitions[name]) for name in names)]
    replicas = {name: max((len(stretch.in_sync) for stretch in row), default=0) for name, row in rows}
    marks = [
        mark
        for lane, (name, row) in enumerate(rows)
        for stretch in row
        for mark in _stretch_marks(stretch, lane, replicas[name], nodes, until_s)
    ]
    pixels = len(rows) * (15.0 if len(rows) <= 17 else 11.0)
    drawing = svg(until_s, len(rows) * _LANE, "leaders and replicas in sync", *marks, shape_rendering="crispEdges")
    shown = tuple(name for name, _ in rows)
    return Row("Leaders", "and replicas in sync", drawing, pixels, names=shown, kind="lanes")


def node_class(node: int, nodes: Sequence[int]) -> str:
    """Returns the class that has a node's colour."""
    if node == NOBODY or node not in nodes:
        return "nobody"
    return f"node-{nodes.index(node) % NODE_COLORS + 1}"


def recovery_strip(standstills_s: Iterable[float], recovered_s: Iterable[float]) -> Markup:
    """Times on a logarithmic scale from 1 ms to 100 s: a ring how long writes stood still, a dot until they worked."""
    dots = [("standstill", seconds) for seconds in standstills_s] + [("recovered", seconds) for seconds in recovered_s]
    lines = [element("line", x1=2 + 38 * decade, x2=2 + 38 * decade, y1=2, y2=18) for decade in range(6)]
    marks = [
        element("circle", class_=name, cx=f"{2 + 38 * (_clamped(seconds) + 3):.1f}", cy=10, r=3.2)
        for name, seconds in dots
    ]
    return element(
        "svg", *lines, *marks, class_="strip", viewBox="-3 0 200 20", role="img", aria_label="recovery times"
    )


def _clamped(seconds: float) -> float:
    return min(2.0, max(-3.0, log10(seconds))) if seconds > 0 else -3.0


def _stretch_marks(
    stretch: Stretch, lane: int, replicas: int, nodes: Sequence[int], until_s: float
) -> Iterable[Markup]:
    place = {"x": f"{stretch.begin_s:.2f}", "width": f"{min(stretch.end_s, until_s) - stretch.begin_s:.2f}"}
    top = lane * _LANE
    yield element("rect", **place, y=f"{top + 1:g}", height="6", class_=node_class(stretch.leader, nodes))
    if (missing := replicas - len(stretch.in_sync)) > 0:
        name = "missing" if missing == 1 and len(stretch.in_sync) > 1 else "alone"
        yield element("rect", **place, y=f"{top + 7:g}", height="2", class_=name)


def _area(series: Series, values: Sequence[float], top: float) -> str:
    """Returns a path of steps, a step a bucket, from the bottom and back to it."""
    words = [f"M0,{HEIGHT:g}"]
    before = None
    for number, value in enumerate(values):
        if value != before:
            words.append(f"H{number * series.width_s:g}V{HEIGHT * (1 - value / top):.1f}")
            before = value
    return "".join([*words, f"H{len(values) * series.width_s:g}V{HEIGHT:g}Z"])


def _steps(series: Series, values: Sequence[float | None], place: Callable[[float], float]) -> str:
    words: list[str] = []
    before: float | None = None
    for number, value in enumerate(values):
        here = number * series.width_s
        if value is not None:
            words.append(f"H{here:g}V{place(value):.1f}" if before is not None else f"M{here:g},{place(value):.1f}")
            words.append(f"H{here + series.width_s:g}")
        before = value
    return "".join(words)


def _grid(until_s: float) -> list[Markup]:
    return [_line(until_s, HEIGHT * share) for share in (0.0, 0.5, 1.0)]


def _line(until_s: float, height: float) -> Markup:
    return element("line", x1=0, x2=f"{until_s:g}", y1=f"{height:.1f}", y2=f"{height:.1f}", class_="grid")


def _lane_lines(lanes: int, until_s: float) -> list[Markup]:
    return [_line(until_s, (lane + 0.5) * _LANE) for lane in range(lanes)]


def _round_up(value: float) -> float:
    """Returns a round number that is not below: 1, 2, 4, 5 or 10 times a power of 10."""
    if value <= 0 or not isfinite(value):
        return 1.0
    size = 10.0 ** floor(log10(value))
    return next(size * step for step in (1, 2, 4, 5, 10) if size * step >= value)


def _even_scale(top: float) -> tuple[tuple[str, float], ...]:
    return (("0", 0.0), (short_number(top / 2), 0.5), (short_number(top), 1.0))


def legend(*marks: tuple[str, str]) -> Markup:
    """Returns what colours mean: a class and its name each."""
    named = (element("span", element("i", class_=f"mark {name}"), text) for name, text in marks)
    return element("span", *named, class_="legend")
