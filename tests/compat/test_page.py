"""docs/compatibility.md is made of what is written down, in the versions that are pinned."""

from __future__ import annotations

from tests.compat.clients import CLIENTS
from tests.compat.outcomes import PAGE, load, page
from tests.compat.scenarios import SCENARIOS


def test_the_page_is_made_of_the_outcomes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(load()), "make compat WRITE=1 makes it anew"


def test_every_client_was_tried_with_everything_in_the_version_that_is_pinned() -> None:
    outcomes = load()
    assert outcomes.keys() == {client.key for client in CLIENTS}
    for client in CLIENTS:
        assert outcomes[client.key].keys() == {"version", *(scenario.key for scenario in SCENARIOS)}, client.name
        if client.key != "kcat":  # whose version is the distribution's
            assert outcomes[client.key]["version"] == client.version(), client.name
