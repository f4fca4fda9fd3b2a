"""Records as text: lines and JSON, in both directions.

The JSON of a record has `topic`, `partition`, `offset`, `timestamp_ms`, `key`, `value` and `headers` (a list of pairs).
Bytes that are not UTF-8 stand under `key_base64`, `value_base64`, or as `{"base64": …}` in a header. What `consume`
prints, `produce` reads.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dohle.model.errors import InvalidRecord
from dohle.model.records import Record

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Input:
    """What a line of standard input asks to be written."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None
    timestamp_ms: int | None = None


def parse_line(line: bytes, key_separator: bytes | None, headers: Headers) -> Input:
    """Returns the record in a line of text. Raises InvalidRecord if it lacks the separator that was asked for."""
    if key_separator is None:
        return Input(None, line, headers)
    key, found, value = line.partition(key_separator)
    if not found:
        raise InvalidRecord(f"no {key_separator.decode()!r} between key and value: {_excerpt(line)}")
    return Input(key, value, headers)


def parse_json(line: bytes, headers: Headers) -> Input:
    """Returns the record in a line of JSON. Raises InvalidRecord saying what is wrong with it."""
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise InvalidRecord(f"no JSON ({error}): {_excerpt(line)}") from error
    if not isinstance(fields, dict) or not ({"value", "value_base64"} & fields.keys()):
        raise InvalidRecord(f'expected an object with at least a "value": {_excerpt(line)}')
    try:
        return Input(
            _bytes_in(fields, "key"),
            _bytes_in(fields, "value"),
            headers + tuple((_checked(name, str), _header_value(value)) for name, value in fields.get("headers", ())),
            _optional_int(fields, "partition"),
            _optional_int(fields, "timestamp_ms"),
        )
    except (TypeError, ValueError) as error:
        raise InvalidRecord(f"{error}: {_excerpt(line)}") from error


def record_json(topic: str, partition: int, record: Record) -> str:
    """Returns the record as one line of JSON."""
    fields: dict[str, Any] = {
        "topic": topic,
        "partition": partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        **_text_field("key", record.key),
        **_text_field("value", record.value),
    }
    if record.headers:
        fields["headers"] = [[name, _header_json(value)] for name, value in record.headers]
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def record_line(record: Record, *, key_separator: bytes | None) -> bytes:
    """Returns the record's value, after its key where a separator is given. A null is nothing."""
    value = record.value or b""
    return value if key_separator is None else (record.key or b"") + key_separator + value


def parse_header(text: str) -> tuple[str, bytes]:
    """Returns the header written as NAME=VALUE. Raises ValueError."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"{text!r} is no header: write NAME=VALUE")
    return name, value.encode()


def _excerpt(line: bytes) -> str:
    text = line.decode("utf-8", errors="replace")
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _bytes_in(fields: dict[str, Any], name: str) -> bytes | None:
    encoded = fields.get(f"{name}_base64")
    if encoded is not None:
        return _from_base64(encoded)
    value = fields.get(name)
    return None if value is None else str(_checked(value, str)).encode()


def _optional_int(fields: dict[str, Any], name: str) -> int | None:
    value = fields.get(name)
    return None if value is None else int(_checked(value, int))


def _header_value(value: Any) -> bytes | None:
    if isinstance(value, dict):
        return _from_base64(value.get("base64"))
    return None if value is None else str(_checked(value, str)).encode()


def _checked(value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not a {'string' if kind is str else 'whole number'}")
    return value


def _from_base64(text: Any) -> bytes:
    try:
        return base64.b64decode(_checked(text, str), validate=True)
    except binascii.Error as error:
        raise ValueError(f"{text!r} is not base64") from error


def _text_field(name: str, raw: bytes | None) -> dict[str, str | None]:
    if raw is None:
        return {name: None}
    try:
        return {name: raw.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(raw).decode()}


def _header_json(raw: bytes | None) -> str | dict[str, str] | None:
    field = _text_field("text", raw)
    return field["text"] if "text" in field else {"base64": field["text_base64"] or ""}


def headers_of(texts: Sequence[str]) -> Headers:
    """Returns headers written as NAME=VALUE. Raises ValueError."""
    return tuple(parse_header(text) for text in texts)
