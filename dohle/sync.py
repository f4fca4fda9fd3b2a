"""Dohle's clients for programs without an event loop: `from dohle.sync import Producer, Consumer, Admin`."""

from __future__ import annotations

from dohle.client.sync import Admin, Consumer, Producer

__all__ = ["Admin", "Consumer", "Producer"]
