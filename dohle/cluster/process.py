"""A node as a process: the real seams, signals, logging, and what tunes the interpreter.

Keeps: SIGTERM and SIGINT at any moment lead to a clean stop that is bounded in time; a failure inside the node ends the
process with exit code 1 and a line that says why. Everything here is of the real world; the node itself is in `node`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import random
import resource
import signal
import sys
from collections.abc import Mapping, Sequence

import uvloop

from dohle.cluster.config import NodeConfig
from dohle.cluster.config_sources import NOTED_VARIABLE, READY_VARIABLE, load_config, parse_flags
from dohle.cluster.http import HttpServer
from dohle.cluster.kafka_door import KafkaDoor
from dohle.cluster.node import Node, Seams
from dohle.cluster.pages import pages_of
from dohle.model.errors import DohleError
from dohle.rpc.grpc_network import GrpcNetwork
from dohle.runtime.clock import LoopClock
from dohle.runtime.files import RealDisk
from dohle.runtime.interfaces import local_interfaces
from dohle.runtime.network import Address
from dohle.runtime.tasks import Tasks
from dohle.runtime.workers import ThreadWorkers

log = logging.getLogger(__name__)

NODE_HELP = """Usage: dohle node [--config FILE] [--SETTING VALUE]...

  Run one node until SIGTERM or SIGINT. Settings come from flags, before DOHLE_... variables, before the TOML file,
  before the defaults; `dohle config --show` lists and explains them. The data folder must have been made by
  `dohle format`.
"""
_STOP_PATIENCE_S = 12.0  # a controlled shutdown takes 5 s at most; the rest is for closing logs on a slow disk
_GC_THRESHOLDS = (20_000, 20, 50)  # a full collection stops the loop: rarely, since little of ours forms cycles
_SWITCH_INTERVAL_S = 0.0005  # how long a thread that is back from an fsync may wait for the loop to let it speak
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # mallopt(3)
_KEPT_HEAP_BYTES = 32 << 20
"""More than this at a heap's end is given back."""
_MAPPED_BYTES = 16 << 20
"""From this size on a block is mapped by itself."""


def run_node(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Runs a node until it is told to stop or fails; returns the exit code. Raises ConfigurationError."""
    flags = parse_flags(arguments)
    config_path = flags.pop("config", environment.get("DOHLE_CONFIG"))
    config = load_config(config_path, environment, flags).config
    ready_descriptor = environment.get(READY_VARIABLE, "")
    _set_up_logging(config)
    if environment.get(NOTED_VARIABLE, "").isdecimal() and not _is_noted(int(environment[NOTED_VARIABLE]), config_path):
        log.error("not starting: the command that started this node was killed before it could note that")
        return 1
    tune_heaps()
    _allow_many_files()
    gc.set_threshold(*_GC_THRESHOLDS)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    gc.enable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(config, int(ready_descriptor) if ready_descriptor.isdecimal() else None))


async def _run(config: NodeConfig, ready_descriptor: int | None) -> int:
    over: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def end(failure: BaseException | None = None) -> None:
        if not over.done():
            over.set_result(failure)

    _end_on_signals(over)
    seams = Seams(
        clock=LoopClock(),
        disk=RealDisk(),
        network=GrpcNetwork(client_id=f"node-{config.node_id}"),
        random=random.Random(random.SystemRandom().getrandbits(128)),  # noqa: S311 - ids and delays, no secrets
        workers=ThreadWorkers(),
    )
    kafka = KafkaDoor(config, seams.clock, interfaces=local_interfaces(), on_failure=end) if config.is_broker else None
    node = Node(config, seams, on_failure=end, doors=() if kafka is None else (kafka,))
    http = HttpServer(pages_of(node, None if kafka is None else kafka.listener))

    async def start() -> None:
        try:
            await http.start(Address(config.host, config.http_port))
            await node.start()
            await node.wait_until_ready()
        except DohleError as error:
            end(error)
            return
        steps = ", ".join(f"{step} {seconds:.2f}" for step, seconds in node.start_steps().items())
        log.info("ready; seconds after the start: %s", steps)
        _tell_ready(ready_descriptor)
        gc.collect(0)  # not all of it: with thousands of partitions that stops the loop for longer than an election
        gc.freeze()  # what a node consists of stays for ever, so no collection needs to walk it again
        if node.broker is not None:
            node.broker.groups.loading.on_growth = gc.freeze  # nor what coordinators know, of which there may be much

    tasks = Tasks("process", end)
    tasks.spawn(start(), "start")
    failure = await over
    if isinstance(failure, DohleError):
        log.error("%s", failure.message)
    try:
        async with asyncio.timeout(_STOP_PATIENCE_S):
            await tasks.close()
            await node.stop()
            await http.stop()
    except TimeoutError:
        log.error("the node did not stop within %d s; its logs will be recovered at the next start", _STOP_PATIENCE_S)
        _exit_now(1)
    await seams.network.close()
    seams.workers.close()
    return 0 if failure is None else 1


def _end_on_signals(over: asyncio.Future[BaseException | None]) -> None:
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if over.done():
            log.warning("%s again: ending at once; logs will be recovered at the next start", number.name)
            _exit_now(128 + number)
        log.info("%s: shutting down", number.name)
        over.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)


def _exit_now(code: int) -> None:
    logging.shutdown()
    os._exit(code)


def _is_noted(descriptor: int, config_path: str | None) -> bool:
    from dohle.cluster.local_state import is_noted  # for nodes of local clusters alone

    return is_noted(descriptor, os.path.dirname(config_path or ""))


def _tell_ready(descriptor: int | None) -> None:
    if descriptor is not None:
        with contextlib.suppress(OSError):  # whoever started us may be gone
            os.write(descriptor, b"ready\n")
            os.close(descriptor)


def _set_up_logging(config: NodeConfig) -> None:
    logging.basicConfig(
        stream=sys.stderr,
        level=config.log_level.upper(),
        format=f"%(asctime)s.%(msecs)03d %(levelname)-7s node-{config.node_id} %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def _allow_many_files() -> None:
    """Raises the soft limit of open files to the hard one: logs that are used keep theirs open as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # macOS refuses what it calls unlimited
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def tune_heaps() -> None:
    """Makes glibc keep two heaps, not eight a core: our few threads seldom allocate, and each heap costs memory.

    And makes it keep what messages of a megabyte are built in: by default it gives such memory back with each of them,
    and the pages that are to be had anew cost more than all the copying.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            for option, value in (
                (_M_ARENA_MAX, 2),
                (_M_TRIM_THRESHOLD, _KEPT_HEAP_BYTES),
                (_M_MMAP_THRESHOLD, _MAPPED_BYTES),
            ):
                mallopt(option, value)
