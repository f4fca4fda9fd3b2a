"""Which listeners for Kafka's clients a configuration asks for, and what it says of their addresses.

Keeps: listeners have names and ports of their own; an address that is told to clients has a host and a port. What is
not said is left to `kafka_door`, which knows this machine. Does no I/O.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from dohle.listeners.kafka.addresses import OTHER_DOORS, SOLE_LISTENER
from dohle.model.errors import ConfigurationError
from dohle.runtime.network import Address

if TYPE_CHECKING:
    from dohle.cluster.config import NodeConfig

WILDCARD_HOSTS: Final = ("0.0.0.0", "::", "")  # noqa: S104 - recognised here, not bound
EXTERNAL: Final = "EXTERNAL"
DEFAULT_KAFKA_PORT: Final = 9092
_NAME: Final = re.compile(r"[A-Z][A-Z0-9_.-]*")
_SECURE: Final = ("SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MOST_PORT: Final = 65_535


class NamedAddress(NamedTuple):
    """An address of a listener; written `EXTERNAL://broker-1:19092`."""

    name: str
    address: Address

    def __str__(self) -> str:
        return f"{self.name}://{self.address}"


@dataclass(frozen=True, slots=True)
class ListenerPlan:
    """One listener. `advertised` is what clients are told; None: what can be found out."""

    name: str
    bind: Address
    advertised: Address | None


def parse_named_address(text: str) -> NamedAddress:
    """Returns what is written as `NAME://host:port`; the host may be missing. Raises ValueError."""
    name, scheme, address = text.strip().partition("://")
    host, colon, port = address.rpartition(":")
    if not (name and scheme and colon and port.isascii() and port.isdecimal() and 1 <= int(port) <= _MOST_PORT):
        raise ValueError(f"{text.strip()!r} is no listener: expected NAME://host:port, as in EXTERNAL://0.0.0.0:19092")
    if not _NAME.fullmatch(name.upper()):
        raise ValueError(f"{name!r} is no name of a listener: expected letters, digits, '_', '.' and '-'")
    return NamedAddress(name.upper(), Address(host.removeprefix("[").removesuffix("]"), int(port)))


def listener_plans(config: NodeConfig) -> tuple[ListenerPlan, ...]:
    """Returns the listeners for Kafka's clients that a valid configuration asks for."""
    if not config.kafka_listeners:
        host, _, port = config.kafka_advertised_address.rpartition(":")
        if host:
            advertised: Address | None = Address(host.strip("[]"), int(port))
        else:
            advertised = _by_host(config, config.kafka_port)
        return (ListenerPlan(SOLE_LISTENER, Address(config.host, config.kafka_port), advertised),)
    given = {one.name: one.address for one in config.kafka_advertised_listeners}
    return tuple(
        ListenerPlan(
            name,
            Address(address.host or config.host, address.port),
            given.get(name)
            or (Address(config.external_host, address.port) if name == EXTERNAL else _by_host(config, address.port)),
        )
        for name, address in config.kafka_listeners
    )


def _by_host(config: NodeConfig, port: int) -> Address | None:
    return Address(config.advertised_host, port) if config.advertised_host else None


def check_kafka_addresses(config: NodeConfig) -> None:
    """Raises ConfigurationError for listeners that cannot be, or that clients could not find."""
    _check_host("external_host", config.external_host)
    if config.kafka_advertised_address:
        _check_advertised("kafka_advertised_address", config.kafka_advertised_address)
    if not config.kafka_listeners:
        if config.kafka_advertised_listeners:
            raise ConfigurationError(
                "kafka_advertised_listeners is set and kafka_listeners is not: name the listeners there, or, for one"
                " alone, set kafka_advertised_address"
            )
        return
    if config.kafka_port != DEFAULT_KAFKA_PORT or config.kafka_advertised_address:
        other = "kafka_advertised_address" if config.kafka_advertised_address else "kafka_port"
        raise ConfigurationError(
            f"kafka_listeners and {other} exclude each other: {other} is of the one listener that there is without"
            " kafka_listeners; leave it out, and say the same in kafka_listeners or kafka_advertised_listeners"
        )
    names = [one.name for one in config.kafka_listeners]
    for name in names:
        _check_name(name)
    for name in _twice(names):
        raise ConfigurationError(f"kafka_listeners names {name} twice: each listener has a name of its own")
    _check_advertised_listeners(config, names)


def _check_advertised_listeners(config: NodeConfig, names: Sequence[str]) -> None:
    advertised = config.kafka_advertised_listeners
    for name in _twice([one.name for one in advertised]):
        raise ConfigurationError(f"kafka_advertised_listeners names {name} twice: clients are told one address of each")
    for one in advertised:
        if one.name not in names:
            raise ConfigurationError(
                f"kafka_advertised_listeners names {one.name}, and kafka_listeners does not: its listeners are"
                f" {', '.join(names)}"
            )
        if one.address.host in WILDCARD_HOSTS:
            raise ConfigurationError(
                f"kafka_advertised_listeners: {one} is no address that clients can reach: give this machine's name, as"
                f" in {one.name}://broker-1:{one.address.port}"
            )


def check_ports(config: NodeConfig) -> None:
    """Raises ConfigurationError where two doors of the node would take one port."""
    ports: dict[int, str] = {}
    for door, port in _ports(config):
        if port in ports:
            raise ConfigurationError(
                f"{ports[port]} and {door} have one port, {port}: all ports of a node must differ from each other"
            )
        ports[port] = door


def _ports(config: NodeConfig) -> Iterator[tuple[str, int]]:
    yield "grpc_port", config.grpc_port
    if config.external_grpc_port:
        yield "external_grpc_port", config.external_grpc_port
    yield "http_port", config.http_port
    if not config.kafka_listeners:
        yield "kafka_port", config.kafka_port
    for name, address in config.kafka_listeners:
        yield f"listener {name} of kafka_listeners", address.port


def _check_name(name: str) -> None:
    if name in OTHER_DOORS:
        raise ConfigurationError(f"kafka_listeners: {name} is the name of another door of the node: choose another")
    if name in _SECURE:
        raise ConfigurationError(
            f"kafka_listeners: {name} would promise what is not served yet, TLS or SASL: a listener in clear text gets"
            " another name, as PLAINTEXT or INTERNAL"
        )


def _check_advertised(setting: str, text: str) -> None:
    host, _, port = text.rpartition(":")
    if not (host and port.isascii() and port.isdecimal() and 1 <= int(port) <= _MOST_PORT):
        raise ConfigurationError(f"{setting} = {text!r}: expected host:port, as in broker-1:9092")
    if host.strip("[]") in WILDCARD_HOSTS:
        raise ConfigurationError(f"{setting} = {text!r} is no address that clients can reach: give this machine's name")


def _check_host(setting: str, host: str) -> None:
    if host in WILDCARD_HOSTS:
        raise ConfigurationError(f"{setting} = {host!r} is no name that clients can reach: give one that they know")
    if ":" in host and not _is_address(host):
        raise ConfigurationError(f"{setting} = {host!r}: expected a host without a port; the port is the listener's")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _twice(names: Sequence[str]) -> list[str]:
    counts: Mapping[str, int] = {name: names.count(name) for name in names}
    return [name for name, times in counts.items() if times > 1]
