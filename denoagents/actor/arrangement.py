"""The arguments of a call against the parameters of a method: put in order, counted, named.

Rules:
    No value is looked at; only how many there are and by what name.
    Every fault is an `ArgumentsError` that names the method and shows its shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from denoagents.actor.annotation import type_text
from denoagents.actor.parameter import MISSING, Parameter
from denoagents.errors import ArgumentsError, nearest


class Arrangement:
    """Puts the arguments of calls of one method into the order of declaration."""

    __slots__ = ("_blank", "_positions", "by_position", "parameters", "where")

    def __init__(self, where: str, parameters: tuple[Parameter, ...]) -> None:
        self.where, self.parameters = where, parameters
        self.by_position = sum(not parameter.is_keyword_only for parameter in parameters)
        """How many parameters can be given by position."""
        self._positions = {
            p.name: at for at, p in enumerate(parameters) if not p.is_positional_only
        }
        self._blank = [MISSING] * len(parameters)

    @property
    def has_required_keyword(self) -> bool:
        """Whether no call without keywords fits."""
        return any(p.is_required and p.is_keyword_only for p in self.parameters)

    @property
    def sent_always(self) -> int:
        """How many elements every payload has: all up to the last parameter that is required."""
        required = [at for at, parameter in enumerate(self.parameters) if parameter.is_required]
        return required[-1] + 1 if required else 0

    def arrange(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        """One value a parameter; defaults fill gaps, and are left out at the end."""
        if len(args) > self.by_position:
            raise self.wrong_count(len(args))
        values = self._blank.copy()
        values[: len(args)] = args
        for name, value in kwargs.items():
            at = self._positions.get(name)
            if at is None or values[at] is not MISSING:
                raise self._misnamed(name, is_known=at is not None)
            values[at] = value
        count = len(values)
        for at in range(count - 1, len(args) - 1, -1):
            if values[at] is MISSING:
                default = self.parameters[at].default
                if default is MISSING:
                    raise self._incomplete(values)
                values[at] = default
                if at == count - 1:
                    count = at
        return tuple(values[:count])

    def _misnamed(self, name: str, *, is_known: bool) -> ArgumentsError:
        if is_known:
            return ArgumentsError(f"{self.where}: the parameter {name!r} is given twice")
        hint = nearest(name, self._positions)
        return ArgumentsError(f"{self.where} has no parameter {name!r}.{hint} It is {self.shape()}")

    def _incomplete(self, values: list[Any]) -> ArgumentsError:
        pairs = zip(self.parameters, values, strict=True)
        missing = [p.name for p, value in pairs if value is MISSING and p.is_required]
        names = ", ".join(map(repr, missing))
        return ArgumentsError(f"{self.where} misses {names}; it is {self.shape()}")

    def wrong_count(self, count: int) -> ArgumentsError:
        """The error for a call with `count` arguments."""
        return ArgumentsError(f"{self.where} is given {count} arguments; it is {self.shape()}")

    def shape(self) -> str:
        """The signature as its author would write it, without `self`."""
        shown = [
            f"{p.name}: {type_text(p.annotation)}{'' if p.is_required else f' = {p.default!r}'}"
            for p in self.parameters
        ]
        if self.by_position < len(self.parameters):
            shown.insert(self.by_position, "*")
        return f"{self.where.rpartition('.')[2]}({', '.join(shown)})"
