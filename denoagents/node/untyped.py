"""Messages by address and method name, with plain values: for tools that lack an actor's class."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from denoagents._native.call import BoundMethod
from denoagents._native.call import tell as send_one_way
from denoagents._native.router import Router
from denoagents.actor.stream import StreamCall
from denoagents.actor.untyped import method_at


class UntypedCalls:
    """What a node offers beside typed refs."""

    router: Router

    async def ask(
        self,
        address: str,
        method: str,
        *args: Any,
        timeout_s: float | None = None,
        priority: str | None = None,
        reliable: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Ask an actor by address, with plain values; for tools that do not have its class."""
        target = self._target(address, method, timeout_s, priority, reliable=reliable)
        return await target(*args, **kwargs)

    async def tell(
        self,
        address: str,
        method: str,
        *args: Any,
        priority: str | None = None,
        reliable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        """Send an actor a message by address, with plain values."""
        target = self._target(address, method, None, priority, reliable=reliable)
        await send_one_way(target, args, kwargs)

    def stream(
        self,
        address: str,
        method: str,
        *args: Any,
        timeout_s: float | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Stream an actor's reply by address, with plain values."""
        target = self._target(address, method, timeout_s, None, is_stream=True)
        return StreamCall(target, args, kwargs)

    def _target(self, *which: Any, **how: Any) -> BoundMethod:
        self._check_running()
        return method_at(self.router, *which, **how)

    def _check_running(self) -> None:
        """Raise unless messages can be sent."""
        raise NotImplementedError
