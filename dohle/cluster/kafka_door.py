"""KafkaDoor: a node's listeners for Kafka's clients, as its configuration and its machine have them."""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from typing import Final

from dohle.broker.broker import Broker
from dohle.cluster.config import NodeConfig
from dohle.cluster.kafka_addresses import EXTERNAL, WILDCARD_HOSTS, ListenerPlan
from dohle.cluster.kafka_configs import kafka_configs
from dohle.cluster.node import SECURITY_PROTOCOL
from dohle.listeners.kafka.addresses import in_network, is_listener, is_loopback
from dohle.listeners.kafka.listener import KafkaListener, KafkaSettings
from dohle.listeners.kafka.served import ServedSettings
from dohle.model.errors import ConfigurationError
from dohle.model.image import BrokerImage
from dohle.model.metadata import Endpoint
from dohle.runtime.clock import Clock
from dohle.runtime.interfaces import Interface
from dohle.runtime.network import Address
from dohle.runtime.tasks import OnFailure

log = logging.getLogger(__name__)

_LOOPBACK: Final = "127.0.0.1"
_LOOPBACK_6: Final = "::1"

MOST_NETWORKS: Final = 16
"""In how many networks a broker registers an address: it is part of the cluster's metadata."""


class KafkaDoor:
    """One node's. `interfaces` are its machine's; `on_failure` is told of what the node cannot go on after."""

    def __init__(
        self, config: NodeConfig, clock: Clock, *, interfaces: Sequence[Interface], on_failure: OnFailure
    ) -> None:
        self._config = config
        self._plans = config.kafka
        self._interfaces = interfaces
        self.listener = KafkaListener(
            KafkaSettings(
                max_connections=config.max_connections,
                max_connections_per_ip=config.max_connections_per_ip,
                connections_max_idle_ms=config.connections_max_idle_ms,
                socket_request_max_bytes=config.socket_request_max_bytes,
                queued_max_request_bytes=config.queued_max_request_bytes,
                served=ServedSettings(
                    creates_topics=config.auto_create_topics_enable,
                    told_as_reached=[plan.name for plan in self._plans if plan.advertised is None],
                    fetch_session_slots=config.max_incremental_fetch_session_cache_slots,
                    configs=kafka_configs(config),
                ),
            ),
            clock,
            on_failure,
        )

    @property
    def endpoints(self) -> list[Endpoint]:
        """One for each listener; where nothing is advertised of one on all addresses, also one for each network."""
        found: list[Endpoint] = []
        for plan in self._plans:
            host, port = self._registered(plan)
            found.append(Endpoint(plan.name, host, port, SECURITY_PROTOCOL))
            found += [
                Endpoint(in_network(plan.name, one.network), str(one.ip), port, SECURITY_PROTOCOL)
                for one in self._found_out(plan)
            ]
        return found

    def _registered(self, plan: ListenerPlan) -> Address:
        """Returns what is told of this node on that listener, if nothing better is known."""
        if plan.advertised is not None:
            return plan.advertised
        host = self._config.reachable_host if plan.bind.host in WILDCARD_HOSTS else plan.bind.host
        return Address(host, plan.bind.port)

    def _found_out(self, plan: ListenerPlan) -> list[Interface]:
        """Returns an address in each network of this machine, where clients may come from any of them."""
        if plan.advertised is not None or plan.bind.host not in WILDCARD_HOSTS:
            return []
        networks: dict[object, Interface] = {}
        for one in self._interfaces:
            is_served = one.version == 4 or plan.bind.host != "0.0.0.0"  # noqa: S104
            if is_served and one.network.num_addresses > 1:
                networks.setdefault(one.network, one)
        return list(networks.values())[:MOST_NETWORKS]

    async def bind(self) -> None:
        """Takes the ports. Raises ConfigurationError if one is in use."""
        for plan in self._plans:
            await self.listener.bind(plan.bind, plan.name)
            if plan.bind.host == _LOOPBACK:
                await self._bind_second_loopback(plan)

    async def _bind_second_loopback(self, plan: ListenerPlan) -> None:
        """Listens on ::1 as well, which many clients try first for `localhost`; a machine may have none."""
        try:
            await self.listener.bind(Address(_LOOPBACK_6, plan.bind.port), plan.name)
        except ConfigurationError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE:
                log.warning(
                    "port %d is another program's on %s: clients that take localhost for that come to it; give them"
                    " %s, or this node another port",
                    plan.bind.port,
                    _LOOPBACK_6,
                    plan.bind,
                )

    async def open(self, broker: Broker) -> None:
        await self.listener.open(broker)
        for plan in self._plans:
            log.info("Kafka's clients are served on %s%s: %s", plan.bind, self._named(plan), self._told(plan))
        for complaint in self._doubts(list(broker.image.brokers_in_order())):
            log.warning("%s", complaint)

    def _named(self, plan: ListenerPlan) -> str:
        return f" (listener {plan.name})" if len(self._plans) > 1 else ""

    def _told(self, plan: ListenerPlan) -> str:
        registered = self._registered(plan)
        if plan.advertised is not None:
            return f"they are told to connect to {registered}"
        networks = "".join(f", {one.ip} in {one.network}" for one in self._found_out(plan))
        return (
            f"nothing is set of what they are told, so it is the address at which they came; other nodes tell them"
            f" {registered}{networks}"
        )

    def _doubts(self, brokers: Sequence[BrokerImage]) -> list[str]:
        """Returns what may keep clients from reaching this node and cannot be known here."""
        doubts: list[str] = []
        others = [one for one in brokers if one.node_id != self._config.node_id and not one.fenced]
        for plan in self._plans:
            told = self._registered(plan)
            if plan.name == EXTERNAL and is_loopback(told.host):
                doubts.append(
                    f"clients of listener {EXTERNAL} are told {told}, which is right only on the machine that publishes"
                    " this port; for clients elsewhere set external_host (DOHLE_EXTERNAL_HOST) to its name"
                )
            elif is_loopback(told.host) and not self._found_out(plan) and _any_elsewhere(others, plan.name):
                doubts.append(
                    f"clients of listener {plan.name} are told {told} of this node, and other machines of other nodes:"
                    f" set {self._what_to_set(plan)} to an address that clients reach"
                )
        for one in others:
            lacking = {plan.name for plan in self._plans} ^ {
                door.listener for door in one.endpoints if is_listener(door.listener)
            }
            if lacking:
                doubts.append(
                    f"node {one.node_id} and this one have not the same listeners for Kafka's clients: only one of them"
                    f" has {', '.join(sorted(lacking))}, whose clients do not find the other; give all nodes the same"
                    " names in kafka_listeners"
                )
        return doubts

    def _what_to_set(self, plan: ListenerPlan) -> str:
        return f"{plan.name} in kafka_advertised_listeners" if self._config.kafka_listeners else "advertised_host"

    async def close(self) -> None:
        await self.listener.close()


def _any_elsewhere(brokers: Sequence[BrokerImage], listener: str) -> bool:
    endpoints = [one.endpoint(listener) for one in brokers]
    return any(one is not None and not is_loopback(one.host) for one in endpoints)
