"""KafkaDoor: a node's port for Kafka's clients, as its configuration has it."""

from __future__ import annotations

import logging

from dohle.broker.broker import Broker
from dohle.cluster.config import NodeConfig
from dohle.cluster.node import SECURITY_PROTOCOL
from dohle.listeners.kafka.listener import KafkaListener, KafkaSettings
from dohle.listeners.kafka.served import ServedSettings
from dohle.listeners.kafka.topics_known import LISTENER
from dohle.model.metadata import Endpoint
from dohle.runtime.clock import Clock
from dohle.runtime.network import Address
from dohle.runtime.tasks import OnFailure

log = logging.getLogger(__name__)


class KafkaDoor:
    """One node's. `on_failure` is told of what the node cannot go on after."""

    def __init__(self, config: NodeConfig, clock: Clock, *, on_failure: OnFailure) -> None:
        self._config = config
        has_address = bool(config.kafka_advertised_address or config.advertised_host)
        self.listener = KafkaListener(
            KafkaSettings(
                max_connections=config.max_connections,
                max_connections_per_ip=config.max_connections_per_ip,
                connections_max_idle_ms=config.connections_max_idle_ms,
                socket_request_max_bytes=config.socket_request_max_bytes,
                queued_max_request_bytes=config.queued_max_request_bytes,
                served=ServedSettings(
                    creates_topics=config.auto_create_topics_enable, tells_reached_address=not has_address
                ),
            ),
            clock,
            on_failure,
        )

    @property
    def endpoint(self) -> Endpoint:
        address = self._config.kafka_reachable
        return Endpoint(LISTENER, address.host, address.port, SECURITY_PROTOCOL)

    async def bind(self) -> None:
        """Takes the port. Raises ConfigurationError if it is in use."""
        await self.listener.bind(Address(self._config.host, self._config.kafka_port))

    async def open(self, broker: Broker) -> None:
        await self.listener.open(broker)
        config = self._config
        log.info(
            "Kafka's clients are served on %s, and told to connect to %s",
            Address(config.host, config.kafka_port),
            config.kafka_reachable,
        )

    async def close(self) -> None:
        await self.listener.close()
