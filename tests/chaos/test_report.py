from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dohle.model.errors import InvalidRequest
from dohle.testing.chaos.report.page import write_report
from dohle.testing.chaos.report.run import read_run
from dohle.testing.chaos.verdict import Finding, Proof, Verdict
from tests.chaos.made_run import Fault, Making, make

LOST = Verdict(
    anomalies=(
        Finding(
            "lost write",
            "nobody read 'v77' from append-5",
            (
                Proof(77, "writer1", "sends 'v77' to append-5 at 77", "ok", 4.0, 4.1),
                Proof(1000000099, "reader0", "polls append-3 90='v90'", "ok", 7.2, 7.3),
            ),
        ),
    )
)
FAULTS = (Fault(2.0, 4.0, "kill", 1), Fault(8.0, 1.0, "delay", 2))


class Page(HTMLParser):
    """A page as a browser takes it: its text, its elements by tag, and whether all were closed."""

    EMPTY = frozenset({"meta"})

    def __init__(self, source: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def classes(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for _, attributes in self.tags if name in (attributes.get("class") or "").split()]


def report(path: Path, making: Making) -> Page:
    make(path, making)
    return Page(write_report(path).read_text())


def test_a_sound_run_says_so_first(tmp_path: Path) -> None:
    page = report(tmp_path / "run", Making(12, FAULTS))
    assert not page.open
    assert page.text.index("No anomaly") < page.text.index("Timeline")
    run = read_run(tmp_path / "run")
    assert f"{run.clients.written:,} acknowledged records, {run.clients.written_under_faults:,} of them" in page.text
    assert 0 < run.clients.written_under_faults < run.clients.written
    assert "Anomalies" not in page.text


def test_an_anomaly_is_shown_with_its_operations_and_what_the_nodes_said_then(tmp_path: Path) -> None:
    page = report(tmp_path / "run", Making(12, FAULTS, verdict=LOST))
    for said in ("1 anomaly", "nobody read 'v77' from append-5", "#77", "sends 'v77' to append-5 at 77", "0:04.0"):
        assert said in page.text
    (flag,) = page.classes("found")
    assert (flag["data-at"], flag["href"]) == ("7.300", "#anomaly-1")
    around = [int(turn) / 2 for turn in re.findall(r"turn (\d+) of <append>", page.text)]
    assert around
    assert all(3.5 <= at_s <= 5.1 or 6.7 <= at_s <= 8.3 for at_s in around), around
    assert len(around) == 3 * (4 + 3)  # three nodes, a line each half second


def test_many_anomalies_of_a_kind_are_all_there_and_most_of_them_folded(tmp_path: Path) -> None:
    lost = [Finding("lost write", f"nobody read 'v{one}'", ()) for one in range(9)]
    page = report(tmp_path / "run", Making(5, verdict=Verdict((*lost, Finding("duplicate", "twice", ())))))
    assert "lost write × 9, duplicate" in page.text
    assert "7 more: lost write" in page.text
    assert all(f"nobody read 'v{one}'" in page.text for one in range(9))
    assert page.text.index("nobody read 'v1'") < page.text.index("7 more") < page.text.index("nobody read 'v2'")


def test_faults_leaders_and_recoveries_are_where_they_were(tmp_path: Path) -> None:
    page = report(tmp_path / "run", Making(12, FAULTS))
    bars = [(bar["x"], bar["width"]) for bar in page.classes("fault")]
    assert bars == [("2.00", "4.00"), ("8.00", "1.00")]
    run = read_run(tmp_path / "run")
    assert [(row.leader, row.epoch) for row in run.leaders.partitions["append-0"]][:1] == [(1, 0)]
    assert [row.leader for row in run.leaders.partitions["append-0"]][-1] == 1
    assert 2 in {row.leader for row in run.leaders.partitions["append-0"]}
    killed, delayed = run.clients.recoveries
    assert killed.standstill_s is not None
    assert delayed.standstill_s is not None
    assert killed.standstill_s > 1.0 > delayed.standstill_s
    assert not killed.never


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (Verdict(void=("loss dropped nothing",)), "Void: loss dropped nothing"),
        (Verdict(failures=("worker append-1 exited with 3",)), "Failed: worker append-1 exited with 3"),
        (None, "Not judged"),
    ],
)
def test_what_else_a_run_may_have_come_to(tmp_path: Path, verdict: Verdict | None, said: str) -> None:
    page = report(tmp_path / "run", Making(5, verdict=verdict))
    assert said in page.text
    assert "No anomaly" not in page.text


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    page = report(tmp_path / "run", Making(12, FAULTS, verdict=LOST))
    assert not [tag for tag, _ in page.tags if tag in {"link", "img", "iframe", "object"}]
    for _, attributes in page.tags:
        assert not attributes.get("src")
        assert (attributes.get("href") or "#").startswith("#")
    styles = (tmp_path / "run" / "report.html").read_text()
    assert "@import" not in styles
    assert "url(" not in styles


def test_what_others_wrote_is_never_taken_for_markup(tmp_path: Path) -> None:
    hostile = "</script><script>alert(1)</script><b>"
    finding = Finding(hostile, hostile, (Proof(1, hostile, hostile, "ok", 1.0, 1.1),))
    page = report(tmp_path / "run", Making(5, [Fault(1, 1, hostile, 1)], verdict=Verdict((finding,), (hostile,))))
    assert not page.open
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert not [tag for tag, _ in page.tags if tag == "b" and tag in page.open]
    assert hostile in page.text


def test_what_was_cut_off_or_is_missing_is_said(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", Making(5))
    whole = folder.history.read_bytes()
    folder.history.write_bytes(whole[:-20])
    folder.state.unlink()
    page = Page(write_report(folder.path).read_text())
    lines = whole.count(b"\n")
    assert f"History.jsonl is cut off in the middle of line {lines}, its last." in page.text
    assert "State.jsonl is missing." in page.text


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"holds no run: there is no run\.json"):
        write_report(tmp_path)


def test_a_file_that_is_no_history_is_refused_with_its_line(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", Making(5))
    folder.history.write_text("nonsense\n" + folder.history.read_text())
    with pytest.raises(InvalidRequest, match=r"line 1 of .*history\.jsonl is no event: 'nonsense'"):
        write_report(folder.path)


def test_an_event_that_lacks_something_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", Making(5))
    folder.events.write_text(json.dumps({"what": "heal", "time": 1, "step": 7}) + "\n")
    with pytest.raises(InvalidRequest, match="cannot be told"):
        write_report(folder.path)


def test_a_long_run_has_no_more_points_than_a_page_can_show(tmp_path: Path) -> None:
    make(tmp_path / "run", Making(2 * 3600, writes_per_s=0.5, partitions=2))
    source = write_report(tmp_path / "run").read_text()
    (told,) = re.findall(r'<script type="application/json" id="run-data">(.*?)</script>', source)
    assert 1000 < len(json.loads(told)["buckets"]) <= 2400


def test_partitions_that_changed_most_are_shown_where_there_are_too_many(tmp_path: Path) -> None:
    page = report(tmp_path / "run", Making(12, FAULTS, partitions=100, writes_per_s=400))
    assert "Of 100 partitions 64 are shown: those that changed most" in page.text
    assert "append-3" in page.text  # led by the node that is killed
