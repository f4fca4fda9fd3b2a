"""Configurations of single groups: DescribeConfigs, IncrementalAlterConfigs, AlterConfigs, ListConfigResources."""

from __future__ import annotations

from typing import Any

from dohle.kafka.messages.configs import ListConfigResourcesRequest
from tests.differential.cases import Cases, all_versions
from tests.differential.cases.configs import (
    APPEND,
    DELETE,
    GROUP,
    SET,
    SUBTRACT,
    change,
    changed_together,
    describe,
    replace,
)
from tests.differential.sides import Later, Side

INTERVAL, TIMEOUT = "consumer.heartbeat.interval.ms", "consumer.session.timeout.ms"
BOTH = [INTERVAL, TIMEOUT]

DESCRIBE, CHANGE, REPLACE = Cases(32), Cases(44), Cases(33)


def look(name: str) -> Later:
    return Later(describe(name, BOTH, kind=GROUP, include_synonyms=True), 4)


def changed(*configs: tuple[str, int, str | None]) -> Any:
    def ask(side: Side) -> list[Any]:
        name = side.fresh("group")
        return [change(name, *configs, kind=GROUP), look(name)]

    return ask


def replaced(**values: str | None) -> Any:
    def ask(side: Side) -> list[Any]:
        name = side.fresh("group")
        configs = {key.replace("_", "."): value for key, value in values.items()}
        return [replace(name, configs, kind=GROUP), look(name)]

    return ask


DESCRIBE.good("a group's", lambda side: describe(side.fresh("group"), BOTH, kind=GROUP), all_versions(32))
DESCRIBE.good(
    "a group's with synonyms",
    lambda side: describe(side.fresh("group"), BOTH, kind=GROUP, include_synonyms=True),
    all_versions(32),
)
DESCRIBE.good("none of a group's", lambda side: describe(side.fresh("group"), ["no.such"], kind=GROUP), [1, 4])
DESCRIBE.bad("groups' default", lambda _: describe("", BOTH, kind=GROUP), [1, 4])

CHANGE.good("set of a group", changed((INTERVAL, SET, "6000")))
CHANGE.good("set both of a group", changed((INTERVAL, SET, "6000"), (TIMEOUT, SET, "50000")))
CHANGE.good("delete of a group", changed((INTERVAL, DELETE, None)))
CHANGE.good("delete what is unknown of a group", changed(("no.such", DELETE, None)))
CHANGE.good("nothing of a group", changed())
CHANGE.good(
    "a group's, only to be validated",
    lambda side: change(side.fresh("group"), (INTERVAL, SET, "6000"), kind=GROUP, validate_only=True),
)
CHANGE.good(
    "two groups",
    lambda side: changed_together(
        change(side.fresh("group"), (INTERVAL, SET, "6000"), kind=GROUP),
        change(side.fresh("group"), (INTERVAL, SET, "7000"), kind=GROUP),
    ),
)
CHANGE.bad("groups' default", lambda _: change("", (INTERVAL, SET, "6000"), kind=GROUP))
for what, configs in {
    "a short interval": [(INTERVAL, SET, "4999")],
    "a long interval": [(INTERVAL, SET, "15001")],
    "a short time-out": [(TIMEOUT, SET, "44999")],
    "a long time-out": [(TIMEOUT, SET, "60001")],
    "no number": [(TIMEOUT, SET, "soon")],
    "an empty value": [(TIMEOUT, SET, "")],
    "null": [(TIMEOUT, SET, None)],
    "an unknown key": [("consumer.no.such", SET, "1")],
    "a topic's key": [("retention.ms", SET, "1")],
    "append": [(TIMEOUT, APPEND, "50000")],
    "subtract": [(TIMEOUT, SUBTRACT, "50000")],
    "a key twice": [(TIMEOUT, SET, "50000"), (TIMEOUT, SET, "50001")],
    "operation 4": [(TIMEOUT, 4, "50000")],
    "one key good and one bad": [(TIMEOUT, SET, "50000"), (INTERVAL, SET, "1")],
}.items():
    CHANGE.bad(f"{what} of a group", changed(*configs))

REPLACE.good("a group's", replaced(consumer_session_timeout_ms="50000"), all_versions(33))
REPLACE.good("none of a group", replaced())
REPLACE.bad("groups' default", lambda _: replace("", {INTERVAL: "6000"}, kind=GROUP))
REPLACE.bad("a group's short interval", replaced(consumer_heartbeat_interval_ms="1"))
REPLACE.bad("a group's unknown key", replaced(no_such="1"))
REPLACE.bad("a group's null", replaced(consumer_session_timeout_ms=None))


def listed_after_a_change(side: Side) -> list[Any]:
    asked = ListConfigResourcesRequest(resource_types=[GROUP])
    return [change(side.fresh("group"), (INTERVAL, SET, "6000"), kind=GROUP), Later(asked, 1)]


CHANGE.good("a group that is listed then", listed_after_a_change)

ALL = (DESCRIBE, CHANGE, REPLACE)
