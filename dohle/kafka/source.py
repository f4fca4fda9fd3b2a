"""What the generators of encoders and decoders share: lines of Python, the constants they name, the wire's shapes."""

from __future__ import annotations

from struct import Struct as Format
from struct import calcsize
from typing import Any, Final

from dohle.kafka.declaration import FIXED_SIZE, Field, Struct, fields_of

MOST_STRING_BYTES: Final = (1 << 15) - 1
_KEPT_FORMATS: Final = 256


class Formats(dict[int, Format]):
    """The formats of so many numbers of one type in a row; only short ones are kept, so that the table stays small."""

    def __init__(self, letter: str) -> None:
        super().__init__()
        self._letter = letter

    def __missing__(self, count: int) -> Format:
        made = Format(f">{count}{self._letter}")
        if count <= _KEPT_FORMATS:
            self[count] = made
        return made


class Source:
    """A function that grows line by line.

    Fixed-size values that follow each other are gathered in `run`, as (letter, expression), and go in one call. A run
    ends where a line needs what it reads, or writes after it.
    """

    def __init__(self, head: str) -> None:
        self.constants: dict[str, Any] = {}
        self.run: list[tuple[str, str]] = []
        self._lines = [head]
        self._depth = 1
        self._names: dict[object, str] = {}

    def line(self, text: str) -> None:
        self._lines.append(" " * self._depth + text)

    def open(self, text: str) -> None:
        """Adds a line whose block follows."""
        self.line(text)
        self._depth += 1

    def close(self) -> None:
        self._depth -= 1

    def other(self, text: str) -> None:
        """Ends a block and begins the one that stands beside it: else, elif, except."""
        self.close()
        self.open(text)

    def name(self, value: Any, key: object) -> str:
        """Returns the name under which the function finds `value`, which `key` tells from others."""
        if key not in self._names:
            self._names[key] = f"c{len(self._names)}"
            self.constants[self._names[key]] = value
        return self._names[key]

    def take_run(self) -> tuple[Format, list[str]]:
        """Returns the run's format and expressions, and begins a new one."""
        letters, expressions = zip(*self.run, strict=True)
        self.run.clear()
        return Format(">" + "".join(letters)), list(expressions)

    def function(self, name: str, **constants: Any) -> Any:
        """Compiles the function; the generators write nothing into it but declared names and literals."""
        namespace = {**self.constants, **constants}
        exec(compile("\n".join(self._lines), f"<{name}>", "exec"), namespace)  # noqa: S102
        return namespace["run"]


def on_wire(kind: type[Struct], version: int) -> list[Field]:
    """Returns the fields that stand one after the other in this version."""
    return [field for field in fields_of(kind) if field.tag is None and field.is_in(version)]


def tags_of(kind: type[Struct], version: int) -> list[Field]:
    return [field for field in fields_of(kind) if field.tag is not None and field.is_in(version)]


def least_bytes(field: Field, version: int, flexible: bool) -> int:
    """Returns the smallest size of one value, or of one element of a list, on the wire."""
    if isinstance(field.wire, str):
        if field.wire in FIXED_SIZE:
            return calcsize(">" + FIXED_SIZE[field.wire])
        return 1 if flexible else 2 if field.wire == "String" else 4
    count = 1 if flexible else 0
    for inner in on_wire(field.wire, version):
        if inner.is_list:
            count += 1 if flexible else 4
        elif isinstance(inner.wire, str):
            count += least_bytes(inner, version, flexible)
        else:
            count += 1 if inner.can_be_null(version) else least_bytes(inner, version, flexible)
    assert count, f"{field.name} takes no bytes in version {version}: its number could not be bounded"
    return count
