"""The declared state of an actor: which fields, their defaults, their way to bytes and back.

Rules:
    A field without a default is absent until it is set, and absent fields are not written.
    Mutable defaults are copied for each actor; plain ones stay on the class, so that an idle
    actor pays nothing for them.
    Fields unknown to this version of the class are ignored when read; missing ones keep their
    default.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import datetime as dt
import decimal
import enum
import inspect
import re
import sys
import uuid
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, ClassVar, Final, get_origin

import msgspec

from denoagents.actor.annotation import Scope, UnresolvedNameError, annotations_of, type_text
from denoagents.actor.codec import Codec, Payload, decoding_problem, encoding_problem, split_path
from denoagents.actor.parameter import MISSING, check_default, find_type, plain_default
from denoagents.errors import DeclarationError, EncodingError


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """One declared field of the state."""

    name: str
    annotation: Any
    default: Any
    module_names: dict[str, Any]


_CONSTANT_TEXT = re.compile(r"\A(\w+\.)?(ClassVar|Final)\b")


def read_fields(
    where: str, cls: type, declared: Collection[type], reserved: Collection[str]
) -> dict[str, Field]:
    """The fields of `declared`, base classes first; `where` names the actor type."""
    found: dict[str, Field] = {}
    for owner in declared:
        module_names = getattr(sys.modules.get(owner.__module__), "__dict__", {})
        for name, annotation in annotations_of(owner).items():
            if name.startswith("_") or name == "type_name" or _is_constant(annotation):
                continue
            if name in reserved:
                raise DeclarationError(
                    f"{where}: the field {name!r} has a name that the runtime uses; rename it, or "
                    f"write `{name}: ClassVar[…]` if it is meant for the runtime"
                )
            found[name] = Field(name, annotation, getattr(cls, name, MISSING), module_names)
    for field in found.values():
        _check_field(where, field)
    return found


def _is_constant(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return _CONSTANT_TEXT.match(annotation) is not None
    return annotation in (ClassVar, Final) or get_origin(annotation) in (ClassVar, Final)


def _check_field(where: str, field: Field) -> None:
    default, name = field.default, field.name
    if isinstance(default, dataclasses.Field):
        raise DeclarationError(
            f"{where}: the state field {name!r} has a dataclass field() as default; write the "
            f"value itself, such as `{name}: list[str] = []`: each actor gets a copy"
        )
    if inspect.isfunction(default) or isinstance(default, property):
        raise DeclarationError(
            f"{where}: {name!r} is a state field and a method at once; rename one"
        )


class StateType:
    """The state of one actor type, wired to one node's refs."""

    __slots__ = ("_codec", "_copies", "_decoders", "_scope", "_types", "actor_type", "fields")

    def __init__(
        self, actor_type: str, fields: Mapping[str, Field], scope: Scope, codec: Codec
    ) -> None:
        self.actor_type, self.fields, self._scope = actor_type, dict(fields), scope
        self._types: dict[str, Any] | None = None
        self._copies = tuple(
            (field.name, _copier(field.default))
            for field in fields.values()
            if field.default is not MISSING and not _is_plain(field.default)
        )
        self._attach(codec)

    def with_codec(self, codec: Codec) -> StateType:
        """The same state for another node."""
        twin = copy.copy(self)
        twin._attach(codec)  # noqa: SLF001 - its own kind
        return twin

    def fill_defaults(self, instance: object) -> None:
        """Give a new instance its own copies of mutable defaults."""
        for name, make in self._copies:
            setattr(instance, name, make())

    def encode(self, instance: object) -> bytes:
        """The fields that `instance` has, as a msgpack map."""
        values = {name: getattr(instance, name, MISSING) for name in self.fields}
        present = {name: value for name, value in values.items() if value is not MISSING}
        try:
            return self._codec.encode(present)
        except Exception as error:
            raise self._not_encodable(present, error) from None

    def decode(self, payload: Payload) -> dict[str, Any]:
        """The fields that the bytes have, each as annotated."""
        decoders = self._decoders or self._resolved()
        try:
            raw: dict[str, Any] = _decode_raw(payload)
        except Exception as error:
            raise EncodingError(
                f"{self.actor_type}: the stored state {decoding_problem(error)}"
            ) from None
        return {
            name: self._decode_field(name, decoders[name], raw[name])
            for name in decoders
            if name in raw
        }

    def signature(self) -> list[dict[str, Any]]:
        """What `describe` shows; plain values only."""
        shown = []
        for field in self.fields.values():
            kind = self._types[field.name] if self._types is not None else field.annotation
            entry: dict[str, Any] = {"name": field.name, "type": type_text(kind)}
            if field.default is not MISSING:
                entry["default"] = plain_default(field.default)
            shown.append(entry)
        return shown

    def kinds(self) -> tuple[Any, ...]:
        """The types of the fields; none that cannot be found yet."""
        with contextlib.suppress(UnresolvedNameError):
            self._wire()
        return () if self._types is None else tuple(self._types.values())

    def pending_text(self) -> str:
        """The annotations that could not be found yet, as text."""
        return (
            ""
            if self._types is not None
            else " ".join(str(f.annotation) for f in self.fields.values())
        )

    # --- wiring

    def _attach(self, codec: Codec) -> None:
        self._codec = codec
        self._decoders: dict[str, Callable[[Payload], Any]] = {}
        with contextlib.suppress(UnresolvedNameError):  # tried again at the first use
            self._wire()

    def _resolved(self) -> dict[str, Callable[[Payload], Any]]:
        try:
            self._wire()
        except UnresolvedNameError as missing:
            raise DeclarationError(
                f"{self.actor_type}: the annotation '{missing}' of its state names nothing; "
                "define it in the module, or import it there, and not under `if TYPE_CHECKING`"
            ) from None
        return self._decoders

    def _wire(self) -> None:
        if self._types is None:
            self._types = {name: self._find(field) for name, field in self.fields.items()}
        self._decoders = {name: self._codec.decoder(kind) for name, kind in self._types.items()}

    def _find(self, field: Field) -> Any:
        where = f"{self.actor_type}: the state field {field.name!r}"
        found = find_type(where, field.annotation, self._scope, field.module_names)
        if field.default is not MISSING:
            check_default(where, field.name, field.default, found, self._codec)
        return found

    def _decode_field(self, name: str, decode: Callable[[Payload], Any], raw: Payload) -> Any:
        try:
            return decode(raw)
        except Exception as error:
            what = f"the stored state {name + split_path(error)[1].removeprefix('$')!r}"
            raise EncodingError(f"{self.actor_type}: {what} {decoding_problem(error)}") from None

    def _not_encodable(self, present: Mapping[str, Any], error: Exception) -> EncodingError:
        for name, value in present.items():
            try:
                self._codec.encode(value)
            except Exception as own:
                what = f"the state field {name!r} ({type(value).__qualname__})"
                return EncodingError(
                    f"{self.actor_type}: {what} cannot be kept: {encoding_problem(own)}"
                )
        return EncodingError(
            f"{self.actor_type}: the state cannot be kept: {encoding_problem(error)}"
        )


_decode_raw: Callable[[Payload], dict[str, Any]] = msgspec.msgpack.Decoder(
    dict[str, msgspec.Raw]
).decode

_PLAIN = (
    type(None), bool, int, float, str, bytes, enum.Enum, decimal.Decimal, uuid.UUID, type,
    dt.date, dt.time, dt.timedelta,
)  # fmt: skip


def _is_plain(default: Any) -> bool:
    """Whether all actors may share the value."""
    if isinstance(default, tuple | frozenset):
        return all(map(_is_plain, default))
    return isinstance(default, _PLAIN)


def _copier(default: Any) -> Callable[[], Any]:
    if not default and type(default) in (list, dict, set):
        return type(default)
    return partial(copy.deepcopy, default)
