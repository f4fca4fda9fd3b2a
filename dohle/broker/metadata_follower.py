"""The broker's copy of the cluster image: it follows the active controller by a stream of committed batches.

Only what is committed is ever sent, so nothing applied is taken back. Each batch is applied whole, then handed to the
broker, which acts on it before the next is applied.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator

from dohle.broker.controller_client import METHODS, ControllerClient
from dohle.model.errors import (
    NetworkException,
    NotController,
    RequestTimedOut,
    StorageFailure,
    UnknownServerError,
    error_for,
)
from dohle.model.image import EMPTY_IMAGE, ClusterImage
from dohle.model.image_apply import apply_batch
from dohle.model.metadata_batch import MetadataBatch, decode_metadata
from dohle.rpc.identity import NodeIdentity
from dohle.rpc.v1 import controller_pb2
from dohle.runtime.network import Address, Lane, Network, Stream

log = logging.getLogger(__name__)

MetadataStream = Stream[controller_pb2.FollowMetadataRequest, controller_pb2.FollowMetadataResponse]
OnBatches = Callable[[ClusterImage, list[MetadataBatch]], Awaitable[None]]


class MetadataFollower:
    """`image` is the newest; `on_batches` is awaited with each step's image and batches."""

    def __init__(
        self, controller: ControllerClient, identity: NodeIdentity, network: Network, on_batches: OnBatches
    ) -> None:
        self.image: ClusterImage = EMPTY_IMAGE
        self.controller_id = -1
        self._controller = controller
        self._identity = identity
        self._network = network
        self._on_batches = on_batches

    async def run(self) -> None:
        failures = 0
        while True:
            node_id, address = self._controller.believed
            before = self.image.next_offset
            try:
                await self._controller.reach(node_id)
                await self._follow(address)
            except (NotController, NetworkException, RequestTimedOut) as error:
                level = logging.DEBUG if self.controller_id == -1 else logging.INFO
                log.log(level, "no more metadata from node %d at %s: %s", node_id, address, error.message)
                self._controller.failed(node_id, error)
            self.controller_id = -1
            failures = 1 if self.image.next_offset > before else failures + 1
            await self._controller.pause(failures)

    async def _follow(self, address: Address) -> None:
        stream = self._network.stream(address, METHODS["FollowMetadata"], lane=Lane.CONTROL)
        try:
            request = controller_pb2.FollowMetadataRequest(
                hello=self._identity.hello(), next_offset=self.image.next_offset
            )
            with _asking():
                await stream.send(request)
            while (message := await self._next(stream)) is not None:
                if message.HasField("hello"):
                    self._identity.check(message.hello)
                self.controller_id = message.leader_id
                await self._apply(message.batches)
            raise NetworkException("the controller ended the metadata stream")
        finally:
            stream.close()

    async def _next(self, stream: MetadataStream) -> controller_pb2.FollowMetadataResponse | None:
        with _asking():
            message = await stream.receive()
            if message is not None:
                self._controller.learn(message.leader_id)  # who answers NOT_CONTROLLER may know who is
                if message.failure.code:
                    raise error_for(message.failure.code, message.failure.message)
            return message

    async def _apply(self, encoded: bytes) -> None:
        batches = list(decode_metadata(encoded))
        image = self.image
        for batch in batches:
            image = apply_batch(image, batch.records, batch.base_offset)
        self.image = image
        if batches:
            await self._on_batches(image, batches)


@contextlib.contextmanager
def _asking() -> Iterator[None]:
    """Around what comes from a controller: its own trouble moves this broker on to the next, and is no worse."""
    try:
        yield
    except (StorageFailure, UnknownServerError) as error:
        raise NetworkException(f"the controller failed: {error.message}") from error
