"""What an annotation of an actor means: found by name, checked, and made fit for the codec.

Rules:
    An actor class stands for a ref to such an actor; `object` stands for `Any`, `Self` for the
    actor's own class.
    A name that cannot be found yet is `UnresolvedNameError`; every other fault is a `TypeError`.
"""

from __future__ import annotations

import functools
import inspect
import operator
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

if sys.version_info >= (3, 14):
    import annotationlib

ACTOR_MARK = "__denoagents_actor__"
"""The attribute that the root of all actor classes carries in its own body."""


class UnresolvedNameError(Exception):
    """An annotation uses a name that is not there (yet); the text is the name."""


class Scope:
    """The names by which the annotations of one actor class are found, besides its modules' own."""

    __slots__ = ("names", "owner")

    def __init__(self, owner: type, names: Mapping[str, Any]) -> None:
        self.owner = owner
        self.names = {**names, owner.__name__: owner}
        """What is known where the class statement stands, and the class, which has no name yet."""

    def find(self, annotation: Any, module_names: dict[str, Any]) -> Any:
        """The type that `annotation` means; raises `UnresolvedNameError` or `TypeError`."""
        if module_names.get("__name__") != self.owner.__module__:  # inherited from another module
            try:
                return carried(_evaluated(annotation, module_names, {}), self.owner)
            except UnresolvedNameError:
                pass  # a method made elsewhere for a class made here
        return carried(_evaluated(annotation, module_names, self.names), self.owner)

    def keep_only(self, used: str) -> None:
        """Forget the names that do not occur in `used`, and with them what they hold alive."""
        self.names = {name: value for name, value in self.names.items() if name in used}


def _evaluated(annotation: Any, module_names: dict[str, Any], names: dict[str, Any]) -> Any:
    bearer = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(bearer, module_names, names, include_extras=True)["it"]
    except NameError as error:
        raise UnresolvedNameError(error.name or str(annotation)) from None
    except Exception as error:
        raise TypeError(f"the annotation {annotation!r} is not valid: {error}") from None


def signature_of(function: types.FunctionType) -> inspect.Signature:
    """The signature; names in annotations may be missing yet."""
    if sys.version_info >= (3, 14):
        return inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF)
    return inspect.signature(function)


def annotations_of(owner: type) -> Mapping[str, Any]:
    """The annotations in the class's own body; names in them may be missing yet."""
    if sys.version_info >= (3, 14):
        return annotationlib.get_annotations(owner, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(owner)


# --- refs -------------------------------------------------------------------------------------


class _RefMark(type):
    """The type of stand-ins for refs: what the node hands out for a ref counts as an instance."""

    actor_class: type

    def __instancecheck__(cls, instance: object) -> bool:
        return True


def _ref_to(actor_class: type) -> type:
    return _RefMark(actor_class.__name__, (), {"actor_class": actor_class})


def actor_class_of(kind: Any) -> type | None:
    """The actor class whose refs `kind` means, if it means refs."""
    if isinstance(kind, _RefMark):
        return kind.actor_class
    return kind if isinstance(kind, type) and hasattr(kind, ACTOR_MARK) else None


def carried(annotation: Any, owner: type) -> Any:
    """`annotation` as the codec takes it: refs, `object` and `Self` replaced inside, too."""
    if annotation is object:
        return Any
    if annotation is typing.Self:
        return _ref_to(owner)
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is None:
        is_actor = isinstance(annotation, type) and hasattr(annotation, ACTOR_MARK)
        return _ref_to(annotation) if is_actor else annotation
    if origin is typing.Annotated:
        return typing.Annotated[(carried(inner[0], owner), *inner[1:])]
    if origin is typing.Literal or any(isinstance(part, list) for part in inner):
        return annotation
    replaced = tuple(part if part is ... else carried(part, owner) for part in inner)
    if all(new is old for new, old in zip(replaced, inner, strict=True)):
        return annotation
    if origin in (typing.Union, types.UnionType):
        return functools.reduce(operator.or_, replaced)
    return origin[replaced]


# --- what the codec knows ---------------------------------------------------------------------

_CERTAIN = frozenset({type(None), bool, int, float, str, bytes})


def check(annotation: Any) -> None:
    """Raise `TypeError` if no message can carry `annotation`.

    Raises `UnresolvedNameError` if the type of a field inside cannot be found yet.
    """
    if annotation is Any or (isinstance(annotation, type) and annotation in _CERTAIN):
        return
    try:
        description = msgspec.inspect.type_info(annotation)
    except NameError as error:
        raise UnresolvedNameError(error.name or str(annotation)) from None
    for custom in _custom_types(description, set()):
        if actor_class_of(custom) is None:
            raise TypeError(f"no message can carry the type {type_text(custom)}")


def _custom_types(node: Any, seen: set[int]) -> Iterator[Any]:
    if isinstance(node, msgspec.inspect.CustomType):
        yield node.cls
    elif isinstance(node, tuple):
        for part in node:
            yield from _custom_types(part, seen)
    elif isinstance(node, msgspec.inspect.Type | msgspec.inspect.Field) and id(node) not in seen:
        seen.add(id(node))
        for name in node.__struct_fields__:
            yield from _custom_types(getattr(node, name), seen)


def type_text(annotation: Any) -> str:
    """An annotation as its author would write it."""
    if annotation is None or annotation is type(None):
        return "None"
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, typing.ForwardRef):
        return annotation.__forward_arg__
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(type_text, inner))
    if origin is typing.Annotated:
        return type_text(inner[0])
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, inner))}]"
    if origin is not None and inner:
        parts = ("..." if part is ... else type_text(part) for part in inner)
        return f"{type_text(origin)}[{', '.join(parts)}]"
    if isinstance(annotation, type):
        return annotation.__qualname__.rpartition("<locals>.")[2]
    return str(annotation).removeprefix("typing.")
