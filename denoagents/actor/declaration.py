"""What an actor class declares: public methods, state, flags; checked once, when the class is made.

Rules:
    A fault raises `DeclarationError`, which names class, method or field, rule and remedy.
    Public is what has no leading underscore; private names are never reachable by a message.
    Annotated public fields are state; `ClassVar`, underscored and unannotated attributes are not.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from types import FrameType, FunctionType
from typing import Any, TypeVar, cast

from denoagents.actor.annotation import ACTOR_MARK, Scope
from denoagents.actor.codec import Codec, Payload, RefCodec
from denoagents.actor.durable import DurableType, read_durable
from denoagents.actor.message_types import describe_types
from denoagents.actor.method import MethodType
from denoagents.actor.state import StateType, read_fields
from denoagents.errors import DeclarationError, UnknownMethodError, nearest

__all__ = ["ActorType", "MethodType", "declare", "idempotent", "reliable", "uninterruptible"]

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")

HOOKS = ("on_start", "on_stop", "on_passivate", "on_failure", "on_terminated")
"""What an actor may define to hear of its own life; never reachable by a message."""

RESERVED = frozenset({*HOOKS, "context", "supervision", "type_name"})
"""Names that mean something to the runtime, so that no method and no field of state has them."""

MAX_TYPE_NAME_BYTES = 200


def idempotent(method: F) -> F:
    """Mark a method that may run twice with the effect of once.

    Its call is sent once more when the owner dies before it answers.
    """
    return _flagged(method, "idempotent")


def uninterruptible(method: F) -> F:
    """Mark a method whose running turn a caller's cancel does not reach."""
    return _flagged(method, "uninterruptible")


def reliable(marked: R) -> R:
    """Mark a method, or all methods of a class: a message is kept and sent again until handled.

    Streaming methods of a marked class stay as they are; one marked itself is an error.
    """
    if isinstance(marked, type):
        declared = marked.__dict__.get("__denoagents_type__")
        if not isinstance(declared, ActorType):
            raise DeclarationError(f"@reliable stands above an actor class, not {marked!r}")
        marked.__denoagents_reliable__ = True  # type: ignore[attr-defined]
        make_reliable(declared)
        return marked
    return cast("R", _flagged(cast("Any", marked), "reliable"))


def make_reliable(declared: ActorType) -> None:
    """Let all methods of a type be reliable, but those that stream."""
    for method in declared.methods.values():
        method.reliable = not method.is_stream


def _flagged(method: F, flag: str) -> F:
    if not inspect.isfunction(method):
        raise DeclarationError(
            f"@{flag} stands above a method, without parentheses; it got {method!r}"
        )
    setattr(method, f"__denoagents_{flag}__", True)
    return method


class ActorType:
    """The declaration of one actor class, wired to one node's refs."""

    __slots__ = ("cls", "durable", "methods", "name", "state", "state_fields", "terminated")

    def __init__(
        self,
        name: str,
        cls: type,
        methods: Mapping[str, MethodType],
        state: StateType,
        durable: DurableType | None = None,
        terminated: MethodType | None = None,
    ) -> None:
        """`terminated`: the hook of that name, which is called by a message of the runtime."""
        self.name, self.cls, self.methods, self.state = name, cls, dict(methods), state
        self.durable = durable
        self.terminated = terminated
        self.state_fields = tuple(state.fields)

    def __repr__(self) -> str:
        counts = f"{len(self.methods)} methods, {len(self.state_fields)} fields"
        return f"<ActorType {self.name} [{counts}]>"

    def method(self, name: str) -> MethodType:
        """The public method called `name`; raises `UnknownMethodError` with the nearest name."""
        found = self.methods.get(name)
        if found is None and name == "on_terminated":
            found = self.terminated
        if found is None:
            raise UnknownMethodError(self._unknown(name))
        return found

    def _unknown(self, name: str) -> str:
        if name.startswith("_"):
            return f"{self.name}.{name} is private; messages reach public methods only"
        if name in self.state_fields:
            return f"{self.name}.{name} is state; write a method that returns it"
        known = ", ".join(self.methods) or "none"
        return (
            f"{self.name} has no method {name!r}.{nearest(name, self.methods)} Its methods: {known}"
        )

    def with_refs(self, refs: RefCodec) -> ActorType:
        """The same declaration for a node that makes refs."""
        codec = Codec(refs)
        methods = {name: method.with_codec(codec) for name, method in self.methods.items()}
        terminated = self.terminated and self.terminated.with_codec(codec)
        state = self.state.with_codec(codec)
        return ActorType(self.name, self.cls, methods, state, self.durable, terminated)

    def fill_defaults(self, instance: object) -> None:
        """Give a new instance its own copies of mutable defaults."""
        self.state.fill_defaults(instance)

    def encode_state(self, instance: object) -> bytes:
        """The declared fields as bytes; raises `EncodingError` that names the field."""
        return self.state.encode(instance)

    def decode_state(self, payload: Payload) -> dict[str, Any]:
        """The declared fields that the bytes have, each as annotated; raises `EncodingError`."""
        return self.state.decode(payload)

    def signature(self) -> dict[str, Any]:
        """What `describe` shows and nodes compare; plain values only."""
        return {
            "name": self.name,
            "doc": inspect.cleandoc(self.cls.__doc__ or ""),
            "methods": {name: method.signature() for name, method in self.methods.items()},
            "state": self.state.signature(),
            "types": describe_types(
                (*self.state.kinds(), *(k for one in self.methods.values() for k in one.kinds()))
            ),
            "durable": None if self.durable is None else self.durable.mode,
        }


def declare(cls: type) -> ActorType:
    """Read and check an actor class; called when the class is made."""
    name = _type_name(cls)
    _check_constructor(name, cls)
    root = _root_of(cls)
    classes = _declaring_classes(cls, root)
    reserved = RESERVED | {public for public in dir(root) if not public.startswith("_")}
    scope = Scope(cls, _enclosing_names(sys._getframe(1)))  # noqa: SLF001 - the way in
    codec = Codec()
    state = StateType(name, read_fields(name, cls, classes, reserved), scope, codec)
    functions = _public_functions(name, cls, root, classes, reserved)
    methods = {
        public: MethodType(name, index, public, function, scope, codec)
        for index, (public, function) in enumerate(functions.items())
    }
    hook = getattr(cls, "on_terminated", None)
    terminated = None
    if hook is not getattr(root, "on_terminated", None) and inspect.isfunction(hook):
        terminated = MethodType(name, len(methods), "on_terminated", hook, scope, codec)
    texts = [one.pending_text() for one in (*methods.values(), terminated) if one is not None]
    scope.keep_only(" ".join((state.pending_text(), *texts)))
    declared = ActorType(name, cls, methods, state, read_durable(name, cls, methods), terminated)
    if getattr(cls, "__denoagents_reliable__", False):  # a base class is marked
        make_reliable(declared)
    return declared


def _type_name(cls: type) -> str:
    name = cls.__dict__.get("type_name", cls.__name__)
    if (
        not isinstance(name, str)
        or not name.isidentifier()
        or len(name.encode()) > MAX_TYPE_NAME_BYTES
    ):
        raise DeclarationError(
            f"{cls.__name__}: the type name {name!r} is not usable; write "
            "`type_name: ClassVar[str] = …` with letters, digits and underscores, "
            f"at most {MAX_TYPE_NAME_BYTES} bytes"
        )
    return name


def _check_constructor(name: str, cls: type) -> None:
    if not inspect.isfunction(cls.__init__):  # type: ignore[misc]
        return
    _, *parameters = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
    needed = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if needed:
        raise DeclarationError(
            f"{name}.__init__ needs {', '.join(needed)}, but an actor is made when its first "
            "message comes; declare fields with defaults, and get the rest in `on_start`"
        )


def _root_of(cls: type) -> type:
    """The class that `ACTOR_MARK` stands in: `Actor` itself."""
    return next(base for base in cls.__mro__ if ACTOR_MARK in base.__dict__)


def _declaring_classes(cls: type, root: type) -> tuple[type, ...]:
    """The user's classes whose methods and fields the actor has, bases first."""
    foreign = {*root.__mro__}
    return tuple(
        base
        for base in reversed(cls.__mro__)
        if base not in foreign and base.__module__ not in ("typing", "abc", "builtins")
    )


def _public_functions(
    name: str, cls: type, root: type, classes: tuple[type, ...], reserved: frozenset[str]
) -> dict[str, FunctionType]:
    found: dict[str, FunctionType] = {}
    for base in classes:
        for public, value in base.__dict__.items():
            if public in HOOKS:
                _check_hook(name, public, value, root)
            elif public in reserved and inspect.isfunction(value):
                raise DeclarationError(
                    f"{name}.{public} has a name that the runtime uses; rename it"
                )
            elif _is_method(cls, public, value):
                found[public] = getattr(cls, public)
    return found


def _is_method(cls: type, name: str, value: object) -> bool:
    """Whether `name` is public and a function still in `cls`, which may have replaced it."""
    is_plain = not isinstance(value, staticmethod)
    return is_plain and not name.startswith("_") and inspect.isfunction(getattr(cls, name, None))


def _check_hook(name: str, hook: str, value: object, root: type) -> None:
    expected = getattr(root, hook, None)
    if inspect.iscoroutinefunction(expected) and not inspect.iscoroutinefunction(value):
        raise DeclarationError(f"{name}.{hook} is called with await; write `async def {hook}`")


def _enclosing_names(frame: FrameType | None) -> Mapping[str, Any]:
    """The local names where the class statement stands, if that is inside a function or class."""
    while frame is not None and frame.f_code.co_name == "__init_subclass__":
        frame = frame.f_back
    if frame is None or frame.f_locals is frame.f_globals:
        return {}
    return frame.f_locals
