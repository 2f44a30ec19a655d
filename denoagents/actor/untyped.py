"""Methods of actors whose class is not at hand: the command line's way in."""

from __future__ import annotations

from typing import Any

from denoagents._native.call import BoundMethod, Ref, bound
from denoagents._native.router import Router
from denoagents.actor.codec import decode_json_value, encode_json_arguments
from denoagents.actor.reference import level
from denoagents.address import Address
from denoagents.errors import UsageError


class PlainMethod:
    """Stands for a declared method; values are plain, and checked only by the receiver."""

    parameter_count = required_count = 0
    idempotent = uninterruptible = reliable = False

    def __init__(self, name: str, *, is_stream: bool = False) -> None:
        self.name, self.is_stream = name, is_stream

    def encode_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """By position and by name, as the receiver's declaration will have them."""
        return encode_json_arguments(args, kwargs)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Nothing to check by; an actor in this process is called by its own declaration."""
        del kwargs
        return args

    def decode_result(self, payload: bytes) -> Any:
        """As JSON can show it."""
        return decode_json_value(payload)


def method_at(
    router: Router,
    address: str,
    method: str,
    timeout_s: float | None,
    priority: str | None,
    *,
    is_stream: bool = False,
    reliable: bool | None = None,
) -> BoundMethod:
    """The method of the actor at `address`; declared where the type is hosted here, else plain."""
    parsed = Address.parse(address)
    text = parsed.text
    if parsed.path:
        cell = router.runtime.cells.get(text)
        declared = None if cell is None else cell.type
    else:
        declared = router.types.get(parsed.type)
    timeout_ns = 0 if timeout_s is None else int(timeout_s * 1e9)
    ref = Ref(router, text, declared, timeout_ns, -1 if priority is None else level(priority))
    if reliable is not None:
        ref = ref.with_options(reliable=reliable)
    if declared is not None:
        found = declared.method(method)
        if found.is_stream is not is_stream:
            does, other = ("streams", "stream") if found.is_stream else ("does not stream", "ask")
            raise UsageError(f"{found} {does} its reply; use {other}")
        return bound(ref, found)
    return bound(ref, PlainMethod(method, is_stream=is_stream))
