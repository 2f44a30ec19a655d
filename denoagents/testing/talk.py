"""The simulated application: actors that count, and voices that tell, ask, stream and pass on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from denoagents.actor.actor import Actor
from denoagents.actor.declaration import idempotent
from denoagents.actor.reference import PriorityName, options, tell
from denoagents.errors import DenoagentsError, RejectedError, RemoteError, UsageError
from denoagents.testing.journal import Journal, Message, Outcome, Turn, folded
from denoagents.testing.scheduler import ProcessLoop
from denoagents.testing.world import SimulatedNode


@dataclass(slots=True, eq=False)
class Witness:
    """Where code in a simulated process writes down what it does."""

    journal: Journal
    node: SimulatedNode


def witness() -> Witness:
    """The witness of the process that runs now."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ProcessLoop)
    found: Witness = loop.notes
    return found


@contextmanager
def turn_of(actor: Actor, number: int) -> Any:
    """Writes the turn down; only one that ends well counts."""
    seen = witness()
    turn: Turn = seen.journal.begin(number, actor.context.address, seen.node)
    is_done = False
    try:
        yield turn
        is_done = True
    except (asyncio.CancelledError, GeneratorExit):
        turn.is_cut = True
        raise
    finally:
        seen.journal.finish(turn, is_done=is_done)


class Tally(Actor):
    """Counts what it handles, and remembers the order."""

    total: int = 0
    mark: int = 0

    def _count(self, number: int) -> int:
        self.total += 1
        self.mark = folded(self.mark, number)
        return self.total

    async def add(self, number: int) -> int:
        """A turn that never waits."""
        with turn_of(self, number):
            return self._count(number)

    async def wait(self, number: int, wait_s: float) -> int:
        """A turn that waits."""
        with turn_of(self, number):
            await asyncio.sleep(wait_s)
            return self._count(number)

    async def fail(self, number: int) -> int:
        """A turn that raises."""
        with turn_of(self, number):
            raise ValueError(f"message {number} is meant to fail")

    @idempotent
    async def look(self, number: int) -> int:
        """A turn that may run twice, and changes nothing."""
        with turn_of(self, number):
            return self.total

    async def count_to(self, number: int, limit: int) -> AsyncGenerator[int, None]:
        """A stream."""
        with turn_of(self, number):
            for item in range(limit):
                if item % 7 == 3:
                    await asyncio.sleep(0.002)
                yield item
            self._count(number)

    async def pass_on(self, number: int, key: str, is_ask: bool, wait_s: float) -> int:
        """A turn that asks or tells another actor."""
        with turn_of(self, number) as turn:
            if wait_s:
                await asyncio.sleep(wait_s)
            seen, target = witness(), f"Tally/{key}"
            message = seen.journal.send(
                seen.node, self.context.address, target, "add", turn.message.priority, is_ask=is_ask
            )
            other = self.context.actor(Tally, key)
            if is_ask:
                await outcome_of(seen.journal, message, other.add(message.number))
            else:
                try:
                    await tell(other.add, message.number)
                except DenoagentsError as error:
                    seen.journal.end(message, outcome_for(error), error)
            return self._count(number)

    async def report(self) -> tuple[int, int]:
        """Its state."""
        return self.total, self.mark


async def outcome_of(journal: Journal, message: Message, call: Awaitable[Any]) -> Any:
    """Await an ask and write its outcome down."""
    try:
        value = await call
    except asyncio.CancelledError as error:
        journal.end(message, "unknown", error)
        raise
    except DenoagentsError as error:
        journal.end(message, outcome_for(error), error)
        return None
    message.value = value
    journal.end(message, "value")
    return value


def outcome_for(error: DenoagentsError) -> Outcome:
    """What an error says about its message."""
    if isinstance(error, RejectedError | UsageError):
        return "rejected"
    return "raised" if isinstance(error, RemoteError) else "unknown"


class Voice:
    """One task of one node that talks to actors."""

    def __init__(
        self,
        seen: Witness,
        name: str,
        keys: list[str],
        chance: Random,
        pause_s: float,
        *,
        asks_wait: bool,
    ) -> None:
        """`asks_wait`: for credit, while tells go on; then the two are not ordered."""
        self._seen, self._name, self._keys, self._chance = seen, name, keys, chance
        self._pause_s, self._asks_wait = pause_s, asks_wait
        self._tasks: set[asyncio.Task[Any]] = set()
        self.is_silent = False

    async def talk(self) -> None:
        """Until silenced, or until the node is over."""
        node = self._seen.node.node
        while node.state in {"new", "starting"}:  # noqa: ASYNC110 - nobody signals a start
            await asyncio.sleep(0.02)
        while not self.is_silent and node.state == "running":
            await asyncio.sleep(self._chance.expovariate(1 / self._pause_s))
            if not self._is_over():
                await self._say()

    def _is_over(self) -> bool:
        return self.is_silent or self._seen.node.node.state != "running"

    async def _say(self) -> None:
        chance = self._chance
        key = self._keys[min(int(chance.paretovariate(0.7)) - 1, len(self._keys) - 1)]
        priority: PriorityName = chance.choices(("high", "normal", "low"), (2, 7, 1))[0]
        kinds: list[Callable[[str, PriorityName], Awaitable[None]]]
        kinds = [
            self._tell,
            self._ask,
            self._wait,
            self._hurry,
            self._fail,
            self._look,
            self._stream,
        ]
        kinds += [self._pass_on, self._burst]
        await chance.choices(kinds, (40, 25, 8, 4, 3, 5, 4, 6, 5))[0](key, priority)

    # --- kinds of messages --------------------------------------------------------------------

    def _send(
        self, key: str, method: str, priority: str, timeout_s: float = 30.0, *, is_ask: bool = True
    ) -> Message:
        voice = "" if is_ask and self._asks_wait else self._name
        return self._seen.journal.send(
            self._seen.node, voice, f"Tally/{key}", method, priority, timeout_s, is_ask=is_ask
        )

    def _ref(self, key: str, priority: PriorityName, timeout_s: float = 30.0) -> Tally:
        made = self._seen.node.node.actor(Tally, key)
        return options(made, priority=priority, timeout_s=timeout_s)

    async def _tell(self, key: str, priority: PriorityName) -> None:
        message = self._send(key, "add", priority, is_ask=False)
        try:
            await tell(self._ref(key, priority).add, message.number)
        except DenoagentsError as error:
            self._seen.journal.end(message, outcome_for(error), error)

    async def _burst(self, key: str, priority: PriorityName) -> None:
        """Many at once, some of them a little later."""
        for _ in range(self._chance.randint(5, 20)):
            if self.is_silent:
                return
            await self._tell(key, priority)
            if self._chance.random() < 0.3:
                await asyncio.sleep(self._chance.uniform(0.0, 0.02))

    async def _ask(self, key: str, priority: PriorityName) -> None:
        ref = self._ref(key, priority)
        message = self._send(key, "add", priority)
        await self._answered(message, ref.add(message.number))

    async def _wait(self, key: str, priority: PriorityName) -> None:
        wait_s = self._chance.choices([0.001, 0.02, 0.1, 0.4, 1.5], (30, 30, 20, 10, 5))[0]
        message = self._send(key, "wait", priority)
        await self._answered(message, self._ref(key, priority).wait(message.number, wait_s))

    async def _hurry(self, key: str, priority: PriorityName) -> None:
        wait_s, timeout_s = self._chance.choice([0.001, 0.1, 0.4]), self._chance.uniform(0.02, 0.6)
        message = self._send(key, "wait", priority, timeout_s)
        ref = self._ref(key, priority, timeout_s)
        await self._answered(message, ref.wait(message.number, wait_s))

    async def _fail(self, key: str, priority: PriorityName) -> None:
        message = self._send(key, "fail", priority)
        await self._answered(message, self._ref(key, priority).fail(message.number))

    async def _look(self, key: str, priority: PriorityName) -> None:
        message = self._send(key, "look", priority)
        await self._answered(message, self._ref(key, priority).look(message.number))

    async def _pass_on(self, key: str, priority: PriorityName) -> None:
        later = [one for one in self._keys if one > key]
        if later:
            message = self._send(key, "pass_on", priority)
            other, is_ask = self._chance.choice(later), self._chance.random() < 0.6
            ref, wait_s = self._ref(key, priority), self._chance.choice([0.0, 0.0, 0.1, 1.0])
            await self._answered(message, ref.pass_on(message.number, other, is_ask, wait_s))

    async def _stream(self, key: str, priority: PriorityName) -> None:
        limit = self._chance.randint(0, 40)
        message = self._send(key, "count_to", priority)
        ref = self._ref(key, priority)
        await self._answered(
            message, self._read(message, ref.count_to(message.number, limit), limit)
        )

    async def _read(
        self, message: Message, items: AsyncGenerator[int, None], limit: int
    ) -> list[int]:
        got = [item async for item in items]
        if got != list(range(limit)):
            self._seen.journal.violated(f"{message!r} streamed {got}, not {limit} numbers")
        return got

    async def _answered(self, message: Message, call: Awaitable[Any]) -> None:
        """Wait for the answer, or let it come while others are asked."""
        answer = outcome_of(self._seen.journal, message, call)
        task = asyncio.get_running_loop().create_task(answer)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._chance.random() < 0.3:
            await asyncio.wait([task])
        else:
            await asyncio.sleep(0)  # the task sends in its first step: keep the order of sending
