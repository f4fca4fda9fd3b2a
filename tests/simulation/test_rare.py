"""The counters of rare things count, change nothing, and leave nothing behind."""

from __future__ import annotations

import inspect

import pytest

from dohle.broker.following import Following
from dohle.storage.log import Log
from dohle.testing.invariants import controller_rarities, group_rarities, replica_rarities
from dohle.testing.invariants.rare import RARE, WRAPS, Rare
from dohle.testing.world.world import World


def run_of_a_cluster_that_is_killed_once() -> str:
    world = World(3)

    async def script() -> None:
        await world.format()
        for node_id in world.machines:
            world.start(node_id)
        await world.all_ready()
        for node_id in world.machines:
            world.lose_power(node_id)
            world.start(node_id)
        await world.all_ready()

    world.run(script())
    world.end()
    return world.scheduler.trace.digest()


def test_what_happened_is_counted_and_changed_by_nothing() -> None:
    without = run_of_a_cluster_that_is_killed_once()
    with Rare() as rare:
        assert run_of_a_cluster_that_is_killed_once() == without
    assert rare.counts["a stop was unclean"] >= 3
    assert rare.counts["a duplicate is answered"] == 0
    assert list(rare.counts) == list(RARE)


def test_a_run_counts_the_same_twice() -> None:
    counts: list[dict[str, int]] = []
    for _ in range(2):
        with Rare() as rare:
            run_of_a_cluster_that_is_killed_once()
        counts.append(rare.counts)
    assert counts[0] == counts[1]


def test_the_product_is_itself_again_afterwards() -> None:
    before = [vars(owner)[name] for owner, name, _ in WRAPS]
    with Rare():
        assert all(vars(owner)[name] is not was for (owner, name, _), was in zip(WRAPS, before, strict=True))
    assert [vars(owner)[name] for owner, name, _ in WRAPS] == before


def test_what_is_gone_from_the_product_fails_loudly_and_leaves_the_rest_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reconcile = Following.reconcile
    monkeypatch.delattr(Log, "_roll")
    with pytest.raises(KeyError, match="_roll"), Rare():
        pass
    assert Following.reconcile is reconcile


def test_every_name_is_counted_somewhere() -> None:
    code = "".join(map(inspect.getsource, (replica_rarities, controller_rarities, group_rarities)))
    assert len(RARE) >= 15
    assert [name for name in RARE if f'"{name}"' not in code] == []
