"""`@durable`: an actor class whose turns are kept before they are answered.

Rules:
    All methods of a durable class are reliable. Its declared fields are what is kept.
    One turn is one commit: state, the handled message with its reply, and what it told others. A
    turn that raises keeps nothing, and the fields are as before.
    A streaming method commits when its generator has ended; its items leave before.
    Durable actors are roots, named by type and key, and not reentrant: one turn after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, overload

import msgspec

from denoagents.actor.method import MethodType
from denoagents.durability import MODES, Mode
from denoagents.errors import DeclarationError, SchemaError

C = TypeVar("C", bound=type)

MARK = "__denoagents_durable__"

Migrate = Callable[[dict[str, Any], int], dict[str, Any]]


@overload
def durable(cls: C, /) -> C: ...
@overload
def durable(*, mode: Mode = "disk") -> Callable[[C], C]: ...
def durable(cls: C | None = None, /, *, mode: Mode = "disk") -> C | Callable[[C], C]:
    """Make an actor class durable, and those derived from it.

    `mode` is what an answered turn survives: `disk` the end of the machine, `os` the end of the
    process, `memory` nothing (it is written a little later).
    """
    if cls is None:
        return partial(_mark, mode)
    return _mark(mode, cls)


def _mark(mode: Mode, cls: C) -> C:
    declared = getattr(cls, "__denoagents_type__", None)
    if declared is None or not isinstance(cls, type):
        raise DeclarationError(f"@durable stands above a class derived from Actor, not {cls!r}")
    if mode not in MODES:
        raise DeclarationError(
            f"{declared.name}: the mode {mode!r} is unknown; use {', '.join(MODES)}"
        )
    setattr(cls, MARK, mode)
    declared.durable = read_durable(declared.name, cls, declared.methods)
    return cls


@dataclass(frozen=True, slots=True)
class DurableType:
    """What is declared about the durability of one actor class."""

    name: str
    mode: Mode
    schema: int
    migrate: Migrate | None

    def migrated(self, state: bytes, version: int) -> bytes:
        """`state`, written by the schema `version`, as this class reads it."""
        if version == self.schema or not state:
            return state
        if version > self.schema or self.migrate is None:
            raise SchemaError(
                f"{self.name}: the kept state has schema {version}, this class has {self.schema}; "
                "run the newer version of the app"
            )
        fields = msgspec.msgpack.decode(state)
        return msgspec.msgpack.encode(self.migrate(fields, version))


def read_durable(name: str, cls: type, methods: Mapping[str, MethodType]) -> DurableType | None:
    """What `cls` declares, and its methods wrapped into durable turns; None if it is not durable.

    Raises:
        DeclarationError: it cannot be durable.
    """
    mode: Mode | None = getattr(cls, MARK, None)
    if mode is None:
        return None
    if getattr(cls, "reentrant", False):
        raise DeclarationError(
            f"{name} is durable and reentrant; a durable turn is one transaction, and no other "
            "can run inside it: drop `reentrant = True`"
        )
    schema = getattr(cls, "schema", 1)
    if not isinstance(schema, int) or schema < 1:
        raise DeclarationError(
            f"{name}.schema must be a whole number from 1; write `schema: ClassVar[int] = 2`"
        )
    migrate = getattr(cls, "migrate", None)
    if schema > 1 and not callable(migrate):
        raise DeclarationError(
            f"{name} has schema {schema} and cannot read those before; write\n"
            "    @staticmethod\n"
            "    def migrate(state: dict, version: int) -> dict: …"
        )
    for method in methods.values():
        method.reliable = not method.is_stream
        if not isinstance(method.function, partial) or method.function.func not in _WRAPPERS:
            method.function = partial(
                _durable_stream if method.is_stream else _durable_turn, method.function
            )
    return DurableType(name, mode, schema, migrate if callable(migrate) else None)


def _durable_turn(function: Callable[..., Any], instance: Any, *arguments: Any) -> Any:
    cell = instance.__dict__["_denoagents_cell"]
    return cell.runtime.guardian.durables.turn(cell, function(instance, *arguments))


def _durable_stream(function: Callable[..., Any], instance: Any, *arguments: Any) -> Any:
    cell = instance.__dict__["_denoagents_cell"]
    return cell.runtime.guardian.durables.stream(cell, function(instance, *arguments))


_WRAPPERS = (_durable_turn, _durable_stream)
