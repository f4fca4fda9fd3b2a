"""Where a node's configuration comes from: flags, before the environment, before a TOML file, before the defaults.

Keeps: every value knows its source; an unknown key is an error that names the nearest known one. Reads neither the
environment nor the command line itself: both are handed in.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dohle.cluster.config import NodeConfig, Voter
from dohle.cluster.kafka_addresses import parse_named_address
from dohle.model.errors import ConfigurationError
from dohle.runtime.network import Address

ENVIRONMENT_PREFIX = "DOHLE_"
NOTED_VARIABLE = "DOHLE_NOTED_FD"  # the descriptor that is closed once a node's process is known to run
READY_VARIABLE = "DOHLE_READY_FD"  # the one on which it says that it is ready
_COMMAND_VARIABLES = ("DOHLE_BOOTSTRAP", "DOHLE_CONFIG", "DOHLE_DIR", NOTED_VARIABLE, READY_VARIABLE)  # no node's own
# Kubernetes sets these in every pod that can see a service called "dohle"
_KUBERNETES_VARIABLES = ("DOHLE_SERVICE_", "DOHLE_PORT_")
_FIELDS = {field.name: field for field in dataclasses.fields(NodeConfig)}


@dataclass(frozen=True, slots=True)
class Setting:
    """One value, explained."""

    name: str
    value: str
    unit: str
    doc: str
    source: str


@dataclass(frozen=True, slots=True)
class Sourced:
    """A configuration, and for each of its fields what set it."""

    config: NodeConfig
    sources: Mapping[str, str]

    def settings(self) -> list[Setting]:
        """Returns every setting in the order in which NodeConfig declares it."""
        return [
            Setting(name, to_text(getattr(self.config, name)), field.metadata["unit"], field.metadata["doc"], source)
            for (name, field), source in zip(_FIELDS.items(), self.sources.values(), strict=True)
        ]


def load_config(
    path: str | None = None, environment: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None
) -> Sourced:
    """Returns the configuration out of all sources. Raises ConfigurationError naming the source of what is wrong."""
    values: dict[str, Any] = {}
    sources = dict.fromkeys(_FIELDS, "default")
    layers = [
        (path or "", _read_file(path) if path else {}),
        ("the environment", _from_environment(environment or {})),
        ("the command line", flags or {}),
    ]
    for origin, layer in layers:
        for key, raw in layer.items():
            if key not in _FIELDS:
                raise _unknown(key, _FIELDS, f"{origin}: there is no setting {key!r}")
            values[key] = _parse(key, raw, origin)
            sources[key] = origin
    return Sourced(NodeConfig(**values), sources)


def parse_flags(arguments: Sequence[str]) -> dict[str, str]:
    """Returns `--name value` and `--name=value` by setting, plus `config` for `--config`. Raises ConfigurationError."""
    known = {"config": "config", **{name.replace("_", "-"): name for name in _FIELDS}}
    flags: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--"):
            raise ConfigurationError(f"unexpected argument {argument!r}: settings are given as --name value")
        flag, equals, value = argument[2:].partition("=")
        if flag not in known:
            raise _unknown(flag, known, f"there is no flag --{flag}", "--")
        if not equals:
            if not rest:
                raise ConfigurationError(f"--{flag} needs a value")
            value = rest.pop(0)
        flags[known[flag]] = value
    return flags


def parse_voter(text: str) -> Voter:
    """Returns the voter written as `1@host:7092`. Raises ValueError."""
    node, at, address = text.strip().partition("@")
    host, colon, port = address.rpartition(":")
    if not (at and colon and host and node.isdecimal() and port.isdecimal() and int(port) <= 65_535):
        raise ValueError(f"{text.strip()!r} is no voter: expected node@host:port, as in 1@broker-1:7092")
    return Voter(int(node), Address(host.removeprefix("[").removesuffix("]"), int(port)))


def to_toml(values: Mapping[str, Any]) -> str:
    """Returns a configuration file that sets `values`, each under a comment that explains it."""
    lines: list[str] = []
    for name, value in values.items():
        field = _FIELDS[name]
        text = to_text(value) if isinstance(value, int) else _toml_string(to_text(value))
        lines += [f"# {field.metadata['doc']}", f"{name} = {text}"]
    return "\n".join(lines) + "\n"


def to_text(value: Any) -> str:
    """Returns `value` as a flag or an environment variable would give it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(str(part) for part in value) if isinstance(value, tuple) else str(value)


def _toml_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _read_file(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the configuration file {path}: {error.strerror}; name another with --config"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in sorted(environment):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in _COMMAND_VARIABLES or _of_kubernetes(name):
            continue
        key = name.removeprefix(ENVIRONMENT_PREFIX).lower()
        if key not in _FIELDS:
            known = [ENVIRONMENT_PREFIX + field.upper() for field in _FIELDS]
            raise _unknown(name, [*known, *_COMMAND_VARIABLES], f"the environment sets {name}, which means nothing")
        found[key] = environment[name]
    return found


def settings_in(environment: Mapping[str, str]) -> list[str]:
    """Returns the variables that set something of a node."""
    return sorted(name for name in environment if name in {ENVIRONMENT_PREFIX + field.upper() for field in _FIELDS})


def _of_kubernetes(name: str) -> bool:
    return name == "DOHLE_PORT" or name.startswith(_KUBERNETES_VARIABLES)


def _unknown(
    key: str, known: Mapping[str, Any] | Sequence[str], complaint: str, prefix: str = ""
) -> ConfigurationError:
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    advice = f"did you mean {prefix}{near[0]}?" if near else "`dohle config --show` lists all settings"
    return ConfigurationError(f"{complaint}; {advice}")


def _parse(key: str, raw: Any, origin: str) -> Any:
    default = _FIELDS[key].default
    parse: Callable[[Any], Any]
    if key in _LISTS:
        parse, expected = _LISTS[key]
    elif isinstance(default, tuple):
        parse, expected = _words, "words with commas between them"
    elif isinstance(default, bool):
        parse, expected = _switch, "true or false"
    elif isinstance(default, int):
        parse, expected = _number, "a whole number"
    else:
        parse, expected = _string, "a string"
    try:
        return parse(raw)
    except ValueError as error:
        raise ConfigurationError(f"{origin}: {key} = {raw!r}: {error.args[0] if error.args else ''}") from error
    except TypeError as error:
        raise ConfigurationError(f"{origin}: {key} = {raw!r}: expected {expected}") from error


def _number(raw: Any) -> int:
    if isinstance(raw, str):
        digits = raw.strip().replace("_", "")
        if not digits.lstrip("-").isdecimal():
            raise TypeError(raw)
        return int(digits)
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise TypeError(raw)
    return raw


def _switch(raw: Any) -> bool:
    value = {"true": True, "false": False}.get(raw.strip().lower()) if isinstance(raw, str) else raw
    if not isinstance(value, bool):
        raise TypeError(raw)
    return value


def _string(raw: Any) -> str:
    if not isinstance(raw, str):
        raise TypeError(raw)
    return raw


def _words(raw: Any) -> tuple[str, ...]:
    parts = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise TypeError(raw)
    return tuple(part.strip() for part in parts if part.strip())


def _each(parse: Callable[[str], Any]) -> Callable[[Any], tuple[Any, ...]]:
    return lambda raw: tuple(parse(word) for word in _words(raw))


_LISTENERS = _each(parse_named_address), "NAME://host:port,NAME://host:port,…"
_LISTS: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "voters": (_each(parse_voter), "node@host:port,node@host:port,…"),
    "kafka_listeners": _LISTENERS,
    "kafka_advertised_listeners": _LISTENERS,
}
"""Settings that are lists of more than words: how they are read, and what is expected of them."""
