"""`dohle_world`, as a user's tests see it: each test here runs pytest on a small test module of its own."""

from __future__ import annotations

import re
import textwrap

import pytest

pytest_plugins = ["pytester"]

KILLS_A_LEADER = """
    import asyncio

    async def test_kill(dohle_world):
        topic = await dohle_world.topic("orders", configs={"min.insync.replicas": "2"})
        async with dohle_world.producer() as producer:
            await producer.send_and_wait(topic, b"before")
            leader = await dohle_world.leader(topic)
            dohle_world.kill(leader)
            assert (await producer.send_and_wait(topic, b"after")).offset == 1
            assert await dohle_world.leader(topic) != leader
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Runs pytest on a module, with no other plugin than those named."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(source, *arguments, plugins=(), ini=""):
        if "pytest_asyncio.plugin" in plugins:
            ini += "\nasyncio_default_fixture_loop_scope = function"
        pytester.makeini(f"[pytest]\n{ini}")
        pytester.makepyfile(source)
        named = [argument for plugin in ("dohle.testing.pytest_plugin", *plugins) for argument in ("-p", plugin)]
        return pytester.runpytest_inprocess(*named, "-p", "no:cacheprovider", "--strict-markers", *arguments)

    return run


@pytest.mark.parametrize(
    ("plugins", "ini", "mark"),
    [
        ([], "", ""),
        (["pytest_asyncio.plugin"], "asyncio_mode = auto", ""),
        (["pytest_asyncio.plugin"], "asyncio_mode = strict", ""),
        (["pytest_asyncio.plugin"], "asyncio_mode = strict", "pytest.mark.asyncio"),
        (["anyio.pytest_plugin"], "", ""),
        (["anyio.pytest_plugin"], "", "pytest.mark.anyio"),
        (["anyio.pytest_plugin", "pytest_asyncio.plugin"], "asyncio_mode = auto", "pytest.mark.anyio"),
    ],
)
def test_a_coroutine_test_runs_in_the_world_whatever_other_plugin_there_is(run, plugins, ini, mark):
    for plugin in plugins:
        pytest.importorskip(plugin)
    marked = f"import pytest\npytestmark = [{mark}]\n" + "\n".join(
        line[4:] for line in KILLS_A_LEADER.strip("\n").split("\n")
    )
    outcome = run(marked, "-W", "error::pytest.PytestWarning", plugins=plugins, ini=ini)
    assert outcome.ret == pytest.ExitCode.OK


@pytest.mark.parametrize(
    ("plugins", "decorator"),
    [
        ([], "pytest.fixture"),
        (["pytest_asyncio.plugin"], "pytest_asyncio.fixture"),
        (["anyio.pytest_plugin"], "pytest.fixture"),
    ],
)
def test_asynchronous_fixtures_that_depend_on_the_world_run_in_it(run, plugins, decorator):
    for plugin in plugins:
        pytest.importorskip(plugin)
    imported = "import pytest_asyncio" if "asyncio." in decorator else ""
    outcome = run(
        f"""
        import asyncio, pytest
        {imported}
        ended = []

        @pytest.fixture
        def name(dohle_world):
            return "greetings"

        @{decorator}
        async def topic(dohle_world, name):
            return await dohle_world.topic(name)

        @{decorator}
        async def producer(dohle_world, topic):
            async with dohle_world.producer() as producer:
                yield producer
            ended.append(asyncio.get_running_loop())

        class TestFixtures:
            @{decorator}
            async def own(self, topic):
                self.loop = asyncio.get_running_loop()

            async def test_one(self, producer, topic, own):
                assert (await producer.send_and_wait(topic, b"x")).offset == 0
                assert self.loop is asyncio.get_running_loop()

        def test_two():
            assert type(ended[0]).__module__.startswith("dohle.testing")
        """,
        "-W",
        "error::pytest.PytestWarning",
        plugins=plugins,
    )
    outcome.assert_outcomes(passed=2)


def test_a_fixture_may_choose_the_world_and_a_plain_test_may_run_coroutines(run):
    outcome = run("""
        import asyncio, pytest

        @pytest.fixture(params=["dohle_world"])
        def dohle(request):
            return request.getfixturevalue(request.param)

        async def test_chosen(dohle):
            began = asyncio.get_running_loop().time()
            await dohle.advance(120)
            assert asyncio.get_running_loop().time() - began == pytest.approx(120)

        def test_plain(dohle_world):
            assert dohle_world.run(dohle_world.topic("a")).startswith("a")
            dohle_world.kill(1)
            dohle_world.run(dohle_world.start(1))
            dohle_world.run(dohle_world.wait_healthy())

        def test_the_application_may_make_its_own_clients(dohle_world):
            from dohle import Admin

            async def nodes():
                async with Admin(dohle_world.bootstrap) as admin:
                    return len((await admin.describe_cluster()).nodes)

            assert dohle_world.run(nodes()) == 3

        @pytest.mark.usefixtures("dohle_world")
        async def test_used():
            assert type(asyncio.get_running_loop()).__module__.startswith("dohle.testing")
    """)
    outcome.assert_outcomes(passed=4)


def test_one_seed_is_one_run_and_another_is_another(run):
    source = (
        KILLS_A_LEADER
        + """
            print("trace", dohle_world.seed, dohle_world.trace_hash)
    """
    )
    traces = [
        re.findall(r"trace (\d+) (\w+)", run(source, "-s", *seed).stdout.str())
        for seed in ((), (), ("--dohle-seed", "7"))
    ]
    assert [seed for [(seed, _)] in traces] == ["0", "0", "7"]
    assert traces[0] == traces[1]
    assert traces[0][0][1] != traces[2][0][1]


def test_a_seed_by_lot_is_the_same_for_all_tests_and_said_at_the_beginning_and_with_a_failure(run):
    source = """
        def test_fails(dohle_world):
            print("has", dohle_world.seed)
            assert False

        @pytest.mark.dohle_world(seeds=[4, 5])
        def test_chosen(dohle_world):
            print("has", dohle_world.seed)
    """
    seeds = []
    for _ in range(2):
        shown = run("import pytest\n" + textwrap.dedent(source), "-s", "--dohle-seed", "random").stdout.str()
        (seed,) = re.findall(r"^dohle: every dohle_world has seed (\d+)$", shown, re.MULTILINE)
        assert re.findall(r"has (\d+)", shown) == [seed] * 2
        assert f"--dohle-seed {seed}\n" in shown
        seeds.append(seed)
    assert seeds[0] != seeds[1]


def test_a_seed_that_is_none_is_told_what_one_is(run):
    outcome = run("def test(): pass", "--dohle-seed", "best")
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    outcome.stderr.fnmatch_lines(["*argument --dohle-seed: 'best' is no seed: give a number, or random"])


def test_the_marker_says_seeds_nodes_and_limit(run):
    source = """
        import asyncio, pytest

        pytestmark = pytest.mark.dohle_world(nodes=1, seed=3)

        def test_inherited(dohle_world):
            assert dohle_world.nodes == (1,) and dohle_world.seed == 3
            assert dohle_world.run(dohle_world.leader(dohle_world.run(dohle_world.topic("a")))) == 1

        @pytest.mark.dohle_world(nodes=5, seeds=[4, 5])
        def test_several(dohle_world):
            assert dohle_world.nodes == (1, 2, 3, 4, 5)

        @pytest.mark.dohle_world(time_limit_s=10_000)
        async def test_patient(dohle_world):
            await asyncio.sleep(400)
    """
    outcome = run(source, "-v")
    outcome.assert_outcomes(passed=4)
    outcome.stdout.fnmatch_lines(["*test_several?seed4? PASSED*", "*test_several?seed5? PASSED*"])
    run(source, "-k", "several", "--dohle-seed", "9", "-v").stdout.fnmatch_lines(["*test_several?seed9? PASSED*"])


def test_a_failing_test_says_its_seed_how_to_replay_it_and_what_happened(run):
    outcome = run(
        """
        async def test_fails(dohle_world):
            dohle_world.kill(2)
            await dohle_world.advance(5)
            dohle_world.partition(1, from_clients=False)
            assert dohle_world.nodes == (), "as it should not be"
        """,
        "--dohle-seed",
        "11",
    )
    outcome.assert_outcomes(failed=1)
    outcome.stdout.fnmatch_lines(
        [
            ">       assert dohle_world.nodes == (), *",
            "E       AssertionError: as it should not be",
            "*dohle_world, seed 11*",
            "*node2.1 starts",
            "*node2.1 is killed",
            "*5 seconds pass",
            "*cut off from the others: node 1",
            "replay: pytest '*::test_fails' --dohle-seed 11",
        ]
    )
    assert "pytest_plugin.py" not in outcome.stdout.str()


def test_a_test_that_waits_for_ever_is_told_where(run):
    outcome = run("""
        import asyncio

        async def forever():
            await asyncio.Event().wait()

        async def test_hangs(dohle_world):
            await forever()

        async def test_deadlock(dohle_world):
            for node in dohle_world.nodes:
                dohle_world.pause(node)
            await forever()
    """)
    outcome.assert_outcomes(failed=2)
    outcome.stdout.fnmatch_lines(
        [
            ">       await forever()",
            "E * the test has not ended within 300 simulated seconds*",
            "E * the test: *.py:* test_hangs > *.py:* forever > locks.py:* wait",
            "E * the test: *.py:* test_deadlock > *.py:* forever > locks.py:* wait",
        ]
    )


def test_an_exception_inside_a_node_fails_the_test(run):
    outcome = run("""
        import pytest

        async def test_broken_node(dohle_world):
            topic = await dohle_world.topic("a")
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("dohle.storage.log.Log.append_as_leader", lambda *_: 1 / 0)
                async with dohle_world.producer() as producer:
                    await producer.send_and_wait(topic, b"x")

        async def test_sound_node(dohle_world):
            topic = await dohle_world.topic("a")
            async with dohle_world.producer() as producer:
                await producer.send_and_wait(topic, b"x")
    """)
    outcome.assert_outcomes(failed=1, passed=1)
    outcome.stdout.fnmatch_lines(
        [
            ">  *await producer.send_and_wait(topic, b*",
            "E  *SimulationFailed: node*ZeroDivisionError*",
            "*BUG node*ZeroDivisionError*",
        ]
    )


def test_what_is_cut_short_tidies_up(run):
    outcome = run("""
        import asyncio, pytest
        tidied = []

        @pytest.fixture
        async def resource(dohle_world):
            yield 1
            await dohle_world.advance(1)
            tidied.append("fixture")

        @pytest.mark.dohle_world(time_limit_s=5)
        async def test_hangs(dohle_world, resource):
            try:
                async with dohle_world.producer():
                    await asyncio.Event().wait()
            finally:
                await asyncio.sleep(1)
                tidied.append("test")

        def test_after():
            assert tidied == ["test", "fixture"]
    """)
    outcome.assert_outcomes(failed=1, passed=1)


def test_bad_input_is_told_what_there_is(run):
    source = """
        import asyncio, socket, pytest
        from dohle import DohleError

        WHAT = "kill pause resume lose_power fill_disk fail_disk slow_disk hang_disk partition"
        WHAT += " fail_writes lose_file lose_disk reset_connections refuse_connections"

        @pytest.mark.parametrize("what", WHAT.split())
        def test_unknown(dohle_world, what):
            with pytest.raises(DohleError, match="there is no node 'x': the nodes are 1, 2, 3"):
                getattr(dohle_world, what)("x")
            with pytest.raises(DohleError, match="name the node"):
                getattr(dohle_world, what)()

        async def test_states(dohle_world):
            with pytest.raises(DohleError, match="there is no node 4: the nodes are 1, 2, 3"):
                await dohle_world.start(4)
            with pytest.raises(DohleError, match="node 1 runs already"):
                await dohle_world.start(1)
            dohle_world.kill(1)
            with pytest.raises(DohleError, match="node 1 does not run"):
                dohle_world.pause(1)
            with pytest.raises(AssertionError, match="not healthy after 3 s: node 1 is down"):
                await dohle_world.wait_healthy(within_s=3)
            topic = await dohle_world.topic("a", partitions=2)
            with pytest.raises(DohleError, match="has no partition 2: its partitions are 0 to 1"):
                await dohle_world.leader(topic, 2)
            with pytest.raises(AssertionError, match="nothing-1|nothing"):
                await dohle_world.leader("nothing", within_s=1)

        async def test_what_is_not_simulated(dohle_world):
            with pytest.raises(NotImplementedError) as raised:
                await asyncio.open_connection("localhost", 1)
            raise raised.value

        def test_synchronous_clients(dohle_world):
            from dohle.sync import Producer
            with pytest.raises(DohleError, match="dohle.sync need dohle_cluster"):
                Producer(dohle_world.bootstrap)

        async def test_run_within_run(dohle_world):
            with pytest.raises(RuntimeError, match="await this"):
                dohle_world.run(asyncio.sleep(1))
    """
    outcome = run(source)
    outcome.assert_outcomes(passed=17, failed=1)
    outcome.stdout.fnmatch_lines(["E *sockets, threads and processes are not to be*"])
    wrong = "import pytest\n@pytest.mark.dohle_world(sed=1)\ndef test_marked(dohle_world): pass"
    takes = "seed=, seeds=, nodes=, controllers=, apart=, time_limit_s="
    run(wrong).stdout.fnmatch_lines([f"*dohle_world takes {takes}, and not 'sed'*"])


def test_one_number_for_seeds_is_an_error_that_says_what_was_meant(run):
    wrong = "import pytest\n\n@pytest.mark.dohle_world(seeds=4)\nasync def test_it(dohle_world): ..."
    run(wrong).stdout.fnmatch_lines(["*seeds=range(4) the first 4*"])


def test_what_is_broken_is_broken_until_healed(run):
    outcome = run("""
        import asyncio, pytest

        async def written(dohle, topic, **options):
            began = asyncio.get_running_loop().time()
            async with dohle.producer(**options) as producer:
                await producer.send_and_wait(topic, b"x")
            return asyncio.get_running_loop().time() - began

        @pytest.fixture
        async def topic(dohle_world):
            return await dohle_world.topic("a", configs={"min.insync.replicas": "2"})

        async def test_partition(dohle_world, topic):
            leader = await dohle_world.leader(topic)
            dohle_world.partition(leader)
            assert await written(dohle_world, topic) < 15
            assert await dohle_world.leader(topic) != leader
            dohle_world.heal()
            await dohle_world.wait_healthy()

        async def test_pause(dohle_world, topic):
            leader = await dohle_world.leader(topic)
            dohle_world.pause(leader)
            assert not dohle_world.serves(leader)
            assert 0.5 < await written(dohle_world, topic) < 20
            dohle_world.heal()
            await dohle_world.wait_healthy()

        async def test_failing_disk(dohle_world, topic):
            leader = await dohle_world.leader(topic)
            dohle_world.fail_disk(leader)
            await written(dohle_world, topic)
            with pytest.raises(Exception, match="ended by itself"):
                dohle_world.kill(leader)
            dohle_world.heal()
            await dohle_world.start(leader)
            await dohle_world.wait_healthy()

        async def test_slow_disk(dohle_world, topic):
            async def a_few():
                return sum([await written(dohle_world, topic) for _ in range(5)])

            usually = await a_few()
            dohle_world.slow_disk(1, 2, 3)
            assert await a_few() > 3 * usually
            dohle_world.heal()
            assert await a_few() < 3 * usually

        async def test_full_disk(dohle_world, topic):
            dohle_world.fill_disk(*dohle_world.nodes)
            with pytest.raises(Exception):
                await written(dohle_world, topic, delivery_timeout_ms=5000, request_timeout_ms=1000)

        async def test_power_loss_of_all_keeps_what_was_acknowledged(dohle_world, topic):
            await written(dohle_world, topic)
            dohle_world.lose_power(*dohle_world.nodes)
            await dohle_world.start(*dohle_world.nodes)
            async with dohle_world.consumer() as consumer:
                await consumer.assign(topic)
                assert [record.value for record in await consumer.batch(timeout_ms=20_000)] == [b"x"]
    """)
    outcome.assert_outcomes(passed=6)
