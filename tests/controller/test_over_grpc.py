from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from random import Random

from dohle.controller.decision import Decision
from dohle.controller.format import format_controller
from dohle.controller.part import ControllerPart
from dohle.model.ids import DirectoryId, IncarnationId, NodeId, new_id
from dohle.model.metadata import SUPPORTED_FEATURES, NoOp, Voter
from dohle.raft.config import RaftConfig
from dohle.rpc.grpc_network import GrpcNetwork
from dohle.rpc.identity import NodeIdentity
from dohle.rpc.node_service import NodeService
from dohle.runtime.clock import LoopClock
from dohle.runtime.files import RealDisk
from dohle.runtime.network import Address
from tests.controller.cluster import CLUSTER, DEFAULTS, until


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [found.getsockname()[1] for found in sockets]
    for found in sockets:
        found.close()
    return ports


async def test_three_voters_over_grpc_commit_and_outlive_their_leader(tmp_path: Path) -> None:
    random, disk, clock = Random(3), RealDisk(), LoopClock()
    failures: list[BaseException] = []
    voters = [
        Voter(NodeId(number), DirectoryId(new_id(random)), "127.0.0.1", port)
        for number, port in enumerate(free_ports(3), 1)
    ]
    parts, networks, servers = [], [], []
    for voter in voters:
        folder = tmp_path / str(voter.node_id)
        folder.mkdir()
        await format_controller(disk, clock, str(folder), cluster_id=CLUSTER, voters=voters, on_failure=failures.append)
        identity = NodeIdentity(
            CLUSTER, voter.node_id, IncarnationId(new_id(random)), voter.directory_id, SUPPORTED_FEATURES
        )
        network = GrpcNetwork(client_id=str(voter.node_id))
        part = await ControllerPart.open(
            identity,
            str(folder),
            disk=disk,
            clock=clock,
            network=network,
            random=random,
            defaults=DEFAULTS,
            on_failure=failures.append,
            raft=RaftConfig(),
            address=Address(voter.host, voter.port),
        )
        services = [*part.services, NodeService(identity).service()]
        servers.append(await network.serve(Address(voter.host, voter.port), services, listener="GRPC"))
        networks.append(network)
        parts.append(part)
    for part in parts:
        await part.start()

    def leader() -> ControllerPart | None:
        return next((part for part in parts if part.controller.is_active), None)

    async def change() -> None:
        await until(leader)
        active = leader()
        assert active is not None
        await active.controller.change(lambda _: Decision((NoOp(),), None))

    async def stop(index: int) -> None:
        await servers.pop(index).stop(0)
        await parts.pop(index).close()
        await networks.pop(index).close()

    await asyncio.gather(*(change() for _ in range(20)))
    await until(lambda: len({part.controller.committed.next_offset for part in parts}) == 1)
    first = leader()
    assert first is not None
    await stop(parts.index(first))
    await change()
    while parts:
        await stop(0)
    disk.close()
    assert failures == []
