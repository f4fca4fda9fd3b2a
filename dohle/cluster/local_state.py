"""The state file of a local cluster: which nodes it has, where they listen, and which processes run them.

Keeps: the file is replaced whole or not at all; it says nothing of a cluster's data, so losing it loses no record.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace

from dohle.cluster.process_identity import ProcessIdentity
from dohle.model.errors import ConfigurationError

DEFAULT_FOLDER = "dohle-data"
STATE_FILE = "cluster.json"
_FORMAT = 1


KAFKA_OFFSET = 2000
"""How far above its gRPC port a node has the one for Kafka's clients."""


@dataclass(frozen=True, slots=True)
class LocalNode:
    """One node of a local cluster; its paths lie in the cluster's folder."""

    node_id: int
    grpc_port: int
    http_port: int
    rack: str
    process: ProcessIdentity | None = None

    @property
    def kafka_port(self) -> int:
        return self.grpc_port + KAFKA_OFFSET

    @property
    def name(self) -> str:
        return f"node-{self.node_id}"

    def runs(self) -> bool:
        return self.process is not None and self.process.runs()


@dataclass(frozen=True, slots=True)
class LocalState:
    """A local cluster, as its state file has it.

    A growth that was cut short has left `unformatted` nodes, whose folders may be half made and which have never run,
    or nodes that are `joining`: controllers, or brokers that become ones, that are still to be given a vote.
    """

    folder: str
    cluster_id: str
    nodes: tuple[LocalNode, ...]
    unformatted: tuple[int, ...] = ()
    joining: tuple[int, ...] = ()

    @property
    def bootstrap(self) -> str:
        """Every node's address: any one that answers will do."""
        return ",".join(f"localhost:{node.grpc_port}" for node in self.nodes)

    def data_dir(self, node: LocalNode) -> str:
        return os.path.join(self.folder, node.name)

    def config_path(self, node: LocalNode) -> str:
        return os.path.join(self.folder, f"{node.name}.toml")

    def log_path(self, node: LocalNode) -> str:
        return os.path.join(self.folder, f"{node.name}.log")

    def node(self, node_id: int) -> LocalNode:
        """Returns the node of this number. Raises ConfigurationError if there is none."""
        for node in self.nodes:
            if node.node_id == node_id:
                return node
        numbers = ", ".join(str(node.node_id) for node in self.nodes)
        raise ConfigurationError(f"the cluster in {self.folder} has no node {node_id}: its nodes are {numbers}")

    def with_process(self, node_id: int, process: ProcessIdentity | None) -> LocalState:
        nodes = tuple(replace(node, process=process) if node.node_id == node_id else node for node in self.nodes)
        return replace(self, nodes=nodes)

    def without(self, node_id: int) -> LocalState:
        return replace(
            self,
            nodes=tuple(node for node in self.nodes if node.node_id != node_id),
            unformatted=tuple(one for one in self.unformatted if one != node_id),
            joining=tuple(one for one in self.joining if one != node_id),
        )

    def save(self) -> None:
        path = os.path.join(self.folder, STATE_FILE)
        fields = {
            "format": _FORMAT,
            "cluster_id": self.cluster_id,
            "nodes": [asdict(node) for node in self.nodes],
            "unformatted": self.unformatted,
            "joining": self.joining,
        }
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(fields, file, indent=2)
            file.write("\n")
        os.replace(path + ".new", path)


def load_state(folder: str) -> LocalState | None:
    """Returns the state of the cluster in `folder`; None if there is none. Raises ConfigurationError if unreadable."""
    path = os.path.join(folder, STATE_FILE)
    try:
        with open(path, encoding="utf-8") as file:
            fields = json.load(file)
        if fields["format"] != _FORMAT:
            raise ConfigurationError(f"{path} was written by another version of Dohle (format {fields['format']!r})")
        nodes = tuple(
            LocalNode(**{**node, "process": ProcessIdentity(**node["process"]) if node["process"] else None})
            for node in fields["nodes"]
        )
        unformatted, joining = (tuple(map(int, fields.get(name, ()))) for name in ("unformatted", "joining"))
        return LocalState(os.path.abspath(folder), str(fields["cluster_id"]), nodes, unformatted, joining)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{path} is damaged ({error!r}): end the cluster's processes by hand, delete the file, and `dohle up` again"
        ) from error


def is_noted(descriptor: int, folder: str) -> bool:
    """Returns whether the state file names this process, once its starter has written it and closed the descriptor.

    It is closed as well where the starter was killed, before it could write the file or afterwards.
    """
    with open(descriptor, "rb", buffering=0) as starter:
        starter.read()
    state = load_state(folder)
    return state is not None and os.getpid() in [node.process.pid for node in state.nodes if node.process is not None]
