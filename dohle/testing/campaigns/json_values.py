"""Dataclasses as JSON and back, by their fields' types: what a run is made of, kept in files and sent to workers.

Reading is strict, with one error for all that can be wrong: a field that is missing and has no default, one too many,
or of another kind. So a text outlives fields that are added later, if their default is what was before.
Leaves out what no run holds: bytes, enumerations, unions other than with None.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, TypeVar

from dohle.model.errors import ConfigurationError

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Returns `value` in what JSON knows: dataclasses and dictionaries as objects, tuples and lists as lists."""
    if dataclasses.is_dataclass(value):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    assert value is None or isinstance(value, str | int | float), f"{value!r} has no place in JSON"
    return value


def from_json(kind: type[T], value: Any, where: str) -> T:
    """Returns what `to_json` made of a `kind`. Raises ConfigurationError, which says where in the text; `where` begins
    the path."""
    found: T = _read(kind, value, where)
    return found


def _read(kind: Any, value: Any, where: str) -> Any:
    kind = getattr(kind, "__supertype__", kind)  # a NewType is what it is made of
    if dataclasses.is_dataclass(kind):
        return _read_fields(typing.cast("type[Any]", kind), value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return None if value is None else _read(inner, value, where)
    if origin is tuple:
        return tuple(_read_items(arguments, _expect(list, value, where), where))
    if origin is dict:
        items = _expect(dict, value, where).items()
        return {_key(arguments[0], key, where): _read(arguments[1], item, f"{where}.{key}") for key, item in items}
    if kind is float and type(value) is int:
        return value  # as it was: a run's timeline tells 40 from 40.0
    return _expect(kind, value, where)


def _read_fields(kind: type[Any], value: Any, where: str) -> Any:
    given = dict(_expect(dict, value, where))
    hints = typing.get_type_hints(kind)
    known = [field.name for field in dataclasses.fields(kind)]
    needed = [field.name for field in dataclasses.fields(kind) if not _has_default(field)]
    for name in given:
        if name not in known:
            raise ConfigurationError(f"{where}: there is no {name!r}; there is {', '.join(known)}")
    missing = [name for name in needed if name not in given]
    if missing:
        raise ConfigurationError(f"{where}: {', '.join(missing)} is missing")
    fields = {name: _read(hints[name], given[name], f"{where}.{name}") for name in known if name in given}
    try:
        return kind(**fields)
    except ConfigurationError as error:  # the value's own checks know nothing of where it stands
        raise ConfigurationError(f"{where}: {error.message}") from None


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _read_items(kinds: tuple[Any, ...], items: list[Any], where: str) -> list[Any]:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(items)
    if len(items) != len(kinds):
        raise ConfigurationError(f"{where}: {len(items)} items, expected {len(kinds)}")
    pairs = zip(kinds, items, strict=True)
    return [_read(kind, item, f"{where}[{index}]") for index, (kind, item) in enumerate(pairs)]


def _key(kind: Any, key: str, where: str) -> Any:
    kind = getattr(kind, "__supertype__", kind)
    if kind is str:
        return key
    try:
        return int(key)
    except ValueError:
        raise ConfigurationError(f"{where}: {key!r} is no number") from None


def _expect(kind: Any, value: Any, where: str) -> Any:
    if type(value) is not kind:  # not isinstance: True is no number here
        names = {list: "a list", dict: "an object", str: "a text", int: "a whole number", float: "a number"}
        raise ConfigurationError(f"{where}: {value!r} is not {names.get(kind, getattr(kind, '__name__', str(kind)))}")
    return value
