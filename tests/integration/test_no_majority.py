"""Two of three controllers are gone: what the third one knows is told, and who has to be started."""

from __future__ import annotations

import json


def test_without_a_majority_what_is_known_is_told_and_who_is_missing(fresh_trio):
    cluster = fresh_trio
    cluster.done("topic", "create", "orders", "-p", "1", "-r", "3")
    confirmed = json.loads(cluster.done("explain", "partition", "orders", "0", "--json"))
    assert confirmed["confirmed"]
    cluster.kill(2)
    cluster.kill(3)
    missing = f"2 of 3 have to, and 2 (127.0.0.1:{cluster.port(2)}) and 3 (127.0.0.1:{cluster.port(3)}) do not"

    asked = ("--timeout", "40")
    explained = cluster.dohle("explain", "partition", "orders", "0", *asked)
    assert explained.returncode == 1, explained
    assert missing in explained.stderr
    assert "shown is what was known up to metadata offset" in explained.stderr
    assert "the partition was made" in explained.stdout

    known = json.loads(cluster.dohle("explain", "partition", "orders", "0", "--json", *asked).stdout)
    assert not known["confirmed"]
    assert known["history"][: len(confirmed["history"])] == confirmed["history"]
    unknown = cluster.refused("explain", "partition", "no-such-topic", "0", *asked)
    assert missing in unknown
    assert "know of no partition no-such-topic-0" in unknown

    listed = cluster.dohle("cluster", "voters", "list", "--json", *asked)
    assert listed.returncode == 1, listed
    assert missing in listed.stderr
    controllers = {one["node_id"]: one for one in json.loads(listed.stdout)["controllers"]}
    assert controllers[1]["log_end"] > 0
    assert controllers[2]["log_end"] is controllers[3]["log_end"] is None
    for command in (("cluster", "describe"), ("status",)):
        shown = cluster.dohle(*command, *asked)
        assert shown.returncode == 1, shown
        assert "no majority of the controllers answers" in shown.stderr
        assert "1 topic" in shown.stdout

    cluster.up()
    cluster.until_healthy()
    assert json.loads(cluster.done("cluster", "voters", "list", "--json"))["confirmed"]
