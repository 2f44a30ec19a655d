"""What an actor knows and may do about itself: address, children, timers, its own end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, ClassVar, ParamSpec, Protocol, TypeVar

from denoagents._native.runtime import Cell
from denoagents.actor.family import Timer
from denoagents.errors import UsageError


class ActorLike(Protocol):
    """Any actor class."""

    __denoagents_actor__: ClassVar[bool]


A = TypeVar("A", bound=ActorLike)
P = ParamSpec("P")


class Services(Protocol):
    """What a context asks of the guardian."""

    def ref(self, cls: type[A], address: str) -> A:
        """A typed ref."""

    def root_ref(self, cls: type[A], key: str) -> A:
        """A typed ref to a root actor."""

    def pool(self, cls: type[A], name: str, **settings: Any) -> A:
        """A ref to a pool."""

    def spawn(self, parent: Cell, cls: type[A], name: str) -> A:
        """A new child of `parent`."""

    def children(self, cell: Cell) -> tuple[str, ...]:
        """Addresses of the living children of `cell`."""

    async def stop_child(self, parent: Cell, ref: object) -> None:
        """Stop the child that `ref` names; returns when it is gone."""

    def watch(self, watcher: Cell, ref: object) -> Awaitable[None]:
        """Let `watcher` hear of the end of the actor that `ref` names."""

    def unwatch(self, watcher: Cell, ref: object) -> None:
        """Take that back."""

    def stop_after_turn(self, cell: Cell) -> None:
        """Stop `cell` as soon as it is idle."""

    def schedule(
        self,
        cell: Cell,
        method: str,
        args: tuple[Any, ...],
        after_s: float,
        every_s: float | None,
    ) -> Timer:
        """A timer that sends `cell` a message."""

    def remaining_s(self) -> float | None:
        """Seconds left for the request of the running turn."""

    def fence(self, cell: Cell) -> int:
        """The fence of an actor's running turns."""

    def remind(
        self,
        cell: Cell,
        name: str,
        method: str,
        args: tuple[Any, ...],
        *,
        after_s: float | None,
        at: datetime | None,
        every_s: float | None,
    ) -> None:
        """Set a reminder with the running turn."""

    def forget_reminder(self, cell: Cell, name: str) -> bool:
        """Take back a reminder with the running turn."""


class Context:
    """One actor's place in the fleet."""

    __slots__ = ("_cell", "_services")

    def __init__(self, services: Services, cell: Cell) -> None:
        self._services, self._cell = services, cell

    @property
    def address(self) -> str:
        """The actor's address, such as `Counter/visits`."""
        return self._cell.address

    @property
    def deadline_s(self) -> float | None:
        """Seconds left for the request that this turn serves; None outside a turn."""
        return self._services.remaining_s()

    def me(self, cls: type[A]) -> A:
        """A ref to this actor, to hand to others; `cls` is its own class."""
        return self._services.ref(cls, self._cell.address)

    def actor(self, cls: type[A], key: str) -> A:
        """A ref to the root actor (cls, key), wherever it lives."""
        return self._services.root_ref(cls, key)

    def pool(self, cls: type[A], name: str = "default", **settings: Any) -> A:
        """A ref to a pool of interchangeable actors; see `Node.pool`."""
        return self._services.pool(cls, name, **settings)

    def spawn(self, cls: type[A], name: str) -> A:
        """Make a child beside this actor; it moves and stops with it, and this actor supervises it.

        Raises:
            UsageError: a child of that name lives already, or the name is not usable.
        """
        return self._services.spawn(self._cell, cls, name)

    @property
    def children(self) -> tuple[str, ...]:
        """The addresses of the living children."""
        return self._services.children(self._cell)

    async def stop(self, ref: object) -> None:
        """Stop a child after its running turn; what waits for it is refused."""
        await self._services.stop_child(self._cell, ref)

    def watch(self, ref: object) -> Awaitable[None]:
        """Hear once, by `on_terminated(address, reason)`, when the life of an actor has ended.

        The await waits until the actor's process knows; what ends before that may be missed.

        It ends when the actor is stopped, or dies with its worker; not when it is restarted,
        passivated or moved. A child that does not live has ended already. The watch is over with
        its notice, with `unwatch`, and when this actor ends or is restarted.
        """
        return self._services.watch(self._cell, ref)

    def unwatch(self, ref: object) -> None:
        """Watch it no longer; a notice that waits already still comes."""
        self._services.unwatch(self._cell, ref)

    def stop_self(self) -> None:
        """Stop this actor after the running turn.

        A root actor comes back, new, with its next message.
        """
        self._services.stop_after_turn(self._cell)

    def schedule(
        self,
        method: Callable[P, Awaitable[object]],
        *args: Any,
        after_s: float = 0.0,
        every_s: float | None = None,
    ) -> Timer:
        """Send this actor a message after `after_s` seconds, then every `every_s`; volatile.

        `method` is one of the actor's own: `self.context.schedule(self.tick, every_s=1)`.
        """
        if every_s is not None and every_s <= 0:
            raise UsageError(f"every_s must be above 0, got {every_s}")
        owner, name = getattr(method, "__self__", None), getattr(method, "__name__", "")
        if owner is not self._cell.instance:
            raise UsageError(
                f"schedule takes a method of the actor itself, as in self.context.schedule("
                f"self.tick, every_s=1), not {method!r}"
            )
        first_s = every_s if after_s == 0 and every_s else after_s
        return self._services.schedule(self._cell, name, args, first_s, every_s)

    # --- durable actors -----------------------------------------------------------------------

    @property
    def fence(self) -> int:
        """A number that rises whenever the actor moves to another process.

        Hand it to a system outside that refuses lower ones, so that a process which believes that
        it still owns the actor changes nothing there.
        """
        return self._services.fence(self._cell)

    def remind(
        self,
        name: str,
        method: Callable[P, Awaitable[object]],
        *args: Any,
        after_s: float | None = None,
        at: datetime | None = None,
        every_s: float | None = None,
    ) -> None:
        """Have this durable actor sent a message that no restart loses; kept with the turn.

        First after `after_s` seconds or at the time `at`, then every `every_s`. One of the same
        name is replaced. `method` is one of the actor's own.
        """
        owner, label = getattr(method, "__self__", None), getattr(method, "__name__", "")
        if owner is not self._cell.instance:
            raise UsageError(
                f"remind takes a method of the actor itself, as in self.context.remind("
                f"'due', self.tick, after_s=60), not {method!r}"
            )
        self._services.remind(
            self._cell, name, label, args, after_s=after_s, at=at, every_s=every_s
        )

    def forget(self, name: str) -> bool:
        """Take back a reminder, with the turn; whether there was one."""
        return self._services.forget_reminder(self._cell, name)

    def __repr__(self) -> str:
        return f"<Context {self._cell.address}>"
