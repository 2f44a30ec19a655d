"""Methods of actors whose class is not at hand: the command line's way in."""

from __future__ import annotations

from typing import Any

from denoagents.actor.codec import decode_json_value, encode_json_arguments


class PlainMethod:
    """Stands for a declared method; values are plain, and checked only by the receiver."""

    parameter_count = required_count = 0
    idempotent = uninterruptible = False

    def __init__(self, name: str, *, is_stream: bool = False) -> None:
        self.name, self.is_stream = name, is_stream

    def encode_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """By position and by name, as the receiver's declaration will have them."""
        return encode_json_arguments(args, kwargs)

    def decode_result(self, payload: bytes) -> Any:
        """As JSON can show it."""
        return decode_json_value(payload)
