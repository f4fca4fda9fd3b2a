"""Cycles: operations each of which must have happened before the next, and the last before the first.

An operation is before another if a version that it wrote is right before one that the other wrote (ww), or was read by
the other (wr); or if it had completed when its own process (process) or anybody (realtime) invoked the other. A cycle
of ww alone is G0 (a dirty write), with wr G1c (circular information flow); the name also says which order it took.
Reads that missed a write (rw) are no evidence: a poll may lag.

Only committed operations take part; one whose outcome is not known was never over before another. Time is linear: the
two orders go through points in time, one after each run of completions, instead of joining all pairs.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, count

from dohle.testing.history.anomalies import Anomaly
from dohle.testing.history.evidence import Evidence, sends_of
from dohle.testing.history.operations import Outcome, Poll

Edges = Iterable[tuple[int, int]]

_KINDS = (
    ("G0", ("ww",)),
    ("G1c", ("ww", "wr")),
    ("G0-process", ("ww", "process")),
    ("G1c-process", ("ww", "wr", "process")),
    ("G0-realtime", ("ww", "realtime")),
    ("G1c-realtime", ("ww", "wr", "realtime")),
)
"""The weakest evidence first: a cycle has the first of the names that fit. Real-time order includes the processes'."""


def cycles(evidence: Evidence) -> Iterator[Anomaly]:
    """Yields cycles that have no operation in common, most of them as short as can be."""
    graph = _Graph(evidence)
    if _is_acyclic(graph.edges(_KINDS[-1][1]), graph.vertices):
        return  # as it should be: what follows takes far more room
    suspects = {vertex for edge in _knots(graph.edges(_KINDS[-1][1])) for vertex in edge}
    for name, kinds in _KINDS:
        edges = [edge for edge in graph.edges(kinds) if all(graph.is_point(end) or end in suspects for end in edge)]
        while edges := _knots(edges):
            cycle = _cycle(edges)
            suspects.difference_update(cycle)
            edges = [edge for edge in edges if not any(end in cycle for end in edge)]
            proof = tuple(evidence.operations[vertex] for vertex in cycle if not graph.is_point(vertex))
            yield Anomaly(name, "each operation must have been before the next, and the last before the first", proof)


class _Graph:
    """Vertices are operations, by their place in the history, and points in time: numbers that are no such place."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._operations = evidence.operations
        self._committed = [evidence.committed(operation) for operation in evidence.operations]
        self._writers: dict[str, dict[str, int]] = {log.name: {} for log in evidence.logs}
        for place, operation in enumerate(evidence.operations):
            if self._committed[place]:
                for send in sends_of(operation):
                    self._writers[send.log][send.value] = place

    @property
    def vertices(self) -> int:
        """So many there are at most, points of the real-time order included."""
        return 2 * len(self._operations)

    def is_point(self, vertex: int) -> bool:
        return not 0 <= vertex < len(self._operations)

    def edges(self, kinds: Sequence[str]) -> Edges:
        of_kind = {"ww": self._versions, "wr": self._reads, "process": self._by_process, "realtime": self._by_time}
        return chain.from_iterable(of_kind[kind]() for kind in kinds)

    def _versions(self) -> Edges:
        for log in self._evidence.logs:
            writers = self._writers[log.name]
            before: int | None = None
            for offset in log.offsets:
                value = log.seen[offset]
                writer = writers.get(value)
                if writer is None or log.places[value] != offset:
                    continue
                if before is not None and before != writer:
                    yield before, writer
                before = writer

    def _reads(self) -> Edges:
        for place, operation in enumerate(self._operations):
            if operation.outcome is not Outcome.OK:
                continue
            for micro in operation.micro:
                if not isinstance(micro, Poll):
                    continue
                for log, records in micro.records.items():
                    writers = self._writers[log]
                    for _, value in records:
                        writer = writers.get(value, place)
                        if writer != place:
                            yield writer, place

    def _by_process(self) -> Edges:
        of_process: dict[str, list[int]] = {}
        for place, operation in enumerate(self._operations):
            of_process.setdefault(operation.process, []).append(place)
        points = count(-1, -1)
        return chain.from_iterable(self._in_time(places, points) for places in of_process.values())

    def _by_time(self) -> Edges:
        return self._in_time(range(len(self._operations)), count(len(self._operations)))

    def _in_time(self, places: Iterable[int], points: Iterator[int]) -> Edges:
        """Yields what was over before what: from completions to the next point, from point to point, and from the
        last point to what was invoked."""
        events: list[tuple[int, int, bool]] = []
        for place in places:
            operation = self._operations[place]
            if self._committed[place]:
                events.append((operation.invoked, place, False))
                if operation.outcome is Outcome.OK and operation.completed is not None:
                    events.append((operation.completed, place, True))
        events.sort()
        point: int | None = None
        over: list[int] = []  # since the last point
        for _, place, completed in events:
            if completed:
                over.append(place)
                continue
            if over:
                before, point = point, next(points)
                yield from ((place, point) for place in over)
                if before is not None:
                    yield before, point
                over = []
            if point is not None:
                yield point, place


def _is_acyclic(edges: Edges, vertices: int) -> bool:
    """Whether taking away what no edge leads to, again and again, leaves nothing."""
    starts, ends = array("L"), array("L")
    leading_to, after = array("L", bytes(array("L").itemsize * vertices)), [0] * (vertices + 1)
    for start, end in edges:
        starts.append(start)
        ends.append(end)
        after[start] += 1
        leading_to[end] += 1
    first = array(
        "L", accumulate(after)
    )  # behind each vertex's place among the ends; each is counted down to its begin
    sorted_ends = array("L", ends)
    for start, end in zip(starts, ends, strict=True):
        first[start] -= 1
        sorted_ends[first[start]] = end
    free = [vertex for vertex in range(vertices) if not leading_to[vertex]]
    left = vertices
    while free:
        vertex = free.pop()
        left -= 1
        for end in sorted_ends[first[vertex] : first[vertex + 1]]:
            leading_to[end] -= 1
            if not leading_to[end]:
                free.append(end)
    return not left


def _knots(edges: Edges) -> list[tuple[int, int]]:
    """Returns those of the edges that may be on a cycle; none if there is no cycle."""
    behind = _reached_in_circles(edges)
    return [(end, start) for start, end in _reached_in_circles((end, start) for start, end in behind)]


def _reached_in_circles(edges: Edges) -> list[tuple[int, int]]:
    """Returns the edges that remain when vertices that no edge leads to are taken away, again and again."""
    after: dict[int, list[int]] = {}
    leading_to: dict[int, int] = {}
    for start, end in edges:
        after.setdefault(start, []).append(end)
        leading_to[end] = leading_to.get(end, 0) + 1
    free = [vertex for vertex in after if vertex not in leading_to]
    while free:
        for end in after.pop(free.pop(), ()):
            leading_to[end] -= 1
            if not leading_to[end]:
                free.append(end)
    return [(start, end) for start, ends in after.items() for end in ends]


def _cycle(edges: Sequence[tuple[int, int]]) -> dict[int, None]:
    """Returns the vertices of a cycle in their order, the shortest of those through one of them."""
    after: dict[int, list[int]] = {}
    before: dict[int, int] = {}
    for start, end in edges:
        after.setdefault(start, []).append(end)
        before[end] = start
    walked: dict[int, None] = {}
    vertex = edges[0][0]
    while vertex not in walked:  # ends on a cycle: every vertex among knots has one before it
        walked[vertex] = None
        vertex = before[vertex]
    return dict.fromkeys(_way_back(vertex, after))


def _way_back(goal: int, after: dict[int, list[int]]) -> list[int]:
    came_from: dict[int, int] = {}
    queue = deque([goal])
    while goal not in came_from:
        vertex = queue.popleft()
        for end in after.get(vertex, ()):
            if end not in came_from:
                came_from[end] = vertex
                queue.append(end)
    way = [came_from[goal]]
    while way[-1] != goal:
        way.append(came_from[way[-1]])
    return way[::-1]
