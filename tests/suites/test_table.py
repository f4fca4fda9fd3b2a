"""What a table may say, what a run may change in it, and what it complains of; what runs are taken for; and that the
tables here are right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.suites.librdkafka import LEFT_OUT, Listing, judged, listed
from tests.suites.table import (
    COLUMNS,
    Outcome,
    Row,
    Table,
    complaints,
    inconsistent,
    matched,
    news,
    summary,
    unlike,
    updated,
)

HERE = Path(__file__).parent
PASSING = Row("a", "passes", "", "passed", "passed", "yes")
WAITING = Row("b", "waits", "transactions: it aborts", "hung", "passed", "")


def table(*rows: Row) -> Table:
    return Table("# A suite\n\n", {row.test: row for row in rows})


@pytest.mark.parametrize("suite", ["librdkafka", "kafka_python"])
def test_the_checked_in_table_is_right(suite: str) -> None:
    found = Table.read(HERE / f"{suite}.md")
    assert inconsistent(found) == []
    assert [row.test for row in found.rows.values() if not row.dohle] == [], "each test was run"


def test_the_tables_hold_as_many_tests_as_the_suites_have() -> None:
    assert len(Table.read(HERE / "librdkafka.md").rows) == 123
    assert len(Table.read(HERE / "kafka_python.md").rows) == 67


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = table(PASSING, WAITING)
    written.write(tmp_path / "suite.md")
    assert Table.read(tmp_path / "suite.md") == written
    text = (tmp_path / "suite.md").read_text()
    Table.read(tmp_path / "suite.md").write(tmp_path / "suite.md")
    assert (tmp_path / "suite.md").read_text() == text


def test_a_row_with_a_cell_too_few_is_not_read(tmp_path: Path) -> None:
    table(PASSING).write(tmp_path / "suite.md")
    with (tmp_path / "suite.md").open("a") as page:
        page.write("| b | waits |\n")
    with pytest.raises(ValueError, match=f"has {len(COLUMNS)} cells"):
        Table.read(tmp_path / "suite.md")


@pytest.mark.parametrize("state", ["failed", "skipped", "hung"])
def test_what_stands_as_passing_must_pass(state: str) -> None:
    assert complaints(table(PASSING), {"a": Outcome("passed")}) == []
    [complaint] = complaints(table(PASSING), {"a": Outcome(state, "timed out")})
    assert complaint == f"a no longer passes, it {state}: timed out"


def test_what_waits_may_fail_and_is_news_when_it_passes() -> None:
    assert complaints(table(WAITING), {"b": Outcome("failed", "x")}) == []
    assert news(table(WAITING), {"b": Outcome("failed", "x")}) == []
    assert news(table(WAITING), {"b": Outcome("passed")}) == [
        "b passes now, and stands as: waits transactions: it aborts"
    ]


def test_a_measured_pass_is_written_down_as_one() -> None:
    found = updated(table(WAITING), {"b": Outcome("passed")}, "dohle")
    assert found.rows["b"] == Row("b", "passes", "", "passed", "passed", "")


def test_a_measured_failure_takes_no_pass_away_silently() -> None:
    found = updated(table(PASSING), {"a": Outcome("failed", "x")}, "dohle")
    assert found.rows["a"].stands == "passes"
    [complaint] = inconsistent(found)
    assert "was measured as failed" in complaint


def test_a_run_against_kafka_changes_nothing_that_is_said_of_dohle() -> None:
    found = updated(table(replace(WAITING, kafka="")), {"b": Outcome("passed")}, "kafka")
    assert found.rows["b"] == WAITING


def test_tests_that_came_and_went_are_noticed_and_a_new_one_waits_for_words() -> None:
    assert unlike(table(PASSING), ["a"]) == []
    assert unlike(table(PASSING), ["c"]) == ["c has no row in the table", "a is in the table, but not in the suite"]
    found = matched(table(PASSING), ["c"])
    assert list(found.rows) == ["c"]
    assert inconsistent(found) != []


@pytest.mark.parametrize(
    "row",
    [
        replace(PASSING, dohle="skipped"),
        replace(PASSING, dohle=""),
        replace(PASSING, dohle="green"),
        replace(PASSING, stands="good"),
        replace(WAITING, dohle="passed"),
        replace(WAITING, reason="better weather"),
        replace(WAITING, reason=""),
        replace(WAITING, quick="yes"),
        replace(WAITING, reason="the suite: it fails", kafka="passed"),
        replace(WAITING, reason="the suite: it fails", kafka=""),
        replace(WAITING, stands="cannot", kafka="failed"),
        replace(WAITING, stands="cannot", reason=""),
    ],
)
def test_a_table_that_says_what_cannot_be_is_not_right(row: Row) -> None:
    assert inconsistent(table(PASSING)) == []
    assert inconsistent(table(WAITING, replace(WAITING, test="c", stands="cannot"))) == []
    assert inconsistent(table(row)) != []


def test_a_summary_counts_by_what_is_waited_for() -> None:
    rows = [PASSING, WAITING, replace(WAITING, stands="cannot", reason="clusters of ZooKeeper")]
    assert summary(rows) == "1 pass, 1 cannot apply, 1 wait for transactions"


@pytest.mark.parametrize(
    ("state", "duration", "said", "code", "outcome"),
    [
        ("PASSED", 0.2, "", 0, "passed"),
        ("PASSED", 0.2, f"{LEFT_OUT}: a\n[ do_b:12 ]", 0, "passed"),
        ("PASSED", 0.2, f"Created kafka instance\n{LEFT_OUT}: a", 0, "skipped"),
        ("PASSED", 0.0, "", 0, "skipped"),
        ("PASSED", 0.2, "5 thread(s) still active", 134, "failed"),
        ("SKIPPED", 0.0, "SKIPPING TEST: no SASL", 0, "skipped"),
        ("FAILED", 3.0, '### Test "a" failed at a.c:1', 1, "failed"),
        ("RUNNING", 3.0, "", 0, "failed"),
    ],
)
def test_what_a_report_says_is_not_taken_for_a_pass_where_nothing_was_done(
    state: str, duration: float, said: str, code: int, outcome: str
) -> None:
    found = judged({"state": state, "duration": duration}, said, code, 1.0)
    assert found.state == outcome
    assert found.why or outcome == "passed"


def test_the_suites_own_list_is_read_with_its_scenarios_and_without_local_tests() -> None:
    source = """struct test tests[] = {
    {.name = "<MAIN>", .flags = TEST_F_LOCAL},
    _TEST(0001_multiobj, 0),
    _TEST(0004_conf, TEST_F_LOCAL),
    _TEST(0045_topic_remove,
          0,
          TEST_BRKVER(0, 9, 0, 0),
          .scenario = "noautocreate"),
    _TEST(0047_timeout, TEST_F_KNOWN_ISSUE),
    _TEST(0055_latency, TEST_F_LOCAL | TEST_F_KNOWN_ISSUE_WIN32),
    _TEST(0066_plugins,
          TEST_F_LOCAL | TEST_F_KNOWN_ISSUE_WIN32,
          .extra = "x"),
#if WITH_SOCKEM
    _TEST(0068_timeout, TEST_F_SOCKEM),
#endif
    _TEST(0103_transactions, 0, .scenario = "default,ak23"),

    /* Manual tests */
    _TEST(8000_idle, TEST_F_MANUAL),

    {NULL}};
"""
    default = dict.fromkeys(
        ["0001_multiobj", "0068_timeout", "0103_transactions", "8000_idle"], Listing("default", False)
    )
    removal = {"0045_topic_remove": Listing("noautocreate", False)}
    assert listed(source) == default | removal | {"0047_timeout": Listing("default", True)}
