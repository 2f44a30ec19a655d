"""`@effect`: a call to the world outside whose intent is kept before it runs, and its result after.

Rules:
    Inside a turn of a durable actor that somebody repeats after a crash, an effect that has ended
    returns its recorded result; one that was interrupted goes to its reconcile hook.
    A hook returns what the effect returned, or `RUN_AGAIN` if it certainly did not happen. Without
    a hook the turn gets `OutcomeUnknownError`.
    An effect that raises is recorded as interrupted: nobody knows how far it came.
    Turns that nobody repeats (plain actors, streams, volatile timers, hooks) run it as it is.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import typing
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, ParamSpec, TypeVar, overload

import msgspec

from denoagents._native.runtime import current_turn
from denoagents.errors import DeclarationError, OutcomeUnknownError

P = ParamSpec("P")
R = TypeVar("R")

RUN_AGAIN: Final[Any] = type("RunAgain", (), {"__repr__": lambda _: "RUN_AGAIN"})()
"""What a reconcile hook returns when the effect certainly did not happen."""


@dataclass(frozen=True, slots=True)
class EffectToken:
    """What an effect may hand to the system outside."""

    key: str
    """The same for every repeat of this call: an idempotency key."""
    fence: int
    """Rises when the actor moves to another process: refuse lower ones."""


_token: contextvars.ContextVar[EffectToken | None] = contextvars.ContextVar(
    "denoagents_effect", default=None
)


def effect_token() -> EffectToken | None:
    """Of the running effect or reconcile hook; None where nothing is recorded."""
    return _token.get()


class Effect(Generic[P, R]):
    """An async function whose calls are recorded; call it like the function."""

    def __init__(
        self, function: Callable[P, Awaitable[R]], reconcile: Callable[..., Awaitable[Any]] | None
    ) -> None:
        if not inspect.iscoroutinefunction(function):
            raise DeclarationError(f"@effect stands above an `async def`, not {function!r}")
        self.function, self._reconcile = function, reconcile
        self.name = f"{function.__module__}.{function.__qualname__}"
        functools.update_wrapper(self, function)

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        turn = current_turn.get()
        if turn is None or turn.is_over or turn.cell.type.durable is None:
            return await self.function(*args, **kwargs)
        record: Any = turn.cell.runtime.guardian.durables.effects
        result: R = await record.run(turn.cell, self, args, kwargs)
        return result

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)  # type: ignore[arg-type]

    async def run(self, token: EffectToken, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run it for the first time."""
        with_token = _token.set(token)
        try:
            return await self.function(*args, **kwargs)
        finally:
            _token.reset(with_token)

    async def reconcile(
        self, token: EffectToken, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Find out how an interrupted call ended, and finish it."""
        if self._reconcile is None:
            raise OutcomeUnknownError(
                f"the effect {self.name} was interrupted, and whether it happened is unknown; "
                "give it a hook: @effect(reconcile=…)"
            )
        with_token = _token.set(token)
        try:
            found = await self._reconcile(*args, **kwargs)
        finally:
            _token.reset(with_token)
        return await self.run(token, args, kwargs) if found is RUN_AGAIN else found

    def encode_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """What tells this call from another one."""
        return msgspec.msgpack.encode([args, dict(sorted(kwargs.items()))], enc_hook=_name_of_type)

    def encode_result(self, value: Any) -> bytes:
        """For the record."""
        return msgspec.msgpack.encode(value)

    def decode_result(self, payload: bytes) -> Any:
        """From the record, as annotated."""
        hints = typing.get_type_hints(self.function)
        return msgspec.msgpack.decode(payload, type=hints.get("return", Any))


def _name_of_type(value: object) -> str:
    return type(value).__qualname__


@overload
def effect(function: Callable[P, Awaitable[R]], /) -> Effect[P, R]: ...
@overload
def effect(
    *, reconcile: Callable[..., Awaitable[Any]] | None = None
) -> Callable[[Callable[P, Awaitable[R]]], Effect[P, R]]: ...
def effect(
    function: Callable[P, Awaitable[R]] | None = None,
    /,
    *,
    reconcile: Callable[..., Awaitable[Any]] | None = None,
) -> Any:
    """Record the calls of an async function that durable turns make.

    `reconcile` takes the same arguments; see the rules above.
    """
    if function is None:
        return lambda one: Effect(one, reconcile)
    return Effect(function, reconcile)
