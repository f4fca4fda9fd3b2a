"""What a client stands on: its network, its clock, its randomness, each handed in or made for a real machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from dohle.model.errors import ConfigurationError
from dohle.rpc.grpc_network import GrpcNetwork
from dohle.runtime.clock import Clock, LoopClock
from dohle.runtime.network import Address, Network

DEFAULT_PORT = 7092
"""Of the gRPC listener of a cluster's first node."""


@dataclass(frozen=True, slots=True)
class Seams:
    """The world outside of one client. A network that was made here is closed here."""

    network: Network
    clock: Clock
    random: Random
    owns_network: bool

    @classmethod
    def of(cls, client_id: str, network: Network | None, clock: Clock | None, random: Random | None) -> Seams:
        return cls(
            network=network or GrpcNetwork(client_id=client_id),
            clock=clock or LoopClock(),
            random=random or Random(),  # noqa: S311 - spreads load and retries; no secret is made of it
            owns_network=network is None,
        )

    async def close(self) -> None:
        if self.owns_network:
            await self.network.close()


def parse_bootstrap(bootstrap: str | Sequence[str]) -> tuple[Address, ...]:
    """Returns the addresses of "host:port,host:port" or of a sequence of such. Raises ConfigurationError."""
    texts = bootstrap.split(",") if isinstance(bootstrap, str) else [*bootstrap]
    addresses = tuple(_parse_address(text.strip()) for text in texts if text.strip())
    if not addresses:
        raise ConfigurationError("bootstrap names no address; give one or more as host:port")
    return addresses


def _parse_address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):  # a name, or [an IPv6 address], alone
        host, port = text, str(DEFAULT_PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ConfigurationError(f"bootstrap address {text!r} is not usable; write host:port, like localhost:7092")
    return Address(host, int(port))
