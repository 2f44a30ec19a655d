"""The state store in memory: for embedded nodes without a file, tests and the simulator."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from itertools import count
from typing import Final

from denoagents.durability import (
    Commit,
    Effect,
    Handled,
    Kept,
    Mode,
    Outgoing,
    Reminder,
    Wake,
)
from denoagents.errors import FencedError, StoreError

_numbers: Final = count(1)


class Entry:
    """What is kept of one actor."""

    def __init__(self) -> None:
        self.fence = 0
        self.state: bytes | None = None
        self.schema = 0
        self.sent = 0
        self.outgoing: dict[int, Outgoing] = {}
        self.handled: dict[tuple[int, int], Handled] = {}
        self.floors: dict[int, int] = {}
        self.reminders: tuple[Reminder, ...] = ()
        self.effects: dict[tuple[int, int, int], Effect] = {}

    def apply(self, commit: Commit) -> None:
        """Do what the commit says; the caller has looked at its fence."""
        if commit.state is not None:
            self.state, self.schema = commit.state, commit.schema
        self.sent = max(self.sent, commit.sent)
        self.outgoing |= {one.number: one for one in commit.outgoing}
        self.effects |= {(one.stream, one.number, one.index): one for one in commit.effects}
        self.settle(commit.settled)
        if commit.handled is not None:
            message = (commit.handled.stream, commit.handled.number)
            self.handled[message] = commit.handled
            self.effects = {at: one for at, one in self.effects.items() if at[:2] != message}
        if commit.floor is not None:
            stream, floor = commit.floor
            self.floors[stream] = max(floor, self.floors.get(stream, 0))
            for one in [one for one in self.handled if one[0] == stream and one[1] < floor]:
                del self.handled[one]
            for call in [one for one in self.effects if one[0] == stream and one[1] < floor]:
                del self.effects[call]
        if commit.reminders is not None:
            self.reminders = commit.reminders

    def settle(self, numbers: Sequence[int]) -> None:
        """Drop outgoing messages."""
        for number in numbers:
            self.outgoing.pop(number, None)

    def kept(self) -> Kept | None:
        """As a store gives it; None if nothing was ever committed."""
        kept = Kept(
            self.state or b"",
            self.schema,
            self.sent,
            [one for _, one in sorted(self.outgoing.items())],
            [one for _, one in sorted(self.handled.items())],
            dict(self.floors),
            list(self.reminders),
            [one for _, one in sorted(self.effects.items())],
        )
        return kept if self.state is not None or kept != Kept() else None


class MemoryStateStore:
    """Keeps durable actors in memory; nodes that share the object share the store."""

    is_shared_between_hosts = False

    def __init__(self) -> None:
        self._identity = f"memory:{next(_numbers)}"
        self._entries: dict[str, Entry] = {}
        self._highest = 0
        self._users = 0

    @property
    def identity(self) -> str:
        return self._identity

    async def open(self) -> None:
        self._users += 1

    async def close(self) -> None:
        self._users = max(0, self._users - 1)

    async def claim(self, actor: str, fence: int) -> Kept | None:
        entry = self._entry(actor, fence)
        self._highest = max(self._highest, fence)
        return entry.kept()

    def commit(self, commit: Commit, mode: Mode) -> Awaitable[None]:  # noqa: ARG002 - all alike
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            self._entry(commit.actor, commit.fence).apply(commit)
        except StoreError as error:
            done.set_exception(error)
            done.exception()  # it may be that nobody looks
        else:
            self._highest = max(self._highest, commit.fence)
            done.set_result(None)
        return done

    def settle(self, actor: str, fence: int, numbers: Sequence[int]) -> None:
        self._check_open()
        entry = self._entries.get(actor)
        if entry is not None and fence >= entry.fence:
            entry.settle(numbers)

    async def to_wake(self) -> list[Wake]:
        self._check_open()
        return [
            Wake(actor, 0 if one.outgoing else min(r.due_ms for r in one.reminders))
            for actor, one in sorted(self._entries.items())
            if one.outgoing or one.reminders
        ]

    async def highest_fence(self) -> int:
        self._check_open()
        return self._highest

    async def next_fence(self) -> int:
        self._check_open()
        self._highest += 1
        return self._highest

    def _entry(self, actor: str, fence: int) -> Entry:
        """The actor's entry, claimed under `fence` from now on; raises `FencedError`."""
        self._check_open()
        entry = self._entries.setdefault(actor, Entry())
        if fence < entry.fence:
            raise FencedError(
                f"{actor!r} was claimed under fence {entry.fence}: a write under {fence} is refused"
            )
        entry.fence = fence
        return entry

    def _check_open(self) -> None:
        if not self._users:
            raise StoreError("the state store is not open")

    def __repr__(self) -> str:
        return f"<MemoryStateStore of {len(self._entries)} actors>"
