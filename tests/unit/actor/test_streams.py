"""Streaming replies inside a process: credit, leaving early, errors, deadlines."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from embedded import check_books, in_virtual_time, settled

from denoagents import Actor, Node, RemoteError, RequestTimeoutError, options
from denoagents.errors import (
    ArgumentsError,
    CreditTimeoutError,
    ExpiredError,
    ReplyEncodingError,
)

written: list[int] = []
endings: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    written.clear()
    endings.clear()


class Writer(Actor):
    async def count_to(self, n: int) -> AsyncIterator[int]:
        try:
            for i in range(n):
                written.append(i)
                yield i
            endings.append("end")
        except BaseException as error:
            endings.append(type(error).__name__)
            raise

    async def slowly(self, n: int, pause_s: float) -> AsyncIterator[int]:
        try:
            for i in range(n):
                await asyncio.sleep(pause_s)
                written.append(i)
                yield i
        except BaseException as error:
            endings.append(type(error).__name__)
            raise

    async def fail_after(self, n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i
        raise ValueError(f"after {n}")

    async def promise_ints(self) -> AsyncIterator[int]:
        yield 1
        yield "two"  # type: ignore[misc]

    async def nothing(self) -> AsyncIterator[int]:
        if written is None:
            yield 1

    async def hold(self, time_s: float) -> None:
        await asyncio.sleep(time_s)

    async def first_of(self, other: Writer) -> int:
        async for i in other.count_to(1000):
            return i
        return -1


@in_virtual_time()
async def test_a_stream_gives_every_item_in_order(node: Node) -> None:
    ref = node.actor(Writer, "a")
    assert [i async for i in ref.count_to(500)] == list(range(500))
    assert [i async for i in ref.slowly(5, 0.1)] == list(range(5))
    assert [i async for i in ref.nothing()] == []
    assert check_books(node)["handled"] == 3


@in_virtual_time()
async def test_a_stream_is_sent_at_the_first_item_asked_for(node: Node) -> None:
    stream = node.actor(Writer, "a").count_to(3)
    await asyncio.sleep(1)
    assert check_books(node)["accepted"] == 0
    assert await anext(stream) == 0


@in_virtual_time(stream_items=8)
async def test_a_slow_reader_slows_the_writer(node: Node) -> None:
    read = 0
    async for _ in node.actor(Writer, "a").count_to(100):
        read += 1
        await asyncio.sleep(0.1)
        assert len(written) <= read + 8
    assert read == 100


@in_virtual_time(stream_items=8)
async def test_leaving_the_loop_early_cancels_the_writer(node: Node) -> None:
    async for i in node.actor(Writer, "a").count_to(10**9):
        if i == 5:
            break
    await settled(node, 0.1)
    assert endings == ["GeneratorExit"]
    assert check_books(node)["cancelled"] == 1
    assert [i async for i in node.actor(Writer, "a").count_to(2)] == [0, 1]


@in_virtual_time()
async def test_leaving_by_an_exception_cancels_the_writer(node: Node) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async for i in node.actor(Writer, "a").slowly(10**9, 0.1):
            i / i
    await settled(node, 0.1)
    assert endings == ["CancelledError"]


@in_virtual_time()
async def test_closing_a_stream_cancels_the_writer(node: Node) -> None:
    stream: Any = node.actor(Writer, "a").slowly(10**9, 0.1)
    async with contextlib.aclosing(stream):
        assert await anext(stream) == 0
    await settled(node, 0.1)
    assert endings == ["CancelledError"]
    assert [i async for i in stream] == []


@in_virtual_time()
async def test_losing_a_stream_cancels_the_writer(node: Node) -> None:
    stream: Any = node.actor(Writer, "a").count_to(10**9)
    assert await anext(stream) == 0
    del stream
    await settled(node, 0.1)
    assert check_books(node)["cancelled"] == 1


@pytest.mark.asyncio
async def test_a_stream_may_be_lost_in_another_thread() -> None:
    """The cycle collector runs in any."""
    from embedded import embedded

    async with embedded() as node:
        stream: Any = node.actor(Writer, "a").count_to(10**9)
        await anext(stream)
        cycle: list[Any] = [stream]
        cycle.append(cycle)
        del stream, cycle
        thread = threading.Thread(target=gc.collect)
        thread.start()
        await asyncio.to_thread(thread.join)
        for _ in range(5):
            await asyncio.sleep(0)
        assert check_books(node)["cancelled"] == 1


@in_virtual_time()
async def test_cancelling_the_reading_task_cancels_the_writer(node: Node) -> None:
    async def read() -> None:
        async for _ in node.actor(Writer, "a").slowly(10**9, 0.1):
            pass

    task = asyncio.create_task(read())
    await asyncio.sleep(0.35)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await settled(node, 0.05)
    assert endings == ["CancelledError"]
    assert written == [0, 1, 2]


@in_virtual_time()
async def test_an_actor_that_leaves_a_stream_cancels_its_writer(node: Node) -> None:
    assert await node.actor(Writer, "a").first_of(node.actor(Writer, "b")) == 0
    await settled(node, 0.1)
    assert check_books(node)["cancelled"] == 1


@in_virtual_time()
async def test_what_the_generator_raises_comes_after_its_items(node: Node) -> None:
    got = []
    with pytest.raises(RemoteError, match="after 3"):
        async for i in node.actor(Writer, "a").fail_after(3):
            got.append(i)
            await asyncio.sleep(0.01)
    assert got == [0, 1, 2]


@in_virtual_time(codec=(True,))
async def test_an_item_of_a_wrong_type_ends_the_stream(node: Node) -> None:
    got = []
    with pytest.raises(ReplyEncodingError, match=r"Writer\.promise_ints"):
        async for i in node.actor(Writer, "a").promise_ints():
            got.append(i)  # noqa: PERF401 - what came before the error counts
    assert got == [1]
    await settled(node)


@in_virtual_time(credit_timeout_s=5, stream_items=4)
async def test_a_writer_without_credit_is_cancelled(node: Node) -> None:
    stream = options(node.actor(Writer, "a"), timeout_s=100).count_to(100)
    assert await anext(stream) == 0
    await asyncio.sleep(4.9)
    assert check_books(node, is_quiet=False)["running"] == 1
    await asyncio.sleep(0.2)
    assert check_books(node)["failed"] == 1
    assert endings == ["GeneratorExit"]
    got = []
    with pytest.raises(CreditTimeoutError):
        async for i in stream:
            got.append(i)  # noqa: PERF401 - what came before the error counts
    assert got == [1, 2, 3, 4]


@in_virtual_time(credit_timeout_s=5, stream_items=4)
async def test_credit_given_in_time_keeps_the_writer(node: Node) -> None:
    got = []
    async for i in options(node.actor(Writer, "a"), timeout_s=1000).count_to(20):
        got.append(i)
        await asyncio.sleep(4.5)
    assert got == list(range(20))


@in_virtual_time()
async def test_the_deadline_is_that_of_the_whole_stream(node: Node) -> None:
    got = []
    start_s = asyncio.get_running_loop().time()
    with pytest.raises(RequestTimeoutError, match="slowly"):
        async for i in options(node.actor(Writer, "a"), timeout_s=1).slowly(100, 0.3):
            got.append(i)  # noqa: PERF401 - what came before the error counts
    assert got == [0, 1, 2]
    assert asyncio.get_running_loop().time() - start_s < 1.05
    await settled(node, 0.05)
    assert endings == ["CancelledError"]


@in_virtual_time()
async def test_a_stream_that_was_not_begun_in_time_never_runs(node: Node) -> None:
    ref = node.actor(Writer, "a")
    holding = asyncio.ensure_future(ref.hold(3))
    await asyncio.sleep(0)
    with pytest.raises(ExpiredError, match="not run"):
        await anext(options(ref, timeout_s=1).count_to(3))
    await holding
    assert written == []
    assert check_books(node)["expired"] == 1


@in_virtual_time(codec=(False,))
async def test_a_stream_has_one_reader_at_a_time(node: Node) -> None:
    stream: Any = node.actor(Writer, "a").slowly(2, 0.1)
    first = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="read already"):
        await anext(stream)
    assert await first == 0
    assert [i async for i in stream] == [1]


@in_virtual_time()
async def test_wrong_arguments_of_a_stream_are_told_to_its_reader(node: Node) -> None:
    stream: Any = node.actor(Writer, "a").count_to()  # type: ignore[call-arg]
    with pytest.raises(ArgumentsError):
        await anext(stream)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


@in_virtual_time()
async def test_a_stream_occupies_its_actor(node: Node) -> None:
    """One turn at a time: other messages wait until it ends."""
    ref = node.actor(Writer, "a")
    stream = ref.slowly(3, 0.1)
    await anext(stream)
    other = asyncio.ensure_future(ref.hold(0))
    await asyncio.sleep(0.15)
    assert not other.done()
    assert [i async for i in stream] == [1, 2]
    await other
