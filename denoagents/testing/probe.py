"""Watches the messages that actors of a class get, and answers in their place if it is told to.

Rules: a probe wraps the methods of one actor class for the time of a test, for all nodes of this
process; the class is whole again afterwards. It works in real and in virtual time.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from denoagents.actor.actor import Actor
from denoagents.actor.declaration import ActorType
from denoagents.actor.method import MethodType
from denoagents.errors import UsageError, nearest
from denoagents.node.node import Node

POLL_S = 0.005
SHOWN = 20


@dataclass(slots=True, eq=False)
class Seen:
    """One message that an actor got, and how its turn went."""

    actor: str
    """The address."""
    method: str
    arguments: dict[str, Any]
    is_over: bool = False
    reply: Any = None
    """What the method returned; of a stream, the list of its items."""
    error: BaseException | None = None
    took_s: float = 0.0
    is_expected: bool = False

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        how = "runs" if not self.is_over else f"raised {self.error!r}" if self.error else ""
        return f"{self.actor}.{self.method}({given}) {how or f'-> {self.reply!r}'}"


class Probe:
    """What actors of one class got since the probe was made."""

    def __init__(self, cls: type[Actor], nodes: Iterable[Node] = ()) -> None:
        """`nodes`: those that run already; the ones made later see the probe by themselves."""
        declared: ActorType | None = cls.__dict__.get("__denoagents_type__")
        if declared is None:
            raise UsageError(f"{cls!r} is no actor class; derive it from denoagents.Actor")
        self.cls, self._declared = cls, declared
        self.messages: list[Seen] = []
        """All messages, in the order in which their turns began."""
        self._answers: dict[str, Callable[..., Any]] = {}
        self._wrapped: list[tuple[MethodType, Callable[..., Any]]] = []
        known = [node._refs._types.get(cls) for node in nodes]  # noqa: SLF001 - the kit looks inside
        for one in (declared, *(found for found in known if found is not None)):
            for method in one.methods.values():
                self._wrap(method)

    # --- telling actors what to say -----------------------------------------------------------

    def answer(self, method: str, value: Any = None) -> None:
        """From now on `method` does not run, and returns `value`, or what `value(*args)` gives.

        An exception is raised, an awaitable awaited; of a stream, `value` is the list of items.
        """
        self._check(method)
        self._answers[method] = value if callable(value) else lambda *_: value

    def run(self, method: str) -> None:
        """From now on `method` runs again."""
        self._check(method)
        self._answers.pop(method, None)

    # --- what was seen ------------------------------------------------------------------------

    def got(self, method: str | None = None, /, *, key: str = "", **arguments: Any) -> list[Seen]:
        """The messages so far, of this method, to this actor's key, with these arguments."""
        if method is not None:
            self._check(method)
        return [
            one
            for one in self.messages
            if method in {None, one.method}
            and (not key or one.actor == f"{self._declared.name}/{key}")
            and all(
                name in one.arguments and one.arguments[name] == value
                for name, value in arguments.items()
            )
        ]

    async def expect(
        self, method: str, /, *, within_s: float = 1.0, key: str = "", **arguments: Any
    ) -> Seen:
        """Wait for the next such message and the end of its turn; each is returned once.

        Raises: `AssertionError` after `within_s`, with what came instead.
        """
        loop = asyncio.get_running_loop()
        end_s = loop.time() + within_s
        while True:
            for one in self.got(method, key=key, **arguments):
                if one.is_over and not one.is_expected:
                    one.is_expected = True
                    return one
            if loop.time() >= end_s:
                raise AssertionError(self._missed(method, within_s, key, arguments))
            await asyncio.sleep(POLL_S)

    async def expect_nothing(self, within_s: float = 0.1) -> None:
        """Wait; raises `AssertionError` if any message comes that was not expected yet."""
        await asyncio.sleep(within_s)
        came = [one for one in self.messages if not one.is_expected]
        if came:
            raise AssertionError(f"nothing should have come, but:{_listed(came)}")

    def close(self) -> None:
        """The class is as it was."""
        for method, function in self._wrapped:
            method.function = function
        self._wrapped.clear()

    # --- inside -------------------------------------------------------------------------------

    def _check(self, method: str) -> None:
        if method not in self._declared.methods:
            hint = nearest(method, self._declared.methods)
            raise UsageError(f"{self._declared.name} has no method {method!r}.{hint}")

    def _missed(self, method: str, within_s: float, key: str, arguments: dict[str, Any]) -> str:
        wanted = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        target = f"{self._declared.name}/{key}" if key else self._declared.name
        return (
            f"{target}.{method}({wanted}) did not come within {within_s:g} s; "
            f"{f'these came:{_listed(self.messages)}' if self.messages else 'nothing came'}"
        )

    def _wrap(self, method: MethodType) -> None:
        original = method.function
        self._wrapped.append((method, original))
        method.function = (self._stream if method.is_stream else self._call)(method, original)

    def _begin(self, method: MethodType, actor: Actor, given: tuple[Any, ...]) -> Seen:
        names = [parameter.name for parameter in method.parameters]
        seen = Seen(actor.context.address, method.name, dict(zip(names, given, strict=False)))
        self.messages.append(seen)
        return seen

    def _call(self, method: MethodType, original: Callable[..., Any]) -> Callable[..., Any]:
        async def handle(actor: Actor, *given: Any) -> Any:
            seen, began_s = self._begin(method, actor, given), time.perf_counter()
            try:
                answer = self._answers.get(method.name)
                if answer is None:
                    seen.reply = await original(actor, *given)
                else:
                    seen.reply = await _said(answer, given)
            except BaseException as error:
                seen.error = error
                raise
            finally:
                seen.is_over, seen.took_s = True, time.perf_counter() - began_s
            return seen.reply

        return handle

    def _stream(self, method: MethodType, original: Callable[..., Any]) -> Callable[..., Any]:
        async def handle(actor: Actor, *given: Any) -> AsyncIterator[Any]:
            seen, began_s = self._begin(method, actor, given), time.perf_counter()
            seen.reply = []
            try:
                answer = self._answers.get(method.name)
                if answer is None:
                    async for item in original(actor, *given):
                        seen.reply.append(item)
                        yield item
                else:
                    for item in await _said(answer, given):
                        seen.reply.append(item)
                        yield item
            except BaseException as error:
                seen.error = error
                raise
            finally:
                seen.is_over, seen.took_s = True, time.perf_counter() - began_s

        return handle


async def _said(answer: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    value = answer(*given)
    if inspect.isawaitable(value):
        value = await value
    if isinstance(value, BaseException):
        raise value
    return value


def _listed(seen: list[Seen]) -> str:
    shown = "".join(f"\n  {one}" for one in seen[-SHOWN:])
    more = len(seen) - SHOWN
    return shown + (f"\n  and {more} before these" if more > 0 else "")
