"""The parameters and the result of a public method as declared: read, found, checked.

Rules:
    Every fault is a `DeclarationError` that names class, method, parameter, rule and remedy.
    A name that cannot be found yet leaves as `UnresolvedNameError`; the caller tries again later.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, get_args, get_origin

import msgspec

from denoagents.actor.annotation import Scope, check, type_text
from denoagents.actor.codec import CARRIED, Codec, decoding_problem, encoding_problem
from denoagents.errors import DeclarationError

MISSING: Any = inspect.Parameter.empty
"""Stands for "no default"."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One declared parameter of a method."""

    name: str
    annotation: Any
    default: Any = MISSING
    is_keyword_only: bool = False
    is_positional_only: bool = False

    @property
    def is_required(self) -> bool:
        """Whether every call must give it."""
        return self.default is MISSING


def read_parameters(where: str, signature: inspect.Signature) -> tuple[Parameter, ...]:
    """The parameters after `self`; `where` names the method."""
    own, *declared = (*signature.parameters.values(),) or (None,)
    if own is None or own.kind not in (own.POSITIONAL_ONLY, own.POSITIONAL_OR_KEYWORD):
        raise DeclarationError(f"{where}: its first parameter must be `self`")
    return tuple(_read_parameter(where, parameter) for parameter in declared)


def _read_parameter(where: str, parameter: inspect.Parameter) -> Parameter:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
        raise DeclarationError(
            f"{where}: `{stars}{parameter.name}` takes any number of arguments, against which "
            "no call can be checked; declare each parameter, or one list or dict"
        )
    if parameter.annotation is MISSING:
        name = parameter.name
        raise DeclarationError(
            f"{where}: the parameter {name!r} has no type; write `{name}: int`, say"
        )
    return Parameter(
        parameter.name,
        parameter.annotation,
        parameter.default,
        parameter.kind is parameter.KEYWORD_ONLY,
        parameter.kind is parameter.POSITIONAL_ONLY,
    )


def find_type(where: str, annotation: Any, scope: Scope, module_names: dict[str, Any]) -> Any:
    """The type that `annotation` means, known to the codec."""
    try:
        found = scope.find(annotation, module_names)
        check(found)
    except TypeError as error:
        raise DeclarationError(f"{where}: {error}; messages carry {CARRIED}") from None
    return found


def find_returned(
    where: str, annotation: Any, is_stream: bool, scope: Scope, module_names: dict[str, Any]
) -> Any:
    """The type of the result; for a method that streams, of what it yields."""
    try:
        found = scope.find(annotation, module_names)
    except TypeError as error:
        raise DeclarationError(f"{where}: {error}") from None
    is_iterator = _is_async_iterator(found)
    if is_stream and not is_iterator and found is not Any:
        text = type_text(found)
        raise DeclarationError(
            f"{where} is not {text}, for the method yields; write `-> AsyncIterator[{text}]`"
        )
    if is_iterator and not is_stream:
        raise DeclarationError(
            f"{where} is a stream, but nothing is yielded; iterate here, and `yield` each item"
        )
    if is_stream:
        found = (get_args(found) or (Any,))[0]
    return find_type(where, found, scope, module_names)


def _is_async_iterator(found: Any) -> bool:
    name = getattr(get_origin(found) or found, "__name__", "")
    return name in ("AsyncIterator", "AsyncGenerator", "AsyncIterable")


def check_default(where: str, name: str, default: Any, found: Any, codec: Codec) -> None:
    """Raise `DeclarationError` unless `default` can be carried as `found`."""
    try:
        encoded = codec.encode(default)
    except Exception as error:
        raise DeclarationError(
            f"{where}: the default cannot be kept: {encoding_problem(error)}"
        ) from None
    try:
        codec.decoder(found)(encoded)
    except Exception as error:
        text = type_text(found)
        remedy = f"{text} | None = None" if default is None else f"{text} = …"
        raise DeclarationError(
            f"{where}: the default {default!r} {decoding_problem(error)}; write `{name}: {remedy}`"
        ) from None


def describe_parameter(parameter: Parameter, kind: Any) -> dict[str, Any]:
    """One parameter as `describe` shows it."""
    shown: dict[str, Any] = {
        "name": parameter.name,
        "type": type_text(kind),
        "required": parameter.is_required,
    }
    if not parameter.is_required:
        shown["default"] = plain_default(parameter.default)
    if parameter.is_keyword_only:
        shown["keyword_only"] = True
    return shown


def plain_default(default: Any) -> Any:
    """A default as JSON can show it."""
    try:
        return msgspec.to_builtins(default, str_keys=True)
    except Exception:
        return repr(default)
