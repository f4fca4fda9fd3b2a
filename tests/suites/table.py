"""The table of a suite: what is known of each of its tests, what must hold of it, and what a run changes in it.

A row says how its test `stands`:

- `passes`: against Dohle, and must go on to;
- `waits`: it needs what is not built yet, which `reason` names (one of `STEPS`, and a word of the cause);
- `cannot`: it cannot apply, since it needs a named feature of Kafka's that Dohle has not got on purpose: `reason` names
  that, and the test passes against a real Kafka.

`dohle` and `kafka` are measured: `passed`, `failed`, `skipped` (it skipped itself, which is no pass), `hung` (it was
ended after its time), or empty where it was not run yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

STATES = ("passed", "failed", "skipped", "hung")
STANDINGS = ("passes", "waits", "cannot")
STEPS: Mapping[str, str] = {
    "share groups": "queues (KIP-932)",
    "transactions": "transactional producers, and consumers that read what was committed",
    "security": "TLS, SASL and ACLs",
    "the suite": "what lies in the suite itself: the test fails, or skips itself, against a real Kafka too",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run of a test ended, why if it did not pass, and how long it took."""

    state: str
    why: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Row:
    """What the table says of one test; `quick` is `yes` where the short form runs it."""

    test: str
    stands: str
    reason: str
    dohle: str
    kafka: str
    quick: str

    @property
    def step(self) -> str:
        """Returns what a test that waits is waiting for."""
        return self.reason.partition(":")[0]


COLUMNS = tuple(field.name for field in fields(Row))


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a suite, by name of test, in the suite's order; `preface` is the page above them."""

    preface: str
    rows: Mapping[str, Row]

    @classmethod
    def read(cls, path: Path) -> Table:
        preface, _, body = path.read_text(encoding="utf-8").partition("| test")
        cells = [
            [cell.strip() for cell in line.strip().strip("|").split("|")] for line in body.splitlines()[2:] if line
        ]
        wrong = [row for row in cells if len(row) != len(COLUMNS)]
        if wrong:
            raise ValueError(f"{path}: a row has {len(COLUMNS)} cells, this one has not: {wrong[0]}")
        return cls(preface, {row[0]: Row(*row) for row in cells})

    def write(self, path: Path) -> None:
        lines = [COLUMNS, *([getattr(row, name) for name in COLUMNS] for row in self.rows.values())]
        widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
        texts = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        texts.insert(1, " | ".join("-" * width for width in widths))
        path.write_text(self.preface + "".join(f"| {text} |\n" for text in texts), encoding="utf-8")


def inconsistent(table: Table) -> list[str]:
    """Returns what a table says that cannot be, each with what to do."""
    found = []
    for row in table.rows.values():
        if row.stands not in STANDINGS:
            found.append(f"{row.test}: stands is one of {', '.join(STANDINGS)}, not {row.stands!r}")
        if {row.dohle, row.kafka} - {*STATES, ""}:
            found.append(f"{row.test}: a run ends as one of {', '.join(STATES)}, not {row.dohle!r} and {row.kafka!r}")
        if row.stands == "passes" and row.dohle != "passed":
            found.append(
                f"{row.test}: passes, and was measured as {row.dohle or 'nothing'}: run it, and mend what fails"
            )
        if row.stands != "passes" and row.dohle == "passed":
            found.append(f"{row.test}: {row.stands}, and has passed: say so")
        if row.stands == "waits" and row.step not in STEPS:
            found.append(f"{row.test}: waits for {row.step!r}, which is none of {', '.join(STEPS)}")
        if row.stands == "waits" and row.step == "the suite" and row.kafka in ("", "passed"):
            found.append(f"{row.test}: is said to fail by itself, but was measured against Kafka as {row.kafka!r}")
        if row.stands == "cannot" and (row.kafka != "passed" or not row.reason):
            found.append(f"{row.test}: cannot apply only with a reason, and where it passes against a real Kafka")
        if row.quick not in ("", "yes") or (row.quick and row.stands != "passes"):
            found.append(f"{row.test}: the short form has only what passes")
    return found


def complaints(table: Table, outcomes: Mapping[str, Outcome]) -> list[str]:
    """Returns what a run against Dohle found worse than the table says."""
    return [
        f"{test} no longer passes, it {outcome.state}: {outcome.why or 'it said nothing'}"
        for test, outcome in outcomes.items()
        if table.rows[test].stands == "passes" and outcome.state != "passed"
    ]


def unlike(table: Table, tests: Sequence[str]) -> list[str]:
    """Returns in what the table's tests are not the suite's."""
    missing = [f"{test} has no row in the table" for test in tests if test not in table.rows]
    return missing + [f"{test} is in the table, but not in the suite" for test in table.rows if test not in tests]


def matched(table: Table, tests: Sequence[str]) -> Table:
    """Returns the table with the suite's tests and no others. A new one waits, for what nobody has said yet."""
    return Table(table.preface, {test: table.rows.get(test, Row(test, "waits", "", "", "", "")) for test in tests})


def news(table: Table, outcomes: Mapping[str, Outcome]) -> list[str]:
    """Returns which tests pass of which the table says that they do not."""
    return [
        f"{test} passes now, and stands as: {table.rows[test].stands} {table.rows[test].reason}".rstrip()
        for test, outcome in outcomes.items()
        if table.rows[test].stands != "passes" and outcome.state == "passed"
    ]


def updated(table: Table, outcomes: Mapping[str, Outcome], column: str) -> Table:
    """Returns the table with what was measured in `column`, `dohle` or `kafka`. What passes against Dohle stands so
    from now on; what no longer does is left standing as it was: whoever reads `inconsistent` mends it, or says why."""
    rows = dict(table.rows)
    for test, outcome in outcomes.items():
        row = replace(rows[test], **{column: outcome.state})
        if column == "dohle" and outcome.state == "passed":
            row = replace(row, stands="passes", reason="")
        rows[test] = row
    return Table(table.preface, rows)


def summary(rows: Iterable[Row]) -> str:
    """Returns how many stand how, for one line."""
    counts: dict[str, int] = {}
    for row in rows:
        name = f"wait for {row.step}" if row.stands == "waits" else {"cannot": "cannot apply"}.get(row.stands, "pass")
        counts[name] = counts.get(name, 0) + 1
    most = sorted(counts.items(), key=lambda count: (count[0] != "pass", -count[1], count[0]))
    return ", ".join(f"{count} {name}" for name, count in most)
