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
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import FunctionType
from typing import Any

import msgspec

from denoagents.actor.annotation import Scope, UnresolvedName, type_text
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
    nearest,
)


class MethodType:
    """A public method; `str(method)` is how errors name it."""

    __slots__ = (
        "_codec", "_module_names", "_positions", "_returned", "_scope", "_types", "actor_type",
        "decode_tuple", "decode_value",
        "encode_tuple", "encode_value", "function", "idempotent", "index", "invoke", "is_stream",
        "name", "parameter_count", "parameters", "required_count", "uninterruptible",
    )  # fmt: skip

    actor_type: str
    name: str
    index: int
    """Its place among the methods of its type."""
    function: Callable[..., Any]
    """The plain function of the class."""
    invoke: Callable[..., Any]
    """`invoke(instance, *arguments)` calls the function, keyword-only parameters by name."""
    is_stream: bool
    idempotent: bool
    uninterruptible: bool
    parameters: tuple[Parameter, ...]
    required_count: int
    """A call without keywords fits if required_count <= len(args) <= parameter_count."""
    parameter_count: int
    """How many parameters can be given by position."""
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
        self.function, self._module_names, self._scope = function, function.__globals__, scope
        self.is_stream = inspect.isasyncgenfunction(function)
        if not self.is_stream and not inspect.iscoroutinefunction(function):
            raise DeclarationError(
                f"{self}: public methods are `async def`; "
                "add `async`, or a leading underscore to the name"
            )
        self.idempotent = getattr(function, "__denoagents_idempotent__", False)
        self.uninterruptible = getattr(function, "__denoagents_uninterruptible__", False)
        signature = inspect.signature(function)
        self.parameters = read_parameters(str(self), signature)
        self._returned = (
            Any if signature.return_annotation is MISSING else signature.return_annotation
        )
        self._positions = {parameter.name: at for at, parameter in enumerate(self.parameters)}
        self.parameter_count = sum(not parameter.is_keyword_only for parameter in self.parameters)
        self.required_count = _count_required(self.parameters)
        self.invoke = function if self.parameter_count == len(self.parameters) else self._by_name()
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

    # --- the callers' side ---------------------------------------------------------------------

    def bind(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None
    ) -> tuple[Any, ...]:
        """The arguments in the order of declaration; values are not checked."""
        if not kwargs and self.required_count <= len(args) <= self.parameter_count:
            return args
        return self._arrange(args, kwargs or {})

    def encode_arguments(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None
    ) -> bytes:
        """The payload of a call; raises `ArgumentsError` or `EncodingError`."""
        if kwargs or not self.required_count <= len(args) <= self.parameter_count:
            args = self._arrange(args, kwargs or {})
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
            raise ReplyEncodingError(f"{self}: the result {decoding_problem(error)}") from None

    # --- the actor's side ----------------------------------------------------------------------

    def decode_arguments(self, payload: Payload) -> tuple[Any, ...]:
        """The arguments for `invoke`, checked against the annotations; raises `ArgumentsError`."""
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
        types = self._types or (
            *(parameter.annotation for parameter in self.parameters),
            self._returned,
        )
        return {
            "name": self.name,
            "doc": inspect.getdoc(self.function) or "",
            "parameters": [
                describe_parameter(parameter, kind)
                for parameter, kind in zip(self.parameters, types, strict=False)
            ],
            "returns": type_text(types[-1]),
            "stream": self.is_stream,
            "idempotent": self.idempotent,
            "uninterruptible": self.uninterruptible,
        }

    # --- wiring --------------------------------------------------------------------------------

    def pending_text(self) -> str:
        """The annotations that could not be found yet, as text."""
        return "" if self._types is not None else str(inspect.signature(self.function))

    def _attach(self, codec: Codec) -> None:
        self._codec = codec
        self.encode_tuple = self.encode_value = codec.encode
        self.decode_tuple = lambda payload: self._resolved().decode_tuple(payload)
        self.decode_value = lambda payload: self._resolved().decode_value(payload)
        with contextlib.suppress(UnresolvedName):  # tried again at the first use
            self._wire()

    def _resolved(self) -> MethodType:
        try:
            self._wire()
        except UnresolvedName as missing:
            raise DeclarationError(
                f"{self}: the annotation {missing.name!r} names nothing; define it in the module, "
                "or import it there, and not under `if TYPE_CHECKING`"
            ) from None
        return self

    def _wire(self) -> None:
        if self._types is None:
            parameters = tuple(map(self._find_parameter, self.parameters))
            self._types = (*parameters, self._find_returned())
        self.decode_tuple = self._tuple_decoder(self._types[:-1])
        self.decode_value = self._codec.decoder(self._types[-1])

    def _find_parameter(self, parameter: Parameter) -> Any:
        where = f"{self}: the parameter {parameter.name!r}"
        found = find_type(where, parameter.annotation, self._scope, self._module_names)
        if not parameter.is_required:
            check_default(str(self), parameter.name, parameter.default, found, self._codec)
        return found

    def _find_returned(self) -> Any:
        where = f"{self}: the result"
        return find_returned(where, self._returned, self.is_stream, self._scope, self._module_names)

    def _tuple_decoder(self, types: tuple[Any, ...]) -> Callable[[Payload], tuple[Any, ...]]:
        count = self._count_sent()
        if count == len(types):
            return self._codec.decoder(tuple.__class_getitem__(types))
        fields: list[Any] = [(f"p{at}", kind) for at, kind in enumerate(types[:count])]
        for at, kind in enumerate(types[count:], count):
            fields.append((f"p{at}", kind, self._default_of(self.parameters[at], kind)))
        row = msgspec.defstruct(self.name, fields, array_like=True, forbid_unknown_fields=True)
        decode, astuple = self._codec.decoder(row), msgspec.structs.astuple
        return lambda payload: astuple(decode(payload))

    def _count_sent(self) -> int:
        """How many elements every payload has: all up to the last parameter that is required."""
        required = [at for at, parameter in enumerate(self.parameters) if parameter.is_required]
        return required[-1] + 1 if required else 0

    def _default_of(self, parameter: Parameter, kind: Any) -> Any:
        decode, encoded = self._codec.decoder(kind), self._codec.encode(parameter.default)
        return msgspec.field(default_factory=partial(decode, encoded))

    def _by_name(self) -> Callable[..., Any]:
        function, count = self.function, self.parameter_count
        names = [parameter.name for parameter in self.parameters[count:]]

        def invoke(instance: object, *arguments: Any) -> Any:
            named = dict(zip(names, arguments[count:], strict=False))
            return function(instance, *arguments[:count], **named)

        return invoke

    # --- the slow ways -------------------------------------------------------------------------

    def _arrange(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        if len(args) > self.parameter_count:
            raise self._wrong_count(len(args))
        given = dict(enumerate(args))
        for name, value in kwargs.items():
            given[self._position_of(name, given)] = value
        missing = [
            p.name for at, p in enumerate(self.parameters) if p.is_required and at not in given
        ]
        if missing:
            raise ArgumentsError(f"{self} misses {_listed(missing)}; it is {self._shape()}")
        count = max(given, default=-1) + 1
        return tuple(
            given[at] if at in given else self.parameters[at].default for at in range(count)
        )

    def _position_of(self, name: str, given: Mapping[int, Any]) -> int:
        at = self._positions.get(name)
        if at is None or self.parameters[at].is_positional_only:
            known = [p.name for p in self.parameters if not p.is_positional_only]
            raise ArgumentsError(
                f"{self} has no parameter {name!r}.{nearest(name, known)} It is {self._shape()}"
            )
        if at in given:
            raise ArgumentsError(f"{self}: the parameter {name!r} is given twice")
        return at

    def _wrong_count(self, count: int) -> ArgumentsError:
        return ArgumentsError(f"{self} is given {count} arguments; it is {self._shape()}")

    def _shape(self) -> str:
        kinds = self._types or tuple(parameter.annotation for parameter in self.parameters)
        shown = [
            f"{p.name}: {type_text(kind)}{'' if p.is_required else f' = {p.default!r}'}"
            for p, kind in zip(self.parameters, kinds, strict=False)
        ]
        if self.parameter_count < len(self.parameters):
            shown.insert(self.parameter_count, "*")
        return f"{self.name}({', '.join(shown)})"

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
        count = _LENGTH.search(str(error))
        if count:
            raise self._wrong_count(int(count[1])) from None
        position = _POSITION.match(split_path(error)[1])
        what = "payload"
        if position and int(position[1]) < len(self.parameters):
            what = f"parameter {self.parameters[int(position[1])].name + position[2]!r}"
        raise ArgumentsError(f"{self}: the {what} {decoding_problem(error)}") from None

    def _decode_named(self, payload: Payload) -> tuple[Any, ...]:
        try:
            call = self._codec.decoder(_NamedArguments)(payload)
        except Exception as error:
            raise ArgumentsError(f"{self}: the payload {decoding_problem(error)}") from None
        values = self._arrange(call.args, call.kwargs)
        given = len(call.args)
        types = (self._types or ())[: len(values)]
        named = zip(self.parameters, values, types, strict=False)
        return tuple(
            self._convert(parameter, value, kind)
            if at < given or parameter.name in call.kwargs
            else value
            for at, (parameter, value, kind) in enumerate(named)
        )

    def _convert(self, parameter: Parameter, value: Any, kind: Any) -> Any:
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


_LENGTH = re.compile(r"\AExpected `array` of .*length \d+, got (\d+)\Z")
_POSITION = re.compile(r"\A\$\[(\d+)\](.*)\Z", re.DOTALL)


def _count_required(parameters: Sequence[Parameter]) -> int:
    required = [parameter for parameter in parameters if parameter.is_required]
    if any(parameter.is_keyword_only for parameter in required):
        return len(parameters)  # over parameter_count: a call without keywords never fits
    return len(required)


def _is_map(payload: Payload) -> bool:
    first = payload[0]
    return 0x80 <= first <= 0x8F or first in (0xDE, 0xDF)


def _type_of(value: object) -> str:
    return type(value).__qualname__


def _listed(names: Sequence[str]) -> str:
    return (
        " and ".join((", ".join(map(repr, names[:-1])), repr(names[-1])))
        if names[1:]
        else repr(names[0])
    )
