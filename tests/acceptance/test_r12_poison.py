"""R12: messages that end their process are quarantined after three kills; nobody else notices."""

import asyncio
import json
import os
import time
from functools import partial
from pathlib import Path

import msgspec
import psutil
import pytest
from real_fleet import OPEN, Child, is_alive, load, settled, until

from denoagents import Node, options, tell
from denoagents.errors import OutcomeUnknownError

FULL = bool(os.environ.get("DENOAGENTS_FULL"))
APP = Path(__file__).parents[1] / "process" / "apps" / "poison.py"
ROUNDS = 8 if FULL else 2
TICK_S, BURST = 0.005, 6
app = load(APP)


class Crowd:
    """Asks bystanders at a steady rate, and counts what goes wrong."""

    def __init__(self, client):
        self.refs = [client.actor(app.Bystander, f"b{n}") for n in range(60)]
        self.sent, self.errors, self.slowest_s = 0, [], 0.0

    async def ask(self, number):
        begun = time.monotonic()
        try:
            assert await self.refs[number % len(self.refs)].echo(number) == number
        except Exception as error:
            self.errors.append(repr(error))
        self.slowest_s = max(self.slowest_s, time.monotonic() - begun)

    async def keep_asking(self):
        async with asyncio.TaskGroup() as tasks:
            while True:
                for _ in range(BURST):
                    tasks.create_task(self.ask(self.sent))
                    self.sent += 1
                await asyncio.sleep(TICK_S)


async def stop(task):
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def deaths(up):
    """Name and reason of each child that `up` has seen end, and what it does about it."""
    rows = [json.loads(line) for line in up.log.splitlines() if line.startswith("{")]
    return [
        (row["child"], row["reason"], row["now"]) for row in rows if row["event"] == "child ended"
    ]


@pytest.fixture
def up(tmp_path):
    child = Child("up", tmp_path, "up", APP, "--workers", 3, "--broker-port", 0)
    yield child
    child.end()


async def _kept(client, count):
    return len((await client.control("quarantined", {}))["rows"]) == count


async def _is_whole(client):
    rows = (await client.control("get", {"kind": "workers"}))["rows"]
    return len(rows) == 3 and all(row["slots_held"] == row["slots_owned"] > 0 for row in rows)


async def _nobody_is_left(up, family):
    up.process.terminate()
    await up.ended(30)
    await until(lambda: not any(is_alive(one) for one in family), 5)


@pytest.mark.timeout(400 if FULL else 90)
@pytest.mark.asyncio
async def test_r12_poison_is_quarantined_after_three_kills_and_nobody_else_notices(up, tmp_path):
    """Handlers that exit, with 0 too, and a segmentation fault: each costs one worker at a time."""
    endpoint = up.wait_for("ready")["endpoint"]
    family = psutil.Process(up.pid).children(recursive=True)
    kinds = [("leave", (3,)), ("leave", (0,)), ("crash", ())]
    async with Node(broker=endpoint, settings=OPEN) as client:
        await settled(client)
        crowd = Crowd(client)
        crowding = asyncio.create_task(crowd.keep_asking())
        paths = {}
        for number in range(ROUNDS):
            for kind, (method, arguments) in enumerate(kinds):
                path = tmp_path / f"poison-{number}-{kind}"
                ref = client.actor(app.Victim, path.name)
                paths[f"Victim/{path.name}"] = path
                await tell(getattr(ref, method), str(path), *arguments)
                await tell(ref.add, f"{path}-after", 1)
                await until(partial(_kept, client, len(paths)), 60)
                await until(partial(lines, Path(f"{path}-after")), 20)
                family += psutil.Process(up.pid).children(recursive=True)
        rows = (await client.control("quarantined", {}))["rows"]
        shown = [await client.control("quarantined_message", {"id": one["id"]}) for one in rows]
        await until(lambda: _is_whole(client), 20)
        await stop(crowding)
        books = client.statistics()["accounting"]
    share = len(crowd.errors) / crowd.sent
    print(
        f"\nR12: {len(rows)} of {len(paths)} poison messages quarantined, "
        f"{len(deaths(up))} kills; bystanders: {crowd.sent} asks, {len(crowd.errors)} errors "
        f"({share:.3%}), slowest {crowd.slowest_s:.2f} s"
    )
    assert {row["target"] for row in rows} == paths.keys()
    assert {row["deaths"] for row in rows} == {3}
    for row in shown:
        path = paths[row["target"]]
        assert msgspec.msgpack.decode(row["payload"])[0] == str(path)
        assert len(lines(path)) <= 3, "it ran at most three times"
        assert len(lines(Path(f"{path}-after"))) == 1, "what came after it was handled, once"
    assert crowd.sent >= 400 * len(paths), "the load's floor"
    assert share < 0.001, crowd.errors[:5]
    assert len(deaths(up)) == 3 * len(paths), "a kill costs one worker, and nothing else"
    assert any("SIGSEGV" in reason for _, reason, _ in deaths(up))
    assert all("starts again in" in now for _, _, now in deaths(up))
    assert books["off"] == 0
    await _nobody_is_left(up, family)


@pytest.mark.timeout(60)
@pytest.mark.asyncio
async def test_r12_what_is_sent_beside_poison_is_never_quarantined(up, tmp_path):
    """Three deadly messages at once, and reliable ones in front of, behind and beside them."""
    endpoint = up.wait_for("ready")["endpoint"]
    async with Node(broker=endpoint, settings=OPEN) as client:
        await settled(client)
        poisoned = [f"Victim/poison-{number}" for number in range(3)]
        refs = [client.actor(app.Victim, one.split("/")[1]) for one in poisoned]
        refs += [client.actor(app.Victim, f"innocent-{number}") for number in range(40)]
        for number in range(10):
            for ref in refs:
                await tell(ref.add, str(tmp_path / ref.address.split("/")[1]), 1)
            if number == 5:
                for ref in refs[:3]:
                    await tell(ref.leave, f"{tmp_path / ref.address.split('/')[1]}-deadly", 3)
        await until(lambda: _outstanding(client) == 0, 30)
        rows = (await client.control("quarantined", {}))["rows"]
        assert {(row["target"], row["method"]) for row in rows} == {
            (one, "leave") for one in poisoned
        }
        assert {row["deaths"] for row in rows} == {3}
        runs = [len(lines(tmp_path / f"poison-{number}-deadly")) for number in range(3)]
        assert max(runs) <= 4, runs  # of deaths that overlap, one may be blamed on nobody
        for ref in refs:
            assert len(lines(tmp_path / ref.address.split("/")[1])) >= 10, ref
        books = client.statistics()["accounting"]
        assert books["reliable"]["handled"] == 10 * len(refs)
        assert books["off"] == 0


def _outstanding(client):
    return client.statistics()["accounting"]["reliable"]["outstanding"]


@pytest.mark.timeout(60)
@pytest.mark.asyncio
async def test_r12_an_idempotent_ask_outlives_two_processes_and_not_three(up, tmp_path):
    endpoint = up.wait_for("ready")["endpoint"]
    async with Node(broker=endpoint, settings=OPEN) as client:
        await settled(client)
        ref, path = client.actor(app.Victim, "v"), tmp_path / "twice"
        assert await ref.leave_until(str(path), 2) == 3
        await until(partial(_is_whole, client), 20)
        path = tmp_path / "thrice"
        with pytest.raises(OutcomeUnknownError):
            await ref.leave_until(str(path), 3)
        assert len(lines(path)) == 3
        assert client.statistics()["accounting"]["off"] == 0


@pytest.mark.timeout(300 if FULL else 90)
@pytest.mark.asyncio
async def test_r12_a_segfaulting_handler_costs_one_worker_and_nothing_else(up, tmp_path):
    """Its asker hears that the outcome is unknown; idempotent asks beside it do not notice."""
    endpoint = up.wait_for("ready")["endpoint"]
    family = psutil.Process(up.pid).children(recursive=True)
    crashes = 10 if FULL else 3
    async with Node(broker=endpoint, settings=OPEN) as client:
        await settled(client)
        crowd = Crowd(client)
        crowding = asyncio.create_task(crowd.keep_asking())
        for number in range(crashes):
            await asyncio.sleep(1.5)
            victim = options(client.actor(app.Victim, f"v{number}"), reliable=False)
            with pytest.raises(OutcomeUnknownError):
                await victim.crash(str(tmp_path / "crashes"))
            await until(partial(_is_whole, client), 20)
            family += psutil.Process(up.pid).children(recursive=True)
        await stop(crowding)
    share = len(crowd.errors) / crowd.sent
    print(
        f"\nR12: {crashes} segmentation faults; bystanders: {crowd.sent} asks, "
        f"{len(crowd.errors)} errors ({share:.3%}), slowest {crowd.slowest_s:.2f} s"
    )
    assert len(lines(tmp_path / "crashes")) == crashes
    assert crowd.sent >= 300 * crashes, "the load's floor"
    assert share < 0.001, crowd.errors[:5]
    ends = deaths(up)
    assert [reason for _, reason, _ in ends] == ["killed by SIGSEGV"] * crashes
    assert all("starts again in" in now for _, _, now in ends)
    await _nobody_is_left(up, family)


@pytest.mark.timeout(60)
@pytest.mark.asyncio
async def test_r12_a_message_whose_handler_raises_three_times_is_quarantined(up, tmp_path):
    """In its place: what came after it is handled once, when it is out of the way."""
    endpoint = up.wait_for("ready")["endpoint"]
    async with Node(broker=endpoint, settings=OPEN) as client:
        await settled(client)
        ref, path, after = client.actor(app.Victim, "v"), tmp_path / "v", tmp_path / "after"
        await tell(ref.fail, str(path))
        await tell(ref.add, str(after), 1)
        await until(lambda: _kept(client, 1), 20)
        await until(lambda: lines(after))
        (row,) = (await client.control("quarantined", {}))["rows"]
        assert row["target"] == "Victim/v"
        assert row["reason"] == "ValueError: as asked"
        assert len(lines(path)) == 3
        assert len(lines(after)) == 1
        assert client.statistics()["accounting"]["off"] == 0
    assert deaths(up) == [], "no process ended"


CRASHING = """
import os, threading
from denoagents import Actor
class Echo(Actor):
    async def echo(self, n: int) -> int:
        return n
if not os.path.exists("may-live"):
    threading.Timer(0.3, os._exit, (7,)).start()
"""


@pytest.mark.timeout(60)
@pytest.mark.asyncio
async def test_r12_a_crash_looping_worker_is_restarted_with_a_growing_wait_that_is_told(tmp_path):
    """100, 200, 400, 800 ms; when its code is well again, so is the fleet."""
    path = tmp_path / "crashing.py"
    path.write_text(CRASHING)
    up = Child("up", tmp_path, "up", path, "--workers", 1, "--broker-port", 0)
    try:
        await until(lambda: len(deaths(up)) >= 4, 30)
        (tmp_path / "may-live").touch()
        told = [now for _, reason, now in deaths(up)[:4] if reason == "exit code 7"]
        assert told == [
            "starts again in 0.1 s, restart 1", "starts again in 0.2 s, restart 2",
            "starts again in 0.4 s, restart 3", "starts again in 0.8 s, restart 4",
        ]  # fmt: skip
        endpoint = up.wait_for("ready")["endpoint"]
        async with Node(broker=endpoint, settings=OPEN) as client:
            assert await client.ask("Echo/a", "echo", 5, timeout_s=20) == 5
        family = psutil.Process(up.pid).children(recursive=True)
        await _nobody_is_left(up, family)
    finally:
        up.end()
