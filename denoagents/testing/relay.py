"""The reliable part of the simulated application: actors whose messages are kept until handled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from random import Random

from denoagents.actor.actor import Actor
from denoagents.actor.declaration import reliable
from denoagents.actor.reference import PriorityName, options, tell
from denoagents.errors import DenoagentsError
from denoagents.testing.journal import Message
from denoagents.testing.talk import Witness, outcome_for, outcome_of, turn_of

STUMBLES = 2
"""A third failure would put the message into quarantine."""


@reliable
class Relay(Actor):
    """Takes what comes; its state dies with its worker, its messages do not."""

    total: int = 0

    async def take(self, number: int) -> int:
        """A turn that never waits."""
        with turn_of(self, number):
            self.total += 1
            return self.total

    async def take_slowly(self, number: int, wait_s: float) -> int:
        """A turn that waits, so that its worker may die in it."""
        with turn_of(self, number):
            await asyncio.sleep(wait_s)
            self.total += 1
            return self.total

    async def stumble(self, number: int) -> int:
        """A turn that fails before it succeeds."""
        with turn_of(self, number) as turn:
            if sum(one.has_failed for one in turn.message.turns) < STUMBLES:
                raise ValueError(f"message {number} is meant to fail at first")
            self.total += 1
            return self.total

    async def report(self) -> int:
        """How many it took since it began."""
        return self.total


class ReliableVoice:
    """One task of one node that sends reliable messages."""

    def __init__(
        self,
        seen: Witness,
        name: str,
        keys: list[str],
        chance: Random,
        pause_s: float,
        *,
        asks_wait: bool = False,
    ) -> None:
        self._seen, self._name, self._keys, self._chance = seen, name, keys, chance
        self._pause_s, self._asks_wait = pause_s, asks_wait
        self._tasks: set[asyncio.Task[object]] = set()
        self.is_silent = False

    async def talk(self) -> None:
        """Until the story's end."""
        await asyncio.sleep(self._chance.uniform(0.0, 0.5))
        while not self.is_silent:
            await asyncio.sleep(self._chance.expovariate(1.0 / self._pause_s))
            if self._seen.node.is_usable and not self._seen.node.is_leaving and not self.is_silent:
                await self._say()

    async def _say(self) -> None:
        chance = self._chance
        key = chance.choice(self._keys)
        priority: PriorityName = chance.choices(("high", "normal", "low"), (1, 8, 1))[0]
        for _ in range(chance.choice((1, 1, 1, 6))):
            kind = chance.choices(("take", "take_slowly", "stumble", "ask"), (50, 20, 3, 20))[0]
            if not self._seen.node.is_usable:
                return
            if kind == "ask":
                await self._ask(key, priority)
            else:
                await self._tell(key, priority, kind)

    def _send(self, key: str, method: str, priority: str, *, is_ask: bool) -> Message:
        voice = "" if is_ask and self._asks_wait else self._name
        return self._seen.journal.send(
            self._seen.node,
            voice,
            f"Relay/{key}",
            method,
            priority,
            30.0 if is_ask else 0.0,
            is_ask=is_ask,
            is_reliable=True,
        )

    async def _tell(self, key: str, priority: PriorityName, method: str) -> None:
        ref = options(self._seen.node.node.actor(Relay, key), priority=priority)
        message = self._send(key, method, priority, is_ask=False)
        sent: Awaitable[None]
        if method == "take_slowly":
            wait_s = self._chance.choice([0.001, 0.05, 0.3])
            sent = tell(ref.take_slowly, message.number, wait_s)
        else:
            sent = tell(ref.take if method == "take" else ref.stumble, message.number)
        try:
            await sent
        except DenoagentsError as error:
            self._seen.journal.end(message, outcome_for(error), error)

    async def _ask(self, key: str, priority: PriorityName) -> None:
        ref = options(self._seen.node.node.actor(Relay, key), priority=priority, timeout_s=30.0)
        message = self._send(key, "take", priority, is_ask=True)
        answer = outcome_of(self._seen.journal, message, ref.take(message.number))
        task = asyncio.get_running_loop().create_task(answer)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.sleep(0)  # the task sends in its first step: keep the order of sending
