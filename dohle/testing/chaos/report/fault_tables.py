"""Fault tables: what each kind of fault did and how long clients felt it, and each fault by itself."""

from __future__ import annotations

from math import isfinite

from dohle.testing.chaos.report import charts
from dohle.testing.chaos.report.markup import Markup, element
from dohle.testing.chaos.report.recovery import by_kind, middle_and_worst
from dohle.testing.chaos.report.run import Run
from dohle.testing.chaos.report.words import clock, duration, number, several


def recoveries(run: Run) -> Markup | None:
    if not run.happenings.faults:
        return None
    return element(
        "section",
        element("h2", "Recovery"),
        element(
            "p",
            element("i", class_="mark ring"),
            "How long the partition that fared worst went without an acknowledged write, of the gaps that overlap the"
            " fault. ",
            element("i", class_="mark dot"),
            "How long after the healing writes worked in every partition again.",
            class_="quiet",
        ),
        element("div", _recovery_table(run), class_="scroll"),
        class_="card",
    )


def _recovery_table(run: Run) -> Markup:
    rows = []
    for kind in by_kind(run.clients.recoveries):
        still, again = middle_and_worst(kind.standstills_s), middle_and_worst(kind.recovered_s)
        effects = [found.fault.effect for found in kind.recoveries if found.fault.effect]
        counted = effects[0].what if effects else ""
        rows.append(
            element(
                "tr",
                element("th", kind.fault, scope="row"),
                element("td", len(kind.recoveries), class_="n"),
                element("td", number(sum(effect.count for effect in effects)), " ", element("small", counted)),
                *(element("td", duration(time), class_="n") for time in still or (None, None)),
                *(element("td", duration(time), class_="n") for time in again or (None, None)),
                element("td", number(kind.never), class_="n bad" if kind.never else "n"),
                element("td", charts.recovery_strip(kind.standstills_s, kind.recovered_s), class_="wide"),
            )
        )
    first = ("Fault", "Times", "Effect", "Writes stood still", "Writes everywhere again", "Never", "1 ms to 100 s")
    spans = (1, 1, 1, 2, 2, 1, 1)
    head = [element("th", name, colspan=span if span > 1 else None) for name, span in zip(first, spans, strict=True)]
    under = [element("th", name) for name in ("", "", "", "median", "worst", "median", "worst", "", "")]
    return element("table", element("thead", element("tr", *head), element("tr", *under)), element("tbody", *rows))


def faults(run: Run) -> Markup | None:
    if not run.clients.recoveries:
        return None
    rows = []
    for found in run.clients.recoveries:
        fault, effect = found.fault, found.fault.effect
        lasted = fault.healed_s - fault.began_s
        rows.append(
            element(
                "tr",
                element(
                    "td", element("a", clock(fault.began_s), href="#timeline", **_span(fault.began_s, fault.healed_s))
                ),
                element("td", duration(lasted) if isfinite(lasted) else "not healed", class_="n"),
                element("th", fault.fault, scope="row"),
                element("td", fault.where),
                element("td", f"{number(effect.count)} {effect.what}" if effect else "not told"),
                element("td", duration(found.standstill_s), class_="n"),
                element(
                    "td",
                    "never: " + ", ".join(found.never[:3]) if found.never else duration(found.recovered_s),
                    class_="n",
                ),
            )
        )
    names = ("Began", "Lasted", "Fault", "Where", "Effect", "Stood still", "Again after")
    table = element(
        "table", element("thead", element("tr", *(element("th", name) for name in names))), element("tbody", *rows)
    )
    summary = element("summary", element("h2", several(len(rows), "fault"), element("small", "one by one")))
    return element("details", summary, element("div", table, class_="scroll"), class_="card")


def _span(begin_s: float, end_s: float) -> dict[str, object]:
    margin_s = max(1.0, (end_s - begin_s) * 0.5) if isfinite(end_s) else 5.0
    until_s = end_s if isfinite(end_s) else begin_s + margin_s
    return {"data_from": f"{max(0.0, begin_s - margin_s):.3f}", "data_to": f"{until_s + margin_s:.3f}"}
