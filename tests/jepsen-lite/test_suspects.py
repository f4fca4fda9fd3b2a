"""Planted bugs fit the source; that they are found takes real clusters: `python -m jepsen_lite.suspects`."""

from __future__ import annotations

import compileall
from dataclasses import replace

import pytest

from dohle.model.errors import ConfigurationError
from jepsen_lite import wheels
from jepsen_lite.suspects import SUSPECTS, Edit, main, plant

PLANTED = {name: suspect for name, suspect in SUSPECTS.items() if suspect.edits}


@pytest.mark.parametrize("bug", PLANTED.values(), ids=list(PLANTED))
def test_a_planted_bug_fits_and_the_tree_stays_as_it_is(bug, tmp_path):
    sources = {edit.path: (wheels.ROOT / edit.path).read_text() for edit in bug.edits}
    plant(bug, wheels.ROOT, tmp_path)
    for edit in bug.edits:
        assert (tmp_path / edit.path).read_text() != sources[edit.path] == (wheels.ROOT / edit.path).read_text()
        assert compileall.compile_file(tmp_path / edit.path, quiet=1)


def test_a_bug_that_does_not_fit_any_more_is_refused(tmp_path):
    stale = replace(SUSPECTS["watermark"], edits=(Edit("dohle/broker/leading.py", "what nobody wrote", ""),))
    with pytest.raises(ConfigurationError, match=r"watermark: dohle/broker/leading.py has 0 times"):
        plant(stale, wheels.ROOT, tmp_path)


def test_an_unknown_suspect_is_named_with_those_that_there_are(capsys):
    with pytest.raises(SystemExit):
        main(["nonsense"])
    assert "there are ack-before-fsync, unclean-election" in capsys.readouterr().err
