"""How values become bytes and come back: msgpack by msgspec, strictly typed, refs as an extension.

Rules:
    Bytes are hostile: whatever arrives, decoding ends with a value or an `Exception` that
    `decoding_problem` explains.
    Memory stays in proportion to the bytes that are there, not to what a header claims.
    A ref travels as extension 1, the UTF-8 text of its address; it becomes a ref only where one
    is declared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from denoagents.actor.annotation import actor_class_of
from denoagents.address import Address
from denoagents.errors import EncodingError, ReplyEncodingError, UsageError

Payload: TypeAlias = bytes | bytearray | memoryview

REF_EXTENSION = 1
"""The msgpack extension type of refs."""


class RefCodec(Protocol):
    """What the codec asks of a node: which value is a ref, and a ref to an address."""

    def address_of(self, value: object) -> Address | None:
        """The address of a ref; None for any other value."""

    def ref_to(self, cls: type, address: Address) -> object:
        """A ref to the actor there, declared as `cls`; `ValueError` if the two do not fit."""


class NoRefs:
    """The codec's refs where there is no node: an address stays an address."""

    def address_of(self, value: object) -> Address | None:  # noqa: ARG002
        return None

    def ref_to(self, cls: type, address: Address) -> object:  # noqa: ARG002
        return address


class Codec:
    """Encodes any value, and makes decoders for types; one for each node."""

    __slots__ = ("_refs", "encode")

    encode: Callable[[object], bytes]
    """The encoder of msgspec; what it raises, `encoding_problem` explains."""

    def __init__(self, refs: RefCodec | None = None) -> None:
        self._refs = refs or NoRefs()
        self.encode = msgspec.msgpack.Encoder(enc_hook=self._encode_other).encode

    def decoder(self, annotation: Any) -> Callable[[Payload], Any]:
        """The decoder of msgspec for a type; what it raises, `decoding_problem` explains."""
        return msgspec.msgpack.Decoder(
            annotation, dec_hook=self._decode_other, ext_hook=_decode_extension
        ).decode

    def convert(self, value: Any, annotation: Any) -> Any:
        """A value as JSON has it (text for times and bytes, text for keys) as the declared type."""
        return msgspec.convert(value, annotation, dec_hook=self._decode_other, str_keys=True)

    def _encode_other(self, value: Any) -> Any:
        address = self._refs.address_of(value)
        if address is None:
            raise TypeError(f"values of type {type(value).__qualname__} cannot be carried")
        return msgspec.msgpack.Ext(REF_EXTENSION, address.text.encode())

    def _decode_other(self, kind: Any, value: Any) -> Any:
        actor_class = actor_class_of(kind)
        if actor_class is None:
            raise TypeError(f"values of type {kind.__qualname__} cannot be carried")
        try:
            address = Address.parse(value) if isinstance(value, str) else value
            if isinstance(address, Address):
                return self._refs.ref_to(actor_class, address)
        except UsageError as error:
            raise ValueError(str(error)) from None
        raise ValueError(f"Expected `{actor_class.__name__}`, got `{type(value).__name__}`")


def _decode_extension(code: int, data: memoryview) -> Address:
    if code != REF_EXTENSION:
        raise ValueError(f"the extension type {code} is unknown")
    try:
        return Address.parse(str(data, "utf-8"))
    except UsageError as error:
        raise ValueError(str(error)) from None


# --- what went wrong, in words ----------------------------------------------------------------

CARRIED = (
    "plain values, datetimes, UUIDs, enums, dataclasses, msgspec Structs, "
    "collections of them, and refs"
)
"""What a message can carry, in words for errors."""


def encoding_problem(error: Exception) -> str:
    """Why a value could not be encoded, and what can be sent instead."""
    match error:
        case RecursionError():
            return "it is nested too deeply, or contains itself"
        case OverflowError():
            return "it has an int of more than 64 bits; send it as text"
        case UnicodeEncodeError():
            return "it has text with a lone surrogate, which is no valid Unicode"
        case _:
            return f"{error}; messages carry {CARRIED}"


_MISFIT = re.compile(r"Expected `(?P<expected>.+)`, got `(?P<got>.+)`\Z", re.DOTALL)
_PATH = re.compile(r"(?P<what>.*) - at `(?P<path>[^`]*)`\Z", re.DOTALL)


def split_path(error: Exception) -> tuple[str, str]:
    """(what, where) of a decoding error; where is msgspec's path such as `$[0].name`, or empty."""
    found = _PATH.match(str(error)) if isinstance(error, msgspec.ValidationError) else None
    return (found["what"], found["path"]) if found else (str(error), "")


def decoding_problem(error: Exception) -> str:
    """Why bytes (or JSON values) are not what was declared; completes "parameter 'n' …"."""
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    what, _ = split_path(error)
    misfit = _MISFIT.match(what)
    if misfit:
        return f"must be {misfit['expected']}, not {misfit['got']}"
    if isinstance(error, msgspec.DecodeError) and not isinstance(error, msgspec.ValidationError):
        return f"is damaged: {what}"
    if isinstance(error, ValueError):
        return f"is not valid: {what}"
    return f"is not valid: {type(error).__name__}: {what}"


# --- for the command line, which knows no classes ---------------------------------------------

_encode_plain = Codec().encode
_decode_plain = Codec().decoder(Any)


def encode_json_arguments(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
    """Arguments given as JSON values, by position and by name; the receiver checks and converts."""
    try:
        return _encode_plain({"args": list(args), "kwargs": dict(kwargs)})
    except Exception as error:
        raise EncodingError(f"the arguments cannot be sent: {encoding_problem(error)}") from None


def decode_json_value(payload: Payload) -> Any:
    """A result as JSON can show it: times as text, bytes as base64, refs as addresses."""
    try:
        return _plain(_decode_plain(payload))
    except Exception as error:
        raise ReplyEncodingError(f"the result {decoding_problem(error)}") from None


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {
            key if isinstance(key, str) else str(_plain(key)): _plain(v) for key, v in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return value.text if isinstance(value, Address) else msgspec.to_builtins(value)
