"""A node without a broker: one actor's life, and what its callers see."""

import asyncio
import subprocess
import sys

import pytest
import pytest_asyncio

from denoagents import (
    Actor,
    Node,
    NodeSettings,
    Supervision,
    options,
    tell,
    uninterruptible,
)
from denoagents.actor.settings import ActorSettings
from denoagents.errors import (
    ActorStoppedError,
    CallCycleError,
    NodeStoppedError,
    OutcomeUnknownError,
    RemoteError,
    RequestTimeoutError,
    UnknownMethodError,
    UsageError,
)

NOTES: list[str] = []


class Child(Actor):
    total: int = 0

    async def on_start(self) -> None:
        NOTES.append(f"start {self.context.address}")

    async def on_stop(self) -> None:
        NOTES.append(f"stop {self.context.address}")

    async def add(self, n: int) -> int:
        self.total += n
        return self.total

    async def fail(self) -> None:
        raise ValueError("as asked")

    async def rest(self) -> None:
        await asyncio.sleep(0.02)


class Parent(Actor):
    supervision = Supervision(intensity=2, within_s=60, backoff_first_s=0.001)

    async def make(self, name: str) -> Child:
        return self.context.spawn(Child, name)

    async def end(self, child: Child) -> None:
        await self.context.stop(child)

    async def children(self) -> list[str]:
        return list(self.context.children)

    async def leave(self) -> None:
        self.context.stop_self()


class Resuming(Parent):
    supervision = Supervision("resume")


class Stopping(Parent):
    supervision = Supervision("stop")


class Box(Actor):
    items: list[int] = []  # noqa: RUF012 - state: each actor gets its own
    cache: str

    async def put(self, items: list[int]) -> list[int]:
        self.items = items
        return self.items

    async def get(self) -> list[int]:
        return self.items

    async def wait(self, name: str) -> None:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            NOTES.append(f"{name} cancelled")
            raise

    @uninterruptible
    async def wait_on(self, name: str) -> None:
        await asyncio.sleep(0.05)
        NOTES.append(f"{name} done")

    async def ask_me(self, key: str) -> None:
        await self.context.actor(Box, key).ask_me(self.context.address.partition("/")[2])

    async def tick(self, name: str) -> None:
        NOTES.append(name)

    async def begin(self) -> None:
        self.context.schedule(self.tick, "tick", every_s=0.01)
        self.context.schedule(self.tick, "once", after_s=0.01)

    async def count(self, n: int):
        try:
            for number in range(n):
                NOTES.append(f"made {number}")
                yield number
        finally:
            NOTES.append("closed")


async def true(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what actors did, they noted without an event
            await asyncio.sleep(0.001)


@pytest_asyncio.fixture
async def node():
    NOTES.clear()
    async with Node() as node:
        yield node


# --- asking and telling ---------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_calls_inside_a_process_pass_the_codec_under_pytest_and_not_otherwise():
    sent = [1, 2]
    async with Node() as checked:
        box = checked.actor(Box, "a")
        assert await box.put(sent) == sent
        assert await box.get() is not sent
    async with Node(settings=NodeSettings(actor=ActorSettings(check_local_calls=False))) as plain:
        assert await plain.actor(Box, "a").put(sent) is sent, "no serializer"


def test_outside_pytest_calls_inside_a_process_meet_no_serializer():
    code = "import asyncio, denoagents\nclass Box(denoagents.Actor):\n"
    code += "    async def give(self, items: list[int]) -> list[int]: return items\n"
    code += "async def main():\n    async with denoagents.Node() as node:\n        sent = [1]\n"
    code += "        print(await node.actor(Box, 'a').give(sent) is sent)\nasyncio.run(main())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "True\n"


@pytest.mark.asyncio
async def test_a_call_that_is_never_awaited_warns_and_sends_nothing(node):
    box = node.actor(Box, "a")
    with pytest.warns(RuntimeWarning, match=r"Box/a\.get was never awaited"):
        box.get()  # counted references: it warns at once
    assert node.statistics()["accounting"]["sender"]["sent"] == 0


@pytest.mark.asyncio
async def test_private_names_and_misspelt_ones_fail_at_the_caller(node):
    box = node.actor(Box, "a")
    with pytest.raises(UnknownMethodError, match="Did you mean 'get'"):
        box.gets()
    with pytest.raises((UnknownMethodError, AttributeError)):
        box.on_start()
    with pytest.raises((UnknownMethodError, AttributeError)):
        box._private()


@pytest.mark.asyncio
async def test_a_call_that_comes_back_names_its_path(node):
    with pytest.raises(CallCycleError, match="Box/a -> Box/b -> Box/a"):
        await node.actor(Box, "a").ask_me("b")
    assert await node.actor(Box, "a").get() == [], "both live on"


@pytest.mark.asyncio
async def test_cancelling_the_caller_cancels_the_turn_but_not_an_uninterruptible_one(node):
    box = node.actor(Box, "a")
    for method, expected in ((box.wait, "x cancelled"), (box.wait_on, "x done")):
        NOTES.clear()
        task = asyncio.create_task(method("x"))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await true(lambda expected=expected: expected in NOTES)
    assert node.statistics()["accounting"]["off"] == 0


@pytest.mark.asyncio
async def test_a_cancelled_call_that_still_waits_is_taken_out(node):
    box = node.actor(Box, "a")
    running = asyncio.create_task(box.wait("first"))
    await asyncio.sleep(0.01)
    waiting = asyncio.create_task(box.put([9]))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    running.cancel()
    assert await box.get() == [], "it was not run"


@pytest.mark.asyncio
async def test_a_stream_inside_a_process_stays_within_its_credit_and_closes_early(node):
    box = node.actor(Box, "a")
    got = []
    async for number in box.count(1000):
        got.append(number)
        if number == 3:
            await asyncio.sleep(0.01)
            break
    assert got == [0, 1, 2, 3]
    await true(lambda: "closed" in NOTES)
    assert sum(note.startswith("made") for note in NOTES) <= 4 + 64


# --- children and supervision ---------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_child_that_raises_is_restarted_with_fresh_state_and_its_mailbox(node):
    child = await node.actor(Parent, "p").make("c")
    assert await child.add(5) == 5
    resting = asyncio.create_task(child.rest())
    await asyncio.sleep(0)
    failing = asyncio.create_task(child.fail())
    await asyncio.sleep(0)
    behind = asyncio.create_task(child.add(1))
    with pytest.raises(RemoteError, match="as asked"):
        await failing
    await resting
    assert await behind == 1, "a new instance took the message that waited"
    assert NOTES.count("start Parent/p/c") == 2


@pytest.mark.asyncio
async def test_resume_keeps_the_state_and_stop_ends_the_child(node):
    kept = await node.actor(Resuming, "p").make("c")
    await kept.add(5)
    with pytest.raises(RemoteError):
        await kept.fail()
    assert await kept.add(1) == 6

    stopped = await node.actor(Stopping, "p").make("c")
    with pytest.raises(RemoteError):
        await stopped.fail()
    with pytest.raises(ActorStoppedError):
        await stopped.add(1)
    assert await node.actor(Stopping, "p").children() == []


@pytest.mark.asyncio
async def test_too_many_restarts_end_the_child(node):
    parent = node.actor(Parent, "p")
    child = await parent.make("c")
    for _ in range(3):
        with pytest.raises(RemoteError):
            await child.fail()
    with pytest.raises(ActorStoppedError):
        await child.add(1)
    assert await parent.children() == []
    assert await (await parent.make("c")).add(1) == 1, "its name is free again"


@pytest.mark.asyncio
async def test_children_stop_with_their_parent_and_before_it(node):
    parent = node.actor(Parent, "p")
    first, second = await parent.make("one"), await parent.make("two")
    await first.add(1)
    await second.add(1)
    await parent.end(first)
    assert await parent.children() == ["Parent/p/two"]
    await parent.leave()
    await true(lambda: "stop Parent/p/two" in NOTES)
    with pytest.raises(ActorStoppedError, match="no child"):
        await second.add(1)


@pytest.mark.asyncio
async def test_an_actor_without_a_parent_keeps_its_state_when_it_raises(node):
    class Root(Child):
        """A child's methods, without a parent."""

    root = node.actor(Root, "r")
    await root.add(4)
    with pytest.raises(RemoteError) as caught:
        await root.fail()
    assert caught.value.type_name == "ValueError"
    assert "raise ValueError" in caught.value.remote_traceback
    assert isinstance(caught.value.__cause__, ValueError), "nearby, the exception itself, too"
    assert await root.add(1) == 5


# --- timers, passivation, ends --------------------------------------------------------------------


@pytest.mark.asyncio
async def test_timers_send_their_actor_messages(node):
    await node.actor(Box, "a").begin()
    await true(lambda: NOTES.count("tick") >= 3)
    assert NOTES.count("once") == 1
    assert node.statistics()["accounting"]["off"] == 0


@pytest.mark.asyncio
async def test_an_idle_actor_gives_up_its_instance_and_keeps_its_declared_state():
    NOTES.clear()
    soon = ActorSettings(passivate_after_s=0.02, sweep_every_s=0.01)
    async with Node(settings=NodeSettings(actor=soon)) as node:
        box = node.actor(Box, "a")
        await box.put([1, 2])
        await true(lambda: node.statistics()["passivations"] == 1)
        assert node.statistics()["actors"] == 0
        assert await box.get() == [1, 2]
        assert node.statistics()["activations"] == 2


@pytest.mark.asyncio
async def test_a_tell_that_nobody_takes_is_a_dead_letter_with_its_reason(node):
    parent = node.actor(Parent, "p")
    child = await parent.make("c")
    resting = asyncio.create_task(child.rest())
    await asyncio.sleep(0)
    await tell(child.add, 1)
    await parent.end(child)
    await resting
    letters = node.statistics()["last_dead_letters"]
    assert [(one["address"], one["method"]) for one in letters] == [("Parent/p/c", "add")]
    assert "stopped" in letters[0]["reason"]
    assert node.statistics()["accounting"]["off"] == 0


@pytest.mark.asyncio
async def test_closing_finishes_what_waits_and_closing_now_refuses_it():
    NOTES.clear()
    for drains in (True, False):
        node = Node()
        await node.start()
        child = node.actor(Child, "c")
        running = asyncio.create_task(child.rest())
        await asyncio.sleep(0)
        waiting = asyncio.create_task(child.add(1))
        await asyncio.sleep(0)
        await node.close(drain=drains)
        outcomes = await asyncio.gather(running, waiting, return_exceptions=True)
        if drains:
            assert outcomes == [None, 1]
        else:
            assert [type(one) for one in outcomes] == [OutcomeUnknownError, NodeStoppedError]
        with pytest.raises(NodeStoppedError):
            node.actor(Child, "c")


@pytest.mark.asyncio
async def test_a_deadline_ends_a_turn_and_its_actor_is_free(node):
    box = node.actor(Box, "a")
    with pytest.raises(RequestTimeoutError):
        await options(box, timeout_s=0.03).wait("late")
    assert NOTES == ["late cancelled"]
    assert await box.get() == []


# --- pools ----------------------------------------------------------------------------------------


class Member(Actor):
    async def who(self) -> str:
        return self.context.address

    async def slow(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return self.context.address


@pytest.mark.asyncio
async def test_round_robin_takes_turns(node):
    pool = node.pool(Member, size=4)
    seen = [await pool.who() for _ in range(12)]
    assert len(set(seen)) == 4
    assert seen[:4] == seen[4:8] == seen[8:]


@pytest.mark.asyncio
async def test_least_connections_avoids_the_busy(node):
    pool = node.pool(Member, "busy", strategy="least_connections", size=3)
    busy = [asyncio.create_task(pool.slow(0.1)) for _ in range(2)]
    await asyncio.sleep(0.01)
    free = {await pool.who() for _ in range(10)}
    assert len(free) == 1
    assert free.isdisjoint(await asyncio.gather(*busy))


@pytest.mark.asyncio
async def test_a_pool_is_declared_alike_everywhere(node):
    node.pool(Member, "one", size=2)
    with pytest.raises(UsageError, match="exists with strategy"):
        node.pool(Member, "one", size=3)
