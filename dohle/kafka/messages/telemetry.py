"""Clients' own metrics, pushed to brokers (KIP-714)."""

from __future__ import annotations

from dohle.kafka.declaration import (
    Bool,
    Bytes,
    Int8,
    Int16,
    Int32,
    Request,
    Response,
    String,
    Uuid,
)


class GetTelemetrySubscriptionsRequest(Request, key=71, versions=(0, 0), flexible=0):
    """Tells which metrics a client should push, and how often."""

    client_instance_id: Uuid


class GetTelemetrySubscriptionsResponse(Response, key=71, versions=(0, 0), flexible=0):
    throttle_time_ms: Int32 = 0
    error_code: Int16
    client_instance_id: Uuid
    subscription_id: Int32
    accepted_compression_types: list[Int8]
    push_interval_ms: Int32
    telemetry_max_bytes: Int32
    delta_temporality: Bool
    requested_metrics: list[String]


class PushTelemetryRequest(Request, key=72, versions=(0, 0), flexible=0):
    """Brings metrics."""

    client_instance_id: Uuid
    subscription_id: Int32
    terminating: Bool
    compression_type: Int8
    metrics: Bytes


class PushTelemetryResponse(Response, key=72, versions=(0, 0), flexible=0):
    throttle_time_ms: Int32 = 0
    error_code: Int16
