"""Actors that the process tests drive: each shows one behaviour, and says where it runs."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

from denoagents import Actor, idempotent, options, tell, uninterruptible

SEEN: dict[str, list[int]] = {}
"""What happens in this process while an actor is busy, for `Witness`."""
REAL_TIME = time.time
GATES: dict[str, asyncio.Event] = {}


def note(name: str, value: int = 1) -> None:
    SEEN.setdefault(name, []).append(value)


def gate(name: str) -> asyncio.Event:
    return GATES.setdefault(name, asyncio.Event())


class Witness(Actor):
    """Says what happens in its process; find one there by `where`."""

    @idempotent
    async def where(self) -> int:
        return os.getpid()

    async def seen(self, name: str) -> list[int]:
        return SEEN.get(name, [])

    async def open(self, name: str) -> None:
        gate(name).set()


class Counter(Actor):
    """A number."""

    total: int = 0

    @idempotent
    async def where(self) -> int:
        return os.getpid()

    @idempotent
    async def count(self) -> int:
        return self.total

    async def add(self, n: int) -> int:
        self.total += n
        return self.total

    async def add_slowly(self, n: int, seconds: float) -> int:
        await asyncio.sleep(seconds)
        self.total += n
        return os.getpid()

    @idempotent
    async def answer_slowly(self, seconds: float) -> int:
        await asyncio.sleep(seconds)
        return os.getpid()

    async def add_and_write(self, n: int, path: str) -> int:
        """Leaves a trace outside: shows whether the turn ran, whoever hears of its reply."""
        with Path(path).open("a") as file:  # noqa: ASYNC230 - a few bytes
            file.write(f"{n}\n")
        self.total += n
        return self.total

    async def add_and_tell(self, n: int, seconds: float, others: list[str], path: str) -> int:
        """Takes `seconds`; then writes, tells others, asks the first of them, and answers."""
        await asyncio.sleep(seconds)
        self.total += n
        await self.add_and_write(n, path)
        refs = [self.context.actor(Counter, key) for key in others]
        for ref in refs:
            await tell(ref.add, n)
        await refs[0].add(n)
        return self.total


class Journal(Actor):
    """Keeps what it is told, in order."""

    entries: list[int] = []  # noqa: RUF012 - state: each actor gets its own

    @idempotent
    async def where(self) -> int:
        return os.getpid()

    async def note(self, n: int) -> int:
        self.entries.append(n)
        return n

    async def note_big(self, n: int, padding: bytes) -> int:
        self.entries.append(n)
        return len(padding)

    async def noted(self) -> list[int]:
        return self.entries

    async def wait(self, seconds: float) -> int:
        await asyncio.sleep(seconds)
        return os.getpid()

    async def hold(self, name: str) -> None:
        """Stays in this turn until the gate is opened."""
        note(name)
        await gate(name).wait()


class Leaf(Actor):
    """A child."""

    total: int = 0

    async def add(self, n: int) -> int:
        self.total += n
        return self.total


class Parent(Actor):
    """Has a child, and a timer."""

    leaf: Leaf | None = None
    ticks: int = 0

    @idempotent
    async def where(self) -> int:
        return os.getpid()

    async def begin(self) -> None:
        self.leaf = self.context.spawn(Leaf, "leaf")
        self.context.schedule(self.tick, every_s=0.05)

    async def my_leaf(self) -> Leaf:
        assert self.leaf is not None
        return self.leaf

    async def tick(self) -> None:
        self.ticks += 1

    async def add(self, n: int) -> int:
        assert self.leaf is not None
        return await self.leaf.add(n)

    async def add_later(self, n: int, seconds: float) -> int:
        await asyncio.sleep(seconds)
        return await self.add(n)

    async def ticked(self) -> int:
        return self.ticks


class Relay(Actor):
    """Asks the next one along a path, and says how much time each was given."""

    @idempotent
    async def where(self) -> int:
        return os.getpid()

    async def pass_on(self, path: list[str], seconds: float, name: str) -> list[float]:
        """The seconds left at each hop; the last one takes `seconds`."""
        left = self.context.deadline_s or -1.0
        note(name, int(left * 1000))
        if not path:
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                note(f"{name} cancelled")
                raise
            return [left]
        ref = self.context.actor(Relay, path[0])
        return [left, *await ref.pass_on(path[1:], seconds, name)]

    async def ask_often(self, key: str, times: int) -> int:
        """Ask another one many times; the sum of its answers."""
        ref = self.context.actor(Relay, key)
        return sum([len(await ref.pass_on([], 0.0, "often")) for _ in range(times)])

    async def pass_on_longer(self, path: list[str], seconds: float, name: str) -> list[float]:
        """Tries to give the next more time than it has itself."""
        left = self.context.deadline_s or -1.0
        ref = options(self.context.actor(Relay, path[0]), timeout_s=60)
        return [left, *await ref.pass_on(path[1:], seconds, name)]


class Spout(Actor):
    """Streams."""

    @idempotent
    async def where(self) -> int:
        return os.getpid()

    async def pour(self, name: str, items: int, size: int) -> AsyncIterator[bytes]:
        try:
            for number in range(items):
                note(name, number)
                yield number.to_bytes(8, "big") + bytes(size)
        except (asyncio.CancelledError, GeneratorExit):
            note(f"{name} left")
            raise
        finally:
            note(f"{name} over")

    async def drip(self, name: str, every_s: float) -> AsyncIterator[int]:
        try:
            for number in range(1_000_000):
                yield number
                await asyncio.sleep(every_s)
        finally:
            note(f"{name} over")

    async def fail_after(self, items: int) -> AsyncIterator[int]:
        for number in range(items):
            yield number
        raise RuntimeError(f"after {items}")

    async def read(self, key: str, name: str, items: int, size: int, pause_s: float) -> int:
        """Read another spout's stream here; how many items came in order."""
        count = 0
        async for item in self.context.actor(Spout, key).pour(name, items, size):
            assert int.from_bytes(item[:8], "big") == count
            count += 1
            if pause_s:
                await asyncio.sleep(pause_s)
        return count


class Faulty(Actor):
    """Does what it should not."""

    @idempotent
    async def where(self) -> int:
        return os.getpid()

    async def fail(self, text: str) -> None:
        raise ValueError(text)

    async def fail_inside(self, text: str) -> int:
        def deeper() -> int:
            raise KeyError(text)

        return deeper()

    async def fail_oddly(self) -> None:
        class OddError(Exception):
            def __str__(self) -> str:
                raise RuntimeError("not even this")

            __repr__ = __str__

        raise OddError

    async def ask_faulty(self, key: str) -> None:
        """The error of another actor passes through this one."""
        await self.context.actor(Faulty, key).fail("from the other one")

    async def garbage(self) -> int:
        return "no number"  # type: ignore[return-value]

    async def opaque(self) -> object:
        return object()

    async def block(self, seconds: float) -> str:
        time.sleep(seconds)  # noqa: ASYNC251 - that is the point
        return "free again"

    async def never(self) -> None:
        await asyncio.Event().wait()

    async def jump(self, seconds: float) -> None:
        """From now on the wall clock of this process is wrong by so much."""
        time.time = lambda: REAL_TIME() + seconds
        time.time_ns = lambda: int((REAL_TIME() + seconds) * 1e9)

    async def big(self, size: int) -> bytes:
        return bytes(size)

    async def take(self, data: bytes) -> int:
        return len(data)

    @uninterruptible
    async def steadily(self, name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        note(name)
