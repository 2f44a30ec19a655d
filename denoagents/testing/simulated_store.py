"""A state store in virtual time: what was not acknowledged may be lost, and often is.

Rules: a `SimulatedDisk` outlives the processes that use it, each through a `SimulatedStore`. A call
takes effect some time after it was made, in the order of the calls of its process, and is
acknowledged later still. A process that ends takes along what has not taken effect; when the
machine loses power, everything after the last synchronization is lost, but for a prefix.
`disk` commits synchronize; `os` and `memory` ones do not, and `memory` ones are acknowledged at
once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from random import Random

from denoagents.durability import Commit, Kept, Mode, Wake
from denoagents.errors import FencedError, StoreError, StoreFullError
from denoagents.store.memory_state_store import Entry

Later = Callable[[float, Callable[[], object]], object]
Claim = tuple[str, int]
Settlement = tuple[str, int, tuple[int, ...]]
Write = Commit | Claim | Settlement
LONGEST_S = 0.01


class SimulatedDisk:
    """What processes of one machine have written: a log of whole writes, and its image."""

    def __init__(self, chance: Random, name: str = "disk", longest_s: float = LONGEST_S) -> None:
        self.name, self.chance, self.longest_s = name, chance, longest_s
        self.is_full = False
        """Whether every write is refused at the moment."""
        self.highest = 0
        self.losses = 0
        """Writes that were lost, with a process or with the power."""
        self.fenced = 0
        """Writes that were refused because of their fence."""
        self.entries: dict[str, Entry] = {}
        self._log: list[Write] = []
        self._synced = 0

    def write(self, one: Write) -> None:
        """Apply one write, whole; raises `StoreError` and applies nothing."""
        if self.is_full:
            raise StoreFullError(f"no space left on {self.name}")
        self._apply(one)
        self._log.append(one)

    def sync(self) -> None:
        """From now on, what was written so far survives everything."""
        self._synced = len(self._log)

    def lose_power(self) -> None:
        """Of what was written since the last synchronization, a prefix is left."""
        left = self.chance.randint(self._synced, len(self._log))
        self.losses += len(self._log) - left
        del self._log[left:]
        self.entries.clear()
        for one in self._log:
            self._apply(one)

    def _apply(self, one: Write) -> None:
        if isinstance(one, Commit):
            self._entry(one.actor, one.fence).apply(one)
        elif len(one) == 2:
            self._entry(*one)
        else:
            actor, fence, numbers = one
            entry = self.entries.get(actor)
            if entry is not None and fence >= entry.fence:
                entry.settle(numbers)

    def _entry(self, actor: str, fence: int) -> Entry:
        entry = self.entries.setdefault(actor, Entry())
        if fence < entry.fence:
            self.fenced += 1
            raise FencedError(f"{actor!r} was claimed under {entry.fence}, this is {fence}")
        entry.fence = fence
        self.highest = max(self.highest, fence)
        return entry

    def __repr__(self) -> str:
        return f"<SimulatedDisk {self.name} of {len(self.entries)} actors>"


class SimulatedStore:
    """A disk as one life of one process sees it."""

    is_shared_between_hosts = False

    def __init__(
        self, disk: SimulatedDisk, later: Later, is_alive: Callable[[], bool] = lambda: True
    ) -> None:
        """`later(delay_s, action)` belongs to the world: it acts even if the process has ended."""
        self._disk, self._later, self._is_alive = disk, later, is_alive
        self._is_open = False
        self._under_way: deque[Callable[[], None]] = deque()
        self._last_s = 0.0

    @property
    def identity(self) -> str:
        return f"simulated:{self._disk.name}"

    async def open(self) -> None:
        self._is_open = True

    async def close(self) -> None:
        if self._under_way:
            await self._write(None, "os")
        self._is_open = False

    async def claim(self, actor: str, fence: int) -> Kept | None:
        await self._write((actor, fence), "os")
        return self._disk.entries[actor].kept()

    def commit(self, commit: Commit, mode: Mode) -> Awaitable[None]:
        done = self._write(commit, mode)
        if mode != "memory":
            return done
        at_once: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        at_once.set_result(None)
        return at_once

    def settle(self, actor: str, fence: int, numbers: Sequence[int]) -> None:
        _ = self._write((actor, fence, tuple(numbers)), "memory")

    async def to_wake(self) -> list[Wake]:
        await self._write(None, "os")
        return [
            Wake(actor, 0 if one.outgoing else min(r.due_ms for r in one.reminders))
            for actor, one in sorted(self._disk.entries.items())
            if one.outgoing or one.reminders
        ]

    async def highest_fence(self) -> int:
        self._check_open()
        return self._disk.highest

    async def next_fence(self) -> int:
        self._check_open()
        self._disk.highest += 1
        return self._disk.highest

    # --- inside -------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreError("the state store is not open")

    def _write(self, one: Write | None, mode: Mode) -> asyncio.Future[None]:
        """Takes effect after a while, behind what was asked for before; then it is told."""
        self._check_open()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        chance, longest_s = self._disk.chance, self._disk.longest_s
        self._last_s = max(self._last_s, loop.time() + chance.uniform(0.0, longest_s))
        told_s = chance.uniform(0.0, longest_s)

        def take_effect() -> None:
            error: StoreError | None = None
            if not self._is_alive():
                self._disk.losses += 1
                return
            try:
                if one is not None:
                    self._disk.write(one)
            except StoreError as problem:
                error = problem
            if mode == "disk" and error is None:
                self._disk.sync()
            self._later(told_s, lambda: loop.call_soon(tell, error))

        def tell(error: StoreError | None) -> None:
            if done.done():
                return
            if error is not None:
                done.set_exception(error)
                done.exception()  # it may be that nobody looks
            else:
                done.set_result(None)

        self._under_way.append(take_effect)
        self._later(self._last_s - loop.time(), self._next_takes_effect)
        return done

    def _next_takes_effect(self) -> None:
        self._under_way.popleft()()

    def __repr__(self) -> str:
        return f"<SimulatedStore on {self._disk.name}, {len(self._under_way)} under way>"
