"""What only some actors have: a parent, children, timers, a restart history."""

from __future__ import annotations

from asyncio import TimerHandle
from dataclasses import dataclass, field

from denoagents._native.runtime import Cell
from denoagents.actor.supervision import RestartWindow


@dataclass(slots=True, eq=False)
class Timer:
    """A volatile timer of one actor; it ends with this life of the actor."""

    handle: TimerHandle | None = None
    every_s: float | None = None
    family: Family | None = None

    def cancel(self) -> None:
        """Send nothing more."""
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None
        if self.family is not None:
            self.family.timers.discard(self)
            self.family = None


@dataclass(slots=True, eq=False)
class Family:
    """Kept beside a cell that needs it."""

    parent: Cell | None = None
    cls: type | None = None
    children: dict[str, Cell] = field(default_factory=dict)
    timers: set[Timer] = field(default_factory=set)
    window: RestartWindow | None = None
    last_error: BaseException | None = None

    def cancel_timers(self) -> None:
        """End all timers."""
        for timer in list(self.timers):
            timer.cancel()
