"""The pages that a node shows over HTTP: its metrics, whether it lives, whether it serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from dohle.cluster.http import Page
from dohle.cluster.node import Node

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from dohle.listeners.kafka.listener import KafkaListener


def pages_of(node: Node, kafka: KafkaListener | None = None) -> Mapping[str, Callable[[], Page]]:
    """Returns the pages by path."""

    @cache
    def registry() -> CollectorRegistry:
        from dohle.cluster.metrics import registry_of

        return registry_of(node, kafka)

    def metrics() -> Page:
        # imported at the first scrape: a node that nobody scrapes starts without it, and the others start faster
        from dohle.cluster.metrics import METRICS_CONTENT_TYPE, exposition

        return Page(exposition(registry()), content_type=METRICS_CONTENT_TYPE)

    def healthz() -> Page:
        return Page(b"ok\n") if node.failure is None else Page(f"failed: {node.failure}\n".encode(), 503)

    def readyz() -> Page:
        reason = node.unready_reason()
        return Page(b"ready\n") if reason is None else Page(f"{reason}\n".encode(), 503)

    return {"/metrics": metrics, "/healthz": healthz, "/readyz": readyz}
