"""What only some actors have: a parent, children, timers, a restart history."""

from __future__ import annotations

from asyncio import TimerHandle
from dataclasses import dataclass, field
from typing import Any

from denoagents._native.runtime import Cell
from denoagents.actor.method import MethodType
from denoagents.actor.supervision import RestartWindow


@dataclass(slots=True, eq=False)
class Timer:
    """A volatile timer: it moves with its actor, and ends with a restart or a crash."""

    method: MethodType
    arguments: tuple[Any, ...]
    every_s: float | None
    family: Family | None
    handle: TimerHandle | None = None

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
