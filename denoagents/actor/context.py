"""What an actor knows and may do about itself: address, children, timers, its own end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from denoagents._native.runtime import Cell
from denoagents.actor.actor import Actor
from denoagents.actor.family import Timer
from denoagents.errors import UsageError

if TYPE_CHECKING:
    from denoagents.actor.guardian import Guardian

A = TypeVar("A", bound=Actor)
P = ParamSpec("P")


class Context:
    """One actor's place in the fleet."""

    __slots__ = ("_cell", "_guardian")

    def __init__(self, guardian: Guardian, cell: Cell) -> None:
        self._guardian, self._cell = guardian, cell

    @property
    def address(self) -> str:
        """The actor's address, such as `Counter/visits`."""
        return self._cell.address

    @property
    def deadline_s(self) -> float | None:
        """Seconds left for the request that this turn serves; None outside a turn."""
        return self._guardian.remaining_s()

    def me(self, cls: type[A]) -> A:
        """A ref to this actor, to hand to others; `cls` is its own class."""
        return self._guardian.ref(cls, self._cell.address)

    def actor(self, cls: type[A], key: str) -> A:
        """A ref to the root actor (cls, key), wherever it lives."""
        return self._guardian.root_ref(cls, key)

    def pool(self, cls: type[A], name: str = "default", **settings: Any) -> A:
        """A ref to a pool of interchangeable actors; see `Node.pool`."""
        return self._guardian.pool(cls, name, **settings)

    def spawn(self, cls: type[A], name: str) -> A:
        """Make a child beside this actor; it moves and stops with it, and this actor supervises it.

        Raises:
            UsageError: a child of that name lives already, or the name is not usable.
        """
        return self._guardian.spawn(self._cell, cls, name)

    @property
    def children(self) -> tuple[str, ...]:
        """The addresses of the living children."""
        return self._guardian.children(self._cell)

    async def stop(self, ref: object) -> None:
        """Stop a child after its running turn; what waits for it is refused."""
        await self._guardian.stop_child(self._cell, ref)

    def stop_self(self) -> None:
        """Stop this actor after the running turn. A root actor comes back, new, with its next message."""
        self._guardian.stop_after_turn(self._cell)

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
        name = getattr(method, "__name__", "")
        return self._guardian.schedule(self._cell, name, args, every_s if after_s == 0 and every_s else after_s, every_s)

    def __repr__(self) -> str:
        return f"<Context {self._cell.address}>"
