"""What a node knows of one durable actor here: all that is kept, and the running turn."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from denoagents._native.envelope import Envelope
from denoagents.durability import Commit, Effect, Handled, Kept, Outgoing, Reminder

Told = tuple[str, str, bytes, int]
"""One tell of a turn: target, method, payload, priority."""


MAX_STREAMS = 1000
"""Senders whose handled messages an actor remembers."""


@dataclass(slots=True, eq=False)
class Draft:
    """What a running turn will commit."""

    stream: int = 0
    number: int = 0
    """The message's identity; 0 for turns without one."""
    told: list[Told] = field(default_factory=list)
    reminders: dict[str, Reminder] | None = None
    """None while they are as before."""
    effects: int = 0
    """How many it has called: then the message has to be kept as handled."""
    fired: Reminder | None = None
    """The reminder whose message it is."""

    def next_effect(self) -> int:
        """Which call of an effect this is."""
        self.effects += 1
        return self.effects - 1


class Life:
    """One durable actor, from its claim until it leaves this node."""

    __slots__ = (
        "actor", "base", "draft", "effects", "failures", "fence", "fired", "floors", "handled",
        "is_over", "outgoing", "reminders", "sent", "settled", "stream", "writing",
    )  # fmt: skip

    def __init__(self, actor: str, fence: int, kept: Kept) -> None:
        self.actor, self.fence, self.sent = actor, fence, kept.sent
        self.base = b""
        """The fields as they were committed, or as a new actor has them."""
        self.draft: Draft | None = None
        self.outgoing: dict[int, Outgoing] = {one.number: one for one in kept.outgoing}
        self.settled: list[int] = []
        self.handled: dict[int, dict[int, bytes | None]] = {}
        self.floors = dict(kept.floors)
        for one in kept.handled:
            self.handled.setdefault(one.stream, {})[one.number] = one.reply
        self.reminders = {one.name: one for one in kept.reminders}
        self.fired: dict[str, Envelope] = {}
        """Messages of reminders that wait or run."""
        self.failures: dict[str, int] = {}
        """How often the message of a reminder failed."""
        self.effects = {(one.stream, one.number, one.index): one for one in kept.effects}
        self.writing: set[asyncio.Future[Any]] = set()
        self.stream: Any = None
        self.is_over = False
        """Without an instance: kept until what it sent is settled."""

    # --- the window ---------------------------------------------------------------------------

    def is_repeat(self, stream: int, number: int) -> bool:
        """Whether the message was handled before."""
        if not stream:
            return False
        return number < self.floors.get(stream, 0) or number in self.handled.get(stream, ())

    def reply_to(self, stream: int, number: int) -> bytes | None:
        """What was answered then; None for a tell, and for what nobody waits for any more."""
        return self.handled.get(stream, {}).get(number)

    # --- commits ------------------------------------------------------------------------------

    def commit_of(
        self, draft: Draft, state: bytes, schema: int, reply: bytes | None, floor: int
    ) -> Commit | None:
        """What the turn changes; None if it changes nothing that a repeat would not show again.

        `floor` is that of the message's sender, as far as it is known here.
        """
        is_new = state != self.base
        has_more = draft.told or draft.reminders is not None or draft.effects
        if not is_new and not has_more:
            return None
        outgoing = tuple(
            Outgoing(number, target, method, priority, payload)
            for number, (target, method, payload, priority) in enumerate(draft.told, self.sent + 1)
        )
        is_message = draft.stream and draft.fired is None
        has_floor = draft.stream and floor > self.floors.get(draft.stream, 0)
        return Commit(
            actor=self.actor,
            fence=self.fence,
            state=state if is_new else None,
            schema=schema if is_new else 0,
            handled=Handled(draft.stream, draft.number, reply) if is_message else None,
            floor=(draft.stream, floor) if has_floor else self._oldest(),
            sent=outgoing[-1].number if outgoing else 0,
            outgoing=outgoing,
            settled=self.take_settled(),
            reminders=None if draft.reminders is None else tuple(draft.reminders.values()),
        )

    def committed(self, commit: Commit) -> None:
        """`commit` is kept (or, in the mode `memory`, will be)."""
        if commit.state is not None:
            self.base = commit.state
        if commit.reminders is not None:
            self.reminders = {one.name: one for one in commit.reminders}
        if commit.outgoing:
            self.sent = commit.sent
            self.outgoing.update((one.number, one) for one in commit.outgoing)
        if commit.handled is not None:
            stream, number = commit.handled.stream, commit.handled.number
            heard = self.handled[stream] = self.handled.pop(stream, {})
            heard[number] = commit.handled.reply
            self._drop_effects(stream, number, number + 1)
        if commit.floor is not None:
            self._rise(*commit.floor)

    def not_committed(self, commit: Commit) -> None:
        """The store refused `commit`."""
        self.settled += commit.settled

    def add_effect(self, effect: Effect) -> Commit:
        """The commit that keeps `effect`, which stands here from now on."""
        self.effects[effect.stream, effect.number, effect.index] = effect
        return Commit(actor=self.actor, fence=self.fence, effects=(effect,))

    def _oldest(self) -> tuple[int, int] | None:
        """Of too many senders, forget the one that was silent for longest."""
        if len(self.handled) <= MAX_STREAMS:
            return None
        stream, numbers = next(iter(self.handled.items()))
        return stream, max(numbers, default=0) + 1

    def _rise(self, stream: int, floor: int) -> None:
        self.floors[stream] = floor
        numbers = self.handled.get(stream, {})
        for number in [one for one in numbers if one < floor]:
            del numbers[number]
        if not numbers:
            self.handled.pop(stream, None)
        self._drop_effects(stream, 0, floor)

    def _drop_effects(self, stream: int, start: int, end: int) -> None:
        if self.effects:
            gone = [one for one in self.effects if one[0] == stream and start <= one[1] < end]
            for key in gone:
                del self.effects[key]

    # --- what was sent ------------------------------------------------------------------------

    def settle(self, number: int) -> None:
        """It was handled by its target, or given up for good."""
        if self.outgoing.pop(number, None) is not None:
            self.settled.append(number)

    def take_settled(self) -> tuple[int, ...]:
        """What the store has not heard of yet."""
        settled = tuple(self.settled)
        self.settled.clear()
        return settled

    @property
    def is_quiet(self) -> bool:
        """Nothing is being written, and nothing that was sent waits for its target."""
        return not self.writing and not self.outgoing

    def __repr__(self) -> str:
        return f"<Life {self.actor} fence={self.fence}>"
