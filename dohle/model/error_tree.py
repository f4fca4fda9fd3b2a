"""The root of the error tree, and the table by which an error that travelled as a code is raised again.

`retriable`: asking again can help. `definite`: the operation certainly did not happen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

_BY_CODE: dict[int, type[DohleError]] = {}


class DohleError(Exception):
    """The root. `code` is Kafka's error code (int16) or, below -1, Dohle's own."""

    code: ClassVar[int] = -1
    retriable: ClassVar[bool] = False
    definite: ClassVar[bool] = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "code" in vars(cls):
            assert cls.code not in _BY_CODE, f"{cls.__name__} and {_BY_CODE[cls.code].__name__} share a code"
            _BY_CODE[cls.code] = cls

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().split("\n")[0])

    @property
    def message(self) -> str:
        """One sentence for a person: what is wrong and, where it can be told, what to do."""
        return str(self.args[0])


class UnknownServerError(DohleError):
    """The server failed in a way that it has no code for."""

    code = -1
    definite = False


def error_for(code: int, message: str = "") -> DohleError:
    """Returns the error of `code` as the far side raised it; an unknown code gives an UnknownServerError naming it."""
    kind = _BY_CODE.get(code)
    if kind is None:
        return UnknownServerError(f"error code {code}: {message}" if message else f"error code {code}")
    return kind(message)


def error_types() -> list[type[DohleError]]:
    """Returns every error that has a code of its own, by ascending code."""
    return [_BY_CODE[code] for code in sorted(_BY_CODE)]


class RecordsRefused(DohleError):
    """A batch is refused, and nothing of it appended. `records`: what is wrong with single ones of it, by their places
    in the batch; empty where it is the batch that breaks a rule, or where this came from a far side."""

    def __init__(self, message: str = "", records: Mapping[int, str] | None = None) -> None:
        super().__init__(message)
        self.records: Mapping[int, str] = records or {}


class Retriable(DohleError):
    """The same request may succeed later, here or elsewhere."""

    retriable = True


class LocalError(DohleError):
    """An error of Dohle's own, which Kafka's protocol has no code for."""
