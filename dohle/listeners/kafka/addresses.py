"""Where clients are told to reach a broker: by the listener on which they ask, and by the network they come from.

A broker registers one endpoint for each listener, by its name. Where it listens on all of a machine's addresses, and
nothing is said of what clients are to be told, it also registers its address in each network, as `NAME@network`: who
has come to some broker by an address in that network is told the other brokers' addresses there. The broker itself is
then known by the address at which the client has reached it.

A network like that of a container bridge exists on each machine for itself, with the same addresses. So an address that
the answering broker has as well counts only for a broker of the same machine: one whose registered host is the same.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final, TypeAlias

from dohle.model.image import BrokerImage
from dohle.model.metadata import Endpoint
from dohle.runtime.network import Address

SOLE_LISTENER: Final = "KAFKA"
"""What the listener is called where a node has one alone."""
OTHER_DOORS: Final = ("GRPC", "HTTP")
"""What else a broker registers."""
_AT: Final = "@"

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def in_network(listener: str, network: Network) -> str:
    """Returns the name under which an address in `network` is registered."""
    return f"{listener}{_AT}{network}"


@lru_cache(maxsize=1024)
def client_host(host: str) -> str:
    """Returns where a client is, as Kafka's brokers write it down: in Java's form of an address, which shortens none of
    version 6."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a name, as simulated networks have them
        return f"/{host}"
    if address.version == 4:
        return f"/{address}"
    packed = address.packed
    groups = ":".join(f"{packed[at] << 8 | packed[at + 1]:x}" for at in range(0, len(packed), 2))
    return f"/{groups}" + (f"%{address.scope_id}" if address.scope_id else "")


def is_listener(name: str) -> bool:
    """Whether a broker's endpoint of that name is one of its listeners for Kafka's clients."""
    return name not in OTHER_DOORS and _AT not in name


def is_tellable(host: str) -> bool:
    """Whether a client can be told this address of ours: what is link-local means another thing elsewhere."""
    found = _parsed(host)
    return found is not None and not found.is_link_local and not found.is_unspecified


def is_loopback(host: str) -> bool:
    """Whether this host is the machine itself, wherever that is said."""
    found = _parsed(host)
    return host.rstrip(".").lower() == "localhost" if found is None else found.is_loopback


def told_address(broker: BrokerImage, listener: str, reached: Address, answering: BrokerImage | None) -> Address | None:
    """Returns where `broker` is reached on `listener` by who has reached `answering` at `reached`; None: nowhere."""
    registered = broker.endpoint(listener)
    if registered is None:
        return None
    near = _near(broker, listener, reached)
    if near is not None and not _is_everywhere(near, broker, listener, answering):
        return Address(near.host, near.port)
    return Address(registered.host, registered.port)


def _near(broker: BrokerImage, listener: str, reached: Address) -> Endpoint | None:
    """Returns the broker's address in the narrowest network that `reached` is in."""
    known = [one for one in broker.endpoints if one.listener.startswith(listener + _AT)]
    host = _parsed(reached.host) if known else None
    if host is None:
        return None
    found = [(network.prefixlen, one) for one in known if (network := _network(one)) is not None and host in network]
    return max(found, key=lambda one: one[0])[1] if found else None


def _is_everywhere(near: Endpoint, broker: BrokerImage, listener: str, answering: BrokerImage | None) -> bool:
    if answering is None or answering.node_id == broker.node_id:
        return False
    ours, theirs = answering.endpoint(listener), broker.endpoint(listener)
    if ours is not None and theirs is not None and ours.host == theirs.host:
        return False  # of one machine
    return any(one.host == near.host for one in answering.endpoints if one.listener.startswith(listener + _AT))


def _network(endpoint: Endpoint) -> Network | None:
    return _parsed_network(endpoint.listener.partition(_AT)[2])


@lru_cache(maxsize=1024)
def _parsed_network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None  # of a broker that knows other kinds


@lru_cache(maxsize=1024)
def _parsed(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
