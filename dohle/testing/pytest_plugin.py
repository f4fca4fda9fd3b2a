"""The pytest plugin: the fixtures `dohle_world`, a simulated cluster, and `dohle_cluster`, one of real processes.

A coroutine test that uses `dohle_world` runs inside the simulated world, and so do asynchronous fixtures that depend on
it, whatever other plugin for asynchronous tests there is. Tests that use neither fixture are left alone, and until one
is used, nothing of Dohle's is imported: every start of pytest loads this module.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, fields
from random import SystemRandom
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dohle.cluster.local import LocalCluster
    from dohle.testing.fixtures.process_cluster import ProcessCluster
    from dohle.testing.fixtures.simulated_cluster import SimulatedCluster

_WORLD: pytest.StashKey[SimulatedCluster] = pytest.StashKey()
_CLUSTER: pytest.StashKey[ProcessCluster] = pytest.StashKey()
_TEST: pytest.StashKey[Callable[..., Any]] = pytest.StashKey()  # as it was before another plugin wrapped it
_IN_WORLD: pytest.StashKey[list[str]] = pytest.StashKey()  # fixtures that depend on the world
_TESTS_OF_CLUSTER: pytest.StashKey[int] = pytest.StashKey()

_TIMELINE_LINES_SHOWN = 80
_BY_LOT = "random"
_ONE_OF_BOTH = "a test runs in virtual time or in real time: use dohle_world or dohle_cluster, not both"


@dataclass(frozen=True)
class WorldSettings:
    """What `@pytest.mark.dohle_world(...)` may say.

    - seed: the world's seed
    - seeds: run the test once with each of these
    - nodes: how many nodes the world has
    - controllers: how many of them, the first, have a vote; all, if nothing is said
    - apart: the controllers are no brokers
    - time_limit_s: after how many simulated seconds, beyond those of `advance`, a test counts as hanging
    """

    seed: int = 0
    seeds: Sequence[int] = ()
    nodes: int = 3
    controllers: int | None = None
    apart: bool = False
    time_limit_s: float = 300.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("dohle").addoption(
        "--dohle-seed",
        type=_seed,
        metavar="SEED|random",
        help="the seed of every dohle_world, whatever its marker says: replays a failure; `random` looks for another",
    )


def _seed(text: str) -> int | str:
    if text == _BY_LOT:
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed: give a number, or {_BY_LOT}") from None


def pytest_configure(config: pytest.Config) -> None:
    if config.option.dohle_seed == _BY_LOT:
        config.option.dohle_seed = SystemRandom().randrange(
            1_000_000_000
        )  # one, also where tests run in many processes
    config.addinivalue_line(
        "markers",
        "dohle_world(seed=0, seeds=(), nodes=3, controllers=None, apart=False, time_limit_s=300): what kind of world"
        " dohle_world is, or with which seeds the test is run",
    )


def pytest_report_header(config: pytest.Config) -> str | None:
    seed = config.option.dohle_seed
    return None if seed is None else f"dohle: every dohle_world has seed {seed}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test once with each of its marker's seeds; `--dohle-seed` leaves one of them."""
    if "dohle_world" not in metafunc.fixturenames:
        return
    seeds = _settings(metafunc.definition).seeds
    if seeds:
        asked = metafunc.config.getoption("--dohle-seed")
        chosen = list(seeds) if asked is None else [asked]
        metafunc.parametrize("dohle_world", chosen, indirect=True, ids=[f"seed{seed}" for seed in chosen])


def _settings(item: pytest.Item) -> WorldSettings:
    known = [field.name for field in fields(WorldSettings)]
    said: dict[str, Any] = {}
    for mark in item.iter_markers("dohle_world"):  # the closest first
        unknown = [repr(name) for name in (*mark.args, *mark.kwargs) if name not in known]
        if unknown or mark.args:
            raise pytest.UsageError(
                f"{item.nodeid}: @pytest.mark.dohle_world takes {', '.join(f'{name}=' for name in known)},"
                f" and not {', '.join(unknown)}"
            )
        said = {**mark.kwargs, **said}
    if isinstance(said.get("seeds"), int):
        raise pytest.UsageError(
            f"{item.nodeid}: seeds={said['seeds']} is one number; seed={said['seeds']} is that seed, and "
            f"seeds=range({said['seeds']}) the first {said['seeds']}"
        )
    return WorldSettings(**said)


# the fixtures


@pytest.fixture
def dohle_world(request: pytest.FixtureRequest) -> Generator[SimulatedCluster]:
    """A cluster of simulated nodes, in virtual time; a new one for each test."""
    from dohle.client.seams import Seams
    from dohle.testing.fixtures.simulated_cluster import SimulatedCluster

    item, settings = request.node, _settings(request.node)
    if _CLUSTER in item.stash:
        raise pytest.UsageError(_ONE_OF_BOTH)
    asked = request.config.getoption("--dohle-seed")
    seed = getattr(request, "param", settings.seed) if asked is None else asked
    world = SimulatedCluster(
        seed,
        nodes=settings.nodes,
        controllers=settings.controllers,
        apart=settings.apart,
        time_limit_s=settings.time_limit_s,
    )
    item.stash[_WORLD] = world
    item.stash[_TEST] = request.function
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Seams, "of", world.seams)  # so that an application's own clients are of this world, too
        yield world
    del item.stash[_WORLD]
    world.end()


@pytest.fixture(scope="session")
def _dohle_processes(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalCluster]:
    from dohle.testing.fixtures.process_cluster import end_processes, start_processes

    local = start_processes(str(tmp_path_factory.mktemp("dohle")))
    yield local
    end_processes(local)


@pytest.fixture
def dohle_cluster(request: pytest.FixtureRequest, _dohle_processes: LocalCluster) -> Generator[ProcessCluster]:
    """A cluster of three real processes, which the tests of the session share; topics are each test's own."""
    from dohle.testing.fixtures.process_cluster import ProcessCluster

    if _WORLD in request.node.stash:
        raise pytest.UsageError(_ONE_OF_BOTH)
    number = request.session.stash.get(_TESTS_OF_CLUSTER, 0) + 1
    request.session.stash[_TESTS_OF_CLUSTER] = number
    cluster = ProcessCluster(_dohle_processes, str(number))
    request.node.stash[_CLUSTER] = cluster
    yield cluster
    del request.node.stash[_CLUSTER]
    cluster.restore()


# how tests and fixtures run in the world


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Hands everyone else a plain function in place of a coroutine test that belongs into the world."""
    __tracebackhide__ = True
    world = pyfuncitem.stash.get(_WORLD, None)
    test = pyfuncitem.stash.get(_TEST, None)
    if world is None or test is None or not inspect.iscoroutinefunction(test):
        return (yield)
    found = pyfuncitem.obj

    def run_in_world(**arguments: Any) -> None:
        __tracebackhide__ = True
        world.run(test(**arguments))

    pyfuncitem.obj = run_in_world
    try:
        return (yield)
    finally:
        pyfuncitem.obj = found


@pytest.hookimpl(specname="pytest_pyfunc_call")
def pytest_pyfunc_call_on_processes(pyfuncitem: pytest.Function) -> bool | None:
    """Runs a coroutine test of real processes that nobody else has taken."""
    if _CLUSTER not in pyfuncitem.stash or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(pyfuncitem.obj(**arguments))
    return True


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Runs asynchronous fixtures that depend on the world in it."""
    world = request.node.stash.get(_WORLD, None)
    if world is None:
        result = yield
        if _WORLD in request.node.stash:  # this made it
            request.node.stash.setdefault(_IN_WORLD, []).append(fixturedef.argname)
        return result
    depend_on_it = request.node.stash[_IN_WORLD]
    if not set(fixturedef.argnames) & set(depend_on_it):
        return (yield)
    depend_on_it.append(fixturedef.argname)
    function = inspect.unwrap(fixturedef.func)  # pytest-asyncio before 1.1 has wrapped it
    if request.instance is not None and inspect.ismethod(function):
        function = function.__func__.__get__(request.instance)
    in_world: Callable[..., Any]
    if inspect.isasyncgenfunction(function):
        in_world = _generator_in_world(world, function)
    elif inspect.iscoroutinefunction(function):
        in_world = _coroutine_in_world(world, function)
    else:
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fixturedef, "func", in_world)
        return (yield)


def _coroutine_in_world(world: SimulatedCluster, function: Callable[..., Any]) -> Callable[..., Any]:
    def in_world(**arguments: Any) -> Any:
        return world.run(function(**_taken_by(function, arguments)))

    return in_world


def _generator_in_world(world: SimulatedCluster, function: Callable[..., Any]) -> Callable[..., Any]:
    def in_world(**arguments: Any) -> Generator[Any]:
        generator = function(**_taken_by(function, arguments))

        async def begin() -> Any:
            return await anext(generator)

        async def finish() -> None:
            async for _ in generator:
                raise pytest.UsageError(f"the fixture {function.__name__} yields more than once")

        yield world.run(begin())
        world.run(finish())

    return in_world


def _taken_by(function: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Returns those arguments that the fixture itself asks for, and not what wraps it."""
    asked = inspect.signature(function).parameters
    return {name: value for name, value in arguments.items() if name in asked}


# what a failing test says


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and (world := item.stash.get(_WORLD, None)) is not None:
        replay = f"replay: pytest '{item.nodeid}' --dohle-seed {world.seed}"
        report.sections.append((f"dohle_world, seed {world.seed}", _last_of(world.timeline) + "\n" + replay))
    elif report.failed and (cluster := item.stash.get(_CLUSTER, None)) is not None:
        report.sections.append(("dohle_cluster", "\n".join(cluster.timeline)))
    return report


def _last_of(timeline: Sequence[str]) -> str:
    left_out = len(timeline) - _TIMELINE_LINES_SHOWN
    more = [f"({left_out} lines before these)"] if left_out > 0 else []
    return "\n".join([*more, *timeline[-_TIMELINE_LINES_SHOWN:]])
