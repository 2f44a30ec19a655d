"""The user's own types that an actor's messages and state carry: which fields each has.

Rules: plain values, by the type's name, for `describe` and for the comparison of two versions of
an app. Types that stand inside others are told, too; refs to actors are no such type.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from denoagents.actor.annotation import type_text
from denoagents.actor.parameter import plain_default

_FIELDS = (
    msgspec.inspect.StructType
    | msgspec.inspect.DataclassType
    | msgspec.inspect.NamedTupleType
    | msgspec.inspect.TypedDictType
)


def describe_types(annotations: Iterable[Any]) -> dict[str, dict[str, Any]]:
    """The types inside `annotations`; what cannot be found yet is left out."""
    found: dict[str, dict[str, Any]] = {}
    seen: set[int] = set()
    for annotation in annotations:
        try:
            described = msgspec.inspect.type_info(annotation)
        except (NameError, TypeError):
            continue
        for name, shown in _walk(described, seen):
            found.setdefault(name, shown)
    return dict(sorted(found.items()))


def _walk(node: Any, seen: set[int]) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, tuple):
        for part in node:
            yield from _walk(part, seen)
        return
    if not isinstance(node, msgspec.inspect.Type | msgspec.inspect.Field) or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, _FIELDS):
        yield type_text(node.cls), _with_fields(node)
    elif isinstance(node, msgspec.inspect.EnumType):
        values = [plain_default(member.value) for member in node.cls]
        yield type_text(node.cls), {"values": values}
    for name in node.__struct_fields__:
        yield from _walk(getattr(node, name), seen)


def _with_fields(node: Any) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(node.cls)
    except Exception:  # a name that only its own module's function knows
        hints = dict(getattr(node.cls, "__annotations__", {}))
    fields = []
    for field in node.fields:
        shown: dict[str, Any] = {
            "name": field.encode_name,
            "type": type_text(hints.get(field.name, "?")),
        }
        if not field.required:
            shown["has_default"] = True
        fields.append(shown)
    is_array = isinstance(node, msgspec.inspect.NamedTupleType) or getattr(
        node, "array_like", False
    )
    return {"fields": fields, "is_array": is_array}
