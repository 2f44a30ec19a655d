"""What `ask` and `tell` share: the address, the arguments as JSON, the priority."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from denoagents.errors import UsageError
from denoagents.units import Duration

F = TypeVar("F", bound=Callable[..., Any])


def call_options(function: F) -> F:
    """Arguments and flags of a call."""
    for decorate in (
        click.option(
            "--priority",
            type=click.Choice(["high", "normal", "low"]),
            default="normal",
            show_default=True,
        ),
        click.argument("arguments", nargs=-1),
        click.argument("method"),
        click.argument("address", metavar="TYPE/KEY"),
    ):
        function = decorate(function)
    return function


def read_arguments(words: Iterable[str]) -> list[Any]:
    """Each word as JSON; a word that is plainly no JSON is a text."""
    return [_read(word) for word in words]


def read_timeout(text: str | None) -> float | None:
    """Seconds, or None for the priority's own."""
    return None if text is None else float(Duration.parse(text))


def _read(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError as error:
        if word[:1] in ("{", "[", '"'):
            raise UsageError(f"the argument {word!r} is no JSON: {error}") from None
        return word
