"""DescribeConfigs, IncrementalAlterConfigs, AlterConfigs, ListConfigResources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dohle.kafka.messages.configs import (
    AlterConfigsRequest,
    DescribeConfigsRequest,
    IncrementalAlterConfigsRequest,
    ListConfigResourcesRequest,
)
from tests.differential.cases import Cases, all_versions
from tests.differential.cases.cluster import ILLEGAL
from tests.differential.cases.topics import VALUES
from tests.differential.sides import Later, Side

TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = range(4)

DESCRIBE = Cases(32)


def describe(name: str, keys: Sequence[str] | None = None, *, kind: int = TOPIC, **how: Any) -> DescribeConfigsRequest:
    resource = DescribeConfigsRequest.Resource(
        resource_type=kind, resource_name=name, configuration_keys=None if keys is None else list(keys)
    )
    return DescribeConfigsRequest(**{"resources": [resource], **how})


def described_together(*asked: DescribeConfigsRequest) -> DescribeConfigsRequest:
    first, *others = asked
    for other in others:
        first.resources += other.resources
    return first


good, bad = DESCRIBE.good, DESCRIBE.bad
good("all of a topic", lambda side: describe(side.topic()), all_versions(32))
good("all with synonyms", lambda side: describe(side.topic(), include_synonyms=True), all_versions(32))
good("all with documentation", lambda side: describe(side.topic(), include_documentation=True), [3, 4])
good("one", lambda side: describe(side.topic(), ["retention.ms"]), all_versions(32))
good("two", lambda side: describe(side.topic(), ["retention.ms", "cleanup.policy"]))
good("none", lambda side: describe(side.topic(), []))
good("one that is unknown", lambda side: describe(side.topic(), ["no.such"]))
good("one that is set", lambda side: describe(side.topic(retention_ms="5"), ["retention.ms"]), all_versions(32))
good(
    "one that is set, with synonyms",
    lambda side: describe(side.topic(retention_ms="5"), ["retention.ms"], include_synonyms=True),
    all_versions(32),
)
good("one that is set to the default", lambda side: describe(side.topic(retention_ms="604800000"), ["retention.ms"]))
good("set with blanks", lambda side: describe(side.topic(cleanup_policy="compact, delete"), ["cleanup.policy"]))
good("set in capitals", lambda side: describe(side.topic(preallocate="TRUE"), ["preallocate"]))
good("nothing", lambda _: describe("", resources=[]))
good(
    "the broker's",
    lambda _: describe("1", ["auto.create.topics.enable", "num.partitions"], kind=BROKER),
    all_versions(32),
)
good("the brokers' default", lambda _: describe("", ["num.partitions"], kind=BROKER), [1, 4])
bad("an unknown topic", lambda side: describe(side.fresh()), all_versions(32))
bad("one good and one bad", lambda side: described_together(describe(side.topic()), describe(side.fresh())))
bad("another broker's", lambda _: describe("7", kind=BROKER), [1, 4])
bad("a broker that is no number", lambda _: describe("one", kind=BROKER), [1, 4])
for kind in (0, 1, 3, 5, 7, 64, 127, -1):
    bad(f"resources of type {kind}", lambda _, kind=kind: describe("x", kind=kind), [1, 4])
for name, text in ILLEGAL.items():
    bad(f"a name {name}", lambda _, text=text: describe(text), [1, 4])

CHANGE = Cases(44)


def change(
    name: str, *configs: tuple[str, int, str | None], kind: int = TOPIC, **how: Any
) -> IncrementalAlterConfigsRequest:
    made = [
        IncrementalAlterConfigsRequest.Resource.Config(name=key, config_operation=operation, value=value)
        for key, operation, value in configs
    ]
    resource = IncrementalAlterConfigsRequest.Resource(resource_type=kind, resource_name=name, configs=made)
    return IncrementalAlterConfigsRequest(**{"resources": [resource], "validate_only": False, **how})


def changed_together(*asked: IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsRequest:
    first, *others = asked
    for other in others:
        first.resources += other.resources
    return first


def change_then_look(name: str, *configs: tuple[str, int, str | None]) -> list[Any]:
    """Returns a change, and the question what has become of it."""
    return [change(name, *configs), Later(describe(name, [key for key, _, _ in configs], include_synonyms=True), 4)]


good, bad = CHANGE.good, CHANGE.bad
KEPT = ("retention.ms", SET, "1000")
good("set", lambda side: change(side.topic(), KEPT))
good("set and looked at", lambda side: change_then_look(side.topic(), KEPT))
good("set twice over", lambda side: change_then_look(side.topic(retention_ms="5"), KEPT))
good("set two", lambda side: change_then_look(side.topic(), KEPT, ("cleanup.policy", SET, "compact")))
good("delete", lambda side: change_then_look(side.topic(retention_ms="5"), ("retention.ms", DELETE, None)))
good("delete with a value", lambda side: change_then_look(side.topic(retention_ms="5"), ("retention.ms", DELETE, "7")))
good("delete what is not set", lambda side: change_then_look(side.topic(), ("retention.ms", DELETE, None)))
good("append", lambda side: change_then_look(side.topic(), ("cleanup.policy", APPEND, "compact")))
good(
    "append what is there",
    lambda side: change_then_look(side.topic(cleanup_policy="compact"), ("cleanup.policy", APPEND, "compact")),
)
good(
    "append two",
    lambda side: change_then_look(side.topic(cleanup_policy="compact"), ("cleanup.policy", APPEND, "delete,compact")),
)
good(
    "subtract",
    lambda side: change_then_look(side.topic(cleanup_policy="compact,delete"), ("cleanup.policy", SUBTRACT, "compact")),
)
good(
    "subtract what is not there",
    lambda side: change_then_look(side.topic(cleanup_policy="compact"), ("cleanup.policy", SUBTRACT, "delete")),
)
good("nothing of a topic", lambda side: change(side.topic()))
good("nothing", lambda _: change("", resources=[]))
good("only to be validated", lambda side: validated_then_looked_at(side))
good("a value with blanks", lambda side: change_then_look(side.topic(), ("retention.ms", SET, " 77 ")))
good(
    "append to nothing",
    lambda side: change_then_look(side.topic(), ("leader.replication.throttled.replicas", APPEND, "0:1")),
)
good("a broker's", lambda _: change("1", ("log.cleaner.threads", SET, "1"), kind=BROKER))
good("all brokers'", lambda _: change("", ("log.cleaner.threads", SET, "1"), kind=BROKER))
bad("an unknown topic", lambda side: change(side.fresh(), KEPT))
bad("an unknown topic, only to be validated", lambda side: change(side.fresh(), KEPT, validate_only=True))
bad("nothing of an unknown topic", lambda side: change(side.fresh()))
bad("a topic twice", lambda side: changed_twice(side))
bad("one good and one bad", lambda side: changed_together(change(side.topic(), KEPT), change(side.fresh(), KEPT)))
bad("a key twice", lambda side: change(side.topic(), KEPT, ("retention.ms", SET, "7")))
bad("a key set and deleted", lambda side: change(side.topic(), KEPT, ("retention.ms", DELETE, None)))
bad("append to what is no list", lambda side: change(side.topic(), ("retention.ms", APPEND, "7")))
bad("subtract from what is no list", lambda side: change(side.topic(), ("retention.ms", SUBTRACT, "7")))
bad("append null", lambda side: change(side.topic(), ("cleanup.policy", APPEND, None)))
bad("append what is none", lambda side: change(side.topic(), ("cleanup.policy", APPEND, "keep")))
bad("append to what is unknown", lambda side: change(side.topic(), ("no.such", APPEND, "x")))
good(
    "subtract the last",
    lambda side: change_then_look(side.topic(cleanup_policy="compact"), ("cleanup.policy", SUBTRACT, "compact")),
)
good("delete what is unknown", lambda side: change(side.topic(), ("no.such", DELETE, None)))
bad("operation 4", lambda side: change(side.topic(), ("retention.ms", 4, "7")))
bad("a negative operation", lambda side: change(side.topic(), ("retention.ms", -1, "7")))
bad("one key good and one bad", lambda side: change(side.topic(), KEPT, ("cleanup.policy", SET, "keep")))
for kind in (0, 1, 3, 7, 64, -1):
    bad(f"resources of type {kind}", lambda _, kind=kind: change("x", KEPT, kind=kind))
bad("another broker's", lambda _: change("7", ("log.cleaner.threads", SET, "1"), kind=BROKER))
bad("a broker that is no number", lambda _: change("one", ("log.cleaner.threads", SET, "1"), kind=BROKER))
bad("a broker's that cannot be changed", lambda _: change("1", ("node.id", SET, "5"), kind=BROKER))
bad("a broker's wrong value", lambda _: change("1", ("log.cleaner.threads", SET, "many"), kind=BROKER))
for name, text in ILLEGAL.items():
    bad(f"a name {name}", lambda _, text=text: change(text, KEPT))
for name, configs in VALUES.items():
    bad(f"{name}", lambda side, configs=configs: change(side.topic(), *sets(configs)))
    bad(
        f"{name}, only to be validated",
        lambda side, configs=configs: change(side.topic(), *sets(configs), validate_only=True),
        [1],
    )


def sets(configs: Mapping[str, str | None]) -> list[tuple[str, int, str | None]]:
    return [(key.replace("_", "."), SET, value) for key, value in configs.items()]


def validated_then_looked_at(side: Side) -> list[Any]:
    name = side.topic()
    return [change(name, KEPT, validate_only=True), Later(describe(name, ["retention.ms"]), 4)]


def changed_twice(side: Side) -> IncrementalAlterConfigsRequest:
    name = side.topic()
    return changed_together(change(name, KEPT), change(name, ("cleanup.policy", SET, "compact")))


REPLACE = Cases(33)


def replace(name: str, configs: Mapping[str, str | None], *, kind: int = TOPIC, **how: Any) -> AlterConfigsRequest:
    made = [AlterConfigsRequest.Resource.Config(name=key, value=value) for key, value in configs.items()]
    resource = AlterConfigsRequest.Resource(resource_type=kind, resource_name=name, configs=made)
    return AlterConfigsRequest(**{"resources": [resource], "validate_only": False, **how})


def replace_then_look(name: str, configs: Mapping[str, str | None]) -> list[Any]:
    return [replace(name, configs), Later(describe(name, ["retention.ms", "cleanup.policy"]), 4)]


good, bad = REPLACE.good, REPLACE.bad
good("one", lambda side: replace(side.topic(), {"retention.ms": "1000"}), all_versions(33))
good(
    "one for another",
    lambda side: replace_then_look(side.topic(retention_ms="5"), {"cleanup.policy": "compact"}),
    all_versions(33),
)
good("none", lambda side: replace_then_look(side.topic(retention_ms="5"), {}))
good("no resources", lambda _: replace("", {}, resources=[]))
good("only to be validated", lambda side: replace(side.topic(), {"retention.ms": "5"}, validate_only=True))
bad("an unknown topic", lambda side: replace(side.fresh(), {"retention.ms": "5"}), all_versions(33))
bad("a topic twice", lambda side: replaced_twice(side), [2])
bad("another broker's", lambda _: replace("7", {"log.cleaner.threads": "1"}, kind=BROKER))
for kind in (0, 1, 3, 64):
    bad(f"resources of type {kind}", lambda _, kind=kind: replace("x", {"retention.ms": "5"}, kind=kind))
for name, text in ILLEGAL.items():
    bad(f"a name {name}", lambda _, text=text: replace(text, {"retention.ms": "5"}), [2])
for name, configs in VALUES.items():
    bad(
        f"{name}",
        lambda side, configs=configs: replace(side.topic(), {key: value for key, _, value in sets(configs)}),
        [2],
    )


def replaced_twice(side: Side) -> AlterConfigsRequest:
    asked = replace(side.topic(), {"retention.ms": "5"})
    asked.resources *= 2
    return asked


RESOURCES = Cases(74)
RESOURCES.good("groups", lambda _: ListConfigResourcesRequest(resource_types=[GROUP]), [1])
RESOURCES.good("metrics", lambda _: ListConfigResourcesRequest(resource_types=[METRICS]), [1])
RESOURCES.good("metrics of old", lambda _: ListConfigResourcesRequest(), [0])
RESOURCES.good("brokers", lambda _: ListConfigResourcesRequest(resource_types=[BROKER]), [1])
RESOURCES.good("loggers", lambda _: ListConfigResourcesRequest(resource_types=[LOGGER]), [1])
for types in ([0], [1], [3], [64], [-1], [TOPIC, 3]):
    RESOURCES.bad(f"of types {types}", lambda _, types=types: ListConfigResourcesRequest(resource_types=types), [1])

ALL = (DESCRIBE, CHANGE, REPLACE, RESOURCES)
