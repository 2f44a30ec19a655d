"""Reminders: messages that durable actors send themselves at a time of the wall clock.

Rules:
    A reminder is part of its actor's commits: set, changed and forgotten with the turn that did so,
    and taken off by the turn that handles its message. So each is handled once, also after a crash.
    It is late rather than lost: what came due while nobody ran comes at the next start, once.
    A turn that fails is tried again, twice; then a single reminder is dropped as a dead letter, and
    one that repeats goes on with its next time.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from denoagents._native.clock import Clock
from denoagents._native.envelope import Envelope
from denoagents._native.runtime import Cell, Runtime
from denoagents.actor.durable_life import Life
from denoagents.durability import Reminder, stream_of
from denoagents.errors import DenoagentsError, UsageError

MAX_REMINDERS = 1000
"""Of one actor."""

ATTEMPTS = 3
AGAIN_S = 1.0
LOOK_AGAIN_S = 60.0
"""The wall clock may be set: look again at least this often."""


def wall_clock(clock: Clock) -> Callable[[], int]:
    """Unix time in milliseconds; virtual where the clock is."""
    if clock.is_virtual:
        return lambda: clock.now_ns() // 1_000_000
    return lambda: int(datetime.now(UTC).timestamp() * 1000)


def advanced(reminders: dict[str, Reminder], fired: Reminder, now_ms: int) -> dict[str, Reminder]:
    """All reminders, once the message of `fired` is handled."""
    left = dict(reminders)
    if left.get(fired.name) != fired:
        return left  # it was set anew meanwhile
    if not fired.every_s:
        del left[fired.name]
        return left
    every_ms = max(1, int(fired.every_s * 1000))
    missed = max(0, (now_ms - fired.due_ms) // every_ms)
    due_ms = fired.due_ms + (missed + 1) * every_ms
    left[fired.name] = Reminder(fired.name, fired.method, fired.payload, due_ms, fired.every_s)
    return left


def identity_of(actor: str, reminder: Reminder) -> tuple[int, int]:
    """What its message is known by, so that effects of an interrupted turn are recognised."""
    return stream_of(f"{actor}?{reminder.name}"), max(1, reminder.due_ms)


class Reminders:
    """When each actor of this node has to be reminded."""

    def __init__(self, runtime: Runtime, wall_ms: Callable[[], int]) -> None:
        self._runtime, self.wall_ms = runtime, wall_ms
        self.on_due: Callable[[str], None] = lambda _: None
        self._due: list[tuple[int, str]] = []
        self._noted: set[tuple[int, str]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def note(self, actor: str, due_ms: int) -> None:
        """Call `on_due(actor)` at `due_ms`."""
        if (due_ms, actor) not in self._noted:
            self._noted.add((due_ms, actor))
            heapq.heappush(self._due, (due_ms, actor))
            if self._due[0] == (due_ms, actor):
                self._set()

    def close(self) -> None:
        """Call nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._due.clear()
        self._noted.clear()

    def _set(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due:
            left_s = (self._due[0][0] - self.wall_ms()) / 1000
            wait_s = min(max(0.0, left_s), LOOK_AGAIN_S)
            self._timer = self._runtime.loop.call_later(wait_s, self._look)

    def _look(self) -> None:
        self._timer = None
        now_ms = self.wall_ms()
        due: dict[str, None] = {}
        while self._due and self._due[0][0] <= now_ms:
            entry = heapq.heappop(self._due)
            self._noted.discard(entry)
            due[entry[1]] = None
        for actor in due:
            self.on_due(actor)
        self._set()

    # --- of an actor that lives here ----------------------------------------------------------

    def look_at(self, cell: Cell, life: Life) -> None:
        """Send the messages that are due, and note when the next one is."""
        now_ms = self.wall_ms()
        for reminder in tuple(life.reminders.values()):
            if reminder.due_ms > now_ms:
                self.note(life.actor, reminder.due_ms)
            elif reminder.name not in life.fired:
                self._fire(cell, life, reminder)

    def _fire(self, cell: Cell, life: Life, reminder: Reminder) -> None:
        runtime = self._runtime
        try:
            method = cell.type.method(reminder.method)
            arguments = method.decode_arguments(reminder.payload)
        except DenoagentsError as error:
            runtime.guardian.dead_letter(life.actor, reminder.method, str(error))
            life.reminders.pop(reminder.name)
            return
        runtime.books.sent += 1
        runtime.books.acknowledged += 1
        envelope = life.fired[reminder.name] = Envelope(method, arguments, None)
        runtime.post(cell, envelope)

    def fired_by(self, life: Life, envelope: Envelope) -> Reminder | None:
        """The reminder whose message `envelope` is."""
        for name, sent in life.fired.items():
            if sent is envelope:
                return life.reminders.get(name)
        return None

    def failed(self, life: Life, reminder: Reminder, error: BaseException) -> bool:
        """Its turn did not commit; whether it was given up."""
        life.fired.pop(reminder.name, None)
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            attempts = life.failures.get(reminder.name, 0)
        else:
            attempts = life.failures[reminder.name] = life.failures.get(reminder.name, 0) + 1
        if attempts < ATTEMPTS:
            self.note(life.actor, self.wall_ms() + int(AGAIN_S * 1000 * 2**attempts))
            return False
        del life.failures[reminder.name]
        return True


def make_reminder(
    cell: Cell,
    now_ms: int,
    name: str,
    method: str,
    args: tuple[Any, ...],
    *,
    after_s: float | None,
    at: datetime | None,
    every_s: float | None,
) -> Reminder:
    """A reminder as `context.remind` is asked for one; raises `UsageError`."""
    declared = cell.type.method(method)
    if declared.is_stream:
        raise UsageError(f"{declared} streams its reply; a reminder needs a method without one")
    if every_s is not None and every_s <= 0:
        raise UsageError(f"every_s must be above 0, got {every_s}")
    if at is not None and after_s is not None:
        raise UsageError("a reminder takes after_s or at, not both")
    if at is not None:
        if at.tzinfo is None:
            raise UsageError(f"at needs a time zone, as in datetime.now(UTC); got {at!r}")
        due_ms = int(at.timestamp() * 1000)
    else:
        due_ms = now_ms + int(1000 * (every_s or 0.0 if after_s is None else after_s))
    payload = declared.encode_arguments(declared.bind(args, {}), {})
    return Reminder(name, method, payload, max(1, due_ms), every_s or 0.0)
