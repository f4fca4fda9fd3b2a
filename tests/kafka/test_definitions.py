"""Our declarations say what Apache Kafka's own definitions say, which its client's jar carries."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from dohle.kafka.declaration import NO_UUID, Field, Message, Request, Struct, fields_of
from dohle.kafka.messages import API_KEYS, group_records
from tests.kafka.contents import MESSAGES, name_of
from tests.kafka_files.java import classpath

NOT_OURS = {
    *range(4, 8),  # gone since Kafka 4.0
    *range(52, 55),  # the others are between Kafka's own nodes, or of Kafka Streams
    56,
    58,
    59,
    62,
    63,
    67,
    70,
    73,
    *range(82, 90),
}
UNSTABLE = {22: 5}
"""The last version that clients ask for unless they are told to try unfinished ones."""
OURS_ALONE = 20_000
"""Kinds of coordinators' records from here on are not Kafka's."""
NEVER = -1, -1
TYPES = {
    "Bool": "bool",
    "Int8": "int8",
    "Int16": "int16",
    "Uint16": "uint16",
    "Int32": "int32",
    "Int64": "int64",
    "Float64": "float64",
    "Uuid": "uuid",
    "String": "string",
    "Bytes": "bytes",
    "Records": "records",
    "RecordPieces": "records",
}
ZEROS = {"bool": "false", "string": "", "uuid": "", "bytes": "", "float64": "0.0"}


RECORDS: list[type[Message]] = [
    kind
    for kind in vars(group_records).values()
    if isinstance(kind, type) and issubclass(kind, Message) and hasattr(kind, "API") and kind.API.key < OURS_ALONE
]


@pytest.fixture(scope="module")
def definitions() -> dict[str, Any]:
    return definitions_in("kafka-clients")


@pytest.fixture(scope="module")
def definitions_of_records() -> dict[str, Any]:
    return definitions_in("kafka-group-coordinator")


def definitions_in(name: str) -> dict[str, Any]:
    (jar,) = Path(classpath().removesuffix("*")).glob(f"{name}-[0-9]*.jar")
    with zipfile.ZipFile(jar) as archive:
        names = [name for name in archive.namelist() if re.fullmatch(r"common/message/\w+\.json", name)]
        read = [json.loads(re.sub(r"(?m)(^|(?<=[\s,]))//.*$", "", archive.read(name).decode())) for name in names]
    return {definition["name"]: definition for definition in read}


def versions(text: str | None, first: int, last: int) -> tuple[int, int]:
    """Returns the versions that a definition means, of those that its message has."""
    if text in (None, "none"):
        return NEVER
    match = re.fullmatch(r"(\d+)(?:(\+)|-(\d+))?", text)
    assert match, text
    low = int(match[1])
    high = last if match[2] else int(match[3] or low)
    low, high = max(low, first), min(high, last)
    return (low, high) if low <= high else NEVER


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def their_default(field: dict[str, Any], kind: str) -> object:
    """Returns the default as the declaration would write it: a struct's is None, where its tag is not there."""
    given = field.get("default")
    if given == "null":
        return None
    if field["type"].startswith("[]"):
        return []
    if kind not in TYPES.values():
        return None
    text = str(ZEROS.get(kind, "0") if given is None else given)
    match kind:
        case "bool":
            return text.lower() == "true"
        case "string":
            return text
        case "bytes":
            return b""
        case "uuid":
            return NO_UUID
        case "float64":
            return float(text)
        case _:
            return int(text, 0)


class Comparison:
    """What a message and its definition disagree on, in `found`."""

    def __init__(self, kind: type[Message], definition: dict[str, Any]) -> None:
        self.found: list[str] = []
        self._shared = {struct["name"]: struct["fields"] for struct in definition.get("commonStructs", [])}
        api = kind.API
        self._first, self._last = api.versions.start, api.versions.stop - 1
        self._struct(kind, definition["fields"], self._first, self._last)
        flexible = definition["flexibleVersions"]
        self._hold(
            kind.__name__, "flexible", f"{api.flexible}+" == flexible or (api.flexible is None and flexible == "none")
        )
        said = versions(definition["validVersions"], 0, UNSTABLE.get(api.key, 1 << 15))
        self._hold(kind.__name__, "its versions", (self._first, self._last) == said)
        self._hold(kind.__name__, "its key", api.key == definition["apiKey"])

    def _hold(self, where: str, what: str, right: bool) -> None:
        if not right:
            self.found.append(f"{where}: {what}")

    def _struct(self, kind: type[Struct], fields: list[dict[str, Any]], first: int, last: int) -> None:
        """Compares a struct that is on the wire in the versions `first` to `last`."""
        theirs = [field for field in fields if versions(field["versions"], first, last) != NEVER]
        ours = fields_of(kind)
        names = [snake(field["name"]) for field in theirs]
        if [field.name for field in ours] != names:
            self.found.append(f"{kind.__qualname__}: it has not {names}")
            return
        for mine, other in zip(ours, theirs, strict=True):
            self._field(f"{kind.__qualname__}.{mine.name}", mine, other, first, last)

    def _field(self, where: str, mine: Field, other: dict[str, Any], first: int, last: int) -> None:
        low, high = versions(other["versions"], first, last)
        inner = other["type"].removeprefix("[]")
        null_from, null_to = versions(other.get("nullableVersions"), low, high)
        whole = (low, high) == (first, last)
        self._hold(where, "versions", (max(mine.first, first), min(mine.last, last)) == (low, high))
        self._hold(where, "list", mine.is_list == other["type"].startswith("[]"))
        self._hold(where, "tag", mine.tag == other.get("tag"))
        self._hold(where, "tagged versions", versions(other.get("taggedVersions"), first, last) in (NEVER, (low, high)))
        if mine.tag is None or isinstance(mine.wire, str):  # a tagged struct is None where its tag is not there
            null = NEVER if mine.nullable is None else (max(mine.nullable, low), high)
            self._hold(where, "null", null == (null_from, null_to))
        if mine.required:
            self._hold(where, "required", whole and "default" not in other and "tag" not in other)
        else:
            unsaid = mine.name == "throttle_time_ms" or not whole or "default" in other or "tag" in other
            self._hold(where, "default", unsaid and mine.default == their_default(other, inner))
        if isinstance(mine.wire, str):
            self._hold(where, "type", TYPES[mine.wire] == inner)
        elif inner in self._shared:
            self._struct(mine.wire, self._shared[inner], self._first, self._last)
        else:
            self._struct(mine.wire, other["fields"], low, high)


@pytest.mark.parametrize("kind", MESSAGES, ids=name_of)
def test_a_declaration_says_what_kafka_says(kind: type[Message], definitions: dict[str, Any]) -> None:
    definition = definitions[kind.__name__]
    assert definition["type"] == ("request" if issubclass(kind, Request) else "response")
    assert Comparison(kind, definition).found == []


def test_every_message_of_clients_is_declared(definitions: dict[str, Any]) -> None:
    assert {definition["apiKey"] for definition in definitions.values() if "apiKey" in definition} - NOT_OURS == set(
        API_KEYS
    )


@pytest.mark.parametrize("kind", RECORDS, ids=name_of)
def test_a_coordinators_record_says_what_kafka_says(
    kind: type[Message], definitions_of_records: dict[str, Any]
) -> None:
    definition = definitions_of_records[kind.__name__]
    assert definition["type"] == ("coordinator-key" if kind.__name__.endswith("Key") else "coordinator-value")
    assert Comparison(kind, definition).found == []
