"""Asks: one outcome each, typed errors, misuse told at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from embedded import check_books, embedded, in_virtual_time

from denoagents import Actor, Node, RemoteError, options, tell
from denoagents.errors import (
    ActorStoppedError,
    ArgumentsError,
    NodeStoppedError,
    OutcomeUnknownError,
    ReplyEncodingError,
    UnknownMethodError,
    UsageError,
)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class Counter(Actor):
    total: int = 0

    async def add(self, n: int, *, twice: bool = False) -> int:
        self.total += n * (2 if twice else 1)
        return self.total

    async def wait_and_add(self, n: int) -> int:
        await asyncio.sleep(0.01)
        self.total += n
        return self.total

    async def give(self, what: str) -> Any:
        given: dict[str, Any] = {
            "none": None,
            "tuple": (1, 2),
            "error": ValueError("a value"),
            "stop": StopIteration(3),
            "type": ValueError,
        }
        return given[what]

    async def promise_int(self) -> int:
        return "no int"  # type: ignore[return-value]

    async def fail(self, how: str) -> None:
        if how == "value":
            raise ValueError("wrong value")
        if how == "unprintable":
            raise Unprintable
        if how == "cancelled":
            raise asyncio.CancelledError
        if how == "generator":
            raise GeneratorExit
        raise ActorStoppedError("by hand")

    async def count_to(self, n: int) -> AsyncIterator[int]:
        for i in range(n):
            await asyncio.sleep(0.001)
            yield i

    async def _private(self) -> None: ...


@in_virtual_time()
async def test_an_ask_returns_what_the_method_returned(node: Node) -> None:
    counter = node.actor(Counter, "a")
    assert await counter.add(2) == 2
    assert await counter.add(n=2, twice=True) == 6
    assert await counter.wait_and_add(1) == 7
    assert check_books(node)["handled"] == 3


@in_virtual_time(codec=(False,))
async def test_any_value_can_be_returned_by_reference(node: Node) -> None:
    counter = node.actor(Counter, "a")
    for waits in (False, True):

        async def ask(what: str, waits: bool = waits) -> Any:
            return await (asyncio.create_task(counter.give(what)) if waits else counter.give(what))

        assert await ask("none") is None
        assert await ask("tuple") == (1, 2)
        assert repr(await ask("error")) == "ValueError('a value')"
        assert await ask("type") is ValueError
        stop = await ask("stop")
        assert isinstance(stop, StopIteration)


@in_virtual_time()
async def test_a_call_is_a_coroutine(node: Node) -> None:
    counter = node.actor(Counter, "a")
    assert await asyncio.gather(*(counter.wait_and_add(1) for _ in range(3))) == [1, 2, 3]
    assert await asyncio.create_task(counter.add(1)) == 4
    assert await asyncio.wait_for(counter.wait_and_add(1), 1) == 5
    async with asyncio.timeout(1), asyncio.TaskGroup() as group:
        task = group.create_task(counter.add(1))
    assert task.result() == 6
    call = counter.add(1)
    assert asyncio.iscoroutine(call)
    call.close()


@in_virtual_time()
async def test_what_a_method_raises_reaches_the_asker_as_a_typed_error(node: Node) -> None:
    counter = node.actor(Counter, "a")
    with pytest.raises(RemoteError, match="wrong value") as caught:
        await counter.fail("value")
    assert caught.value.type_name == "ValueError"
    assert 'raise ValueError("wrong value")' in caught.value.remote_traceback
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(ActorStoppedError, match="by hand"):
        await counter.fail("typed")
    with pytest.raises(RemoteError) as odd:
        await counter.fail("unprintable")
    assert odd.value.type_name == "Unprintable"
    with pytest.raises(OutcomeUnknownError):
        await counter.fail("cancelled")
    with pytest.raises(RemoteError) as unusual:
        await counter.fail("generator")
    assert unusual.value.type_name == "GeneratorExit"
    assert check_books(node)["failed"] == 5
    assert await counter.add(1) == 1, "it lives on"


@in_virtual_time(codec=(True,))
async def test_a_result_that_cannot_be_sent_is_an_error_that_names_the_method(node: Node) -> None:
    counter = node.actor(Counter, "a")
    with pytest.raises(ReplyEncodingError, match=r"Counter\.promise_int"):
        await counter.promise_int()
    with pytest.raises(ReplyEncodingError, match=r"Counter.give.*ValueError"):
        await counter.give("error")
    assert check_books(node)["handled"] == 2


@in_virtual_time()
async def test_wrong_arguments_are_told_to_the_caller_and_nothing_is_sent(node: Node) -> None:
    counter: Any = node.actor(Counter, "a")
    for call in (
        lambda: counter.add(twice=True),
        lambda: counter.add(1, 2),
        lambda: counter.add(1, twise=True),
        lambda: counter.add(1, n=2),
    ):
        with pytest.raises(ArgumentsError, match=r"Counter\.add"):
            await call()
        assert check_books(node)["accepted"] == 0


@in_virtual_time(codec=(True,))
async def test_arguments_of_a_wrong_type_are_refused_by_the_owner(node: Node) -> None:
    counter: Any = node.actor(Counter, "a")
    with pytest.raises(ArgumentsError, match=r"Counter.add.*'n'"):
        await counter.add("two")
    assert check_books(node)["refused"] == 1
    await tell(counter.add, "two")
    await asyncio.sleep(0.001)
    assert check_books(node)["dead_lettered"] == 1


@in_virtual_time()
async def test_a_misspelt_private_or_state_name_fails_at_once(node: Node) -> None:
    counter: Any = node.actor(Counter, "a")
    with pytest.raises(UnknownMethodError, match="Did you mean 'add'"):
        counter.ad  # noqa: B018
    with pytest.raises(UnknownMethodError, match="private"):
        counter._private()
    with pytest.raises(UnknownMethodError, match="state"):
        counter.total  # noqa: B018
    assert not hasattr(counter, "ad")
    assert getattr(counter, "nothing", 3) == 3


@in_virtual_time(codec=(False,))
async def test_a_call_that_is_never_awaited_warns(node: Node) -> None:
    with pytest.warns(RuntimeWarning, match=r"Counter/a\.add was never awaited"):
        node.actor(Counter, "a").add(1)  # type: ignore[unused-coroutine]
    assert check_books(node)["accepted"] == 0


@in_virtual_time(codec=(False,))
async def test_a_task_cancelled_before_it_began_sends_nothing_and_does_not_warn(node: Node) -> None:
    task = asyncio.create_task(node.actor(Counter, "a").add(1))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert check_books(node)["accepted"] == 0


@in_virtual_time(codec=(False,))
async def test_a_call_can_be_awaited_once(node: Node) -> None:
    counter = node.actor(Counter, "a")
    call = counter.add(1)
    assert await call == 1
    with pytest.raises(RuntimeError, match="awaited already"):
        await call
    slow: Any = counter.wait_and_add(1)

    async def second() -> None:
        await slow

    first = asyncio.ensure_future(slow)
    other = asyncio.create_task(second())
    with pytest.raises(RuntimeError, match="being awaited already"):
        await other
    assert await first == 2


@in_virtual_time(codec=(False,))
async def test_a_call_that_failed_to_leave_can_not_be_awaited_again(node: Node) -> None:
    call: Any = node.actor(Counter, "a").add()  # type: ignore[call-arg]
    with pytest.raises(ArgumentsError):
        await call
    with pytest.raises(RuntimeError, match="awaited already"):
        await call


@pytest.mark.asyncio
async def test_a_ref_used_in_another_thread_says_what_to_do() -> None:
    async with embedded() as node:
        counter = node.actor(Counter, "a")
        loop = asyncio.get_running_loop()
        found: list[Any] = []

        async def ask() -> None:
            await counter.add(1)

        def in_thread() -> None:
            for attempt in (
                lambda: asyncio.run(ask()),
                lambda: tell(counter.add, 1),
                lambda: asyncio.run_coroutine_threadsafe(counter.add(1), loop).result(5),
            ):
                try:
                    found.append(attempt())
                except Exception as error:
                    found.append(error)

        thread = threading.Thread(target=in_thread)
        thread.start()
        await asyncio.to_thread(thread.join)
        first, second, third = found
        assert isinstance(first, UsageError)
        assert "run_coroutine_threadsafe" in str(first)
        assert isinstance(second, UsageError)
        assert third == 1


def test_a_ref_used_on_another_loop_says_so_and_does_not_hang() -> None:
    """As happens with a fixture that starts a node on a loop that its tests do not run on."""
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    node = embedded()
    first.run_until_complete(node.start())
    counter: Any = node.actor(Counter, "a")
    found = []

    async def use() -> None:
        for attempt in (
            counter.wait_and_add,
            lambda n: tell(counter.add, n),
            lambda n: anext(counter.count_to(n)),
        ):
            try:
                async with asyncio.timeout(1):
                    await attempt(1)
            except UsageError as error:
                found.append(str(error))

    second.run_until_complete(use())
    assert len(found) == 3
    assert all("another event loop" in text for text in found)
    first.run_until_complete(node.close(drain=False))
    first.run_until_complete(asyncio.sleep(0.02))
    first.close()
    second.close()


def test_a_closed_node_says_so() -> None:
    async def main() -> None:
        node = embedded()
        async with node:
            counter = node.actor(Counter, "a")
        for use in (lambda: counter.add(1), lambda: node.ask("Counter/a", "add", 1)):
            with pytest.raises(NodeStoppedError):
                await use()
        with pytest.raises(NodeStoppedError):
            node.actor(Counter, "b")
        with pytest.raises(NodeStoppedError):
            tell(counter.add, 1)
        check_books(node)

    asyncio.run(main())


@in_virtual_time()
async def test_options_change_one_ref_only(node: Node) -> None:
    counter: Any = node.actor(Counter, "a")
    quick: Any = options(counter, timeout_s=2, priority="high")
    assert await quick.add(1) == 1
    assert (quick.address, quick.timeout_ns, quick.priority) == ("Counter/a", 2_000_000_000, 0)
    assert (counter.timeout_ns, counter.priority) == (0, -1)
    assert options(quick, timeout_s=3).priority == 0
    for wrong in ({"timeout_s": 0}, {"timeout_s": -1}, {"priority": "urgent"}):
        with pytest.raises(UsageError):
            options(counter, **wrong)
    with pytest.raises(UsageError, match="takes a ref"):
        options(5)


@in_virtual_time()
async def test_asks_by_address_need_no_class(node: Node) -> None:
    await node.actor(Counter, "a").add(3)
    assert await node.ask("Counter/a", "add", 2, timeout_s=1, priority="low") == 5
    with pytest.raises(UnknownMethodError):
        await node.ask("Counter/a", "ad", 2)
    with pytest.raises(UsageError):
        await node.ask("Contour/a", "add", 2)
