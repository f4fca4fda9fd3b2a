"""The same requests to both sides, and where their answers differ."""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dohle.kafka.declaration import Request
from dohle.kafka.framing import encode_request
from tests.differential.answers import Answer, answer_of, names
from tests.differential.cases import Case, Sent
from tests.differential.sides import Later, Raw, Side

LISTED = Path(__file__).parent / "differences.toml"
MISSING = "nothing there"
_FIRST_ID = 0x1000
_AGREEMENT_S = 3.0
_PAUSE_S = 0.02
_SAID = re.compile(r"error_message$")
_WORD = re.compile(r"[\w.-]+")


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the two answers to one request part: a place in them, and what is there on either side."""

    case: Case
    version: int
    path: str
    kafka: Any
    dohle: Any

    def __str__(self) -> str:
        return (
            f"{self.case}, version {self.version}, {self.path or 'connection'}:"
            f" Kafka {self.kafka!r}, Dohle {self.dohle!r}"
        )


@dataclass(frozen=True, slots=True)
class Listed:
    """A difference that is meant, with its reason. Patterns match wholly; a side's is on its value's repr."""

    name: str
    reason: str
    case: str = ".*"
    path: str = ".*"
    kafka: str = ".*"
    dohle: str = ".*"

    def is_about(self, difference: Difference) -> bool:
        found = (str(difference.case), difference.path, repr(difference.kafka), repr(difference.dohle))
        patterns = self.case, self.path, self.kafka, self.dohle
        return all(re.fullmatch(one, text, re.DOTALL) for one, text in zip(patterns, found, strict=True))


@dataclass(slots=True)
class Outcome:
    """What became of one request on both sides."""

    case: Case
    version: int
    kafka: Answer
    dohle: Answer
    differences: list[Difference] = field(default_factory=list)

    @property
    def was_refused(self) -> bool:
        """Whether Kafka refused any of it."""
        return self.kafka.state != "open" or any(self.kafka.codes())


def listed() -> list[Listed]:
    found = tomllib.loads(LISTED.read_text(encoding="utf-8"))["difference"]
    return [Listed(**one) for one in found]


def compare(case: Case, version: int, kafka: Side, dohle: Side) -> Outcome:
    """Asks both."""
    sides = kafka, dohle
    sent = [_parts(case.make(side)) for side in sides]
    answers = [_asked(case, version, parts, side) for parts, side in zip(sent, sides, strict=True)]
    until = time.monotonic() + _AGREEMENT_S
    for place in range(len(sent[0])):
        if not isinstance(sent[0][place], Later):
            continue
        while True:
            later = [_asked_later(parts[place], side) for parts, side in zip(sent, sides, strict=True)]
            if not any(parting("", *later)) or time.monotonic() > until:
                break
            time.sleep(_PAUSE_S)
        for answer, value in zip(answers, later, strict=True):
            answer.values.append(value)
    return Outcome(case, version, *answers, [*_differences(case, version, *answers)])


def _parts(sent: Sent) -> Sequence[Request | Raw | Later]:
    return [sent] if isinstance(sent, Request | Raw) else sent


def _asked(case: Case, version: int, parts: Sequence[Request | Raw | Later], side: Side) -> Answer:
    data: list[bytes] = []
    kinds: list[tuple[int, int] | None] = []
    for number, part in enumerate(parts):
        if isinstance(part, Raw):
            data.append(part.data)
            kinds.append(part.answer)
        elif isinstance(part, Request):
            key = part.API.key
            asked = version if key == case.key else part.API.versions[-1]
            data += map(bytes, encode_request(part, asked, _FIRST_ID + number, "differential"))
            if getattr(part, "acks", None) != 0:  # else no answer comes
                kinds.append((key, asked))
    heard = side.hear(data, ends=any(isinstance(part, Raw) and part.ends for part in parts))
    return answer_of(heard, kinds, side)


def _asked_later(part: Request | Raw | Later, side: Side) -> Any:
    assert isinstance(part, Later)
    heard = side.hear([*map(bytes, encode_request(part.request, part.version, _FIRST_ID, "differential"))], ends=False)
    return answer_of(heard, [(part.request.API.key, part.version)], side).values


def _differences(case: Case, version: int, kafka: Answer, dohle: Answer) -> Iterator[Difference]:
    if kafka.state != dohle.state:
        yield Difference(case, version, "connection", kafka.state, dohle.state)
    for path, their, our in parting("", kafka.values, dohle.values):
        yield Difference(case, version, path, their, our)


def parting(path: str, kafka: Any, dohle: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yields where two values part, as far up as they do: of errors only the codes, of what is missing the whole."""
    match kafka, dohle:
        case dict(), dict():
            codes = kafka.get("error_code"), dohle.get("error_code")
            if codes[0] != codes[1]:
                yield f"{path}.error_code", *codes
                return
            for name in dict.fromkeys([*kafka, *dohle]):
                inner = f"{path}.{name}" if path else name
                yield from parting(inner, kafka.get(name, MISSING), dohle.get(name, MISSING))
        case list(), list():
            theirs, ours = (dict(zip(names(values), values, strict=True)) for values in (kafka, dohle))
            for name in dict.fromkeys([*theirs, *ours]):
                yield from parting(f"{path}[{name}]", theirs.get(name, MISSING), ours.get(name, MISSING))
        case _ if kafka != dohle and not (_SAID.search(path) and _say_the_same(kafka, dohle)):
            yield path, kafka, dohle


def _say_the_same(kafka: Any, dohle: Any) -> bool:
    """Whether both say something, or both nothing. Wording is each one's own."""
    return isinstance(kafka, str) and isinstance(dohle, str) and bool(kafka) == bool(dohle)
