"""Records as ReadFiles.java and WriteFixture.java write them down."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dohle.model.records import Record

FIXTURE = Path(__file__).parent / "fixture"
KAFKA_DATA = FIXTURE / "data"


class Noted(NamedTuple):
    """A record that a real Kafka took, and what became of it: kept, aborted, open or deleted."""

    partition: str
    record: Record
    outcome: str


def noted() -> list[Noted]:
    lines = (FIXTURE / "written.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines]
    return [Noted(f"{row[0]}-{row[1]}", record_of(row[2:7]), row[7]) for row in rows]


def record_of(fields: Sequence[str]) -> Record:
    offset, timestamp, key, value, headers = fields
    pairs = [pair.partition("=") for pair in headers.split(",") if pair]
    named = tuple((name, _bytes_of(text)) for name, _, text in pairs)
    return Record(_bytes_of(key), _bytes_of(value), named, int(timestamp), int(offset))


def _bytes_of(text: str) -> bytes | None:
    return None if text == "null" else b64decode(text.removeprefix("#"))
