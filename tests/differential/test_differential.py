"""Apache Kafka and Dohle, both really running, are asked the same, and differ in what is listed and nothing else.

DIFFERENTIAL=full asks every case in all of its versions, DIFFERENTIAL=short (the default) each in one or two.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from dohle.kafka.messages import api
from tests.differential.both import FULL, SHORT, Findings, ask_both, both_sides
from tests.differential.cases import all_cases
from tests.differential.comparison import listed
from tools.foreign.cache import Unavailable
from tools.foreign.kafka import kafka_jars

pytestmark = pytest.mark.processes
MOST_LISTED = 10
LEAST_REQUESTS = 500
LEAST_GOOD, LEAST_BAD = 3, 5
ALWAYS_GOOD = {16, 35, 46}  # what they describe is empty where there is nothing
NEVER_GOOD = {29, 30, 31, 57, 64, 80, 81}
"""Of these one node alone, without an authorizer, does nothing but refuse."""


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Findings]:
    try:
        kafka_jars()
    except Unavailable as missing:
        pytest.skip(f"Kafka is not asked: {missing}")
    most = FULL if os.environ.get("DIFFERENTIAL", "short") == "full" else SHORT
    with both_sides(tmp_path_factory.mktemp("both")) as sides:
        yield ask_both(all_cases(), sides, listed(), most_versions=most)


def test_nothing_differs_but_what_is_listed(findings: Findings) -> None:
    assert not findings.unexplained, "\n".join(map(str, findings.unexplained[:100]))


def test_all_that_is_listed_still_differs(findings: Findings) -> None:
    assert findings.gone(listed()) == [], "take them off tests/differential/differences.toml"


def test_kafka_answers_good_cases_and_refuses_bad_ones(findings: Findings) -> None:
    assert not findings.misjudged, "\n".join(findings.misjudged)


def test_so_much_is_asked(findings: Findings) -> None:
    assert len(findings.outcomes) >= LEAST_REQUESTS
    served = {outcome.case.key for outcome in findings.outcomes}
    counts = Counter((case.key, case.is_good) for case in all_cases() if case.key in served)
    for key in served:
        name = api(key)[0].API.name
        assert counts[key, True] >= LEAST_GOOD or key in NEVER_GOOD, f"{name}: {counts[key, True]} good cases"
        assert counts[key, False] >= LEAST_BAD or key in ALWAYS_GOOD, f"{name}: {counts[key, False]} bad cases"


def test_few_differences_are_listed_each_with_its_reason() -> None:
    assert len(listed()) <= MOST_LISTED
    assert all(len(one.reason) > 40 for one in listed())
    assert len({one.name for one in listed()}) == len(listed())
