"""Page: the report as HTML, the verdict first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from dohle.testing.chaos.report import charts
from dohle.testing.chaos.report.buckets import Series, coarse
from dohle.testing.chaos.report.fault_tables import faults, recoveries
from dohle.testing.chaos.report.findings import finding_cards, last_words
from dohle.testing.chaos.report.markup import Markup, data, element, joined
from dohle.testing.chaos.report.run import Run, read_run
from dohle.testing.chaos.report.words import duration, number, several

_MOST_BUCKETS = 2400
_LEAST_S = 1.0
_BEFORE_S = 0.5
_TITLES = {
    "sound": "No anomaly",
    "anomalies": "",
    "failed": "The run failed",
    "void": "Void: this run shows nothing",
}
_SIGNS = {"sound": "M5,13 L10,18 L19,7", "anomalies": "M7,7 L17,17 M17,7 L7,17", "failed": "M12,6 V13 M12,17 V17.5"}
_UNTOLD = "M8,12 H16"


def write_report(folder: Path) -> Path:
    """Makes the report of the run in `folder`, in there; returns its path. Raises InvalidRequest."""
    run = read_run(folder)
    run.folder.report.write_text(page(run), encoding="utf-8")
    return run.folder.report


def page(run: Run) -> str:
    """Returns the whole page."""
    until_s = max(run.ended_s, _LEAST_S)
    series = coarse(run.clients.fine, until_s, _MOST_BUCKETS)
    title = f"Chaos run {run.about['seed']}: {_outcome(run)}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(_asset("page.css"))),
    )
    body = element(
        "body",
        element(
            "main",
            _head(run, series),
            _timeline(run, series, until_s),
            finding_cards(run),
            last_words(run),
            recoveries(run),
            faults(run),
            _about(run),
        ),
        data("run-data", _readouts(run, series, until_s)),
        element("script", Markup(_asset("page.js"))),
    )
    return "<!doctype html>\n" + element("html", head, body, lang="en")


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _outcome(run: Run) -> str:
    return run.verdict.outcome if run.verdict else "not judged"


def _head(run: Run, series: Series) -> Markup:
    outcome = _outcome(run)
    sign = element("path", d=_SIGNS.get(outcome, _UNTOLD))
    return element(
        "header",
        element(
            "div",
            element("svg", sign, viewBox="0 0 24 24", class_="sign", aria_hidden="true"),
            element("div", element("h1", _title(run)), *(element("p", line) for line in _verdict_lines(run))),
            class_="verdict",
        ),
        element("dl", *_tiles(run, series), class_="tiles"),
        class_=f"head {outcome.replace(' ', '-')}",
    )


def _title(run: Run) -> str:
    if run.verdict is None:
        return "Not judged"
    return _TITLES[run.verdict.outcome] or several(len(run.verdict.anomalies), "anomaly", "anomalies")


def _verdict_lines(run: Run) -> Iterator[object]:
    clients, about = run.clients, run.about
    if run.verdict is None:
        yield "The run goes on, or was ended before its history was judged. What it left so far is below."
    else:
        if found := Counter(anomaly.name for anomaly in run.verdict.anomalies):
            names = (f"{name} × {count}" if count > 1 else name for name, count in found.items())
            yield joined(
                "The history shows what no log may show: ", element("a", ", ".join(names), href="#anomaly-1"), "."
            )
        yield from (f"Failed: {failure}" for failure in run.verdict.failures)
        yield from (f"Void: {reason}" for reason in run.verdict.void)
        if run.verdict.outcome == "sound":
            faults = run.happenings.faults
            under = f", {number(clients.written_under_faults)} of them while a fault was active" if faults else ""
            yield (
                f"{several(clients.written, 'acknowledged record')}{under}; after the healing fresh consumers read"
                " every partition from its begin, and nothing is lost, doubled, reordered or read too early."
            )
    nodes = several(len(about["nodes"]), "node")
    yield element(
        "span",
        f"{about['system']} {about['version']}, {nodes}, world {about['world']}, seed {about['seed']}, begun ",
        element("time", f"{run.begun_at:%Y-%m-%d %H:%M:%S %Z}", datetime=run.begun_at.isoformat()),
        class_="quiet",
    )


def _tiles(run: Run, series: Series) -> Iterator[Markup]:
    clients, faults, total = run.clients, run.happenings.faults, series.total()
    kinds = len({fault.fault for fault in faults})
    still = max((found.standstill_s or 0.0 for found in clients.recoveries), default=None)
    tiles = [
        (duration(run.ended_s), "from begin to end", ""),
        (number(clients.operations), "operations", f"by {several(clients.processes, 'process', 'processes')}"),
        (number(clients.written), "records acknowledged", f"{number(clients.written_under_faults)} under faults"),
        (number(clients.read), "records read", ""),
        (number(len(faults)), "faults", f"of {several(kinds, 'kind')}" if kinds else "none was asked for"),
        (duration(total.latency_s(0.5)), "a write, median", f"p99 {duration(total.latency_s(0.99))}"),
    ]
    if still is not None:
        tiles.append((duration(still), "longest standstill", "of a partition, by faults"))
    for value, name, more in tiles:
        yield element("div", element("dt", name), element("dd", value), element("small", more))


def _timeline(run: Run, series: Series, until_s: float) -> Markup:
    faults = run.happenings.faults
    rows = [*([charts.fault_rows(faults, until_s)] if faults else []), charts.written(series, until_s)]
    rows += [charts.latency(series, until_s), charts.read(series, until_s)]
    if run.leaders.samples:
        rows.append(charts.leaders(run.leaders, run.nodes, until_s))
    axis = element("div", element("div", class_="ticks"), class_="axis")
    return element(
        "section",
        element(
            "div",
            element("h2", "Timeline"),
            element("button", "Whole run", type="button", id="whole", hidden=""),
            element("span", "drag to look closer", class_="quiet", id="hint"),
            class_="bar",
        ),
        element(
            "div",
            charts.bands(faults, until_s),
            element("div", *_moments(run, until_s), class_="moments"),
            axis,
            *(_row(row, run) for row in rows),
            axis,
            element("div", id="cursor"),
            id="timeline",
            data_until=f"{until_s:g}",
        ),
        element("div", id="readout", hidden=""),
        *_left_out(run),
        class_="card",
    )


def _moments(run: Run, until_s: float) -> Iterator[Markup]:
    """Yields flags above the axis: phases, and the last operations of anomalies."""
    phases = run.happenings.phases
    ends_s = [*(phase.at_s for phase in phases[1:]), until_s]
    for phase, end_s in zip(phases, ends_s, strict=False):
        yield _flag(phase.at_s, until_s, phase.name, class_="phase", title=phase.name, data_end=f"{end_s:.3f}")
    for place, anomaly in enumerate(run.verdict.anomalies if run.verdict else (), 1):
        if anomaly.proof:
            last_s = max(proof.completed_s or proof.invoked_s for proof in anomaly.proof)
            yield _flag(last_s, until_s, str(place), class_="found", title=anomaly.name, href=f"#anomaly-{place}")


def _flag(at_s: float, until_s: float, text: str, **attributes: str) -> Markup:
    return element("a", text, style=f"left:{100 * at_s / until_s:.3f}%", data_at=f"{at_s:.3f}", **attributes)


def _row(row: charts.Row, run: Run) -> Markup:
    legends = {
        "Writes": charts.legend(("written", "acknowledged"), ("unknown", "unknown"), ("failed", "failed")),
        "Latency": charts.legend(("p50", "median"), ("p99", "p99"), ("longest", "longest")),
        "Leaders": charts.legend(
            *((charts.node_class(node, run.nodes), f"node {node}") for node in run.nodes),
            ("nobody", "nobody leads"),
            ("missing", "one missing from the ISR"),
            ("alone", "more missing"),
        ),
    }
    beside = [element("b", text, style=f"bottom:{100 * up:.1f}%") for text, up in row.scale]
    names = element("ol", *(element("li", name, title=name) for name in row.names)) if row.names else None
    title = element("h3", row.title, element("small", row.hint), legends.get(row.title))
    return element(
        "div",
        title,
        element("div", names, *beside, class_="beside"),
        element("div", row.drawing, class_="drawing"),
        class_=f"row {row.kind}",
        style=f"--height:{row.pixels:g}px;--lanes:{max(1, len(row.names))}",
        data_row=row.title.lower(),
    )


def _left_out(run: Run) -> Iterator[Markup]:
    every, shown = len(run.leaders.partitions), len(run.leaders.restless(charts.MOST_PARTITIONS))
    if every > shown:
        said = f"Of {every} partitions {shown} are shown: those that changed most, and none of internal topics."
        yield element("p", said, class_="quiet")
    for note in run.notes:
        yield element("p", f"{note[:1].upper()}{note[1:]}.", class_="note")


def _about(run: Run) -> Markup:
    about = run.about
    facts: list[tuple[str, object]] = [
        ("Run it again", element("code", about["again"])),
        ("Workloads", ", ".join(about["workloads"])),
        ("Faults asked for", ", ".join(about["faults"]) or "none"),
        *((f"Not possible: {fault}", why) for fault, why in sorted(about["cannot"].items())),
        ("Still open at the end", several(run.clients.still_open, "operation")),
        ("Nobody could be asked", f"{several(len(run.leaders.silent), 'time')} of who leads"),
        ("Everything it left", element("code", run.folder.path.resolve())),
    ]
    return element(
        "section",
        element("h2", "This run"),
        element("dl", *(joined(element("dt", name), element("dd", value)) for name, value in facts), class_="facts"),
        class_="card",
    )


def _readouts(run: Run, series: Series, until_s: float) -> dict[str, object]:
    """What the script tells of the moment under the pointer."""
    buckets = [
        [
            bucket.written,
            bucket.unknown,
            bucket.failed,
            bucket.read,
            *map(_milliseconds, map(bucket.latency_s, (0.5, 0.99, 1.0))),
        ]
        for bucket in series.buckets
    ]
    faults = [
        [round(fault.began_s, 2), round(min(fault.healed_s, until_s), 2), f"{fault.fault} {fault.where}".strip()]
        for fault in run.happenings.faults
    ]
    shown = run.leaders.restless(charts.MOST_PARTITIONS) if run.leaders.samples else []
    rows = [("controller", run.leaders.controller), *((name, run.leaders.partitions[name]) for name in shown)]
    leaders = [[name, [[s.begin_s, s.end_s, s.leader, s.epoch, list(s.in_sync)] for s in row]] for name, row in rows]
    start_s = max(0.0, min(run.clients.first_s, until_s) - _BEFORE_S)  # what a world's begin takes is nobody's concern
    return {
        "start": start_s,
        "until": until_s,
        "width": series.width_s,
        "buckets": buckets,
        "faults": faults,
        "leaders": leaders,
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else float(f"{seconds * 1000:.3g}")
