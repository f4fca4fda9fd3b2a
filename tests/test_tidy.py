"""The house's habits, as far as a machine can check them; import-linter checks the floors themselves.

A rule yields what breaks it in one module. An exception stands in `ALLOWED` with its reason, and goes again when
nothing needs it any more.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent
MOST_FILE_LINES = 600
MOST_FUNCTION_LINES = 70


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


OUTSIDE_WORLD = _words(
    "concurrent ctypes fcntl glob mmap multiprocessing os pathlib secrets select selectors shutil signal socket "
    "subprocess tempfile threading time uuid"
)
"""What the seams of `runtime` stand for."""
NO_IO = OUTSIDE_WORLD | {"asyncio", "grpc", "logging", "random"}
UNOWNED_OR_UNORDERED = _words(
    "sleep wait TaskGroup as_completed to_thread create_task ensure_future run run_coroutine_threadsafe"
)
"""Of asyncio: sleeps past the Clock, keeps tasks in sets, or starts what no task group owns."""
LOOP_CALLS = frozenset({"run_in_executor", "create_task", "add_signal_handler"})
INTO_NO_ORDER = _words("sorted set frozenset len any all sum min max")
"""What takes things in whatever order, and makes no other of it."""
BANNED_WORDS = _words("Manager Handler Util Utils Helper Helpers Base Common Misc")

PROCESSES = "starts, watches and ends processes of this machine, which no simulation has"
FAILURES_OF_USERS = "calls the user's own code, and has whoever reads or runs hear of what that raises"
ALLOWED: dict[str, tuple[str, str]] = {
    # path: (what it may use, why)
    "dohle/client/consumer.py": ("Exception", FAILURES_OF_USERS),
    "dohle/client/group_member.py": ("Exception", FAILURES_OF_USERS),
    "dohle/client/key_pool.py": ("Exception", FAILURES_OF_USERS),
    "dohle/client/sync.py": (
        "os threading concurrent create_task run_in_executor asyncio.run_coroutine_threadsafe",
        "the synchronous twins run the asynchronous clients on a loop in a thread, and what users give them, in others",
    ),
    "dohle/cluster/config_sources.py": ("open", "a node's configuration file, read once before the node exists"),
    "dohle/cluster/local.py": (
        "fcntl os random.SystemRandom selectors signal socket subprocess threading time open asyncio.run",
        PROCESSES,
    ),
    "dohle/cluster/local_state.py": ("os open", PROCESSES),
    "dohle/cluster/process.py": (
        "ctypes os random.Random() random.SystemRandom signal add_signal_handler",
        "makes the real seams and hands them to the node",
    ),
    "dohle/cluster/process_identity.py": ("os subprocess open", PROCESSES),
    "dohle/testing/world/process_loop.py": (
        "ctypes BaseException",
        "what a killed process held is never let go; an event loop outlives whatever its callbacks raise",
    ),
    "dohle/testing/campaigns/worker.py": ("os signal", "ends itself where a run hangs, and says where that is"),
    "dohle/testing/fixtures/process_cluster.py": ("os signal asyncio.to_thread", PROCESSES),
    "dohle/testing/fixtures/simulated_cluster.py": (
        "create_task",
        "a test's own coroutine, whose failure is the test's",
    ),
}
ENTRANCES = {
    "dohle": "the SDK's surface",
    "dohle.__main__": "python -m dohle",
    "dohle.cli.main": "the `dohle` command",
    "dohle.testing.pytest_plugin": "pytest loads it by its entry point",
    "dohle.testing.chaos.workloads.__main__": "the worker program of a chaos run",
    "dohle.sync": "the SDK's surface for code without asyncio",
}


@dataclass(frozen=True, slots=True)
class Module:
    """One source file."""

    path: str
    tree: ast.Module
    lines: int

    @property
    def name(self) -> str:
        return ".".join(PurePosixPath(self.path).with_suffix("").parts).removesuffix(".__init__")

    def below(self, *folders: str) -> bool:
        return any(self.path.startswith(f"{folder}/") for folder in folders)


Finding = tuple[int, str]
Rule = Callable[[Module], Iterator[Finding]]


def parse(path: str, source: str) -> Module:
    return Module(path, ast.parse(source), source.count("\n"))


@cache
def modules() -> tuple[Module, ...]:
    files = [file for part in ("dohle", "tools", "bench", "tests") for file in sorted((ROOT / part).rglob("*.py"))]
    return tuple(
        parse(file.relative_to(ROOT).as_posix(), file.read_text()) for file in files if not file.match("*_pb2.py")
    )


def imported(module: Module) -> Iterator[tuple[int, str]]:
    """Yields every module that is imported, wherever; `from a import b` yields a and a.b."""
    for node in ast.walk(module.tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield node.lineno, alias.name
            case ast.ImportFrom(module=str(origin), names=names, level=0):
                yield node.lineno, origin
                for alias in names:
                    yield node.lineno, f"{origin}.{alias.name}"
            case ast.ImportFrom():
                yield node.lineno, "a relative import"


def simulated(module: Module) -> bool:
    """Returns whether the module also runs in the simulator; commands and what breaks real processes do not."""
    return module.below("dohle") and not module.below("dohle/runtime", "dohle/cli", "dohle/testing/chaos")


def outside_world(module: Module) -> Iterator[Finding]:
    """Above runtime, the world outside is reached through the seams alone, and randomness comes handed in."""
    if not simulated(module):
        return
    banned = NO_IO if module.below("dohle/model", "dohle/raft", "dohle/kafka") else OUTSIDE_WORLD
    found = {(line, name.split(".")[0]) for line, name in imported(module)}
    yield from sorted((line, top) for line, top in found if top in banned)
    has_random = any(top == "random" for _, top in found)
    for node in ast.walk(module.tree):
        match node:
            case ast.Call(func=ast.Name(id="open")):
                yield node.lineno, "open"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="random"), attr="Random")) if has_random:
                yield node.lineno, "random.Random()"
            case ast.Attribute(value=ast.Name(id="random"), attr=name) if has_random and name != "Random":
                yield node.lineno, f"random.{name}"


def tasks_without_owner(module: Module) -> Iterator[Finding]:
    """Above runtime, tasks start in `Tasks`, and time passes in the Clock."""
    if not simulated(module):
        return
    for line, name in imported(module):
        if name.removeprefix("asyncio.") in UNOWNED_OR_UNORDERED and name.startswith("asyncio."):
            yield line, name
    for node in ast.walk(module.tree):
        match node:
            case ast.Attribute(value=ast.Name(id="asyncio"), attr=attribute) if attribute in UNOWNED_OR_UNORDERED:
                yield node.lineno, f"asyncio.{attribute}"
            case ast.Call(func=ast.Attribute(value=owner, attr=attribute)) if attribute in LOOP_CALLS:
                if ast.unparse(owner) != "asyncio":
                    yield node.lineno, attribute


def order_of_sets(module: Module) -> Iterator[Finding]:
    """What also runs in the simulator goes through no set in the order that this has: another one in each process."""
    if not simulated(module):
        return
    for scope in ast.walk(module.tree):
        if isinstance(scope, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef):
            nodes = list(_own(scope))
            known = frozenset(_names_of_sets(nodes))
            for node, through in _ways_through(nodes):
                if _is_set(through, known):
                    yield node.lineno, f"in {ast.unparse(through)}"


def _own(scope: ast.AST) -> Iterator[ast.AST]:
    """Yields what a module or function has in it, but for the functions in it."""
    for node in ast.iter_child_nodes(scope):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
            yield from _own(node)


def _names_of_sets(nodes: Sequence[ast.AST]) -> Iterator[str]:
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if _is_set(value, frozenset()):
                yield name
            case (
                ast.AnnAssign(target=ast.Name(id=name), annotation=annotation)
                | ast.arg(arg=name, annotation=ast.expr() as annotation)
            ) if re.match(r"(frozen)?set\b", ast.unparse(annotation)):
                yield name


def _is_set(value: ast.expr, known: frozenset[str]) -> bool:
    match value:
        case ast.Set() | ast.SetComp() | ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.Name(id=name):
            return name in known
        case ast.BinOp(left=left, op=ast.Sub() | ast.BitOr() | ast.BitAnd() | ast.BitXor(), right=right):
            return _is_set(left, known) or _is_set(right, known)
    return False


def _ways_through(nodes: Sequence[ast.AST]) -> Iterator[tuple[ast.expr | ast.stmt, ast.expr]]:
    """Yields what goes through something in its order: not what puts it into another set, or into its own order."""
    unordered = {
        id(argument)
        for node in nodes
        if isinstance(node, ast.Call) and ast.unparse(node.func) in INTO_NO_ORDER
        for argument in node.args
    }
    for node in nodes:
        match node:
            case ast.For(iter=through) | ast.AsyncFor(iter=through):
                yield node, through
            case ast.SetComp(generators=loops) if not any(isinstance(part, ast.Await) for part in ast.walk(node)):
                continue
            case ast.ListComp(generators=loops) | ast.SetComp(generators=loops) | ast.GeneratorExp(generators=loops):
                if id(node) not in unordered:
                    yield from ((node, loop.iter) for loop in loops)
            case ast.DictComp(generators=loops):
                yield from ((node, loop.iter) for loop in loops)
            case ast.Call(func=ast.Name(id="list" | "tuple" | "iter" | "enumerate"), args=[through, *_]):
                if id(node) not in unordered:
                    yield node, through
            case ast.Call(func=ast.Attribute(value=through, attr="pop"), args=[]):
                yield node, through
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                if id(node) not in unordered:
                    yield from ((node, part.value) for part in parts if isinstance(part, ast.Starred))


def broad_except(module: Module) -> Iterator[Finding]:
    """Only the task supervisor keeps what it does not know; others may tidy up and raise it again."""
    if not module.below("dohle"):
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler) and ast.unparse(node.body[-1]) != "raise":
            caught = ast.unparse(node.type) if node.type else "everything"
            if node.type is None or re.search(r"\b(Base)?Exception\b", caught):
                yield node.lineno, caught


def empty_names(module: Module) -> Iterator[Finding]:
    """A name says what the thing is."""
    if {word.capitalize() for word in re.split(r"[_.]", module.name)} & BANNED_WORDS:
        yield 1, module.name
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef) and set(re.findall(r"[A-Z]+[a-z]*", node.name)) & BANNED_WORDS:
            yield node.lineno, node.name


def too_long(module: Module) -> Iterator[Finding]:
    """A file is a concept, a function fits on a screen."""
    if module.lines > MOST_FILE_LINES:
        yield 1, f"{module.lines} lines"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MOST_FUNCTION_LINES:
                yield node.lineno, f"{node.name}: {length} lines"


def relative_import(module: Module) -> Iterator[Finding]:
    """Imports are absolute."""
    yield from ((line, name) for line, name in imported(module) if name == "a relative import")


def no_docstring(module: Module) -> Iterator[Finding]:
    """A module says what it is."""
    if ast.get_docstring(module.tree) is None and not module.below("tests"):
        yield 1, "no docstring"


RULES: tuple[Rule, ...] = (
    outside_world,
    tasks_without_owner,
    order_of_sets,
    broad_except,
    empty_names,
    too_long,
    relative_import,
    no_docstring,
)


def allowance(path: str) -> frozenset[str]:
    uses, _ = ALLOWED.get(path, ("", ""))
    return _words(uses)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_keeps_the_rule(rule: Rule) -> None:
    broken = [
        f"{module.path}:{line}: {what}"
        for module in modules()
        for line, what in rule(module)
        if what not in allowance(module.path)
    ]
    assert not broken, f"{rule.__doc__}\n" + "\n".join(broken)


def test_no_exception_outlives_its_need() -> None:
    used = {(module.path, what) for module in modules() for rule in RULES for _, what in rule(module)}
    stale = [f"{path}: {what}" for path in ALLOWED for what in sorted(allowance(path)) if (path, what) not in used]
    assert not stale, "\n".join(stale)


def test_no_module_is_dead() -> None:
    shipped = {module.name: module for module in modules() if module.below("dohle")}
    alive = set(ENTRANCES)
    for module in shipped.values():
        alive |= {name for _, name in imported(module) if name != module.name}
        for node in ast.walk(module.tree):  # commands are imported by name, `module:attribute`, when they are used
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                alive.add(node.value.partition(":")[0])
    packages = {name.rpartition(".")[0] for name in shipped}
    dead = sorted(name for name in shipped if name not in alive and name not in packages)
    assert not dead, f"nobody imports {', '.join(dead)}"


def test_the_four_main_parts_stand_at_the_root() -> None:
    for part in ("broker", "cluster", "controller", "storage"):
        assert (ROOT / part).readlink() == Path("dohle") / part


@pytest.mark.parametrize(
    ("rule", "path", "source", "found"),
    [
        (outside_world, "dohle/storage/log.py", "import os.path", ["os"]),
        (outside_world, "dohle/storage/log.py", "def f():\n    from time import time", ["time"]),
        (outside_world, "dohle/storage/log.py", "open('x')", ["open"]),
        (outside_world, "dohle/storage/log.py", "import asyncio", []),
        (outside_world, "dohle/raft/core.py", "import asyncio", ["asyncio"]),
        (outside_world, "dohle/runtime/files.py", "import os", []),
        (outside_world, "dohle/broker/x.py", "import random\ndef f(r: random.Random): r.random()", []),
        (outside_world, "dohle/broker/x.py", "import random\nrandom.random()", ["random.random"]),
        (outside_world, "dohle/broker/x.py", "import random\nrandom.Random()", ["random.Random()"]),
        (outside_world, "dohle/raft/core.py", "import random", ["random"]),
        (tasks_without_owner, "dohle/broker/x.py", "asyncio.sleep(1)", ["asyncio.sleep"]),
        (tasks_without_owner, "dohle/broker/x.py", "from asyncio import wait", ["asyncio.wait"]),
        (tasks_without_owner, "dohle/broker/x.py", "loop.run_in_executor(None, f)", ["run_in_executor"]),
        (tasks_without_owner, "dohle/broker/x.py", "asyncio.gather(a, b)", []),
        (order_of_sets, "dohle/broker/x.py", "for x in {1, 2}: f(x)", ["in {1, 2}"]),
        (order_of_sets, "dohle/broker/x.py", "a = set(b)\nfor x in a: f(x)", ["in a"]),
        (order_of_sets, "dohle/broker/x.py", "def f(a: set[int]): return [g(x) for x in a]", ["in a"]),
        (order_of_sets, "dohle/broker/x.py", "a = {1}\nb = list(a - c)", ["in a - c"]),
        (order_of_sets, "dohle/broker/x.py", "a = {1}\na.pop()", ["in a"]),
        (order_of_sets, "dohle/broker/x.py", "async def f(a: set[int]): a = {x for x in a if await g(x)}", ["in a"]),
        (order_of_sets, "dohle/broker/x.py", "a = {1}\nb = {x for x in a if x}\nc = sorted(x for x in a)", []),
        (order_of_sets, "dohle/broker/x.py", "a = {1: 2}\nfor x in a: f(x)", []),
        (order_of_sets, "dohle/cli/x.py", "for x in {1, 2}: f(x)", []),
        (broad_except, "dohle/broker/x.py", "try: f()\nexcept: pass", ["everything"]),
        (broad_except, "dohle/broker/x.py", "try: f()\nexcept (A, Exception): pass", ["(A, Exception)"]),
        (broad_except, "dohle/broker/x.py", "try: f()\nexcept BaseException:\n    g()\n    raise", []),
        (broad_except, "dohle/broker/x.py", "try: f()\nexcept NetworkException: pass", []),
        (empty_names, "dohle/broker/x.py", "class LogManager: pass", ["LogManager"]),
        (empty_names, "dohle/broker/utils.py", "", ["dohle.broker.utils"]),
        (empty_names, "dohle/broker/x.py", "class Database: pass", []),
        (too_long, "dohle/broker/x.py", "def f():\n" + "    g()\n" * 70, ["f: 71 lines"]),
        (too_long, "dohle/broker/x.py", "x = 1\n" * 601, ["601 lines"]),
        (relative_import, "dohle/broker/x.py", "from . import y", ["a relative import"]),
        (no_docstring, "dohle/broker/x.py", "x = 1", ["no docstring"]),
    ],
)
def test_a_rule_finds_what_it_is_there_for(rule: Rule, path: str, source: str, found: list[str]) -> None:
    assert [what for _, what in rule(parse(path, source))] == found
