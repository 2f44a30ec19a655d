"""The durable part of the simulated application: accounts, and the rules of exactly one effect.

Rules: an account's state says which messages took effect, in which order. So what was acknowledged
must stand there, at the place that its reply named; nothing twice; and all money is somewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from random import Random
from typing import Any

from denoagents.actor.actor import Actor
from denoagents.actor.durable import durable
from denoagents.actor.reference import options, tell
from denoagents.errors import DenoagentsError
from denoagents.testing.journal import Journal, Message
from denoagents.testing.talk import Witness, outcome_for, outcome_of, turn_of, witness

Report = tuple[int, list[int], list[int]]


@durable
class Account(Actor):
    """Remembers each effect that it had."""

    balance: int = 0
    done: list[int] = []  # noqa: RUF012 - each actor gets its own
    came: list[int] = []  # noqa: RUF012

    def _do(self, number: int) -> int:
        self.done.append(number)
        return len(self.done)

    async def take(self, number: int) -> int:
        """A turn that never waits."""
        with turn_of(self, number):
            return self._do(number)

    async def take_slowly(self, number: int, wait_s: float) -> int:
        """A turn that has changed something when it waits."""
        with turn_of(self, number):
            place = self._do(number)
            await asyncio.sleep(wait_s)
            return place

    async def stumble(self, number: int) -> int:
        """A turn that fails after it has changed something, before it succeeds."""
        with turn_of(self, number) as turn:
            place = self._do(number)
            if sum(one.has_failed for one in turn.message.turns) < 2:
                raise ValueError(f"message {number} is meant to fail at first")
            return place

    async def transfer(self, number: int, key: str, amount: int, wait_s: float) -> int:
        """Money leaves in the turn in which the message for the other account does."""
        with turn_of(self, number):
            self.balance -= amount
            await tell(self.context.actor(Account, key).receive, number, amount)
            if wait_s:
                await asyncio.sleep(wait_s)
            return self._do(number)

    async def receive(self, number: int, amount: int) -> None:
        """Money arrives."""
        seen = witness()
        seen.journal.trace(f"{seen.node} {self.context.address} receives {number}")
        self.balance += amount
        self.came.append(number)

    async def report(self) -> Report:
        """Its state."""
        return self.balance, list(self.done), list(self.came)


class Teller:
    """One task of one node that moves money."""

    def __init__(
        self, seen: Witness, name: str, keys: list[str], chance: Random, pause_s: float
    ) -> None:
        self._seen, self._name, self._keys, self._chance = seen, name, keys, chance
        self._pause_s = pause_s
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
        for _ in range(chance.choice((1, 1, 1, 5))):
            if not self._seen.node.is_usable:
                return
            kinds = ("take", "take_slowly", "stumble", "transfer")
            kind = chance.choices(kinds, (30, 15, 3, 40))[0]
            await self._send(key, kind, is_ask=kind != "stumble" and chance.random() < 0.5)

    async def _send(self, key: str, kind: str, *, is_ask: bool) -> None:
        chance, seen = self._chance, self._seen
        ref = options(seen.node.node.actor(Account, key), timeout_s=30.0)
        others = [one for one in self._keys if one != key]
        message = seen.journal.send(
            seen.node,
            "" if is_ask else self._name,
            f"Account/{key}",
            kind,
            "normal",
            30.0 if is_ask else 0.0,
            is_ask=is_ask,
            is_durable=True,
        )
        more: dict[str, tuple[Any, ...]] = {
            "take_slowly": (chance.choice([0.001, 0.05, 0.3]),),
            "transfer": (chance.choice(others), chance.randint(1, 9), chance.choice([0, 0, 0.05])),
        }
        method: Any = getattr(ref, kind)
        arguments = (message.number, *more.get(kind, ()))
        if not is_ask:
            try:
                await tell(method, *arguments)
            except DenoagentsError as error:
                seen.journal.end(message, outcome_for(error), error)
            return
        call: Awaitable[Any] = method(*arguments)
        task = asyncio.get_running_loop().create_task(outcome_of(seen.journal, message, call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.sleep(0)


def judge_accounts(journal: Journal, reports: dict[str, Report]) -> Iterator[str]:
    """Which rules the accounts break, once all is quiet; `reports` has every account."""
    places: dict[int, tuple[str, int]] = {}
    for actor, (_, done, came) in reports.items():
        for place, number in enumerate(done, 1):
            if number in places:
                yield f"message {number} took effect on {places[number]}, and on {actor} at {place}"
            places[number] = actor, place
        if len(set(came)) != len(came):
            yield f"{actor} got a transfer twice: {came}"
        yield from _judge_order(journal, actor, done)
    for message in journal.messages:
        if message.is_durable:
            yield from _judge_message(journal, message, places)
    sent = {n for n in places if journal.messages[n].method == "transfer"}
    arrived = [n for _, _, came in reports.values() for n in came]
    if len(set(arrived)) != len(arrived) or set(arrived) != sent:
        lost, phantom = sorted(sent - set(arrived)), sorted(set(arrived) - sent)
        yield f"transfers {lost} left and never arrived; {phantom} arrived and never left"
    total = sum(balance for balance, _, _ in reports.values())
    if total:
        yield f"{total} of all money came from nowhere"


def _judge_order(journal: Journal, actor: str, done: list[int]) -> Iterator[str]:
    last: dict[tuple[str, str], int] = {}
    for number in done:
        message = journal.messages[number]
        if message.target != actor:
            yield f"{message!r} took effect on {actor}"
        who = repr(message.sender), message.voice
        if message.voice and number < last.get(who, -1):
            yield f"{message!r} took effect after {journal.messages[last[who]]!r}"
        last[who] = number


def _judge_message(
    journal: Journal, message: Message, places: dict[int, tuple[str, int]]
) -> Iterator[str]:
    found = places.get(message.number)
    if message.outcome == "value":
        if found != (message.target, message.value):
            yield f"{message!r} was answered with place {message.value}, but it is at {found}"
    elif message.outcome == "rejected":
        if found is not None:
            yield f"{message!r} was rejected ({message.error}), but took effect at {found}"
    elif message.sender.end or message.sender.is_leaving:
        return
    elif message.is_ask:
        if message.error.startswith("StoreFullError"):  # the answer of a full disk
            return
        yield f"{message!r} ended {message.outcome or 'never'}: {message.error}"
    elif found is None and not journal.was_given_up(message):
        yield f"{message!r} never took effect"
