"""What only some actors have: a parent, children, timers, a restart history."""

from __future__ import annotations

from asyncio import TimerHandle
from dataclasses import dataclass, field
from typing import Any

from denoagents._native.envelope import Envelope
from denoagents._native.runtime import Cell, CellState
from denoagents.actor.method import MethodType
from denoagents.actor.supervision import Directive, RestartWindow


@dataclass(slots=True, eq=False)
class Family:
    """Kept beside a cell that needs it."""

    parent: Cell | None = None
    cls: type | None = None
    children: dict[str, Cell] = field(default_factory=dict)
    timers: set[Timer] = field(default_factory=set)
    window: RestartWindow | None = None
    children_window: RestartWindow | None = None
    """That of all children together, where a strategy restarts more than one."""
    failure: tuple[Directive, BaseException] | None = None
    """What is to be done, while on_failure runs, or a turn that a child's failure cancelled."""
    renewal: Renewal | None = None
    """The restart that waits for running turns to end."""
    is_resetting: bool = False
    """A new instance comes when the children are gone and the back-off is over."""
    is_ending: bool = False
    """The actor goes when its children are gone."""
    backoff: TimerHandle | None = None

    @property
    def is_giving_up(self) -> bool:
        """Whether this instance is on its way out: nothing that it does matters any more."""
        return self.renewal is not None or self.failure is not None

    def cancel_timers(self) -> None:
        """End all timers, those of users and the back-off."""
        if self.backoff is not None:
            self.backoff.cancel()
            self.backoff = None
        for timer in tuple(self.timers):
            timer.cancel()


@dataclass(slots=True, eq=False)
class Renewal:
    """Actors that are restarted together: none begins before all running turns have ended."""

    cells: tuple[Cell, ...]
    wait_s: float
    busy: set[Cell] = field(default_factory=set)


class Timer:
    """A volatile timer: it moves with its actor, and ends with a restart or a crash.

    At most one message of a timer waits: while the actor has not come to it, later ones are left
    out.
    """

    __slots__ = ("_cell", "_due_s", "_sent", "arguments", "every_s", "handle", "method")

    def __init__(
        self, cell: Cell, method: MethodType, arguments: tuple[Any, ...], every_s: float | None
    ) -> None:
        self._cell, self.method, self.arguments, self.every_s = cell, method, arguments, every_s
        self._due_s = 0.0
        self.handle: TimerHandle | None = None
        self._sent: Envelope | None = None

    def start(self, after_s: float) -> None:
        """Send the first message after `after_s`."""
        loop = self._cell.runtime.loop
        self._cell.family.timers.add(self)
        self._due_s = loop.time() + max(after_s, 0.0)
        self.handle = loop.call_at(self._due_s, self._fire)

    @property
    def is_set(self) -> bool:
        """Whether it will send anything more."""
        return self.handle is not None

    def cancel(self) -> None:
        """Send nothing more."""
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None
            self._cell.family.timers.discard(self)

    def _fire(self) -> None:
        cell, runtime = self._cell, self._cell.runtime
        if self.every_s is None or cell.state >= CellState.STOPPING:
            self.cancel()
        else:
            now_s = runtime.loop.time()
            self._due_s = max(self._due_s + self.every_s, now_s)
            self.handle = runtime.loop.call_at(self._due_s, self._fire)
        if cell.state >= CellState.STOPPING or (self._sent is not None and self._sent.cell is cell):
            return
        runtime.books.sent += 1
        runtime.books.acknowledged += 1
        self._sent = Envelope(self.method, self.arguments, None)
        runtime.post(cell, self._sent)

    def __repr__(self) -> str:
        state = "set" if self.is_set else "over"
        return f"<Timer {self._cell.address}.{self.method.name} {state}>"
