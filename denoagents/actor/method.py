"""One public method of an actor: its parameters, its flags, its way to bytes and back.

Rules:
    On the wire the arguments are an array in the order of declaration; omitted trailing defaults
    are left out, so that a parameter with a default can be added later. A map `{"args", "kwargs"}`
    is the form of the command line.
    `encode_tuple`, `decode_tuple`, `encode_value` and `decode_value` are the hot path: native code
    may call them itself. They raise what msgspec raises; `encode_arguments`, `decode_arguments`,
    `encode_result` and `decode_result` do the same work with typed errors.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from types import FunctionType
from typing import Any

import msgspec

from denoagents.actor.annotation import Scope, UnresolvedNameError, signature_of, type_text
from denoagents.actor.arrangement import Arrangement
from denoagents.actor.codec import (
    Codec,
    Payload,
    decoding_problem,
    encoding_problem,
    split_path,
)
from denoagents.actor.parameter import (
    MISSING,
    Parameter,
    check_default,
    describe_parameter,
    find_returned,
    find_type,
    read_parameters,
)
from denoagents.errors import (
    ArgumentsError,
    DeclarationError,
    EncodingError,
    ReplyEncodingError,
)


class MethodType:
    """A public method; `str(method)` is how errors name it."""

    __slots__ = (
        "_arrangement", "_codec", "_module_names", "_returned", "_scope", "_types", "actor_type",
        "decode_tuple", "decode_value", "doc", "encode_tuple", "encode_value", "function",
        "idempotent", "index", "is_stream", "name", "parameter_count", "parameters",
        "reliable", "required_count", "uninterruptible",
    )  # fmt: skip

    actor_type: str
    name: str
    index: int
    """Its place among the methods of its type."""
    doc: str
    function: Callable[..., Any]
    """`function(instance, *arguments)`: the plain function; what gives it keyword-only parameters
    by name, if it has any."""
    is_stream: bool
    idempotent: bool
    uninterruptible: bool
    reliable: bool
    parameters: tuple[Parameter, ...]
    required_count: int
    """A call without keywords fits if required_count <= len(args) <= parameter_count."""
    parameter_count: int
    """How many parameters can be given by position; -1 if no call without keywords fits."""
    encode_tuple: Callable[[object], bytes]
    decode_tuple: Callable[[Payload], tuple[Any, ...]]
    encode_value: Callable[[object], bytes]
    decode_value: Callable[[Payload], Any]

    def __init__(
        self,
        actor_type: str,
        index: int,
        name: str,
        function: FunctionType,
        scope: Scope,
        codec: Codec,
    ) -> None:
        self.actor_type, self.index, self.name = actor_type, index, name
        self.is_stream = inspect.isasyncgenfunction(function)
        if not self.is_stream and not inspect.iscoroutinefunction(function):
            raise DeclarationError(
                f"{self}: public methods are `async def`; "
                "add `async`, or a leading underscore to the name"
            )
        self.doc = inspect.getdoc(function) or ""
        self.idempotent = getattr(function, "__denoagents_idempotent__", False)
        self.uninterruptible = getattr(function, "__denoagents_uninterruptible__", False)
        self.reliable = getattr(function, "__denoagents_reliable__", False)
        if self.reliable and self.is_stream:
            raise DeclarationError(
                f"{self}: a streamed reply cannot be sent again from its middle; "
                "leave @reliable out, or return the items as one list"
            )
        signature = signature_of(function)
        returned = signature.return_annotation
        self.parameters = read_parameters(str(self), signature)
        self._returned = Any if returned is MISSING else returned
        self._arrangement = arrangement = Arrangement(str(self), self.parameters)
        self.required_count = sum(parameter.is_required for parameter in self.parameters)
        self.parameter_count = -1 if arrangement.has_required_keyword else arrangement.by_position
        self.function = _given_by_name(function, self.parameters, arrangement.by_position)
        self._scope, self._module_names = scope, inspect.unwrap(function).__globals__
        self._types: tuple[Any, ...] | None = None
        self._attach(codec)

    def __str__(self) -> str:
        return f"{self.actor_type}.{self.name}"

    def __repr__(self) -> str:
        return f"<MethodType {self}{' stream' if self.is_stream else ''}>"

    def with_codec(self, codec: Codec) -> MethodType:
        """The same method for another node."""
        twin = copy.copy(self)
        twin._attach(codec)  # noqa: SLF001 - its own kind
        return twin

    # --- the callers' side --------------------------------------------------------------------

    def bind(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None
    ) -> tuple[Any, ...]:
        """The arguments in the order of declaration; values are not checked."""
        if not kwargs and self.required_count <= len(args) <= self.parameter_count:
            return args
        return self._arrangement.arrange(args, kwargs or {})

    def encode_arguments(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None
    ) -> bytes:
        """The payload of a call; raises `ArgumentsError` or `EncodingError`."""
        if kwargs or not self.required_count <= len(args) <= self.parameter_count:
            args = self._arrangement.arrange(args, kwargs or {})
        try:
            return self.encode_tuple(args)
        except Exception as error:
            raise self._not_encodable(args, error) from None

    def decode_result(self, payload: Payload) -> Any:
        """The result (or streamed item) as annotated; raises `ReplyEncodingError`."""
        try:
            return self.decode_value(payload)
        except DeclarationError:
            raise
        except Exception as error:
            where = split_path(error)[1].removeprefix("$")
            problem = f"the result{where} {decoding_problem(error)}"
            raise ReplyEncodingError(f"{self}: {problem}") from None

    # --- the actor's side ---------------------------------------------------------------------

    def decode_arguments(self, payload: Payload) -> tuple[Any, ...]:
        """What `function` takes, checked against the annotations; raises `ArgumentsError`."""
        try:
            return self.decode_tuple(payload)
        except DeclarationError:
            raise
        except Exception as error:
            return self._decode_otherwise(payload, error)

    def encode_result(self, value: object) -> bytes:
        """The payload of a result (or streamed item); raises `ReplyEncodingError`."""
        try:
            return self.encode_value(value)
        except Exception as error:
            problem = f"the result ({_type_of(value)}) cannot be sent: {encoding_problem(error)}"
            raise ReplyEncodingError(f"{self}: {problem}") from None

    def signature(self) -> dict[str, Any]:
        """What `describe` shows; plain values only."""
        *kinds, returned = self._types or self._annotations()
        shown = zip(self.parameters, kinds, strict=True)
        return {
            "name": self.name,
            "doc": self.doc,
            "parameters": [describe_parameter(parameter, kind) for parameter, kind in shown],
            "returns": type_text(returned),
            "stream": self.is_stream,
            "idempotent": self.idempotent,
            "uninterruptible": self.uninterruptible,
            "reliable": self.reliable,
        }

    def kinds(self) -> tuple[Any, ...]:
        """The types of parameters and result; as written where they cannot be found yet."""
        with contextlib.suppress(UnresolvedNameError):
            self._wire()
        return self._types or self._annotations()

    # --- wiring -------------------------------------------------------------------------------

    def pending_text(self) -> str:
        """The annotations that could not be found yet, as text."""
        return "" if self._types is not None else " ".join(map(str, self._annotations()))

    def _annotations(self) -> tuple[Any, ...]:
        return (*(parameter.annotation for parameter in self.parameters), self._returned)

    def _attach(self, codec: Codec) -> None:
        self._codec = codec
        self.encode_tuple = self.encode_value = codec.encode
        self.decode_tuple = lambda payload: self._resolved().decode_tuple(payload)
        self.decode_value = lambda payload: self._resolved().decode_value(payload)
        with contextlib.suppress(UnresolvedNameError):  # tried again at the first use
            self._wire()

    def _resolved(self) -> MethodType:
        try:
            self._wire()
        except UnresolvedNameError as missing:
            raise DeclarationError(
                f"{self}: the annotation '{missing}' names nothing; define it in the module, "
                "or import it there, and not under `if TYPE_CHECKING`"
            ) from None
        return self

    def _wire(self) -> None:
        if self._types is None:
            self._types = self._find_types()
        *parameters, returned = self._types
        self.decode_tuple = self._tuple_decoder(parameters)
        self.decode_value = self._codec.decoder(returned)

    def _find_types(self) -> tuple[Any, ...]:
        scope, names = self._scope, self._module_names
        found = []
        for parameter in self.parameters:
            where = f"{self}: the parameter {parameter.name!r}"
            found.append(find_type(where, parameter.annotation, scope, names))
            if not parameter.is_required:
                check_default(where, parameter.name, parameter.default, found[-1], self._codec)
        where = f"{self}: the result"
        return (*found, find_returned(where, self._returned, self.is_stream, scope, names))

    def _tuple_decoder(self, kinds: list[Any]) -> Callable[[Payload], tuple[Any, ...]]:
        count = self._arrangement.sent_always
        if count == len(kinds):
            return self._codec.decoder(tuple.__class_getitem__(tuple(kinds)))
        fields: list[Any] = [(f"p{at}", kind) for at, kind in enumerate(kinds[:count])]
        for at, kind in enumerate(kinds[count:], count):
            encoded = self._codec.encode(self.parameters[at].default)
            make = partial(self._codec.decoder(kind), encoded)
            fields.append((f"p{at}", kind, msgspec.field(default_factory=make)))
        row = msgspec.defstruct(self.name, fields, array_like=True, forbid_unknown_fields=True)
        decode, astuple = self._codec.decoder(row), msgspec.structs.astuple
        return lambda payload: astuple(decode(payload))

    # --- when something is wrong, or comes from the command line ------------------------------

    def _not_encodable(self, args: tuple[Any, ...], error: Exception) -> EncodingError:
        for parameter, value in zip(self.parameters, args, strict=False):
            try:
                self._codec.encode(value)
            except Exception as own:
                what = f"the parameter {parameter.name!r} ({_type_of(value)})"
                return EncodingError(f"{self}: {what} cannot be sent: {encoding_problem(own)}")
        return EncodingError(f"{self}: the arguments cannot be sent: {encoding_problem(error)}")

    def _decode_otherwise(self, payload: Payload, error: Exception) -> tuple[Any, ...]:
        if isinstance(error, msgspec.ValidationError) and _is_map(payload):
            return self._decode_named(payload)
        count = _LENGTH.match(str(error))
        if count:
            raise self._arrangement.wrong_count(int(count[1])) from None
        what = "the payload"
        position = _POSITION.match(split_path(error)[1])
        if position:
            what = f"the parameter {self.parameters[int(position[1])].name + position[2]!r}"
        raise ArgumentsError(f"{self}: {what} {decoding_problem(error)}") from None

    def _decode_named(self, payload: Payload) -> tuple[Any, ...]:
        try:
            call = self._codec.decoder(_NamedArguments)(payload)
        except Exception as error:
            raise ArgumentsError(f"{self}: the payload {decoding_problem(error)}") from None
        assert self._types is not None, "decode_tuple has resolved them"
        kinds = zip(self.parameters, self._types, strict=False)
        args = [self._convert(*each, value) for each, value in zip(kinds, call.args, strict=False)]
        args += call.args[len(args) :]  # too many: refused by their number
        kinds = zip(self.parameters, self._types, strict=False)
        kwargs = {
            parameter.name: self._convert(parameter, kind, call.kwargs.pop(parameter.name))
            for parameter, kind in kinds
            if parameter.name in call.kwargs
        }
        return self._arrangement.arrange(args, {**kwargs, **call.kwargs})

    def _convert(self, parameter: Parameter, kind: Any, value: Any) -> Any:
        try:
            return self._codec.convert(value, kind)
        except Exception as error:
            path = split_path(error)[1].removeprefix("$")
            what = f"the parameter {parameter.name + path!r}"
            raise ArgumentsError(f"{self}: {what} {decoding_problem(error)}") from None


class _NamedArguments(msgspec.Struct, forbid_unknown_fields=True):
    """The form in which the command line sends arguments: JSON values."""

    args: list[Any]
    kwargs: dict[str, Any]


_LENGTH = re.compile(r"Expected `array` of .*length \d+, got (\d+)\Z")
_POSITION = re.compile(r"\$\[(\d+)\](.*)\Z", re.DOTALL)


def _given_by_name(
    function: Callable[..., Any], parameters: tuple[Parameter, ...], by_position: int
) -> Callable[..., Any]:
    """`function` taking its keyword-only parameters by position, too."""
    names = [parameter.name for parameter in parameters[by_position:]]
    if not names:
        return function

    def call(instance: object, *arguments: Any) -> Any:
        named = dict(zip(names, arguments[by_position:], strict=False))
        return function(instance, *arguments[:by_position], **named)

    return call


def _is_map(payload: Payload) -> bool:
    first = payload[0]
    return 0x80 <= first <= 0x8F or first in (0xDE, 0xDF)


def _type_of(value: object) -> str:
    return type(value).__qualname__
