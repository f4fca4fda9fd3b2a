"""The controller part of a node: quorum, images, failure detector and services, put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dohle.controller.controller import Controller
from dohle.controller.controller_service import ControllerService
from dohle.controller.doubts import DoubtfulElections
from dohle.controller.failure_detector import FailureDetector
from dohle.controller.fork_watch import ForkWatch
from dohle.controller.leader_balance import DEFAULT_BALANCE, BalanceTerms, LeaderBalance
from dohle.controller.placement import Random as PlacementRandom
from dohle.controller.quorum import Quorum
from dohle.controller.raft_service import RaftService
from dohle.controller.snapshot_taker import SnapshotConfig, SnapshotTaker
from dohle.controller.topics import TopicDefaults
from dohle.controller.voter_changes import VoterChanges
from dohle.model.topic_config import TopicConfig
from dohle.raft.config import RaftConfig
from dohle.raft.core import Uniform
from dohle.rpc.identity import NodeIdentity
from dohle.runtime.clock import Clock
from dohle.runtime.disk import Disk
from dohle.runtime.network import Address, Network, Service
from dohle.runtime.tasks import OnFailure, Tasks


class Random(PlacementRandom, Uniform, Protocol):
    """Where ids, places and delays come from; `random.Random` has it all."""


@dataclass(frozen=True, slots=True)
class ControllerPart:
    """One voter. Serve `services`, then `start`; stop the server before `close`."""

    quorum: Quorum
    controller: Controller
    detector: FailureDetector
    taker: SnapshotTaker
    doubtful_elections: DoubtfulElections
    leader_balance: LeaderBalance
    voter_changes: VoterChanges
    forks: ForkWatch
    services: tuple[Service, ...]
    _service: ControllerService
    _tasks: Tasks

    @staticmethod
    async def open(
        identity: NodeIdentity,
        data_folder: str,
        *,
        disk: Disk,
        clock: Clock,
        network: Network,
        random: Random,
        defaults: TopicDefaults,
        on_failure: OnFailure,
        raft: RaftConfig,
        address: Address,
        bootstrap: Sequence[Address] = (),
        session_timeout_ms: int = 3000,
        balance: BalanceTerms = DEFAULT_BALANCE,
        snapshots: SnapshotConfig = SnapshotConfig(),  # noqa: B008 - a value
    ) -> ControllerPart:
        """Recovers the metadata log in `data_folder`; raises as `Quorum.open` does."""
        quorum = await Quorum.open(
            identity,
            data_folder,
            disk=disk,
            clock=clock,
            network=network,
            random=random,
            on_failure=on_failure,
            config=raft,
            bootstrap=bootstrap,
            address=address,
            log_config=TopicConfig(segment_bytes=snapshots.segment_bytes),
        )
        controller = Controller(quorum)
        detector = FailureDetector(
            controller, clock=clock, network=network, on_failure=on_failure, session_timeout_ms=session_timeout_ms
        )
        doubtful_elections = DoubtfulElections(controller, clock=clock, on_failure=on_failure)
        leader_balance = LeaderBalance(controller, balance, clock=clock, on_failure=on_failure)
        taker = SnapshotTaker(quorum, lambda: controller.committed, clock, snapshots)
        voter_changes = VoterChanges(controller, clock)
        forks = ForkWatch(controller, clock=clock, on_failure=on_failure)
        service = ControllerService(
            controller,
            detector,
            taker,
            voter_changes,
            forks,
            identity,
            clock=clock,
            random=random,
            defaults=defaults,
            on_failure=on_failure,
        )
        services = (RaftService(quorum).as_service(), service.as_service())
        return ControllerPart(
            quorum,
            controller,
            detector,
            taker,
            doubtful_elections,
            leader_balance,
            voter_changes,
            forks,
            services,
            service,
            Tasks("snapshots", on_failure),
        )

    async def start(self) -> None:
        """Takes part in the quorum, and watches the brokers whenever this node is the active controller."""
        await self.detector.start()
        await self.doubtful_elections.start()
        await self.leader_balance.start()
        await self.forks.start()
        await self.quorum.start()
        self._tasks.spawn(self.taker.run(), "snapshots")

    async def hand_over(self) -> None:
        """Before a stop: lets another voter decide, if this node does; an election time-out is spent on it at most."""
        if self.quorum.is_leader and len(self.quorum.voters) > 1:
            await self.quorum.transfer()
            await self.controller.leader_found()  # so that whoever asks in the meantime is told who decides

    async def close(self) -> None:
        """Stops all of it, and closes the metadata log cleanly."""
        await self.forks.close()
        await self.leader_balance.close()
        await self._tasks.close()
        await self.doubtful_elections.close()
        await self.detector.close()
        await self._service.close()
        await self.quorum.close()
