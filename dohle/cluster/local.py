"""LocalCluster: a cluster of real node processes on this machine, for trying things out and for tests.

Keeps: data folders are formatted only when the cluster is made, all at once, and never again; only processes that it
started are ever signalled; two commands never change one cluster at the same time. Nodes live in sessions of their
own, so that they outlast the terminal. Leaves out what machines in production have: service units do that.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import random
import re
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from dohle.cluster.config import Voter
from dohle.cluster.config_sources import ENVIRONMENT_PREFIX, NOTED_VARIABLE, READY_VARIABLE, load_config, to_toml
from dohle.cluster.local_state import KAFKA_OFFSET, STATE_FILE, LocalNode, LocalState, load_state
from dohle.cluster.process_identity import ProcessIdentity
from dohle.model.errors import ConfigurationError, DataFolderError, DohleError
from dohle.runtime.network import Address

BASE_PORT = 7092
_HTTP_OFFSET = 1000
_MOST_NODES = 100
_START_PATIENCE_S = 30.0
_STOP_PATIENCE_S = 15.0  # longer than a controlled shutdown may take
_PORTS_PATIENCE_S = 1.0
_POLL_S = 0.01
_LOG_LINES_SHOWN = 15


class NodeFailed(DohleError):
    """A node of the local cluster did not start."""


@dataclass(frozen=True, slots=True)
class Growth:
    """Who is to get a vote once all nodes run, and which of these were brokers alone before."""

    joining: tuple[int, ...]
    promoted: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stopped:
    """How a node ended: by itself, or killed because it took too long."""

    node_id: int
    seconds: float
    killed: bool


class LocalCluster:
    """The cluster in one folder. Made by `create` or `open`; `start` and `stop` may be called as often as needed."""

    def __init__(self, state: LocalState) -> None:
        self.state = state
        self._children: dict[int, subprocess.Popen[bytes]] = {}  # kept, so that those that end are reaped
        self._log_starts: dict[int, int] = {}  # where in its log file each node's last start begins

    @classmethod
    def open(cls, folder: str) -> LocalCluster | None:
        """Returns the cluster in `folder`; None if there is none."""
        state = load_state(folder)
        return cls(state) if state is not None else None

    @classmethod
    def create(
        cls,
        folder: str,
        nodes: int,
        *,
        base_port: int = BASE_PORT,
        racks: Sequence[str] = (),
        new_cluster_id: str,
        settings: Mapping[str, object] | None = None,
    ) -> LocalCluster:
        """Lays out and formats a new cluster; `settings` are of its nodes, as those have them in their files.

        Raises DataFolderError if `folder` holds anything of one already, ConfigurationError if a port is in use: a
        cluster keeps the ports that it was made with.
        """
        state = plan(folder, nodes, base_port, racks, new_cluster_id)
        os.makedirs(state.folder, exist_ok=True)
        with _locked(state.folder):
            found = [
                name for name in sorted(os.listdir(state.folder)) if name == STATE_FILE or name.startswith("node-")
            ]
            if found:
                raise DataFolderError(
                    f"{state.folder} holds {found[0]} already, and nothing is ever formatted over it:"
                    " name another folder with --dir, or move this one away"
                )
            _check_ports_of_new(state.nodes)
            voters = voters_of(state.nodes)
            _configure(state, state.nodes, voters, voters, settings or {})
            _format(state, state.nodes, voters)
            state.save()
        return cls(state)

    def grow(self, nodes: int) -> Growth:
        """Adds nodes up to that many, and as many controllers as so many nodes have.

        Where the new ones are too few for that, nodes that were brokers alone become controllers, too, for which they
        are stopped. All that are to get a vote are started and given it by others, who say so by `has_vote`. Raises
        ConfigurationError if a port is in use, or an earlier growth is not laid out yet.
        """
        with _locked(self.state.folder):
            state, last = self.state, self.state.nodes[-1]
            assert not state.unformatted, "what was begun before is laid out before that"
            new = tuple(
                LocalNode(last.node_id + step, last.grpc_port + step, last.http_port + step, "")
                for step in range(1, nodes - len(state.nodes) + 1)
            )
            if found := next((path for path in map(state.data_dir, new) if os.path.exists(path)), None):
                raise DataFolderError(f"{found} is there already, and no node of this cluster: move it away")
            _check_ports_of_new(new)
            brokers = [
                node for node in state.nodes if not (node.node_id in state.joining or _is_controller(state, node))
            ]
            missing = max(0, _voter_count(nodes) - (len(state.nodes) - len(brokers)))
            chosen = [node.node_id for node in (*new, *brokers)][:missing]
            self.state = replace(
                state,
                nodes=(*state.nodes, *new),
                unformatted=tuple(node.node_id for node in new),
                joining=tuple(sorted({*state.joining, *chosen})),
            )
            self.state.save()
        return self.lay_out()

    def lay_out(self) -> Growth:
        """Does what a growth needs before nodes start, or what is left of it if an earlier one was cut short."""
        with _locked(self.state.folder):
            state = self.state
            new = [node for node in state.nodes if node.node_id in state.unformatted]
            joining = [node for node in state.nodes if node.node_id in state.joining]
            for node in new:  # which has never run
                _set_aside(state.data_dir(node), os.path.join(state.folder, f"unfinished-{node.name}"))
            controllers = [node for node in state.nodes if node not in new and _is_controller(state, node)]
            voters = tuple(dict.fromkeys([_as_voter(node) for node in (*controllers, *joining)]))
            _configure(state, new, voters, [_as_voter(node) for node in joining])
            _format(state, new, ())
            promoted = [node for node in joining if node not in new and not _is_controller(state, node)]
            if promoted:
                self._stop([node.node_id for node in promoted])
                _promote(self.state, promoted)
            if new:
                self.state = replace(self.state, unformatted=())
                self.state.save()
        return Growth(state.joining, tuple([node.node_id for node in promoted]))

    def has_vote(self, node_id: int) -> None:
        """Notes that this node need not be given one any more."""
        with _locked(self.state.folder):
            self.state = replace(self.state, joining=tuple(one for one in self.state.joining if one != node_id))
            self.state.save()

    def start(self, node_ids: Sequence[int] | None = None) -> list[int]:
        """Starts those nodes (by default all) that do not run, and returns them once they are ready.

        Raises ConfigurationError if a port of theirs is in use, and NodeFailed, with the last lines of its log, if one
        ends or is not ready in time; then all nodes that this call started have been stopped again.
        """
        with _locked(self.state.folder):
            wanted = [self.state.node(node_id) for node_id in node_ids] if node_ids is not None else self.state.nodes
            starting = [node for node in wanted if not node.runs()]
            _check_ports(self.state.folder, starting)
            with selectors.DefaultSelector() as selector:
                try:
                    for node in starting:
                        with _whole():
                            selector.register(self._spawn(node), selectors.EVENT_READ, node)
                    self._await_ready(selector)
                except BaseException:  # Ctrl-C included: half a cluster is left to nobody
                    self._stop([node.node_id for node in starting])
                    raise
                finally:
                    for key in list(selector.get_map().values()):
                        os.close(key.fd)
        return [node.node_id for node in starting]

    def stop(self, node_ids: Sequence[int] | None = None) -> list[Stopped]:
        """Asks those nodes (by default all) that run to shut down, and returns once they have ended."""
        with _locked(self.state.folder):
            return self._stop([node.node_id for node in self.state.nodes] if node_ids is None else node_ids)

    def remove(self, node_id: int) -> str:
        """Takes a node that does not run out of the cluster's folder; returns where its data has been moved."""
        with _locked(self.state.folder):
            node = self.state.node(node_id)
            if node.runs():
                raise ConfigurationError(f"node {node_id} runs: stop it first, with `dohle down {node_id}`")
            if len(self.state.nodes) == 1:
                raise ConfigurationError(f"node {node_id} is the last one: `dohle down` stops it")
            state, self.state = self.state, self.state.without(node_id)
            self.state.save()
            aside = _set_aside(state.data_dir(node), os.path.join(state.folder, f"removed-{node.name}"))
            with contextlib.suppress(FileNotFoundError):  # it was never laid out
                os.remove(state.config_path(node))
        return aside

    def kill(self, node_id: int) -> None:
        """Ends a node as kill -9 does."""
        process = self.state.node(node_id).process
        if process is None or not process.signal(signal.SIGKILL):
            raise ConfigurationError(f"node {node_id} does not run")
        while process.runs():
            time.sleep(_POLL_S)

    def _spawn(self, node: LocalNode) -> int:
        """Starts the node's process; returns the descriptor on which it says that it is ready, or closes as it ends.

        It begins once the state file names it, and ends if this process is killed before that: nobody would know of it.
        """
        heard, said = os.pipe()
        waits, noted = os.pipe()
        try:
            with open(self.state.log_path(node), "ab") as log:
                self._log_starts[node.node_id] = log.tell()
                child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    [sys.executable, "-m", "dohle", "node", "--config", self.state.config_path(node)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=_environment(os.environ, said, waits),
                    pass_fds=(said, waits),
                    start_new_session=True,
                )
            self._children[node.node_id] = child
            self.state = self.state.with_process(node.node_id, ProcessIdentity.of(child.pid))
            self.state.save()
        finally:
            for descriptor in (said, waits, noted):
                os.close(descriptor)
        return heard

    def _await_ready(self, selector: selectors.BaseSelector) -> None:
        deadline = time.monotonic() + _START_PATIENCE_S
        while waiting := list(selector.get_map().values()):
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise self._failed(waiting[0].data, f"is not ready after {_START_PATIENCE_S:.0f} s")
            for key, _ in ready:
                said = os.read(key.fd, 64)
                if not said:
                    raise self._failed(key.data, "ended while starting")
                selector.unregister(key.fd)
                os.close(key.fd)

    def _failed(self, node: LocalNode, how: str) -> NodeFailed:
        path = self.state.log_path(node)
        tail = "\n".join(f"  {line}" for line in last_lines(path, _LOG_LINES_SHOWN, self._log_starts[node.node_id]))
        return NodeFailed(f"node {node.node_id} {how}; the end of {path}:\n{tail}")

    def _stop(self, node_ids: Sequence[int]) -> list[Stopped]:
        began = time.monotonic()
        running = {
            node.node_id: node.process
            for node in self.state.nodes
            if node.node_id in node_ids and node.process is not None and node.process.signal(signal.SIGTERM)
        }
        stopped: list[Stopped] = []
        while running:
            waited = time.monotonic() - began
            for node_id, process in list(running.items()):
                killed = waited > _STOP_PATIENCE_S and process.signal(signal.SIGKILL)
                if killed or not process.runs():
                    stopped.append(Stopped(node_id, waited, killed))
                    del running[node_id]
            time.sleep(_POLL_S)
        for node_id in node_ids:
            self.state = self.state.with_process(node_id, None)
            child = self._children.pop(node_id, None)
            if child is not None:
                child.wait()
        self.state.save()
        return stopped


def plan(folder: str, nodes: int, base_port: int, racks: Sequence[str], cluster_id: str) -> LocalState:
    """Returns a new cluster of nodes 1, 2, 3, …; node 1 has the base port. Raises ConfigurationError."""
    if not 1 <= nodes <= _MOST_NODES:
        raise ConfigurationError(f"{nodes} nodes: expected 1 to {_MOST_NODES}")
    if not 1 <= base_port <= 65_535 - KAFKA_OFFSET - nodes:
        raise ConfigurationError(f"base port {base_port}: expected 1 to {65_535 - KAFKA_OFFSET - nodes}")
    if racks and len(racks) != nodes:
        raise ConfigurationError(f"{len(racks)} racks for {nodes} nodes: name one rack for each node, or none")
    members = tuple(
        LocalNode(i + 1, base_port + i, base_port + _HTTP_OFFSET + i, racks[i] if racks else "") for i in range(nodes)
    )
    return LocalState(os.path.abspath(folder), cluster_id, members)


def voters_of(nodes: Sequence[LocalNode]) -> tuple[Voter, ...]:
    """Returns the controllers of a new cluster."""
    return tuple(_as_voter(node) for node in nodes[: _voter_count(len(nodes))])


def _voter_count(nodes: int) -> int:
    """Returns how many controllers so many nodes have: three outlast the loss of one, five that of two."""
    return 5 if nodes >= 5 else 3 if nodes >= 3 else 1


def _as_voter(node: LocalNode) -> Voter:
    return Voter(node.node_id, Address("127.0.0.1", node.grpc_port))


def _is_controller(state: LocalState, node: LocalNode) -> bool:
    return load_config(state.config_path(node)).config.is_controller


def _set_aside(folder: str, aside: str) -> str:
    """Renames a folder, if it is there, to a name that is free, and returns that."""
    candidate, number = aside, 2
    while os.path.exists(candidate):
        candidate, number = f"{aside}-{number}", number + 1
    if os.path.exists(folder):
        os.rename(folder, candidate)
    return candidate


def free_base_port(nodes: int) -> int:
    """Returns a base port whose whole range is free now. Raises ConfigurationError if none is found."""
    candidates = list(range(20_192, 30_000, 10))
    random.SystemRandom().shuffle(candidates)  # so that two who look at the same moment hardly ever find the same
    for base_port in candidates:
        wanted = [base_port + offset + i for offset in (0, _HTTP_OFFSET, KAFKA_OFFSET) for i in range(nodes)]
        if all(_is_free(port) for port in wanted):
            return base_port
    raise ConfigurationError("no free ports between 20192 and 32000")


def last_lines(path: str, count: int, start: int = 0) -> list[str]:
    """Returns the last `count` lines that a text file has from byte `start` on; only its end is read."""
    try:
        with open(path, "rb") as file:
            file.seek(max(start, os.path.getsize(path) - count * 500))
            return file.read().decode("utf-8", errors="replace").splitlines()[-count:]
    except OSError as error:
        return [f"(cannot be read: {error.strerror})"]


def _check_ports_of_new(nodes: Sequence[LocalNode]) -> None:
    for node in nodes:
        ports = {"gRPC": node.grpc_port, "HTTP": node.http_port, "Kafka": node.kafka_port}
        for purpose, port in ports.items():
            if not _is_free(port):
                raise ConfigurationError(
                    f"port {port} ({purpose}, node {node.node_id}) is in use, and nothing was formatted: choose other"
                    " ports with --base-port, or stop what listens there"
                )


def _check_ports(folder: str, nodes: Sequence[LocalNode]) -> None:
    # threads of a killed process may keep its ports for a moment longer than it is seen to run
    deadline = time.monotonic() + _PORTS_PATIENCE_S
    for node in nodes:
        for port in (node.grpc_port, node.http_port):  # Kafka's may be others by now, in the node's file
            while not (free := _is_free(port)) and time.monotonic() < deadline:
                time.sleep(_POLL_S)
            if not free:
                raise ConfigurationError(
                    f"port {port} of node {node.node_id} is in use by another process, and the cluster in {folder}"
                    " keeps the ports that it was made with: stop that process, or make another cluster with"
                    " `dohle up --dir FOLDER --base-port PORT`"
                )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # as the node will: connections that a stopped node left to time out keep nobody from listening
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _configure(
    state: LocalState,
    nodes: Sequence[LocalNode],
    voters: tuple[Voter, ...],
    controllers: Sequence[Voter],
    settings: Mapping[str, object] = MappingProxyType({}),
) -> None:
    for node in nodes:
        own = _settings(state, node, voters, is_controller=_as_voter(node) in controllers)
        with open(state.config_path(node), "w", encoding="utf-8") as file:
            file.write(to_toml({**own, **settings}))


def _settings(
    state: LocalState, node: LocalNode, voters: tuple[Voter, ...], *, is_controller: bool
) -> dict[str, object]:
    return {
        "node_id": node.node_id,
        "cluster_id": state.cluster_id,
        "data_dir": state.data_dir(node),
        "roles": ("controller", "broker") if is_controller else ("broker",),
        "voters": voters,
        "rack": node.rack,
        "grpc_port": node.grpc_port,
        "kafka_port": node.kafka_port,
        "http_port": node.http_port,
        "default_replication_factor": min(3, len(state.nodes)),
        "group_initial_rebalance_delay_ms": 0,
    }


def _promote(state: LocalState, nodes: Sequence[LocalNode]) -> None:
    """Makes controllers that join of nodes that are brokers alone, and do not run."""
    from dohle.cluster.formatting import format_as_controller
    from dohle.runtime.clock import LoopClock
    from dohle.runtime.files import RealDisk

    disk = RealDisk(threads=1)
    try:
        for path in [state.config_path(node) for node in nodes]:
            config = load_config(path).config
            if not _is_promoted(config.metadata_directory):
                asyncio.run(format_as_controller(disk, LoopClock(), config))
            with open(path, encoding="utf-8") as file:
                settings, replaced = re.subn(r"(?m)^roles *=.*$", 'roles = "controller,broker"', file.read())
            assert replaced == 1, f"{path} says that the node is a broker alone"
            with open(path, "w", encoding="utf-8") as file:
                file.write(settings)
    finally:
        disk.close()


def _is_promoted(data_dir: str) -> bool:
    """Whether this folder has what a controller needs that joins. What is half made has never been used, and goes."""
    from dohle.controller.joining_mark import JOINING_FILE
    from dohle.controller.quorum import metadata_folder
    from dohle.controller.vote_file import VOTE_FILE

    folder = metadata_folder(data_dir)
    if os.path.exists(os.path.join(folder, VOTE_FILE)):
        return os.path.exists(os.path.join(folder, JOINING_FILE))
    _set_aside(folder, f"{data_dir}-unfinished-metadata")
    return False


def _format(state: LocalState, nodes: Sequence[LocalNode], voters: tuple[Voter, ...]) -> None:
    """Formats these nodes' data folders at once; without voters they are to join."""
    # imported here, since most commands about a local cluster format nothing and should not wait for this
    from dohle.cluster.formatting import format_node, new_voters
    from dohle.runtime.clock import LoopClock
    from dohle.runtime.files import RealDisk

    source = random.SystemRandom()
    members = new_voters(voters, source) if voters else ()
    disk = RealDisk(threads=4)

    async def format_all() -> None:
        await asyncio.gather(
            *(
                format_node(
                    disk,
                    LoopClock(),
                    load_config(state.config_path(node)).config,
                    cluster_id=state.cluster_id,
                    voters=members,
                    random=source,
                )
                for node in nodes
            )
        )

    try:
        asyncio.run(format_all())
    finally:
        disk.close()


def _environment(environment: Mapping[str, str], ready_descriptor: int, noted_descriptor: int) -> dict[str, str]:
    """Returns a node's environment: ours, less settings, for its configuration file says it all."""
    kept = {name: value for name, value in environment.items() if not name.startswith(ENVIRONMENT_PREFIX)}
    return {**kept, READY_VARIABLE: str(ready_descriptor), NOTED_VARIABLE: str(noted_descriptor)}


@contextlib.contextmanager
def _whole() -> Iterator[None]:
    """Holds Ctrl-C back while a process is started: one that nobody knows of would be left behind."""
    if threading.current_thread() is not threading.main_thread():  # no other thread is ever interrupted
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    descriptor = os.open(os.path.join(folder, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(
                f"another command is starting or stopping the cluster in {folder}: wait for it to end"
            ) from error
        yield
    finally:
        os.close(descriptor)
