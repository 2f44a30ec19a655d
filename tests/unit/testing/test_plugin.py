"""The pytest plugin, as users have it: pytest runs inside pytest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[3]

COUNTER = """
import asyncio
import pytest
from denoagents import Actor, tell

class Counter(Actor):
    n: int = 0

    async def add(self, by: int) -> int:
        self.n += by
        return self.n

class Clerk(Actor):
    async def book(self, key: str) -> int:
        return await self.context.actor(Counter, key).add(1)
"""


@pytest.fixture
def run(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(tests, *options):
        pytester.makepyfile(test_it=COUNTER + tests)
        plugin = ("-p", "denoagents.testing.plugin", "-p", "no:cacheprovider", "-q")
        return pytester.runpytest_subprocess(*plugin, *options, timeout=30)

    return run


def test_a_cluster_starts_and_its_messages_are_seen_by_a_probe(run):
    result = run("""
@pytest.mark.asyncio
async def test_counts(cluster, probe):
    await cluster.start(Counter, Clerk, workers=2)
    seen = probe(Counter)
    assert await cluster.actor(Clerk, "c").book("a") == 1
    message = await seen.expect("add", key="a", by=1)
    assert message.reply == 1
    await seen.expect_nothing(0.01)
    seen.answer("add", 42)
    assert await cluster.actor(Clerk, "c").book("b") == 42
    seen.answer("add", ValueError("no"))
    with pytest.raises(Exception, match="no"):
        await cluster.actor(Counter, "c").add(1)
    seen.run("add")
    assert await cluster.actor(Counter, "d").add(3) == 3
    with pytest.raises(AssertionError, match="did not come within"):
        await seen.expect("add", by=7, within_s=0.01)
""")
    result.assert_outcomes(passed=1)


def test_a_failing_story_names_the_command_that_replays_it_and_that_does(run):
    tests = """
async def story(fleet):
    await fleet.start(Counter, workers=2)
    await fleet.actor(Counter, "a").add(1)
    fleet.kill(fleet.owner_of(Counter, "a"))
    await fleet.sleep(fleet.chance.uniform(3, 6))
    assert await fleet.actor(Counter, "a").add(1) == 1
    assert fleet.seed != 3

def test_story(sim):
    sim(story, seeds=[1, 3])
"""
    result = run(tests)
    result.assert_outcomes(failed=1)
    replay = "python -m pytest 'test_it.py::test_story' --denoagents-seed 3"
    result.stdout.fnmatch_lines([f"*seed 3 (trace *); replay it: {replay}"])
    traces = {line.split()[-1] for line in result.outlines if "seed 3 (trace" in line}
    again = run(tests, "--denoagents-seed", "3")
    again.assert_outcomes(failed=1)
    assert traces == {line.split()[-1] for line in again.outlines if "seed 3 (trace" in line}
    run(tests, "--denoagents-seed", "2").assert_outcomes(passed=1)


def test_what_a_test_leaves_behind_fails_it_by_name(run):
    result = run("""
import socket, threading
kept = []

@pytest.mark.asyncio
async def test_task(no_leaks):
    kept.append(asyncio.create_task(asyncio.sleep(60), name="forgotten"))

def test_socket(no_leaks):
    kept.append(socket.socket())

def test_thread(no_leaks):
    done = threading.Event()
    threading.Thread(target=done.wait, args=(5,), name="lingerer", daemon=True).start()

@pytest.mark.asyncio
async def test_message(cluster, probe):
    await cluster.start(Counter)
    probe(Counter).answer("add", lambda by: asyncio.sleep(20))
    await tell(cluster.actor(Counter, "slow").add, 1)

def test_nothing(no_leaks): ...
""")
    result.assert_outcomes(passed=5, errors=4)
    result.stdout.fnmatch_lines_random(
        [
            "*tasks left behind: forgotten in*",
            "*left behind: sockets: fd*",
            "*left behind: threads: lingerer*",
            "*not settled at the test's end: Counter/slow on w0: 0 messages wait, one runs*",
        ]
    )


def test_pytest_starts_without_anything_of_ours():
    code = (
        "import sys, denoagents.testing.plugin; "
        "print(*[name for name in sys.modules if name.startswith('denoagents.') or name == 'zmq'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == {"denoagents.testing", "denoagents.testing.plugin"}


def test_the_plugin_is_an_entry_point():
    text = (ROOT / "pyproject.toml").read_text()
    assert '"denoagents.testing.plugin" = "denoagents.testing.plugin"' in text
