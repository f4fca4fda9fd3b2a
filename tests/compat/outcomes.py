"""What came of every scenario with every client, as outcomes.json keeps it, and the page that is made of it.

By the client's key it has `version`, and by scenario one of PASSES and "cannot: …".
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.compat.builds import HERE
from tests.compat.clients import CLIENTS, Tried
from tests.compat.scenarios import SCENARIOS, Scenario

FILE = HERE / "outcomes.json"
PAGE = HERE.parent.parent / "docs" / "compatibility.md"
PASSES = "passes"
_CANNOT = "cannot: "

Outcomes = dict[str, dict[str, str]]


def cannot(why: str) -> str:
    return _CANNOT + why


def load() -> Outcomes:
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}


def write_down(client: Tried, version: str, scenario: Scenario, outcome: str) -> None:
    """Takes over what a run has yielded: into the file, in the order of the tables, and into the page."""
    outcomes = load()
    outcomes.setdefault(client.key, {}).update({"version": version, scenario.key: outcome})
    names = ["version", *(one.key for one in SCENARIOS)]
    ordered = {
        one.key: {name: outcomes[one.key][name] for name in names if name in outcomes[one.key]}
        for one in CLIENTS
        if one.key in outcomes
    }
    FILE.write_text(json.dumps(ordered, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(ordered), encoding="utf-8")


def page(outcomes: Outcomes) -> str:
    """Returns docs/compatibility.md."""
    lines = [_HEAD, ""]
    lines += _table(("client", "language", "version"), (_facts(client, outcomes) for client in CLIENTS))
    for words, part in _TABLES:
        columns = [scenario for scenario in SCENARIOS if scenario.part == part]
        rows = ([_shown(client), *(_cell(outcomes, client, one.key) for one in columns)] for client in CLIENTS)
        lines += ["", words, "", *_table(["client", *(scenario.title for scenario in columns)], rows)]
    lines += ["", _WAITING, "", "## What a client cannot do", "", *_reasons(outcomes)]
    return "\n".join(lines) + "\n"


def _table(header: list[str] | tuple[str, ...], rows: Iterator[list[str]]) -> Iterator[str]:
    for row in (header, ["---"] * len(header), *rows):
        yield f"| {' | '.join(row)} |"


def _facts(client: Tried, outcomes: Outcomes) -> list[str]:
    return [client.name, client.language, outcomes.get(client.key, {}).get("version", "not tried yet")]


def _shown(client: Tried) -> str:
    return f"{client.name} \\*" if client.repeats else client.name


def _cell(outcomes: Outcomes, client: Tried, key: str) -> str:
    outcome = outcomes.get(client.key, {}).get(key, "not tried yet")
    if outcome == PASSES:
        return "✓"
    return "–" if outcome.startswith(_CANNOT) else outcome


def _reasons(outcomes: Outcomes) -> Iterator[str]:
    """Yields a line for each different reason: whose it is, and for what."""
    found: dict[str, dict[str, list[str]]] = {}
    for client in CLIENTS:
        for scenario in SCENARIOS:
            outcome = outcomes.get(client.key, {}).get(scenario.key, "")
            if outcome.startswith(_CANNOT):
                found.setdefault(outcome.removeprefix(_CANNOT), {}).setdefault(client.name, []).append(scenario.title)
    for reason, whose in found.items():
        listed = [f"{name} ({', '.join(titles)})" for name, titles in whose.items()]
        yield f"- **{reason}**: {'; '.join(listed)}"


_HEAD = """\
# Kafka's clients, tried

<!-- Made of tests/compat/outcomes.json by `make compat WRITE=1`: what is written here by hand is lost. -->

`make compat` runs each client below through every scenario on this page, against three real nodes; this is what came of
it. ✓ passes. – is what the client cannot do by itself, for the reasons at the end. How to point a client at Dohle is in
[kafka.md](kafka.md), a first program for each language in [clients](clients/README.md).\
"""

_TABLES = (
    (
        """\
## Writing

A codec's column: 40 records are written by it with acks=all, the batches on the leader's disk say that codec in their
attributes, and Dohle's own client reads the same records. *Leader killed*: halfway through 200 records the leader of
their partition is ended by `kill -9`; all 200 are there in the end, once, and in their order. A client with an asterisk
has no idempotent producer: what it writes in that moment may come twice, or in another order. *Creates by writing*: to
a topic that did not exist.""",
        "writing",
    ),
    (
        """\
## Reading

*Assigned*: partition 0, from its beginning and from within a batch, written by another client with every codec in turn.
*By time*: from the first record that is not older than a moment. *Subscribed*: as a member of a consumer group.
*Resumes*: a second member, after the first one has gone, reads what the group has not consumed. *Shares*: while records
are written to four partitions a second member joins, each reads partitions of its own, and the second leaves; no record
is missed. *Coordinator killed*: the node that coordinates a group of two is ended by `kill -9` while they read and
commit; they read and commit on, and nothing that was committed is read again.""",
        "reading",
    ),
    (
        """\
## Topics

*Alters* sets `retention.ms` and reads it back. *Creates again*: a topic is created, written to and deleted, and all
that once more under the same name.""",
        "topics",
    ),
)

_WAITING = """\
## What waits

Not there yet for any client: transactions, TLS and SASL."""
