"""Snapshot download: one snapshot of the metadata on its way here from a controller, on the lane of bulk data.

What arrives are whole batches with their CRCs; who takes them checks every one. Nothing is asked for twice: a download
that breaks is begun anew.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from dohle.model.errors import InvalidRequest, NetworkException
from dohle.model.ids import SnapshotId
from dohle.rpc.identity import NodeIdentity
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import controller_pb2
from dohle.runtime.network import Address, Lane, Network

FETCH_SNAPSHOT = methods_of(controller_pb2.DESCRIPTOR.services_by_name["Controller"])["FetchSnapshot"]

_PATIENCE_S = 10.0
"""For each part; a part is a few hundred kilobytes."""


class SnapshotDownload:
    """From the controller at `address`. Use it as a context manager: `begin`, then `next` until it returns nothing."""

    def __init__(self, network: Network, address: Address, identity: NodeIdentity) -> None:
        self.address = address
        self._identity = identity
        self._stream = network.stream(address, FETCH_SNAPSHOT, lane=Lane.REPLICATION)
        self._first = b""
        self._left_bytes = 0

    async def __aenter__(self) -> SnapshotDownload:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stream.close()

    async def begin(self, least_end_offset: int) -> SnapshotId:
        """Returns which snapshot is to come. Raises NetworkException, and what the controller refuses it with."""
        request = controller_pb2.FetchSnapshotRequest(hello=self._identity.hello(), least_end_offset=least_end_offset)
        await self._stream.send(request)
        opening = await self._receive()
        self._identity.check(opening.hello)
        if opening.end_offset < least_end_offset or opening.end_offset <= 0:
            raise InvalidRequest(
                f"{self.address} sends a snapshot up to offset {opening.end_offset} where {least_end_offset} was asked"
            )
        self._first, self._left_bytes = opening.batches, opening.size_bytes
        return SnapshotId(opening.end_offset, opening.term)

    async def next(self) -> bytes:
        """Returns the next whole batches, none at the end. Raises NetworkException."""
        if self._first:
            part, self._first = self._first, b""
        elif self._left_bytes > 0:
            part = (await self._receive()).batches
        else:
            return b""
        self._left_bytes -= len(part)
        if not part or self._left_bytes < 0:
            raise NetworkException(f"{self.address} sends another snapshot than it announced")
        return part

    async def _receive(self) -> controller_pb2.FetchSnapshotResponse:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                message: controller_pb2.FetchSnapshotResponse | None = await self._stream.receive()
        except TimeoutError:
            raise NetworkException(f"no more of a snapshot from {self.address} within {_PATIENCE_S:g} s") from None
        if message is None:
            raise NetworkException(f"{self.address} ended the download of a snapshot before it was whole")
        return message
