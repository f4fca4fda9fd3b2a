"""Every client through every scenario, against three nodes that run, compared with outcomes.json."""

from __future__ import annotations

import os

import pytest

from dohle.kafka.messages.cluster import ApiVersionsRequest, ApiVersionsResponse
from tests.compat.client import CannotDo, KafkaClient
from tests.compat.clients import Tried
from tests.compat.outcomes import PASSES, cannot, load, write_down
from tests.compat.own_view import OwnView
from tests.compat.scenarios import Scenario
from tests.integration.kafka.raw import RawKafka

pytestmark = [pytest.mark.processes, pytest.mark.compat]


def test_a_client_does_what_is_written_of_it(
    seen: OwnView, tried: Tried, client: KafkaClient, version: str, scenario: Scenario
) -> None:
    try:
        scenario.run(seen, client, tried.repeats)
        outcome = PASSES
    except CannotDo as reason:
        outcome = cannot(str(reason))
    if os.environ.get("DOHLE_COMPAT_WRITE"):
        write_down(tried, version, scenario, outcome)
    written = load().get(tried.key, {})
    assert (version, outcome) == (written.get("version"), written.get(scenario.key)), (
        f"{tried.name} {version}, {scenario.title}: {outcome}; tests/compat/outcomes.json says otherwise."
        " `make compat WRITE=1` takes over what the run yields"
    )


def test_what_no_client_can_do_yet_is_served_to_none(seen: OwnView) -> None:
    """As the page says; once one of these is served, clients are to be tried with it."""
    with RawKafka(seen.cluster.kafka_port(seen.cluster.node_ids[0])) as node:
        told = node.ask(ApiVersionsRequest(), 0, ApiVersionsResponse)
    served = {one.api_key for one in told.api_keys}
    assert 10 in served, "without a coordinator to look for, clients cannot be told that there is none"
    assert not {24, 26, 28} & served, "transactions"
    assert not {17, 36} & served, "SASL"
