"""Users' stories: a fleet in virtual time does what the story says, and is judged at its end."""

import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from denoagents import Actor, tell
from denoagents.errors import OutcomeUnknownError, UsageError
from denoagents.testing import NodeGoneError, RuleBrokenError, simulate


class Counter(Actor):
    n: int = 0

    async def add(self, by: int) -> int:
        self.n += by
        return self.n

    async def slow(self, wait_s: float) -> int:
        await asyncio.sleep(wait_s)
        return self.n


def play(story, seed=1, **how):
    return simulate(story, seed=seed, **how)


def test_virtual_time_passes_faster_than_real_time():
    async def story(fleet):
        await fleet.start(Counter)
        await fleet.sleep(300)
        return await fleet.actor(Counter, "a").add(1)

    began_s = time.perf_counter()
    ending = play(story)
    assert ending.result == 1
    assert ending.elapsed_s > 299  # no machine's clock is exact
    assert time.perf_counter() - began_s < 30


def test_a_killed_worker_comes_back_and_the_outcome_of_what_ran_is_unknown():
    async def story(fleet):
        await fleet.start(Counter, workers=2)
        counter = fleet.actor(Counter, "a")
        await counter.add(1)
        asked = asyncio.ensure_future(counter.slow(1.0))
        await fleet.sleep(0.1)
        name = fleet.owner_of(Counter, "a")
        fleet.kill(name)
        with pytest.raises(OutcomeUnknownError):
            await asked
        await fleet.until(lambda: name in [one.name for one in fleet.workers()])
        await fleet.quiet()
        return await counter.add(1)

    assert play(story).result == 1


def test_a_worker_that_leaves_hands_its_actors_over():
    async def story(fleet):
        await fleet.start(Counter, workers=2)
        counter = fleet.actor(Counter, "a")
        await counter.add(1)
        name = fleet.owner_of(Counter, "a")
        fleet.leave(name)
        await fleet.quiet()
        assert await counter.add(1) == 2
        assert fleet.owner_of(Counter, "a") not in {"", name}

    play(story)


def test_the_network_loses_doubles_and_reorders_and_nobody_notices():
    async def story(fleet):
        await fleet.start(Counter, workers=2)
        fleet.disturb_network(loss=0.005, duplicates=0.05, reordering=0.02, delay_s=(0.001, 0.004))
        counter = fleet.actor(Counter, "a")
        for _ in range(200):
            await tell(counter.add, 1)
            await fleet.sleep(0.001)
        total = await counter.add(0)
        network = fleet.world.network
        assert min(network.frames_lost, network.frames_repeated, network.frames_reordered) > 0
        return total

    assert [play(story, seed).result for seed in range(3)] == [200] * 3


def test_who_is_cut_off_is_heard_again_afterwards():
    async def story(fleet):
        await fleet.start(Counter, workers=1)
        counter = fleet.actor(Counter, "a")
        await counter.add(1)
        with fleet.partition("story", from_=["w0"]):
            asked = asyncio.ensure_future(counter.add(1))
            await fleet.sleep(0.5)
            assert not asked.done()
        assert await asked == 2
        fleet.freeze("w0", for_s=0.5)
        began_s = fleet.now_s
        assert await counter.add(1) == 3
        assert fleet.now_s - began_s > 0.4
        fleet.restart_broker(after_s=0.3)
        assert await counter.add(1) == 4
        assert fleet.cut("w0") > 0
        assert await counter.add(1) == 5

    play(story)


def test_code_runs_in_other_processes_until_they_end():
    async def story(fleet):
        await fleet.start(Counter)
        await fleet.client("c1")

        async def ask(node):
            return await node.actor(Counter, "a").add(5)

        async def hang(node):
            await asyncio.sleep(1000)

        assert await fleet.run("c1", ask) == 5
        fleet.is_supervised = False
        hangs = asyncio.ensure_future(fleet.run("c1", hang))
        await fleet.sleep(0.1)
        fleet.kill("c1")
        with pytest.raises(NodeGoneError):
            await hangs

    play(story)


def test_chaos_comes_from_the_seed():
    async def story(fleet):
        await fleet.start(Counter, workers=2)
        with fleet.chaos(Counter, gentle=True):
            for _ in range(30):
                await fleet.actor(Counter, random.choice("abc")).add(1)
                await fleet.sleep(0.1)
        await fleet.quiet()
        return sum([await fleet.actor(Counter, key).add(0) for key in "abc"])

    first, again, other = play(story, 5), play(story, 5), play(story, 6)
    assert first.result == other.result == 30
    assert first.digest == again.digest != other.digest


def test_a_failing_story_tells_what_happened_and_how_to_replay_it():
    async def story(fleet):
        await fleet.start(Counter)
        fleet.kill("w0")
        assert await fleet.actor(Counter, "a").add(1) == 2

    with pytest.raises(AssertionError) as failed:
        play(story, 7)
    last, replay = failed.value.__notes__
    assert "w0.1 is killed" in last
    assert replay.startswith("seed 7 (trace ")
    assert "simulate(" in replay


def test_a_message_that_waits_for_ever_breaks_a_rule():
    async def story(fleet):
        await fleet.start(Counter)
        await tell(fleet.actor(Counter, "a").slow, 1e6)

    with pytest.raises(RuleBrokenError, match=r"w0\.1 has work.* at Counter/a"):
        play(story)
    play(story, must_be_quiet=False)


def test_a_story_that_does_not_end_is_ended():
    async def story(fleet):
        await fleet.sleep(1e9)

    with pytest.raises(RuntimeError, match="did not end within 60 virtual seconds"):
        play(story, longest_s=60)


@pytest.mark.asyncio
async def test_stories_are_played_from_plain_functions():
    with pytest.raises(UsageError, match="plain function"):
        play(lambda fleet: None)


def test_the_command_that_is_told_replays_a_story(tmp_path):
    (tmp_path / "bank.py").write_text(
        "from denoagents import Actor\n"
        "class Account(Actor):\n"
        "    async def look(self) -> int:\n"
        "        return 1\n"
        "async def story(fleet):\n"
        "    await fleet.start(Account)\n"
        "    assert await fleet.actor(Account, 'a').look() == 1\n"
        "    assert fleet.seed < 2\n"
    )

    def run(*options):
        command = [sys.executable, "-m", "denoagents.testing", "bank.py:story", *options]
        env = {"PYTHONPATH": str(Path(__file__).parents[3])}
        return subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )

    many = run("--seeds", "0-2")
    assert many.returncode == 1
    command = "python -m denoagents.testing bank.py:story --seed 2 -v"
    assert command in many.stdout
    assert "3 stories in" in many.stdout
    one = run(*command.split()[4:])
    assert one.returncode == 1
    assert "w0.1 starts" in one.stdout
    assert command in one.stderr
    assert run("--seed", "1").stdout.startswith("seed 1: ")
