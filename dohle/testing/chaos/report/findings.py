"""Findings: each anomaly as a card, with the operations that prove it and what the nodes said meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from dohle.testing.chaos.report.charts import node_class
from dohle.testing.chaos.report.logs import around, last_of
from dohle.testing.chaos.report.markup import Markup, element, joined
from dohle.testing.chaos.report.run import Run
from dohle.testing.chaos.report.words import clock
from dohle.testing.chaos.verdict import Finding

_BEFORE_S = 0.5
_AFTER_S = 1.0
_MOST_WINDOWS = 4
_SHOWN_OF_A_KIND = 2
_STAMP = len("2026-11-22T")

Window = tuple[float, float]
Said = tuple[int, str]


def finding_cards(run: Run) -> Markup | None:
    """Returns None where nothing was found."""
    findings = run.verdict.anomalies if run.verdict else ()
    if not findings:
        return None
    windows = [_windows(finding) for finding in findings]
    said = _said_in(run, [window for some in windows for window in some])
    cards: dict[str, list[Markup]] = {}
    place = 0
    for number, (finding, some) in enumerate(zip(findings, windows, strict=True), 1):
        card = _card(number, finding, some, said[place : place + len(some)], run)
        cards.setdefault(finding.name, []).append(card)
        place += len(some)
    shown = (part for name, alike in cards.items() for part in _first_ones(name, alike))
    return element("section", element("h2", "Anomalies"), *shown, class_="card findings")


def _first_ones(name: str, cards: list[Markup]) -> list[Markup]:
    """Returns the cards of one kind of anomaly, all but the first folded away where there are many."""
    if len(cards) <= _SHOWN_OF_A_KIND + 1:
        return cards
    shown, more = cards[:_SHOWN_OF_A_KIND], cards[_SHOWN_OF_A_KIND:]
    return [*shown, element("details", element("summary", f"{len(more)} more: {name}"), *more, class_="more")]


def last_words(run: Run) -> Markup | None:
    """Returns how all logs end, of a run that failed; None for any other."""
    if run.verdict is None or not run.verdict.failures:
        return None
    logs = [*sorted(run.folder.path.glob("workers/*.log")), *sorted(run.folder.path.glob("nodes/*.log"))]
    ends = [
        element("details", element("summary", f"{path.parent.name}/{path.name}"), element("pre", "\n".join(last)))
        for path in logs
        if (last := last_of(path))
    ]
    return element("section", element("h2", "How the logs end"), element("article", *ends), class_="card findings")


def _windows(finding: Finding) -> list[Window]:
    """Returns the stretches of time around what proves it, those that touch as one."""
    windows: list[Window] = []
    for proof in sorted(finding.proof, key=lambda proof: proof.invoked_s):
        ends_s = proof.completed_s if proof.completed_s is not None else proof.invoked_s
        since_s, until_s = max(0.0, proof.invoked_s - _BEFORE_S), ends_s + _AFTER_S
        if windows and since_s <= windows[-1][1]:
            windows[-1] = windows[-1][0], max(until_s, windows[-1][1])
        else:
            windows.append((since_s, until_s))
    return windows[:_MOST_WINDOWS]


def _said_in(run: Run, windows: Sequence[Window]) -> list[list[Said]]:
    """Returns for each window what all nodes said, in the order of their stamps."""
    found: list[list[Said]] = [[] for _ in windows]
    for node in run.about["nodes"]:
        path = run.folder.path / "nodes" / f"{node}.log"
        for said, lines in zip(found, around(path, run.begun_at, windows), strict=True):
            said += [(node, line) for line in lines]
    return [_by_stamp(said) for said in found]


def _by_stamp(said: list[Said]) -> list[Said]:
    stamps, last = [], ""
    for _, line in said:
        if line[:4].isdecimal():
            last = line[: _STAMP + 12]
        stamps.append(last)
    return [said[place] for place in sorted(range(len(said)), key=lambda place: stamps[place])]


def _card(number: int, finding: Finding, windows: list[Window], said: list[list[Said]], run: Run) -> Markup:
    rows = [
        element(
            "tr",
            element("td", f"#{proof.number}", class_="n"),
            element("td", proof.process),
            element("td", proof.what, class_="wide"),
            element("td", proof.outcome, class_=f"outcome {proof.outcome.split()[0]}"),
            element("td", clock(proof.invoked_s), class_="n"),
            element("td", "never" if proof.completed_s is None else clock(proof.completed_s), class_="n"),
        )
        for proof in finding.proof
    ]
    names = ("Operation", "Process", "What it did", "Outcome", "Invoked", "Completed")
    head = element("thead", element("tr", *(element("th", name) for name in names)))
    shows = [
        element(
            "a", f"look at {clock(since_s)}", href="#timeline", data_from=f"{since_s:.3f}", data_to=f"{until_s:.3f}"
        )
        for since_s, until_s in windows
    ]
    return element(
        "article",
        element("h3", element("i", number, class_="place"), finding.name, element("small", *shows)),
        element("p", finding.what),
        element("div", element("table", head, element("tbody", *rows)), class_="scroll"),
        *(_log(window, lines, run) for window, lines in zip(windows, said, strict=True) if lines),
        id=f"anomaly-{number}",
    )


def _log(window: Window, said: list[Said], run: Run) -> Markup:
    lines = [
        joined(
            element("i", node, class_=f"who {node_class(node, run.nodes)}"),
            line[_STAMP:] if line[:4].isdecimal() else line,
            "\n",
        )
        for node, line in said
    ]
    summary = element("summary", f"What the nodes said from {clock(window[0])} to {clock(window[1])}")
    return element("details", summary, element("pre", *lines))
