"""An `Actor` that only declares: what the tests of declarations and codecs need of the real one."""

from __future__ import annotations

from typing import Any, ClassVar

from denoagents.actor.declaration import ActorType, declare


class Actor:
    """Declares its subclasses; the declaration is `declared`."""

    __denoagents_actor__ = True
    declared: ClassVar[ActorType]
    context: Any

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.declared = declare(cls)

    async def on_start(self) -> None:
        """Awaited by the runtime, so that a subclass's must be awaitable."""
