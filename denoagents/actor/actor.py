"""The class that users derive their actors from."""

from __future__ import annotations

from typing import Any, ClassVar

from denoagents.actor.context import Context
from denoagents.actor.declaration import ActorType, declare
from denoagents.actor.supervision import Supervision

__all__ = ["Actor"]


class Actor:
    """An object with a mailbox that handles one message at a time.

    Public `async def` methods and async generators are its messages; annotated fields are its
    state. An actor is named by its type and a key, made when its first message comes, and
    passivated when idle.
    """

    __denoagents_actor__: ClassVar[bool] = True
    __denoagents_type__: ClassVar[ActorType]

    supervision: ClassVar[Supervision] = Supervision()
    """How the actor looks after its children."""

    reentrant: ClassVar[bool] = False
    """Whether a call that comes back to the actor from one that it asks runs while its turn waits.

    Such a call runs between two awaits of that turn, and sees the state as it is then. Otherwise it
    raises `CallCycleError`.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__denoagents_type__ = declare(cls)

    @property
    def context(self) -> Context:
        """The actor's place in the fleet: its address, its children, its timers."""
        cell = self.__dict__.get("_denoagents_cell")
        if cell is None:
            raise RuntimeError(
                f"{type(self).__name__} was made by hand and has no context; "
                "get a ref from node.actor(...)"
            )
        return Context(cell.runtime.guardian, cell)

    async def on_start(self) -> None:
        """Called before the first message of each life (activation or restart)."""

    async def on_stop(self) -> None:
        """Called when the actor is stopped."""

    async def on_passivate(self) -> None:
        """Called before an idle actor gives up its instance."""

    async def on_terminated(self, address: str, reason: str) -> None:
        """Called once for each actor that was watched (`self.context.watch`) and has ended."""

    async def on_failure(self, error: BaseException) -> None:
        """Called when a method raised and the actor is about to be restarted or stopped."""
