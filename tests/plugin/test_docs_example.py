"""The worked example of docs/testing.md runs as it stands, and finds the mistake that the page speaks of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "testing.md"
FILE = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_DIGITS = re.compile(r"\d+")


@pytest.fixture
def example(pytester, monkeypatch):
    """Runs the page's files; what `changes` says is written differently in them."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    files = dict(FILE.findall(PAGE.read_text(encoding="utf-8")))
    assert files.keys() == {"shop.py", "test_shop.py"}

    def run(changes, *arguments):
        for name, code in files.items():
            for old, new in changes.items():
                code = code.replace(old, new)
            (pytester.path / name).write_text(code)
        return pytester.runpytest_inprocess("-p", "dohle.testing.pytest_plugin", "-p", "no:cacheprovider", *arguments)

    return run


def test_the_example_passes(example):
    example({}).assert_outcomes(passed=9)


def test_the_mistake_that_the_page_speaks_of_is_found(example):
    outcome = example({"Producer(bootstrap)": "Producer(bootstrap, acks=1)"}, "-k", "cut_off")
    outcome.assert_outcomes(failed=5, deselected=4)
    shown = re.search(r"```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert shown is not None
    said = _DIGITS.sub("0", outcome.stdout.str())  # which node and when, the seed decides, and so does every change
    for line in shown[1].splitlines():
        assert _DIGITS.sub("0", line.strip("- ")) in said
