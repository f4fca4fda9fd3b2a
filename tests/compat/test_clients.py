"""Every client through every scenario, against three nodes that run, compared with outcomes.json."""

from __future__ import annotations

import os

import pytest

from tests.compat.client import CannotDo, KafkaClient
from tests.compat.clients import Tried
from tests.compat.outcomes import PASSES, cannot, load, waits, write_down
from tests.compat.own_view import OwnView
from tests.compat.scenarios import Scenario, waits_for

pytestmark = [pytest.mark.processes, pytest.mark.compat]


def test_a_client_does_what_is_written_of_it(
    seen: OwnView, tried: Tried, client: KafkaClient, version: str, scenario: Scenario
) -> None:
    try:
        scenario.run(seen, client, tried.repeats)
        outcome = PASSES
    except CannotDo as reason:
        outcome = cannot(str(reason))
    except Exception as error:
        what = waits_for(f"{type(error).__name__}: {error}")
        if what is None:
            raise
        outcome = waits(what)
    if os.environ.get("DOHLE_COMPAT_WRITE"):
        write_down(tried, version, scenario, outcome)
    written = load().get(tried.key, {})
    assert (version, outcome) == (written.get("version"), written.get(scenario.key)), (
        f"{tried.name} {version}, {scenario.title}: {outcome}; tests/compat/outcomes.json says otherwise."
        " `make compat WRITE=1` takes over what the run yields"
    )
